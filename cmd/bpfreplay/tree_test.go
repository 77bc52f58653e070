package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/internal/need"
)

// A kernel tree in which a kernel was built boots by its path. The test arranges Debian's kernel
// like such a tree.
func TestKernelTree(t *testing.T) {
	need.QEMU(t)
	kernel := need.Kernel(t, "6.1")
	tree := filepath.Join(t.TempDir(), "linux")
	put := func(name string, data []byte) {
		file := filepath.Join(tree, name)
		assert.NilError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		assert.NilError(t, os.WriteFile(file, data, 0o644))
	}
	take := func(name, from string) {
		data, err := os.ReadFile(from)
		assert.NilError(t, err)
		put(name, data)
	}
	take(".config", kernel.ConfigPath)
	take("arch/x86/boot/bzImage", kernel.ImagePath)
	put("include/config/kernel.release", []byte(kernel.Release+"\n"))
	for _, name := range []string{"modules.builtin", "modules.builtin.modinfo"} {
		take(name, filepath.Join(kernel.ModulesDir, name))
	}
	// Its virtio drivers are modules, so without them the guest would be silent.
	modules, err := kernel.Modules("virtio_console", "virtio_pci")
	assert.NilError(t, err)
	assert.Assert(t, len(modules) >= 2)
	var order []string
	for _, m := range modules {
		name := strings.TrimPrefix(m.Path, "kernel/")
		take(name, filepath.Join(kernel.ModulesDir, m.Path))
		order = append(order, m.Path)
	}
	put("modules.order", []byte(strings.Join(order, "\n")+"\n"))

	cmd := exec.CommandContext(t.Context(), command, "vmtest", "--kernel", tree, "--accel", "tcg", "--out", t.TempDir(), "--case", "data_sections")
	cmd.Dir = root(t)
	cmd.Env = append(os.Environ(), "BPFREPLAY_CACHE="+t.TempDir())
	out, err := cmd.CombinedOutput()
	assert.NilError(t, err, string(out))
	assert.Check(t, is.Contains(string(out), "("+kernel.Release+")"))
	assert.Check(t, is.Contains(string(out), "PASS"))
}
