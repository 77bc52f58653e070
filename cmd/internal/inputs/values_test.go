package inputs

import (
	"slices"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/need"
)

// libbpf runs by default if there is a bpftool that runs on all kernels.
func TestDefaultEngines(t *testing.T) {
	libbpf := func(engines []string) bool { return slices.Contains(engines, "libbpf") }
	assert.Assert(t, libbpf(DefaultEngines(true, "6.12,6.1 stable")))
	assert.Assert(t, !libbpf(DefaultEngines(true, "6.12 arm64/6.12")))
	assert.Assert(t, !libbpf(DefaultEngines(true, "6.12", "riscv64")))
	need.Program(t, "bpftool")
	assert.Assert(t, libbpf(DefaultEngines(false, "6.12")))
}
