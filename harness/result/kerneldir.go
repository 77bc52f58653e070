package result

import (
	"path/filepath"

	"github.com/bpfreplay/bpfreplay/internal/arch"
)

// KernelDir is what the directory of a kernel's run is called, and its baseline: as the kernel, or as the file that it
// is. Kernels of another architecture are in a directory of its own.
func KernelDir(kernel string) string {
	if of, name, explicit := arch.Cut(kernel); explicit {
		return filepath.FromSlash(arch.Join(of, filepath.Base(name)))
	}
	return filepath.Base(filepath.Clean(kernel))
}
