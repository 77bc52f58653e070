package vmimage

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/vmimage/internal/fake"
)

// layout writes files below a new directory.
func layout(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		writeAt(t, filepath.Join(dir, name), data, time.Now())
	}
	return dir
}

// The modules and the configuration of an image given by path are found where a package, an
// installation or a tree has them.
func TestBesideImage(t *testing.T) {
	const r = fake.Release
	image, a := string(fake.BzImage(r, "gz", true)), string(fake.Module("depends="))
	for name, test := range map[string]struct {
		files           map[string]string
		links           map[string]string
		image           string
		config, modules string
	}{
		"installed": {
			files: map[string]string{"boot/vmlinuz-" + r: image, "boot/config-" + r: "x", "lib/modules/" + r + "/kernel/a.ko": a},
			image: "boot/vmlinuz-" + r, config: "boot/config-" + r, modules: "lib/modules/" + r,
		},
		"package of trixie, unpacked": {
			files: map[string]string{"boot/vmlinuz-" + r: image, "boot/config-" + r: "x", "usr/lib/modules/" + r + "/kernel/a.ko": a},
			image: "boot/vmlinuz-" + r, config: "boot/config-" + r, modules: "usr/lib/modules/" + r,
		},
		"package of 6.19, unpacked": {
			files: map[string]string{"usr/lib/modules/" + r + "/vmlinuz": image, "boot/config-" + r: "x", "usr/lib/modules/" + r + "/kernel/a.ko": a},
			image: "usr/lib/modules/" + r + "/vmlinuz", config: "boot/config-" + r, modules: "usr/lib/modules/" + r,
		},
		"all in one place": {
			files: map[string]string{"lib/modules/" + r + "/vmlinuz": image, "lib/modules/" + r + "/config": "x", "lib/modules/" + r + "/kernel/a.ko": a},
			image: "lib/modules/" + r + "/vmlinuz", config: "lib/modules/" + r + "/config", modules: "lib/modules/" + r,
		},
		"configuration with the modules": {
			files: map[string]string{"boot/vmlinuz-" + r: image, "lib/modules/" + r + "/config": "x", "lib/modules/" + r + "/kernel/a.ko": a},
			image: "boot/vmlinuz-" + r, config: "lib/modules/" + r + "/config", modules: "lib/modules/" + r,
		},
		"side by side": {
			files: map[string]string{"k/bzImage": image, "k/config": "x", "k/modules/kernel/a.ko": a},
			image: "k/bzImage", config: "k/config", modules: "k/modules",
		},
		"link": {
			files: map[string]string{"boot/vmlinuz-" + r: image, "boot/config-" + r: "x", "usr/lib/modules/" + r + "/kernel/a.ko": a},
			links: map[string]string{"vmlinuz": "boot/vmlinuz-" + r, "home/mine": "../vmlinuz"},
			image: "home/mine", config: "boot/config-" + r, modules: "usr/lib/modules/" + r,
		},
		"alone": {files: map[string]string{"x/bzImage": image}, image: "x/bzImage"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSetting(t)
			dir := layout(t, test.files)
			for _, link := range slices.Sorted(maps.Keys(test.links)) {
				assert.NilError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, link)), 0o755))
				assert.NilError(t, os.Symlink(test.links[link], filepath.Join(dir, link)))
			}
			k, err := s.resolve(t, filepath.Join(dir, test.image))
			assert.NilError(t, err)
			at := func(name string) string {
				if name == "" {
					return ""
				}
				return filepath.Join(dir, name)
			}
			assert.Check(t, is.Equal(k.ConfigPath, at(test.config)))
			assert.Check(t, is.Equal(k.ModulesDir, at(test.modules)))
			assert.Check(t, is.Equal(k.Release, r))
			modules, err := k.Modules("a")
			if test.modules == "" {
				assert.ErrorContains(t, err, "no modules came with it, so a cannot be had")
				return
			}
			assert.NilError(t, err)
			assert.Check(t, is.Len(modules, 1))
		})
	}
}

