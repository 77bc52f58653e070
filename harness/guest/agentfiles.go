package guest

import (
	"debug/elf"
	"path"
	"slices"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/vmimage/initramfs"
)

// libraryDirs are directories that dynamic linkers search by default: /lib on Debian, /lib64 on
// most other distributions.
var libraryDirs = []string{"/lib", "/lib64"}

// agentFiles returns the agent as /init and, if it is linked dynamically, its shared libraries and
// dynamic linker. Only a build for this machine's architecture can be dynamic: `go install` uses
// cgo if it finds a C compiler.
func agentFiles(agent string) ([]initramfs.File, error) {
	init := initramfs.File{Path: "/init", Mode: 0o755, Host: agent}
	f, err := elf.Open(agent)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if !slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return []initramfs.File{init}, nil
	}
	const dir = "/agent"
	needed, err := initramfs.Programs(arch.Native, dir, agent)
	if err != nil {
		return nil, err
	}
	files := []initramfs.File{init}
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
