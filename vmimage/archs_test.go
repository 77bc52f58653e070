package vmimage

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/vmimage/catalog"
	"github.com/bpfreplay/bpfreplay/vmimage/internal/fake"
	"github.com/bpfreplay/bpfreplay/vmimage/kconfig"
)

// foreign returns an architecture other than this machine's.
func foreign() *arch.Arch {
	for _, a := range arch.All {
		if a.Name != arch.Native && a.ImageMagic != "" {
			return a
		}
	}
	panic("unreachable")
}

// An Image is recognised by its bytes, and booted as it is.
func TestRawImage(t *testing.T) {
	for _, a := range arch.All {
		if a.ImageMagic == "" {
			continue
		}
		file := filepath.Join(t.TempDir(), "Image")
		assert.NilError(t, os.WriteFile(file, fake.RawImage(a, "6.9.1-mine"), 0o644))
		k, err := newSetting(t).resolve(t, file)
		assert.NilError(t, err)
		assert.Equal(t, k.Arch+" "+k.Release+" "+k.BootPath, a.Name+" 6.9.1-mine "+file)
	}
}

// The image of a tree is at the path of its architecture, even with a vmlinux beside it.
func TestRawImageOfTree(t *testing.T) {
	a := foreign()
	config := "# Linux/" + a.Dir + " 6.9.1 Kernel Configuration\nCONFIG_" + a.Option + "=y\n" +
		strings.Replace(kconfig.Fragment(a), "CONFIG_"+a.ConsoleOption+"=y\n", "", 1)
	tree := t.TempDir()
	for name, text := range map[string]string{".config": config, "vmlinux": "\x7fELF", a.Image: string(fake.RawImage(a, "6.9.1-mine"))} {
		file := filepath.Join(tree, name)
		assert.NilError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		assert.NilError(t, os.WriteFile(file, []byte(text), 0o644))
	}
	s := newSetting(t)
	for _, spec := range []string{tree, filepath.Join(tree, a.Image)} {
		k, err := s.resolve(t, spec)
		assert.NilError(t, err)
		assert.Equal(t, k.Arch+" "+k.Release, a.Name+" 6.9.1-mine", spec)
	}
	assert.Check(t, is.Contains(s.said(), "CONFIG_"+a.ConsoleOption))
	assert.Check(t, !strings.Contains(s.said(), "PVH"))
}

// Kernels of one name and several architectures coexist in kernels.yaml, in the lock file and in
// the cache.
func TestArchs(t *testing.T) {
	a := foreign()
	dir := t.TempDir()
	native, other := filepath.Join(dir, "native"), filepath.Join(dir, "other")
	assert.NilError(t, os.WriteFile(native, fake.BzImage("6.9.1-mine", "gz", true), 0o644))
	assert.NilError(t, os.WriteFile(other, fake.RawImage(a, "6.9.2-mine"), 0o644))
	s := newSetting(t)
	s.Config = filepath.Join(dir, catalog.FileName)
	config := "capabilities: {one: {since: '6.1', " + a.Name + ": '6.10'}, two: {since: '6.1', " + a.Name + ": never}}\nkernels:\n" +
		" - {name: '6.9', arch: " + arch.BzImage + ", tiers: [ci], sources: [{file: native}]}\n" +
		" - {name: '6.9', arch: " + a.Name + ", tiers: [ci], sources: [{file: other}]}\n" +
		" - {name: wrong, arch: " + a.Name + ", sources: [{file: native}]}\n"
	assert.NilError(t, os.WriteFile(s.Config, []byte(config), 0o644))
	store := s.open(t)
	for spec, want := range map[string]string{arch.BzImage + "/6.9": "6.9.1-mine", a.Name + "/6.9": "6.9.2-mine"} {
		k, err := store.Resolve(t.Context(), spec)
		assert.NilError(t, err)
		assert.Equal(t, k.Release, want)
		assert.Equal(t, k.Must("one"), k.Arch == arch.BzImage)
		assert.Equal(t, k.Must("two"), k.Arch == arch.BzImage)
	}
	_, err := store.Resolve(t.Context(), a.Name+"/wrong")
	assert.ErrorContains(t, err, "is a kernel for "+arch.BzImage)
	for _, test := range []struct {
		spec  string
		archs []string
		want  string
	}{
		{a.Name + "/6.9", nil, a.Name + "/6.9"},
		{a.Name + "/ci", nil, a.Name + "/6.9"},
		{"6.9", []string{arch.BzImage, a.Name}, arch.Join(arch.BzImage, "6.9") + " " + a.Name + "/6.9"},
		{"ci", []string{a.Name}, a.Name + "/6.9"},
		{arch.BzImage + "/6.9", []string{a.Name}, arch.Join(arch.BzImage, "6.9")},
		{native, []string{a.Name}, native},
	} {
		names, err := store.Config().Expand(test.spec, test.archs...)
		assert.NilError(t, err, test.spec)
		assert.Equal(t, strings.Join(names, " "), test.want)
	}
	_, err = store.Config().Expand("6.8", a.Name)
	assert.ErrorContains(t, err, a.Name+"/6.8")
}
