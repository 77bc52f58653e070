package guest

import (
	"debug/elf"
	"path"
	"slices"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// libraryDirs are where dynamic linkers look for libraries without being told to: Debian's in the first, those of
// most others in the second.
var libraryDirs = []string{"/lib", "/lib64"}

// agentFiles are the program that is the guest's init and, if it is linked dynamically, its libraries. That is so if
// it was built with cgo, as `go install` does where there is a C compiler, for this machine's processor.
func agentFiles(agent string) ([]vmimage.File, error) {
	init := vmimage.File{Path: "/init", Mode: 0o755, Host: agent}
	f, err := elf.Open(agent)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if !slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return []vmimage.File{init}, nil
	}
	const dir = "/agent"
	needed, err := vmimage.Programs(arch.Native, dir, agent)
	if err != nil {
		return nil, err
	}
	files := []vmimage.File{init}
	for _, n := range needed {
		switch path.Dir(n.Path) {
		case path.Join(dir, "bin"):
		case path.Join(dir, "lib"):
			for _, at := range libraryDirs {
				lib := n
				lib.Path = path.Join(at, path.Base(n.Path))
				files = append(files, lib)
			}
		default: // the dynamic linker
			files = append(files, n)
		}
	}
	return files, nil
}
