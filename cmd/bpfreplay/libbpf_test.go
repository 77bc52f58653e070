package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/need"
)

// The scripts in testdata/libbpf boot a kernel with this machine's bpftool, and with a wrapper of
// it that is broken on purpose.
func TestLibbpf(t *testing.T) {
	need.QEMU(t)
	need.Kernel(t, "6.12")
	bpftool := need.Program(t, "bpftool")
	flip := filepath.Join(t.TempDir(), "flip")
	build := exec.Command("go", "build", "-o", flip, "../../harness/engine/testdata/flip")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	assert.NilError(t, err, string(out))
	runScripts(t, "libbpf", "BPFREPLAY_CACHE", cacheDir(t), "BPFTOOL", bpftool, "FLIP", flip)
}
