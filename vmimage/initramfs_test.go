package vmimage

import (
	"bytes"
	"io"
	"os"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/vmimage/initramfs"
	"github.com/bpfreplay/bpfreplay/vmimage/internal/fake"
)

func TestInitramfs(t *testing.T) {
	store, k := testKernel(t)
	what := Initramfs{
		Base:    []initramfs.File{{Path: "/init", Mode: 0o755, Data: []byte("agent")}},
		Modules: []string{"libcrc"},
		Extra:   []initramfs.File{{Path: "/case", Mode: 0o644, Data: []byte("one")}},
	}
	build := func(what Initramfs) ([]byte, string) {
		t.Helper()
		var out bytes.Buffer
		assert.NilError(t, store.WriteInitramfs(&out, k, what))
		sum, err := store.InitramfsSum(k, what)
		assert.NilError(t, err)
		return out.Bytes(), sum
	}
	first, sum := build(what)
	modules := "lib/modules/" + k.Release
	assert.Check(t, is.DeepEqual(fake.Listing(t, first), []string{
		"dev 40755", "dev/console 20600 5:1", "init 100755 agent", "---",
		"boot 40755", "boot/config-" + k.Release + " 100644 CONFIG_BPF=y\n",
		"lib 40755", "lib/modules 40755", modules + " 40755", modules + "/kernel 40755",
		modules + "/kernel/crypto 40755", modules + "/kernel/crypto/crc_generic.ko 100644",
		modules + "/kernel/lib 40755", modules + "/kernel/lib/libcrc.ko 100644",
		modules + "/modules.dep 100644 kernel/crypto/crc_generic.ko:\nkernel/lib/libcrc.ko: kernel/crypto/crc_generic.ko\n",
		modules + "/modules.load 100644 kernel/crypto/crc_generic.ko\nkernel/lib/libcrc.ko\n", "---",
		"case 100644 one", "---",
	}))
	// The second time all parts but the extra one are in the cache, and the modules are not read.
	moved := k.ModulesDir + ".moved"
	assert.NilError(t, os.Rename(k.ModulesDir, moved))
	second, again := build(what)
	assert.NilError(t, os.Rename(moved, k.ModulesDir))
	assert.Check(t, bytes.Equal(first, second))
	assert.Equal(t, sum, again)

	what.Extra[0].Data = []byte("two")
	third, other := build(what)
	assert.Check(t, !bytes.Equal(first, third))
	assert.Check(t, sum != other)
}

func TestInitramfsErrors(t *testing.T) {
	store, k := testKernel(t)
	for _, test := range []struct {
		what Initramfs
		err  string
	}{
		{Initramfs{Modules: []string{"nowhere"}}, "initramfs: kernel 6.1 (6.1.0-10-cloud-amd64): no module is called nowhere"},
		{Initramfs{Base: []initramfs.File{{Path: "/init", Host: "/nowhere"}}}, "no such file"},
		{Initramfs{Extra: []initramfs.File{{Path: "/init", Host: "/nowhere"}}}, "no such file"},
	} {
		assert.Check(t, is.ErrorContains(store.WriteInitramfs(io.Discard, k, test.what), test.err))
		_, err := store.InitramfsSum(k, test.what)
		assert.Check(t, is.ErrorContains(err, test.err))
	}
}

// TestOldArchives: archives that were not used for long are removed when a new one is made.
func TestOldArchives(t *testing.T) {
	store, k := testKernel(t)
	assert.NilError(t, store.WriteInitramfs(io.Discard, k, Initramfs{}))
	count := func() int {
		entries, err := os.ReadDir(store.cache.Path("cpio"))
		assert.NilError(t, err)
		return len(entries)
	}
	assert.Equal(t, count(), 3) // base, kernel, and the name of the latter
	entries, err := os.ReadDir(store.cache.Path("cpio"))
	assert.NilError(t, err)
	old := time.Now().Add(-14 * 24 * time.Hour)
	for _, entry := range entries {
		assert.NilError(t, os.Chtimes(store.cache.Path("cpio", entry.Name()), old, old))
	}
	assert.NilError(t, store.WriteInitramfs(io.Discard, k, Initramfs{Base: []initramfs.File{{Path: "/new"}}}))
	assert.Equal(t, count(), 3)
}
