package vmimage

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/vmimage/internal/fake"
	"github.com/bpfreplay/bpfreplay/vmimage/kconfig"
)

// goodConfig is a .config with all options that guests need or want.
func goodConfig() string {
	of, _ := arch.Find("amd64")
	return "#\n# Automatically generated file; DO NOT EDIT.\n# Linux/x86 6.9.1 Kernel Configuration\n#\nCONFIG_X86_64=y\n" + kconfig.Fragment(of)
}

// without disables an option, in the form of the kernel's tools.
func without(config, name string) string {
	return strings.Replace(config, "CONFIG_"+name+"=y\n", "# CONFIG_"+name+" is not set\n", 1)
}

// buildTree makes a tree as after a build. changes replaces files, or removes those for which it
// has "".
func buildTree(t testing.TB, changes map[string]string) string {
	t.Helper()
	tree := t.TempDir()
	files := map[string]string{
		"Kbuild":                        "#",
		".config":                       goodConfig(),
		"vmlinux":                       string(fake.Vmlinux(fake.Release, true)),
		"arch/x86/boot/bzImage":         string(fake.BzImage(fake.Release, "gz", true)),
		"include/config/kernel.release": fake.Release + "\n",
		"modules.order":                 "drivers/a/x-y.o\nkernel/net/z.ko\n",
		"modules.builtin":               "kernel/lib/built-in.ko\n",
		"drivers/a/x-y.ko":              string(fake.Module("depends=z")),
		"net/z.ko":                      string(fake.Module("depends=")),
	}
	for name, data := range changes {
		files[name] = data
	}
	at := time.Now().Add(-time.Hour)
	for _, name := range []string{".config", "vmlinux", "arch/x86/boot/bzImage"} {
		at = at.Add(time.Minute)
		writeAt(t, filepath.Join(tree, name), files[name], at)
		delete(files, name)
	}
	for name, data := range files {
		writeAt(t, filepath.Join(tree, name), data, at)
	}
	return tree
}

func writeAt(t testing.TB, file, data string, at time.Time) {
	t.Helper()
	if data == "" {
		return
	}
	assert.NilError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	assert.NilError(t, os.WriteFile(file, []byte(data), 0o644))
	assert.NilError(t, os.Chtimes(file, at, at))
}

func TestResolveTree(t *testing.T) {
	s := newSetting(t)
	tree := buildTree(t, nil)
	k, err := s.resolve(t, tree)
	assert.NilError(t, err)
	assert.Equal(t, k.ImagePath, filepath.Join(tree, "arch/x86/boot/bzImage"))
	assert.Equal(t, k.ConfigPath, filepath.Join(tree, ".config"))
	assert.Equal(t, k.Release, fake.Release)
	assert.Equal(t, k.Origin, tree)
	modules, err := k.Modules("x_y", "built-in")
	assert.NilError(t, err)
	assert.DeepEqual(t, paths(modules), []string{"kernel/net/z.ko", "kernel/drivers/a/x-y.ko"})
	assert.Equal(t, s.said(), "")

	// Built again: only the vmlinux, then the image with another release, and a
	// module with other needs.
	elf := filepath.Join(tree, "vmlinux")
	writeAt(t, elf, string(fake.Vmlinux(fake.Release, true)), time.Now())
	k, err = s.resolve(t, tree)
	assert.NilError(t, err)
	assert.Equal(t, k.ImagePath, elf)
	before := k.SHA256
	writeAt(t, filepath.Join(tree, "arch/x86/boot/bzImage"), string(fake.BzImage("6.9.2-new", "gz", true)), time.Now())
	writeAt(t, filepath.Join(tree, "drivers/a/x-y.ko"), string(fake.Module("depends=")), time.Now())
	k, err = s.resolve(t, tree)
	assert.NilError(t, err)
	assert.Equal(t, k.Release, "6.9.2-new")
	assert.Check(t, k.SHA256 != before)
	boot, err := os.ReadFile(k.BootPath)
	assert.NilError(t, err)
	assert.Equal(t, string(boot), string(fake.Vmlinux("6.9.2-new", true)))
	modules, err = k.Modules("x_y")
	assert.NilError(t, err)
	assert.DeepEqual(t, paths(modules), []string{"kernel/drivers/a/x-y.ko"})
	assert.Check(t, is.Contains(s.said(), "the image is 6.9.2-new, but the next build will be "+fake.Release))
}

