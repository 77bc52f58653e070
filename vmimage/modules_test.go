package vmimage

import (
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/vmimage/kmod"
)

func paths(modules []kmod.Module) []string {
	out := []string{}
	for _, m := range modules {
		out = append(out, m.Path)
	}
	return out
}

// testKernel is a kernel with modules that was installed from an archive.
func testKernel(t testing.TB) (*Store, *Kernel) {
	t.Helper()
	a := newArchive(t, "bookworm")
	a.old("6.1.0-10-cloud-amd64", "6.1.101-1")
	serve(t, a)
	store := newSetting(t, keyring(t, a.key)).open(t)
	k, err := store.Resolve(t.Context(), "6.1")
	assert.NilError(t, err)
	return store, k
}

func TestModules(t *testing.T) {
	_, k := testKernel(t)
	for _, test := range []struct {
		names []string
		want  []string
	}{
		{nil, []string{}},
		{[]string{"nf_defrag"}, []string{"kernel/net/nf_defrag.ko"}},
		// Needs in the order of loading; the softdep leads through an alias to
		// the generic module; hyphens count as underscores.
		{[]string{"nf-track"}, []string{"kernel/net/nf_defrag.ko", "kernel/crypto/crc_generic.ko", "kernel/lib/libcrc.ko", "kernel/net/nf-track.ko"}},
		{[]string{"nf_track", "nf_defrag", "nf_track"}, []string{"kernel/net/nf_defrag.ko", "kernel/crypto/crc_generic.ko", "kernel/lib/libcrc.ko", "kernel/net/nf-track.ko"}},
		{[]string{"crypto-crc"}, []string{"kernel/crypto/crc_generic.ko"}},
		{[]string{"crypto_crc"}, []string{"kernel/crypto/crc_generic.ko"}},
		{[]string{"built-in", "built_in", "crypto-builtin"}, []string{}},
		{[]string{"card"}, []string{"kernel/drivers/card.ko"}},
	} {
		modules, err := k.Modules(test.names...)
		assert.NilError(t, err)
		assert.Check(t, is.DeepEqual(paths(modules), test.want), strings.Join(test.names, " "))
	}
	for _, test := range []struct{ name, err string }{
		{"nowhere", "kernel 6.1 (6.1.0-10-cloud-amd64): no module is called nowhere, and it is not built in either"},
		{"broken", "module broken: broken needs nowhere, which the kernel does not have"},
		{"loop_a", "needs itself: loop_a -> loop_b -> loop_a"},
	} {
		_, err := k.Modules(test.name)
		assert.Check(t, is.ErrorContains(err, test.err))
	}
}

func TestModulesDep(t *testing.T) {
	_, k := testKernel(t)
	modules, err := k.Modules("nf_track")
	assert.NilError(t, err)
	assert.Equal(t, string(kmod.Dep(modules)), `kernel/crypto/crc_generic.ko:
kernel/lib/libcrc.ko: kernel/crypto/crc_generic.ko
kernel/net/nf-track.ko: kernel/lib/libcrc.ko kernel/crypto/crc_generic.ko kernel/net/nf_defrag.ko
kernel/net/nf_defrag.ko:
`)
}
