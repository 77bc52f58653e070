package guest

import (
	"path"
	"path/filepath"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/vmimage"
	"github.com/bpfreplay/bpfreplay/vmimage/initramfs"
)

// Preloaded lists modules that the agent loads before the first case.
type Preloaded struct {
	// Kernel are names of modules that belong to the kernel. Modules that the kernel does not have
	// are left out.
	Kernel []string
	// Files are paths of other modules on this machine, in loading order.
	Files []string
}

// files returns the names of those kernel modules that exist, and the other files that the
// initramfs needs: Files, and the list of what to load. All of them are in the initramfs, so the
// key of a saved guest covers them.
func (f *Preloaded) files(k *vmimage.Kernel) (names []string, files []initramfs.File, err error) {
	var order []string
	for _, name := range f.Kernel {
		modules, err := k.Modules(name)
		if err != nil {
			continue // a case that needs it fails and reports it
		}
		names = append(names, name)
		for _, m := range modules {
			order = append(order, path.Join("/lib/modules", k.Release, m.Path))
		}
	}
	for _, file := range f.Files {
		at := path.Join(path.Dir(wire.Preloaded), "first.d", filepath.Base(file))
		files = append(files, initramfs.File{Path: at, Mode: 0o644, Host: file})
		order = append(order, at)
	}
	if len(order) == 0 {
		return nil, nil, nil
	}
	list := initramfs.File{Path: wire.Preloaded, Mode: 0o644, Data: []byte(strings.Join(order, "\n") + "\n")}
	return names, append(files, list), nil
}