// The path of a tree's image means the tree.
func TestBesideImageOfTree(t *testing.T) {
	s := newSetting(t)
	tree := buildTree(t, nil)
	assert.NilError(t, os.MkdirAll(filepath.Join(tree, "arch/x86_64/boot"), 0o755))
	assert.NilError(t, os.Symlink("../../x86/boot/bzImage", filepath.Join(tree, "arch/x86_64/boot/bzImage")))
	for _, name := range []string{"arch/x86/boot/bzImage", "arch/x86_64/boot/bzImage", "vmlinux"} {
		k, err := s.resolve(t, filepath.Join(tree, name))
		assert.NilError(t, err, name)
		assert.Check(t, is.Equal(k.ImagePath, filepath.Join(tree, name)))
		assert.Check(t, is.Equal(k.ConfigPath, filepath.Join(tree, ".config")))
		assert.Check(t, is.Equal(k.Tree(), tree))
		modules, err := k.Modules("x_y", "built-in")
		assert.NilError(t, err, name)
		assert.Check(t, is.Len(modules, 2))
	}
}

// A package given by path gives the same kernel as from an archive.
func TestBesideImageOfPackage(t *testing.T) {
	s := newSetting(t)
	dir := t.TempDir()
	usr := map[string][]byte{
		"./usr/lib/modules/" + fake.Release + "/vmlinuz":     fake.BzImage(fake.Release, "gz", true),
		"./usr/lib/modules/" + fake.Release + "/kernel/a.ko": fake.Module("depends="),
	}
	for name, data := range map[string][]byte{
		"old.deb": oldDeb(fake.Release), "new.deb": fake.Deb("zst", usr), "plain.tar": fake.Tar(usr), "some.tar.zst": fake.Compress("zst", fake.Tar(usr)),
	} {
		file := filepath.Join(dir, name)
		assert.NilError(t, os.WriteFile(file, data, 0o644))
		for range 2 {
			k, err := s.resolve(t, file)
			assert.NilError(t, err, name)
			assert.Check(t, is.Equal(k.Name, file))
			assert.Check(t, is.Equal(k.Release, fake.Release))
			want := "a"
			if name == "old.deb" {
				want = "libcrc"
			}
			modules, err := k.Modules(want)
			assert.NilError(t, err, name)
			assert.Check(t, len(modules) > 0)
		}
	}
	for name, test := range map[string]struct{ data, err string }{
		"cut.deb":   {string(oldDeb(fake.Release)[:2000]), "cut.deb"},
		"empty.deb": {string(fake.Deb("xz", map[string][]byte{"./usr/share/doc/x": []byte("x")})), "there is no kernel image"},
	} {
		file := filepath.Join(dir, name)
		assert.NilError(t, os.WriteFile(file, []byte(test.data), 0o644))
		_, err := s.resolve(t, file)
		assert.ErrorContains(t, err, test.err)
	}
}

// Without a configuration a module may be built in; otherwise the configuration decides.
func TestOwnModules(t *testing.T) {
	image := string(fake.BzImage(fake.Release, "gz", true))
	for name, test := range map[string]struct {
		files map[string]string
		err   string
	}{
		"nothing is known":      {files: nil},
		"built in":              {files: map[string]string{"config": "CONFIG_VIRTIO_PCI=y\nCONFIG_VIRTIO_CONSOLE=y\n"}},
		"a module that is not":  {map[string]string{"config": "CONFIG_VIRTIO_PCI=y\nCONFIG_VIRTIO_CONSOLE=m\n"}, "virtio_console is a module (CONFIG_VIRTIO_CONSOLE=m"},
		"off":                   {map[string]string{"config": "CONFIG_VIRTIO_CONSOLE=y\n# CONFIG_VIRTIO_PCI is not set\n"}, "virtio_pci is switched off: CONFIG_VIRTIO_PCI"},
		"modules, and no list":  {files: map[string]string{"modules/kernel/a.ko": string(fake.Module("depends="))}},
		"not in the list":       {map[string]string{"modules/modules.builtin": "kernel/x.ko\n"}, "no module is called virtio_console, and it is not built in either"},
		"in the list":           {files: map[string]string{"modules/modules.builtin": "kernel/virtio_console.ko\nkernel/virtio_pci.ko\n"}},
		"no list, but built in": {files: map[string]string{"config": "CONFIG_VIRTIO_PCI=y\nCONFIG_VIRTIO_CONSOLE=y\n", "modules/kernel/a.ko": string(fake.Module("depends="))}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSetting(t)
			dir := layout(t, test.files)
			writeAt(t, filepath.Join(dir, "bzImage"), image, time.Now())
			k, err := s.resolve(t, filepath.Join(dir, "bzImage"))
			assert.NilError(t, err)
			modules, err := k.Modules("virtio_console", "virtio_pci")
			if test.err != "" {
				assert.ErrorContains(t, err, test.err)
				return
			}
			assert.NilError(t, err)
			assert.Check(t, is.Len(modules, 0))
		})
	}
}
