package result

import (
	"path/filepath"

	"github.com/bpfreplay/bpfreplay/internal/arch"
)

// KernelDir returns the name of the directory of a kernel's run, and of its baseline. It is the
// kernel's name, or the base name of its file. Kernels of another architecture are in a
// subdirectory.
func KernelDir(kernel string) string {
	if of, name, explicit := arch.Cut(kernel); explicit {
		return filepath.FromSlash(arch.Join(of, filepath.Base(name)))
	}
	return filepath.Base(filepath.Clean(kernel))
}
