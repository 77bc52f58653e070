package initramfs

import (
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/arch"
)

// ErrProgram means that a file cannot run in a guest.
var ErrProgram = errors.New("not a program for a guest")

// Programs returns programs on this machine, and the shared libraries that they need, as files for
// a guest of architecture of: the programs in dir/bin, the libraries in dir/lib, and each dynamic
// linker at the path that its programs name. They run in the guest with LD_LIBRARY_PATH=dir/lib. A
// program must be an ELF file for the guest's processor. Scripts are refused, because the programs
// that they run are not known.
//
// It finds libraries like the dynamic linker (ld.so(8)), without the variants in glibc-hwcaps,
// because the guest's processor may lack features of this machine's. It does not find libraries
// that a program loads with dlopen.
//
// Libraries for another architecture are taken from the directories of Debian's packages for it,
// and of its cross compilers.
func Programs(of, dir string, paths ...string) ([]File, error) {
	return ProgramsIn("", of, dir, paths...)
}

// ProgramsIn is [Programs] for paths below another root.
func ProgramsIn(root, of, dir string, paths ...string) ([]File, error) {
	a, err := arch.Parse(of)
	if err != nil {
		return nil, err
	}
	c := &programFiles{root: root, arch: a, dir: dir, files: make(map[string]File), dirs: libraryDirs(root, a)}
	for _, p := range paths {
		if err := c.program(p); err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
	}
	return slices.SortedFunc(maps.Values(c.files), byPath), nil
}

type programFiles struct {
	root  string // "" for this machine's
	arch  *arch.Arch
	dir   string
	files map[string]File // by path in the guest
	// linkers are the file names of dynamic linkers. Libraries name them as needed, too, and get
	// the one that is running.
	linkers []string
	dirs    []string // directories with libraries, on this machine
}

func (c *programFiles) program(file string) error {
	e, err := c.open(c.root + file)
	if err != nil {
		return err
	}
	defer e.Close()
	if e.Type != elf.ET_EXEC && e.Type != elf.ET_DYN {
		return fmt.Errorf("%w: its ELF type is %s", ErrProgram, e.Type)
	}
	at := path.Join(c.dir, "bin", filepath.Base(file))
	if f, ok := c.files[at]; ok {
		return fmt.Errorf("%w: it has the name of %s", ErrProgram, f.Host)
	}
	if err := c.add(at, c.root+file); err != nil {
		return err
	}
	if linker := interpreter(e); linker != "" {
		if err := c.linker(linker); err != nil {
			return fmt.Errorf("dynamic linker: %w", err)
		}
		c.linkers = append(c.linkers, path.Base(linker))
	}
	return c.libraries(e, c.root+file, nil)
}

// linker adds a dynamic linker, which may be among the libraries.
func (c *programFiles) linker(name string) error {
	err := c.add(name, c.root+name)
	for _, d := range c.dirs {
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
		err = c.add(name, filepath.Join(d, path.Base(name)))
	}
	return err
}

// add puts a file of this machine into the guest. Links are followed.
func (c *programFiles) add(guest, host string) error {
	real, err := filepath.EvalSymlinks(host)
	if err != nil {
		return err
	}
	c.files[guest] = File{Path: guest, Mode: 0o755, Host: real}
	return nil
}

// libraries adds the libraries that an ELF file needs, recursively. inherited are the RPATHs of the
// files that need this one.
func (c *programFiles) libraries(e *elf.File, file string, inherited []string) error {
	needed, err := e.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProgram, err)
	}
	rpath, runpath := searchPath(e, elf.DT_RPATH, file), searchPath(e, elf.DT_RUNPATH, file)
	if len(runpath) > 0 {
		rpath = nil
	}
	inherited = append(slices.Clone(rpath), inherited...)
	for _, name := range needed {
		at := path.Join(c.dir, "lib", filepath.Base(name))
		if _, ok := c.files[at]; ok || slices.Contains(c.linkers, name) {
			continue
		}
		host, lib, err := c.find(e, name, slices.Concat(inherited, split(os.Getenv("LD_LIBRARY_PATH")), runpath, c.dirs))
		if err != nil {
			return err
		}
		err = c.add(at, host)
		if err == nil {
			err = c.libraries(lib, host, inherited)
		}
		lib.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", host, err)
		}
	}
	return nil
}

