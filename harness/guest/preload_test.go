package guest

import (
	"os"
	"path/filepath"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// TestFirstFiles: preloaded modules are part of a saved guest's key.
func TestFirstFiles(t *testing.T) {
	store, err := vmimage.Open(vmimage.Options{Cache: t.TempDir()})
	assert.NilError(t, err)
	defer store.Close()
	module := filepath.Join(t.TempDir(), "bpf_testmod.ko")
	k := &vmimage.Kernel{Name: "x", Release: "6.12.1-x"} // without modules
	sum := func(text string) string {
		t.Helper()
		assert.NilError(t, os.WriteFile(module, []byte(text), 0o644))
		first := Preloaded{Kernel: []string{"nf_nat"}, Files: []string{module}}
		names, files, err := first.files(k)
		assert.NilError(t, err)
		assert.Check(t, is.Len(names, 0))
		assert.Check(t, is.Len(files, 2))
		assert.Check(t, is.Equal(files[1].Path, wire.Preloaded))
		assert.Check(t, is.Equal(string(files[1].Data), files[0].Path+"\n"))
		s, err := store.InitramfsSum(k, vmimage.Initramfs{Base: files})
		assert.NilError(t, err)
		return s
	}
	one := sum("one")
	assert.Check(t, sum("two") != one)
	assert.Check(t, is.Equal(sum("one"), one))

	names, files, err := (&Preloaded{}).files(k)
	assert.NilError(t, err)
	assert.Check(t, len(names) == 0 && len(files) == 0)
}
