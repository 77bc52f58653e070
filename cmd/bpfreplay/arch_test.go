package main

import (
	"os"
	"os/exec"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/internal/need"
)

// The scripts in testdata/arch boot guests of another architecture than this machine's.
func TestArchs(t *testing.T) {
	if arch.Native == "arm64" {
		t.Skip("arm64 is this machine's own architecture")
	}
	need.QEMU(t, "arm64")
	need.Kernel(t, "arm64/6.12")
	buildFor(t, "arm64")
	runScripts(t, "arch", "BPFREPLAY_CACHE", cacheDir(t))
}

// buildFor builds the command for another architecture, beside it as the Makefile does.
func buildFor(t *testing.T, of string) {
	t.Helper()
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", command+"."+of, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+of)
	out, err := build.CombinedOutput()
	assert.NilError(t, err, "%s", out)
}
