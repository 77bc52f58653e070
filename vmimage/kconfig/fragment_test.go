package kconfig

import (
	"os"
	"path/filepath"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/arch"
)

// A kernel with the fragment's configuration lacks nothing, of each architecture.
func TestFragment(t *testing.T) {
	for _, of := range arch.All {
		file := filepath.Join(t.TempDir(), "config")
		title := "# Linux/" + of.Dir + " 6.12.0 Kernel Configuration\n"
		text := title + Fragment(of) + "CONFIG_" + of.Option + "=y\n"
		assert.NilError(t, os.WriteFile(file, []byte(text), 0o644))
		o, err := Read(file)
		assert.NilError(t, err)
		assert.NilError(t, o.Check(), of.Name)
		assert.Equal(t, len(o.Off()), 0, "%v", o.Off())
	}
}