// find opens the first library with this name for the same architecture.
func (c *programFiles) find(user *elf.File, name string, dirs []string) (string, *elf.File, error) {
	candidates := []string{name}
	if !strings.Contains(name, "/") {
		candidates = nil
		for _, d := range dirs {
			candidates = append(candidates, filepath.Join(d, name))
		}
	}
	for _, file := range candidates {
		e, err := elf.Open(file)
		if err != nil {
			continue
		}
		if e.Machine == user.Machine && e.Class == user.Class && e.Type == elf.ET_DYN {
			return file, e, nil
		}
		e.Close()
	}
	return "", nil, fmt.Errorf("%w: no library %s in %s", ErrProgram, name, strings.Join(dirs, ", "))
}

func (c *programFiles) open(file string) (*elf.File, error) {
	e, err := elf.Open(file)
	var format *elf.FormatError
	switch {
	case errors.As(err, &format):
		return nil, fmt.Errorf("%w: it must be an ELF file (a script is none): %w", ErrProgram, err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrProgram, err)
	}
	if e.Machine == c.arch.Machine && e.Class == elf.ELFCLASS64 {
		return e, nil
	}
	e.Close()
	if is, ok := arch.OfMachine(e.Machine); ok && e.Class == elf.ELFCLASS64 {
		return nil, fmt.Errorf("%w: it is for %s, the guest is %s: build it for that, or take a guest by --arch %s", ErrProgram, is.Name, c.arch.Name, is.Name)
	}
	return nil, fmt.Errorf("%w: it is for %s (%s), the guest is %s", ErrProgram, e.Machine, e.Class, c.arch.Name)
}

// interpreter returns the path of an ELF file's dynamic linker, "" if it has none.
func interpreter(e *elf.File) string {
	for _, p := range e.Progs {
		if p.Type != elf.PT_INTERP || p.Filesz > 4096 {
			continue
		}
		b := make([]byte, p.Filesz)
		if _, err := p.ReadAt(b, 0); err != nil {
			return ""
		}
		return strings.TrimRight(string(b), "\x00")
	}
	return ""
}

// searchPath returns a list of directories in an ELF file's dynamic section.
func searchPath(e *elf.File, tag elf.DynTag, file string) []string {
	lists, err := e.DynString(tag)
	if err != nil {
		return nil
	}
	origin, err := filepath.EvalSymlinks(file)
	if err != nil {
		origin = file
	}
	origin = filepath.Dir(origin)
	lib := "lib"
	if e.Class == elf.ELFCLASS64 {
		lib = "lib64"
	}
	expand := strings.NewReplacer("$ORIGIN", origin, "${ORIGIN}", origin, "$LIB", lib, "${LIB}", lib)
	var dirs []string
	for _, list := range lists {
		dirs = append(dirs, split(expand.Replace(list))...)
	}
	return dirs
}

func split(list string) []string {
	return slices.DeleteFunc(strings.Split(list, ":"), func(d string) bool { return d == "" })
}

// libraryDirs returns the directories with libraries for all programs: those of /etc/ld.so.conf,
// and the dynamic linkers' own.
func libraryDirs(root string, of *arch.Arch) []string {
	var dirs []string
	if root == "" && of.Name == arch.Native {
		dirs = ldConf("/etc/ld.so.conf", 0)
	} else {
		dirs = []string{root + "/lib/" + of.Triplet, root + "/usr/lib/" + of.Triplet, root + "/usr/" + of.Triplet + "/lib"}
	}
	for _, d := range []string{"/lib64", "/usr/lib64", "/lib", "/usr/lib"} {
		if !slices.Contains(dirs, root+d) {
			dirs = append(dirs, root+d)
		}
	}
	return dirs
}

// ldConf reads a file like /etc/ld.so.conf (ldconfig(8)) with what it includes.
func ldConf(file string, depth int) []string {
	const deepest = 8
	f, err := os.Open(file)
	if err != nil || depth > deepest {
		return nil
	}
	defer f.Close()
	var dirs []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
		case fields[0] == "include":
			for _, pattern := range fields[1:] {
				if !filepath.IsAbs(pattern) {
					pattern = filepath.Join(filepath.Dir(file), pattern)
				}
				matches, _ := filepath.Glob(pattern)
				for _, m := range matches {
					dirs = append(dirs, ldConf(m, depth+1)...)
				}
			}
		default:
			for _, d := range fields {
				dirs = append(dirs, strings.TrimRight(d, ":,"))
			}
		}
	}
	return dirs
}
