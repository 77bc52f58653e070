package loader_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/loader"
)

// TestWriteFile: WriteFile writes the whole file or leaves the old one.
func TestWriteFile(t *testing.T) {
	p := generate(t, filepath.Join(coreObjects, "maps_array.bpf.o"), nil)
	want, err := p.MarshalBinary()
	assert.NilError(t, err)
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	assert.NilError(t, os.WriteFile(path, []byte("before"), 0o600))
	assert.NilError(t, p.WriteFile(path))
	again, err := loader.ReadFile(path)
	assert.NilError(t, err)
	got, err := again.MarshalBinary()
	assert.NilError(t, err)
	assert.DeepEqual(t, got, want)

	assert.ErrorIs(t, p.WriteFile(filepath.Join(dir, "no", "such")), fs.ErrNotExist)
	assert.NilError(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	assert.Assert(t, p.WriteFile(filepath.Join(dir, "folder")) != nil)
	entries, err := os.ReadDir(dir)
	assert.NilError(t, err)
	assert.Equal(t, len(entries), 2, "%v", entries)
}
