package guestexec

import (
	"debug/elf"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/vmimage/initramfs"
)

// guestLibraries is the directory in a guest that holds the shared libraries of this machine's
// programs, in lib.
const guestLibraries = "/bpfreplay"

// libraryPath returns a variable that points the dynamic linker there, unless the environment
// already sets it.
func libraryPath(env []string) []string {
	const name = "LD_LIBRARY_PATH="
	if slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, name) }) {
		return nil
	}
	return []string{name + path.Join(guestLibraries, "lib")}
}

// files returns the files that the guest needs to run the program.
func (c *Command) files(of string) ([]initramfs.File, error) {
	g := guestFiles{arch: of, byPath: make(map[string]initramfs.File)}
	program, err := filepath.Abs(c.Program)
	if err != nil {
		return nil, err
	}
	if err := checkGuestPath(program); err != nil {
		return nil, err
	}
	if err := g.program(program, program); err != nil {
		return nil, err
	}
	for _, p := range c.With {
		if err := g.with(p); err != nil {
			return nil, err
		}
	}
	for _, dir := range append(c.Dirs, c.Dir) {
		if dir == "/" {
			continue
		}
		if err := g.add(initramfs.File{Path: dir, Mode: fs.ModeDir | 0o755}); err != nil {
			return nil, err
		}
	}
	return g.list(), nil
}

// guestFiles collects files of this machine for the same paths in the guest. Programs bring their
// shared libraries. Symbolic links inside a directory stay links; a link that is named itself is
// followed. Sockets, pipes and devices inside a directory are left out.
type guestFiles struct {
	arch   string // of the guest
	byPath map[string]initramfs.File
}

// list returns all files, sorted by path.
func (g *guestFiles) list() []initramfs.File {
	return slices.SortedFunc(maps.Values(g.byPath), func(a, b initramfs.File) int { return strings.Compare(a.Path, b.Path) })
}

// add adds a file. A regular file wins over a symbolic link at the same path: the user may name a
// link, which is followed, and also a directory that contains it.
func (g *guestFiles) add(f initramfs.File) error {
	const link, regular = fs.ModeSymlink, fs.FileMode(0)
	old, ok := g.byPath[f.Path]
	was, is := old.Mode.Type(), f.Mode.Type()
	switch {
	case !ok, was == link && is == regular:
	case was == regular && is == link:
		return nil
	case was != is, old.Host != f.Host:
		return fmt.Errorf("%s: in the guest this would have to be both %s and %s", f.Path, origin(old), origin(f))
	}
	g.byPath[f.Path] = f
	return nil
}

func origin(f initramfs.File) string {
	switch {
	case f.Mode.IsDir():
		return "a directory"
	case f.Host == "":
		return "a link to " + string(f.Data)
	}
	return f.Host
}

// checkGuestPath returns an error if a file cannot be placed in the guest, because the guest's
// kernel or its init is there.
func checkGuestPath(file string) error {
	for _, dir := range []string{"/proc", "/sys", "/dev"} {
		if file == dir || strings.HasPrefix(file, dir+"/") {
			return fmt.Errorf("%s: guests have a %s of their own", file, dir)
		}
	}
	if file == "/init" || file == "/" {
		return fmt.Errorf("%s: this cannot be taken into a guest", file)
	}
	return nil
}

// with adds a file, or a directory with everything in it.
func (g *guestFiles) with(name string) error {
	at, err := filepath.Abs(name)
	if err != nil {
		return err
	}
	if err := checkGuestPath(at); err != nil {
		return err
	}
	real, err := filepath.EvalSymlinks(at)
	if err != nil {
		return err
	}
	return filepath.WalkDir(real, func(host string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		guest := at + strings.TrimPrefix(host, real)
		switch {
		case info.Mode().IsRegular():
			return g.file(guest, host, info.Mode())
		case info.IsDir():
			return g.add(initramfs.File{Path: guest, Mode: info.Mode()})
		case info.Mode().Type() == fs.ModeSymlink:
			target, err := os.Readlink(host)
			if err != nil {
				return err
			}
			return g.add(initramfs.File{Path: guest, Mode: info.Mode(), Data: []byte(target)})
		}
		return nil
	})
}

func (g *guestFiles) file(guest, host string, mode fs.FileMode) error {
	if mode&0o111 != 0 && needsLibraries(g.arch, host) {
		return g.program(guest, host)
	}
	return g.add(initramfs.File{Path: guest, Mode: mode.Perm(), Host: host})
}

// needsLibraries reports whether a file is a dynamically linked program for an architecture.
func needsLibraries(of, file string) bool {
	e, err := elf.Open(file)
	if err != nil {
		return false
	}
	defer e.Close()
	a, ok := arch.Find(of)
	return ok && e.Machine == a.Machine && e.Class == elf.ELFCLASS64 &&
		slices.ContainsFunc(e.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
}

// program adds a program and its libraries.
//
// The program goes to its real path, and the link by which it was called is added, too. The dynamic
// linker ($ORIGIN) and the program itself look for other files beside the real file, not beside the
// link.
func (g *guestFiles) program(guest, host string) error {
	real, err := filepath.EvalSymlinks(host)
	if err != nil {
		return err
	}
	if real != guest && checkGuestPath(real) == nil {
		if err := g.add(initramfs.File{Path: guest, Mode: fs.ModeSymlink | 0o777, Data: []byte(real)}); err != nil {
			return err
		}
		guest, host = real, real
	}
	files, err := initramfs.Programs(g.arch, guestLibraries, host)
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.Path == path.Join(guestLibraries, "bin", filepath.Base(host)) {
			f.Path = guest
		}
		if err := g.add(f); err != nil {
			return err
		}
	}
	return nil
}

// memoryFor returns the memory in MiB that files take in a guest. The kernel unpacks the initramfs
// into a file system that may fill half of the memory.
func memoryFor(files []initramfs.File) int {
	const unpacked, packed = 2, 1
	return int(sizeOf(files)>>20) * (unpacked + packed)
}

// sizeOf returns the total size of files, in bytes.
func sizeOf(files []initramfs.File) (size int64) {
	for _, f := range files {
		if info, err := os.Stat(f.Host); err == nil {
			size += info.Size()
		}
	}
	return size
}
