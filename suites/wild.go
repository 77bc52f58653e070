package suites

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/built"
	"github.com/bpfreplay/bpfreplay/vmimage"
	"github.com/bpfreplay/bpfreplay/vmimage/cache"
	"github.com/bpfreplay/bpfreplay/vmimage/fetch"
)

// packageStore is the source of packages.
type packageStore interface {
	Packages(ctx context.Context, arch string, suites []string, patterns ...string) ([]vmimage.Package, error)
	ReadPackage(ctx context.Context, p *vmimage.Package, fn func(*tar.Header, io.Reader) error) error
}

type wild struct {
	Options
	archive  packageStore
	packages []wildPackage
	version  string // of the module
	last     *Corpus
	done     int
}

// FetchWild gets objects of released software, from a Go module and from Debian's packages. It
// compiles nothing. It fetches cached parts again only if Update is set, and otherwise needs no
// network for them. A missing package is not an error: its [Part] has the reason.
func FetchWild(ctx context.Context, o Options) (*Corpus, error) {
	o.defaults()
	w := &wild{Options: o, archive: o.Store, packages: wildPackages, version: built.With(wildModule)}
	return w.fetch(ctx)
}

func (w *wild) fetch(ctx context.Context) (*Corpus, error) {
	var err error
	if w.last, err = Read(w.Store, nameWild, ""); err != nil {
		if !errors.Is(err, ErrNotFetched) {
			w.Say("note: " + err.Error())
		}
		w.last = &Corpus{}
	}
	module, err := w.fetchModule(ctx)
	if err != nil {
		return nil, err
	}
	c := &Corpus{Name: nameWild, Parts: []Part{module}}
	w.tick()
	parts, err := w.fetchPackages(ctx)
	if err != nil {
		return nil, err
	}
	c.Parts = append(c.Parts, parts...)
	there := 0
	seen := make(map[[sha256.Size]byte]bool)
	for i := range c.Parts {
		p := &c.Parts[i]
		if p.Dir == "" {
			continue
		}
		there++
		if err := c.addObjects(w.Store, p, seen); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(c.Objects, func(a, b Object) int { return strings.Compare(a.Name, b.Name) })
	c.Source = fmt.Sprintf("%s, %d packages of Debian", module.Source, there-1)
	return c, c.write(w.Store)
}

func (w *wild) tick() {
	w.done++
	w.Tick(w.done, 1+len(w.packages))
}

// before returns a part from an earlier fetch.
func (w *wild) before(name string) (Part, bool) {
	i := slices.IndexFunc(w.last.Parts, func(p Part) bool { return p.Name == name })
	if i < 0 {
		return Part{}, false
	}
	p := w.last.Parts[i]
	if p.Dir != "" {
		if _, err := os.Stat(w.Store.Cache().SuitePath(p.Dir)); err != nil {
			return Part{}, false
		}
	}
	return p, true
}

// partFormat is part of the key of a part's objects.
const partFormat = "part 1"

// fetchModule fetches and checks the module with the go command, in the user's configuration.
func (w *wild) fetchModule(ctx context.Context) (Part, error) {
	if w.version == "" {
		return Part{}, fmt.Errorf("this bpfreplay does not know which version of %s it was built with; build it with `make build`", wildModule)
	}
	part := Part{Name: wildModulePrefix, Source: wildModule + " " + w.version}
	if p, ok := w.before(part.Name); ok && p.Source == part.Source {
		return p, nil
	}
	// Outside of any module, so that no go.mod or vendor directory applies.
	work, err := w.Store.Cache().TempDir()
	if err != nil {
		return Part{}, err
	}
	defer os.RemoveAll(work)
	cmd := command(ctx, "go", "mod", "download", "-json", wildModule+"@"+w.version)
	cmd.Dir, cmd.Env = work, append(cmd.Env, "GOWORK=off")
	var out strings.Builder
	cmd.Stdout = &out
	failed := complain(cmd)
	if ctx.Err() != nil {
		return Part{}, context.Cause(ctx)
	}
	var module struct{ Dir, Sum, Error string }
	if err := json.Unmarshal([]byte(out.String()), &module); err == nil && module.Error != "" {
		failed = errors.New(module.Error)
	}
	if failed != nil {
		return Part{}, fmt.Errorf("%s: go mod download: %w", part.Source, failed)
	}
	if module.Dir == "" || module.Sum == "" {
		return Part{}, fmt.Errorf("%s: go mod download does not say where the module is: %q", part.Source, out.String())
	}
	part.Dir = "parts/" + cache.Key(partFormat, wildModule, module.Sum)
	_, err = w.Store.Cache().MakeDir(ctx, part.Source, part.Dir, func(dir string) error {
		return filepath.WalkDir(module.Dir, func(file string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			data, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(module.Dir, file)
			if err != nil {
				return err
			}
			return writeObjects(dir, rel, data)
		})
	})
	return part, err
}

// fetchPackages returns a part for each package.
func (w *wild) fetchPackages(ctx context.Context) ([]Part, error) {
	parts := make([]Part, len(w.packages))
	wanted := make(map[string][]string) // by suite
	for i, p := range w.packages {
		parts[i].Name = p.suite + "-" + p.name
		if before, ok := w.before(parts[i].Name); ok && !w.Update {
			parts[i] = before
			w.tick()
			continue
		}
		wanted[p.suite] = append(wanted[p.suite], p.name)
	}
	found := make(map[string]map[string]*vmimage.Package)
	gone := make(map[string]error)
	for i, p := range w.packages {
		if !slices.Contains(wanted[p.suite], p.name) {
			continue
		}
		if _, ok := found[p.suite]; !ok {
			byName, err := w.find(ctx, p.suite, wanted[p.suite])
			if errors.Is(err, vmimage.ErrNoPackage) || errors.Is(err, fetch.ErrGone) {
				gone[p.suite] = err
			} else if err != nil {
				return nil, err
			}
			found[p.suite] = byName
		}
		part := &parts[i]
		switch pkg := found[p.suite][p.name]; {
		case gone[p.suite] != nil:
			part.Error = gone[p.suite].Error()
		case pkg == nil:
			part.Error = fmt.Sprintf("no package in %s is called %s", p.suite, p.name)
		default:
			err := w.unpack(ctx, part, pkg, p.dir)
			if errors.Is(err, fetch.ErrGone) {
				part.Dir, part.Error = "", err.Error()
			} else if err != nil {
				return nil, err
			}
		}
		w.tick()
	}
	return parts, nil
}

// find returns the newest version of each package.
func (w *wild) find(ctx context.Context, suite string, names []string) (map[string]*vmimage.Package, error) {
	found, err := w.archive.Packages(ctx, wildArch, []string{suite}, names...)
	byName := make(map[string]*vmimage.Package)
	for i := range found {
		if p := &found[i]; byName[p.Name] == nil {
			byName[p.Name] = p
		}
	}
	return byName, err
}

// maxProgram bounds the size of files that are searched for objects, in bytes.
const maxProgram = 128 << 20

func (w *wild) unpack(ctx context.Context, part *Part, pkg *vmimage.Package, below string) error {
	part.Source = pkg.Name + " " + pkg.Version
	part.Dir = "parts/" + cache.Key(partFormat, pkg.SHA256, below)
	_, err := w.Store.Cache().MakeDir(ctx, part.Source, part.Dir, func(dir string) error {
		return w.archive.ReadPackage(ctx, pkg, func(h *tar.Header, r io.Reader) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			rel, ok := strings.CutPrefix(path.Clean("/"+h.Name), "/"+below+"/")
			if !ok || h.Typeflag != tar.TypeReg || h.Size > maxProgram {
				return nil
			}
			data, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			return writeObjects(dir, filepath.FromSlash(rel), data)
		})
	})
	return err
}

