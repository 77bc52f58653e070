package vmimage

import (
	"fmt"
	"path/filepath"

	"github.com/bpfreplay/bpfreplay/vmimage/kmod"
)

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