func TestTreeErrors(t *testing.T) {
	noImage := map[string]string{"vmlinux": "", "arch/x86/boot/bzImage": ""}
	with := func(more map[string]string) map[string]string {
		for name, data := range noImage {
			if _, ok := more[name]; !ok {
				more[name] = data
			}
		}
		return more
	}
	arm := string(fake.Vmlinux(fake.Release, true))
	arm = arm[:18] + "\xb7\x00" + arm[20:]
	for _, test := range []struct {
		name    string
		changes map[string]string
		err     string
	}{
		{"not built", with(map[string]string{}), "there is no arch/x86/boot/bzImage; build it first: make -C "},
		{"no tree", with(map[string]string{"Kbuild": "", ".config": ""}), "is no kernel tree"},
		{"for mips", with(map[string]string{".config": "# Linux/mips 6.9.1 Kernel Configuration\nCONFIG_64BIT=y\n"}), "configured for mips, guests are for amd64, arm64, riscv64"},
		{"for something", with(map[string]string{".config": "CONFIG_64BIT=y\n"}), "configured for another machine"},
		{"32 bits", map[string]string{".config": without(goodConfig(), "X86_64")}, "scripts/config -e 64BIT"},
		{"a vmlinux for arm64", with(map[string]string{".config": "", "vmlinux": arm}), "a vmlinux for arm64 is not booted directly: give its Image"},
		{"no console", map[string]string{".config": without(goodConfig(), "VIRTIO_CONSOLE")}, "scripts/config -e VIRTIO_CONSOLE && make olddefconfig"},
		{"two options", map[string]string{".config": without(without(goodConfig(), "BPF_SYSCALL"), "DEVTMPFS")}, "scripts/config -e BPF_SYSCALL -e DEVTMPFS &&"},
		{"modules not built", map[string]string{"net/z.ko": ""}, "modules.order lists net/z.ko, which is not built: make -C "},
		{"modules elsewhere", map[string]string{"modules.order": "../up.o\n"}, "not a path in the tree"},
		{"a vmlinux that cannot be booted", map[string]string{"arch/x86/boot/bzImage": "", "vmlinux": string(fake.Vmlinux(fake.Release, false))}, "CONFIG_PVH"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := newSetting(t).resolve(t, buildTree(t, test.changes))
			assert.ErrorContains(t, err, test.err)
		})
	}
}

func TestTreeNotes(t *testing.T) {
	for _, test := range []struct {
		name    string
		changes map[string]string
		note    string
	}{
		{"no BTF", map[string]string{".config": without(goodConfig(), "DEBUG_INFO_BTF")}, "lacks its own types"},
		{"no PVH", map[string]string{".config": without(goodConfig(), "PVH"), "arch/x86/boot/bzImage": string(fake.BzImage(fake.Release, "gz", false)), "vmlinux": ""}, "slower (CONFIG_PVH)"},
		{"two", map[string]string{".config": without(without(goodConfig(), "BPF_JIT"), "SERIAL_8250_CONSOLE")}, "says nothing (CONFIG_SERIAL_8250_CONSOLE); compiled BPF programs (CONFIG_BPF_JIT)"},
		{"virtio as modules", map[string]string{".config": strings.Replace(goodConfig(), "VIRTIO_PCI=y", "VIRTIO_PCI=m", 1)}, ""},
		{"no configuration", map[string]string{".config": ""}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSetting(t)
			_, err := s.resolve(t, buildTree(t, test.changes))
			assert.NilError(t, err)
			if test.note == "" {
				assert.Equal(t, s.said(), "")
			}
			assert.Check(t, is.Contains(s.said(), test.note))
		})
	}
	t.Run("configured anew", func(t *testing.T) {
		s := newSetting(t)
		tree := buildTree(t, nil)
		writeAt(t, filepath.Join(tree, ".config"), goodConfig(), time.Now())
		_, err := s.resolve(t, tree)
		assert.NilError(t, err)
		assert.Check(t, is.Contains(s.said(), ".config is newer than the image"))
	})
}

// TestTreeModules: the modules of the selftests are found, each once; without modules there is no
// directory of modules.
func TestTreeModules(t *testing.T) {
	const selftests = "tools/testing/selftests/bpf/"
	k, err := newSetting(t).resolve(t, buildTree(t, map[string]string{
		selftests + "bpf_testmod.ko":            string(fake.Module("depends=")),
		selftests + "test_kmods/bpf_testmod.ko": string(fake.Module("depends=")),
		selftests + "test_kmods/bpf_test_no.ko": string(fake.Module("depends=bpf_testmod")),
	}))
	assert.NilError(t, err)
	modules, err := k.Modules("bpf_test_no")
	assert.NilError(t, err)
	assert.DeepEqual(t, paths(modules), []string{"kernel/" + selftests + "bpf_testmod.ko", "kernel/" + selftests + "test_kmods/bpf_test_no.ko"})

	k, err = newSetting(t).resolve(t, buildTree(t, map[string]string{"modules.order": "", "modules.builtin": ""}))
	assert.NilError(t, err)
	_, err = k.Modules("x_y")
	assert.ErrorContains(t, err, "no modules came with it")
}

// TestTreeOfName: a tree may have a name in kernels.yaml; there and in a path given by the user a
// tilde means the home directory.
func TestTreeOfName(t *testing.T) {
	tree := buildTree(t, nil)
	t.Setenv("HOME", filepath.Dir(tree))
	s := newSetting(t)
	short := "~/" + filepath.Base(tree)
	assert.NilError(t, os.WriteFile(s.Config, []byte("kernels: [{name: mine, arch: amd64, sources: [{tree: "+short+"}]}]"), 0o644))
	for _, spec := range []string{"mine", short, tree} {
		k, err := s.resolve(t, spec)
		assert.NilError(t, err)
		assert.Equal(t, k.Origin, tree)
		names, err := s.open(t).Config().Expand(spec)
		assert.NilError(t, err)
		assert.DeepEqual(t, names, []string{spec})
	}
}