// suffixes are file suffixes that are removed from the names of objects.
var suffixes = []string{".bpf.o", ".o", ".elf", ".bpf"}

// writeObjects writes the objects in a file below dir: to the same path if the file is an object,
// and to paths derived from a program's if they are inside it.
func writeObjects(dir, rel string, data []byte) error {
	objects := embedded(data)
	whole := objectSize(data) != 0
	if whole {
		objects = [][]byte{data}
	}
	for n, object := range objects {
		file := filepath.Join(dir, rel)
		switch {
		case n > 0:
			file += fmt.Sprintf("-%d.bpf.o", n+1)
		case !whole:
			file += ".bpf.o"
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, object, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// notInNames matches characters that are unsafe in lists and in names of directories.
var notInNames = regexp.MustCompile(`[^A-Za-z0-9._-]`)

// objectName returns a name for an object that is unique in its part, up to the suffix.
func objectName(part, rel string) string {
	for _, s := range suffixes {
		if short, ok := strings.CutSuffix(rel, s); ok {
			rel = short
			break
		}
	}
	return part + "-" + notInNames.ReplaceAllString(strings.ReplaceAll(filepath.ToSlash(rel), "/", "-"), "_")
}

// addObjects adds the objects of a part, without those that the corpus has already under another
// name.
func (c *Corpus) addObjects(store *vmimage.Store, p *Part, seen map[[sha256.Size]byte]bool) error {
	dir := store.Cache().SuitePath(p.Dir)
	p.Error = "holds no BPF object"
	return filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		p.Error = ""
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(data)
		if seen[sum] {
			return nil
		}
		seen[sum] = true
		rel, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		name := objectName(p.Name, rel)
		for n := 2; slices.ContainsFunc(c.Objects, func(o Object) bool { return o.Name == name }); n++ {
			name = fmt.Sprintf("%s-%d", objectName(p.Name, rel), n)
		}
		c.Objects = append(c.Objects, Object{Name: name, File: path.Join(p.Dir, filepath.ToSlash(rel))})
		return nil
	})
}
