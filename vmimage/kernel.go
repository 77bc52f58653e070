package vmimage

import (
	"fmt"
	"path/filepath"

	"github.com/bpfreplay/bpfreplay/vmimage/catalog"
	"github.com/bpfreplay/bpfreplay/vmimage/kmod"
)

// Kernel is a kernel that can be booted. All files that it names are on this machine.
type Kernel struct {
	// Name is what the user typed.
	Name string
	// Arch in Debian's words, such as "arm64": what the image is for.
	Arch string
	// Release is the output of `uname -r` in the guest.
	Release string
	// Version is the version that decides which capabilities the kernel must have, such as "6.12".
	Version string
	// SHA256 is that of the image as distributed, in hexadecimal.
	SHA256 string
	// Origin describes in words where the kernel came from.
	Origin string

	// BootPath is the file for QEMU's -kernel: on x86 an ELF vmlinux with a PVH entry point, which
	// needs no decompression in the guest, or else the bzImage; on other architectures the Image.
	BootPath string
	// ImagePath is the image as distributed.
	ImagePath string
	// ConfigPath is the kernel's configuration; "" if there is none.
	ConfigPath string
	// ModulesDir is the directory with kernel/, modules.builtin and so on; "" if there is none.
	ModulesDir string

	// key identifies the kernel's files in the cache; "" for a kernel outside the cache, which may
	// change.
	key string
	// tree means that ModulesDir is a build tree.
	tree bool

	capabilities map[string]catalog.Capability
	without      map[string]string
}

// Tree returns the directory that the kernel and its modules were built in; "" for other kernels.
func (k *Kernel) Tree() string {
	if !k.tree {
		return ""
	}
	return k.ModulesDir
}

// Must reports whether the kernel must have a capability: it is new enough by kernels.yaml, which
// makes no exception for it. A kernel that was given as a path has no entry and must have none.
func (k *Kernel) Must(capability string) bool {
	c, ok := k.capabilities[capability]
	_, without := k.without[capability]
	return ok && !without && c.In(k.Version, k.Arch)
}

// Without returns the reason in kernels.yaml why the kernel lacks a capability although it is new
// enough.
func (k *Kernel) Without(capability string) (reason string, ok bool) {
	reason, ok = k.without[capability]
	return reason, ok
}

// Modules returns the named modules and all that they need, each once, in the order of loading.
// Hyphens and underscores in names are the same. Modules that are built into the kernel are left
// out. A module that the kernel does not have is an error.
//
// A soft dependency ("softdep pre") counts as needed if the kernel has the module, because a guest
// has no modprobe that would load it.
func (k *Kernel) Modules(names ...string) ([]kmod.Module, error) {
	if len(names) == 0 {
		return nil, nil
	}
	ix := new(kmod.Index)
	if k.ModulesDir != "" {
		var err error
		if ix, err = k.index(); err != nil {
			return nil, fmt.Errorf("kernel %s: modules: %w", k.Name, err)
		}
	}
	c := ix.Closure(k.ModulesDir)
	for _, name := range names {
		ok, err := c.Add(name)
		if err != nil {
			return nil, fmt.Errorf("kernel %s (%s): module %s: %w", k.Name, k.Release, name, err)
		}
		if ok {
			continue
		}
		if err := k.lacks(name); err != nil {
			return nil, err
		}
	}
	return c.Modules, nil
}

// index reads the index that was made when the kernel was unpacked, or makes one.
func (k *Kernel) index() (*kmod.Index, error) {
	if k.key == "" {
		return kmod.MakeIndex(k.ModulesDir, k.tree)
	}
	return kmod.ReadIndex(filepath.Join(filepath.Dir(k.ModulesDir), fileIndex))
}
