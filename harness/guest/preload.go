package guest

import (
	"path"
	"path/filepath"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// Preloaded are modules that guests have loaded before the first case.
type Preloaded struct {
	// Kernel are names of the kernel's own; those that it does not have are left out.
	Kernel []string
	// Files are others, on this machine, in an order in which they can be loaded.
	Files []string
}

// files returns the modules of the kernel that there are, and what else an
// initramfs needs. A saved guest is known by all of it.
func (f *Preloaded) files(k *vmimage.Kernel) (names []string, files []vmimage.File, err error) {
	var order []string
	for _, name := range f.Kernel {
		modules, err := k.Modules(name)
		if err != nil {
			continue // what needs it says so
		}
		names = append(names, name)
		for _, m := range modules {
			order = append(order, path.Join("/lib/modules", k.Release, m.Path))
		}
	}
	for _, file := range f.Files {
		at := path.Join(path.Dir(wire.Preloaded), "first.d", filepath.Base(file))
		files = append(files, vmimage.File{Path: at, Mode: 0o644, Host: file})
		order = append(order, at)
	}
	if len(order) == 0 {
		return nil, nil, nil
	}
	list := vmimage.File{Path: wire.Preloaded, Mode: 0o644, Data: []byte(strings.Join(order, "\n") + "\n")}
	return names, append(files, list), nil
}
