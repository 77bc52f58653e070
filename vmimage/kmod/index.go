package kmod

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// Module is a loadable module of a kernel.
type Module struct {
	// Name has underscores, as in /proc/modules.
	Name string
	// Path is the module's path in the guest, below /lib/modules/RELEASE. The file is not
	// compressed there.
	Path string
	// Needs are the names of all modules that must be loaded before it, in the order of loading.
	Needs []string

	File string // on this machine, perhaps compressed
}

// ReadIndex reads an index that [WriteIndex] wrote.
func ReadIndex(file string) (*Index, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	ix := new(Index)
	if err := json.Unmarshal(data, ix); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return ix, nil
}

// WriteIndex writes the index of the modules in dir.
func WriteIndex(dir, dst string) error {
	ix, err := MakeIndex(dir, false)
	if err != nil {
		return err
	}
	data, err := json.Marshal(ix)
	if err != nil {
		return err
	}
	return os.WriteFile(dst, data, 0o644)
}

// Index lists the modules of a kernel, in the order of their paths.
type Index struct {
	Modules []Info `json:"modules"`
	// Builtin are the names and aliases of built-in modules.
	Builtin []string `json:"builtin"`
}

// MakeIndex reads all modules of a kernel. It cannot use depmod's files, which Debian makes on the
// machine that installs the package.
func MakeIndex(dir string, tree bool) (*Index, error) {
	paths, err := modulePaths(dir, tree)
	if err != nil {
		return nil, err
	}
	ix := &Index{Modules: make([]Info, len(paths))}
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, p := range paths {
		group.Go(func() error {
			info, err := readModuleFile(dir, p)
			if err != nil {
				return err
			}
			ix.Modules[i] = *info
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	ix.Builtin, err = readBuiltin(dir)
	return ix, err
}

func readModuleFile(dir, p string) (*Info, error) {
	data, err := Read(filepath.Join(dir, filepath.FromSlash(p)))
	if err != nil {
		return nil, err
	}
	info, err := readInfo(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p, err)
	}
	// depmod takes the name of the file.
	info.Name, info.Path = Name(p), p
	return info, nil
}

func modulePaths(dir string, tree bool) ([]string, error) {
	if tree {
		return OfTree(dir)
	}
	var paths []string
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		if d.Type().IsRegular() && IsFile(filepath.ToSlash(rel)) {
			paths = append(paths, filepath.ToSlash(rel))
		}
		return nil
	})
	slices.Sort(paths)
	return paths, err
}

// readBuiltin returns the sorted names and aliases of built-in modules.
func readBuiltin(dir string) ([]string, error) {
	names, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	// "name.key=value", each with a zero byte at its end.
	info, err := os.ReadFile(filepath.Join(dir, "modules.builtin.modinfo"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var out []string
	for line := range strings.FieldsSeq(string(names)) {
		out = append(out, Name(line))
	}
	for field := range strings.SplitSeq(string(info), "\x00") {
		key, value, _ := strings.Cut(field, "=")
		if strings.HasSuffix(key, ".alias") && isNameAlias(value) {
			out = append(out, Name(value))
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// find returns the module with this name, or else one with this alias.
func (ix *Index) find(name string) (*Info, bool) {
	i := slices.IndexFunc(ix.Modules, func(m Info) bool { return m.Name == name })
	if i >= 0 {
		return &ix.Modules[i], true
	}
	var best *Info
	for i := range ix.Modules {
		m := &ix.Modules[i]
		if !slices.Contains(m.Aliases, name) {
			continue
		}
		// If several modules implement an algorithm, take the generic one: others fail to load on
		// some processors.
		if best == nil || strings.HasSuffix(m.Name, "_generic") && !strings.HasSuffix(best.Name, "_generic") {
			best = m
		}
	}
	return best, best != nil
}

// Closure collects modules in the order of loading.
type Closure struct {
	index   *Index
	dir     string
	Modules []Module
	done    map[string][]string // name to what it needs, itself included
}

// Closure is an empty one, of the modules that lie in dir.
func (ix *Index) Closure(dir string) *Closure {
	return &Closure{index: ix, dir: dir, done: make(map[string][]string)}
}

// Add adds a module, and what it needs before it. It reports whether the kernel has the module; one
// that is built in needs no adding.
func (c *Closure) Add(name string) (ok bool, err error) {
	needs, err := c.need(Name(name), nil)
	return needs != nil, err
}

// need adds a module and what it needs. It returns all their names in order, an empty list if the
// module is built in, and nil if the kernel lacks it.
func (c *Closure) need(name string, above []string) ([]string, error) {
	if _, builtin := slices.BinarySearch(c.index.Builtin, name); builtin {
		return []string{}, nil
	}
	info, ok := c.index.find(name)
	if !ok {
		return nil, nil
	}
	if order, ok := c.done[info.Name]; ok {
		return order, nil
	}
	if slices.Contains(above, info.Name) {
		return nil, fmt.Errorf("needs itself: %s", strings.Join(append(above, info.Name), " -> "))
	}
	above = append(slices.Clone(above), info.Name)
	order := []string{}
	for _, dep := range info.Depends {
		needs, err := c.need(dep, above)
		if err != nil {
			return nil, err
		}
		if needs == nil {
			return nil, fmt.Errorf("%s needs %s, which the kernel does not have", info.Name, dep)
		}
		order = merge(order, needs)
	}
	for _, dep := range info.Soft {
		if soft, ok := c.index.find(dep); ok && slices.Contains(above, soft.Name) {
			continue // these may be circular
		}
		needs, err := c.need(dep, above)
		if err != nil {
			return nil, err
		}
		order = merge(order, needs)
	}
	c.Modules = append(c.Modules, Module{
		Name:  info.Name,
		Path:  guestModulePath(info.Path),
		Needs: order,
		File:  filepath.Join(c.dir, filepath.FromSlash(info.Path)),
	})
	order = append(slices.Clone(order), info.Name)
	c.done[info.Name] = order
	return order, nil
}

func merge(order, more []string) []string {
	for _, name := range more {
		if !slices.Contains(order, name) {
			order = append(order, name)
		}
	}
	return order
}

// guestModulePath returns a module's path in the guest, below /lib/modules/RELEASE: below kernel/
// and not compressed.
func guestModulePath(p string) string {
	for _, suffix := range []string{".xz", ".zst", ".gz"} {
		p = strings.TrimSuffix(p, suffix)
	}
	if IsFile(p) {
		return p
	}
	return path.Join("kernel", p)
}

// Dep returns modules.dep in depmod's form: nearest dependencies first, the reverse of the
// order of loading.
func Dep(modules []Module) []byte {
	paths := make(map[string]string)
	for _, m := range modules {
		paths[m.Name] = m.Path
	}
	sorted := slices.SortedFunc(slices.Values(modules), func(a, b Module) int { return cmp.Compare(a.Path, b.Path) })
	var out []byte
	for _, m := range sorted {
		out = append(out, m.Path+":"...)
		for _, need := range slices.Backward(m.Needs) {
			out = append(out, " "+paths[need]...)
		}
		out = append(out, '\n')
	}
	return out
}

// Load lists the paths in the order of loading.
func Load(modules []Module) []byte {
	var out []byte
	for _, m := range modules {
		out = append(out, m.Path+"\n"...)
	}
	return out
}
