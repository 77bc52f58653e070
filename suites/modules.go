package suites

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/vmimage"
	"github.com/bpfreplay/bpfreplay/vmimage/cache"
	"github.com/bpfreplay/bpfreplay/vmimage/fetch"
)

// TestModules are the modules of the Linux selftests (bpf_testmod and others), built for one
// kernel.
type TestModules struct {
	// Release is the kernel's release (`uname -r`), Kernel the SHA-256 of its image.
	Release string `json:"release"`
	Kernel  string `json:"kernel"`
	// Source describes in words where the modules' sources come from.
	Source string `json:"source,omitempty"`
	// Files are the paths of the modules, below the cache's directory of suites, in the order of
	// loading.
	Files []string `json:"files,omitempty"`
	// Errors has, by module, the reason why it did not build.
	Errors map[string]string `json:"errors,omitempty"`
	// Reason is the reason why no module was built; "" if one was.
	Reason string `json:"reason,omitempty"`
}

// About names the modules that were built, and their source.
func (m *TestModules) About() string {
	var names []string
	for _, file := range m.Files {
		names = append(names, strings.TrimSuffix(filepath.Base(file), ".ko"))
	}
	return strings.Join(names, ", ") + " of " + m.Source
}

// moduleFormat is part of the key of built modules.
const moduleFormat = "module 1"

// modulesList is the file with the results of all builds.
const modulesList = "modules.json"

type moduleList struct {
	Uses    []string      `json:"uses"` // see vmimage.Store.Prune
	Kernels []TestModules `json:"kernels"`
}

// ModuleOptions configures [BuildModules].
type ModuleOptions struct {
	Store  *vmimage.Store
	Kernel *vmimage.Kernel
	// Again repeats builds whose result is known.
	Again bool
	Say   func(line string) // may be nil
}

// BuildModules returns the test modules for a kernel. It builds them unless an earlier build is
// known, and remembers failures: that the archive no longer has the kernel's headers (Reason), or
// that a module does not compile (Errors). Such failures are not errors of BuildModules. A known
// result needs no network.
func BuildModules(ctx context.Context, o ModuleOptions) (*TestModules, error) {
	if o.Say == nil {
		o.Say = func(string) {}
	}
	if !o.Again {
		if m, err := KnownModules(o.Store, o.Kernel); m != nil || err != nil {
			return m, err
		}
	}
	m := &TestModules{Release: o.Kernel.Release, Kernel: o.Kernel.SHA256}
	err := o.build(ctx, m)
	if no := (*noModulesError)(nil); errors.As(err, &no) {
		m.Reason = no.why
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("test modules for kernel %s: %w", o.Kernel.Release, err)
	}
	return m, m.remember(o.Store)
}

// noModulesError is a permanent reason why there are no modules for a kernel.
type noModulesError struct{ why string }

func (e *noModulesError) Error() string { return e.why }

// KnownModules returns the test modules of a kernel from an earlier build, nil if there was none.
func KnownModules(store *vmimage.Store, k *vmimage.Kernel) (*TestModules, error) {
	list, err := readModules(store)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list.Kernels, func(m TestModules) bool { return m.Kernel == k.SHA256 && m.Release == k.Release })
	if i < 0 {
		return nil, nil
	}
	m := &list.Kernels[i]
	for _, file := range m.Files {
		if _, err := os.Stat(store.Cache().SuitePath(file)); err != nil {
			return nil, nil
		}
	}
	return m, nil
}

func readModules(store *vmimage.Store) (*moduleList, error) {
	file := store.Cache().SuitePath(modulesList)
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return new(moduleList), nil
	}
	if err != nil {
		return nil, err
	}
	list := new(moduleList)
	if err := json.Unmarshal(data, list); err != nil {
		return nil, fmt.Errorf("%s: %w; remove it", file, err)
	}
	return list, nil
}

// remember stores the result for a kernel. It drops the results of kernels that no lock names any
// more, so that `kernels prune` removes their modules.
func (m *TestModules) remember(store *vmimage.Store) error {
	old, err := readModules(store)
	if err != nil {
		return err
	}
	known, err := store.List()
	if err != nil {
		return err
	}
	list := moduleList{Kernels: []TestModules{*m}, Uses: []string{}}
	for _, o := range old.Kernels {
		locked := slices.ContainsFunc(known, func(l vmimage.Listing) bool { return l.Release == o.Release })
		if o.Kernel != m.Kernel && locked {
			list.Kernels = append(list.Kernels, o)
		}
	}
	for _, o := range list.Kernels {
		for _, file := range o.Files {
			list.Uses = append(list.Uses, path.Dir(file))
		}
	}
	slices.Sort(list.Uses)
	data, err := json.MarshalIndent(list, "", " ")
	if err != nil {
		return err
	}
	return store.Cache().MakeFile(modulesList, append(data, '\n'))
}

// build builds the modules, with the kernel's tree if it has one, or else with the packages of its
// distribution.
func (o *ModuleOptions) build(ctx context.Context, m *TestModules) error {
	k := o.Kernel
	if tree := k.Tree(); tree != "" {
		return o.buildInTree(ctx, m, tree)
	}
	d, err := o.Store.Distribution(k)
	if errors.Is(err, vmimage.ErrNoDistribution) {
		return &noModulesError{"it is not from Debian's archive, which has the headers that they are built with"}
	}
	if err != nil {
		return err
	}
	packages, err := rootPackages(ctx, d, k)
	if errors.Is(err, fetch.ErrGone) {
		return &noModulesError{err.Error()}
	}
	if err != nil {
		return err
	}
	source, err := o.source(ctx, d, packages, m)
	if err != nil {
		return err
	}
	root, err := makeRoot(ctx, o.Store, k, packages, o.Say)
	if errors.Is(err, fetch.ErrGone) {
		return &noModulesError{err.Error()}
	}
	if err != nil {
		return err
	}
	return o.buildAll(ctx, m, source, newJailed(root, k))
}

// moduleDirs are the directories of the selftests' modules: one since 6.14, one for each module
// before.
var moduleDirs = []string{"test_kmods", "bpf_testmod", "bpf_test_no_cfi", "bpf_test_modorder_x", "bpf_test_modorder_y"}

// source returns a directory with the sources of the modules in the package that
// the kernel was built from, or else those of the suite.
func (o *ModuleOptions) source(ctx context.Context, d *vmimage.Distribution, packages []vmimage.Package, m *TestModules) (string, error) {
	i := slices.IndexFunc(packages, func(p vmimage.Package) bool { return p.Name == headersOf(o.Kernel) })
	parts := strings.SplitN(o.Kernel.Release, ".", 3)
	if i >= 0 && len(parts) == 3 {
		found, err := d.Find(ctx, prefixSource+parts[0]+"."+parts[1])
		if err != nil {
			return "", err
		}
		for j := range found {
			if found[j].Version != packages[i].Version {
				continue
			}
			dir, err := unpackModules(ctx, o.Store, &found[j], o.Say)
			if errors.Is(err, fetch.ErrGone) {
				break
			}
			m.Source = found[j].Name + " " + found[j].Version
			return dir, err
		}
	}
	return o.suiteSource(m)
}

func (o *ModuleOptions) suiteSource(m *TestModules) (string, error) {
	c, err := Read(o.Store, nameKernel, o.Kernel.Arch)
	if err != nil {
		return "", err
	}
	m.Source = c.Source
	return filepath.Join(c.SourceDir(o.Store), filepath.FromSlash(selftests)), nil
}

// buildInTree builds the modules with a kernel tree or build directory, and with this machine's
// tools. Their sources are the tree's, or else the suite's.
func (o *ModuleOptions) buildInTree(ctx context.Context, m *TestModules, tree string) error {
	with := &inTree{tree: tree, temp: o.Store.Cache().TempDir}
	for _, top := range []string{tree, filepath.Join(tree, "source")} {
		dir := filepath.Join(top, filepath.FromSlash(selftests))
		files, err := moduleSources(dir)
		if err != nil {
			return err
		}
		if len(files) > 0 {
			m.Source = top
			return o.buildAll(ctx, m, dir, with)
		}
	}
	dir, err := o.suiteSource(m)
	if err != nil {
		return err
	}
	return o.buildAll(ctx, m, dir, with)
}

// unpackModules returns a directory with the sources of modules from a package.
func unpackModules(ctx context.Context, store *vmimage.Store, p *vmimage.Package, say func(string)) (string, error) {
	return store.Cache().MakeDir(ctx, p.Name, "modulesource/"+cache.Key("modulesource 1", p.SHA256), func(dir string) error {
		return readSource(ctx, store, p, say, func(h *tar.Header, r io.Reader) error {
			_, name, _ := strings.Cut(path.Clean(h.Name), selftests+"/")
			first, file, _ := strings.Cut(name, "/")
			if h.Typeflag != tar.TypeReg || !slices.Contains(moduleDirs, first) || !fs.ValidPath(file) || strings.Contains(file, "/") {
				return nil
			}
			if err := os.MkdirAll(filepath.Join(dir, first), 0o755); err != nil {
				return err
			}
			data, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, first, file), data, 0o644)
		})
	})
}

// moduleSources returns the modules whose sources are in a directory with selftests, in the order
// of loading. It leaves out stress tests of locks, which no object needs.
func moduleSources(dir string) ([]string, error) {
	var out []string
	for _, sub := range moduleDirs {
		files, err := sourceFiles(filepath.Join(dir, sub))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			name := filepath.Base(file)
			if strings.HasPrefix(name, "bpf_test") && strings.HasSuffix(name, ".c") && name != "bpf_test_rqspinlock.c" {
				out = append(out, file)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b string) int {
		switch first := "bpf_testmod"; {
		case moduleOf(a) == first:
			return -1
		case moduleOf(b) == first:
			return 1
		}
		return strings.Compare(moduleOf(a), moduleOf(b))
	})
	return out, nil
}

func moduleOf(file string) string { return strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)) }

// kbuild builds modules.
type kbuild interface {
	// workDir returns a new empty directory, which the caller removes.
	workDir() (string, error)
	// make builds the module name from the sources in a directory of workDir.
	make(ctx context.Context, dir, name string) error
	// id identifies what a module depends on besides its sources.
	id() string
}

// buildAll builds the modules of a source that are not built yet.
func (o *ModuleOptions) buildAll(ctx context.Context, m *TestModules, source string, with kbuild) error {
	files, err := moduleSources(source)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return &noModulesError{m.Source + " has no modules"}
	}
	m.Errors = make(map[string]string)
	for _, file := range files {
		name := moduleOf(file)
		digest, err := digestOf(filepath.Dir(file), []string{"."}, isAny)
		if err != nil {
			return err
		}
		key := "modules/" + cache.Key(moduleFormat, with.id(), o.Kernel.SHA256, name, digest)
		if err := o.buildOne(ctx, m, key, file, with); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if len(m.Files) == 0 {
		return &noModulesError{"none builds: " + m.Errors[moduleOf(files[0])]}
	}
	return nil
}

func (o *ModuleOptions) buildOne(ctx context.Context, m *TestModules, key, file string, with kbuild) error {
	name := moduleOf(file)
	module := key + "/" + name + ".ko"
	if there, reason := knownBuilt(o.Store, key, module); there != "" || reason != "" && !o.Again {
		m.add(name, there, reason)
		return nil
	}
	o.Say(fmt.Sprintf("building module %s of %s for kernel %s", name, m.Source, m.Release))
	return inWorkDir(ctx, with, filepath.Dir(file), name, func(ko string, failed error) error {
		there, reason, err := keepBuilt(ctx, o.Store, key, module, ko, failed)
		m.add(name, there, reason)
		return err
	})
}

// inWorkDir builds a module from a copy of the sources in a directory. It calls then with the path
// of the module and the error of the build, and removes the copy.
func inWorkDir(ctx context.Context, with kbuild, sources, name string, then func(ko string, failed error) error) error {
	dir, err := with.workDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := copySources(dir, sources); err != nil {
		return err
	}
	rules := fmt.Sprintf("obj-m := %s.o\nCFLAGS_%s.o := -I$(src)\n", name, name)
	if err := os.WriteFile(filepath.Join(dir, "Kbuild"), []byte(rules), 0o644); err != nil {
		return err
	}
	return then(filepath.Join(dir, name+".ko"), with.make(ctx, dir, name))
}

// add adds a module, or the reason why it did not build.
func (m *TestModules) add(name, file, reason string) {
	if file != "" {
		m.Files = append(m.Files, file)
	} else if reason != "" {
		m.Errors[name] = reason
	}
}

// sourceFiles returns the C sources and headers in a directory, without generated ones.
func sourceFiles(dir string) ([]string, error) {
	var out []string
	for _, pattern := range []string{"*.c", "*.h"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return nil, err
		}
		out = append(out, slices.DeleteFunc(files, func(file string) bool { return strings.HasSuffix(file, ".mod.c") })...)
	}
	return out, nil
}

// copySources copies the sources of modules, without build results.
func copySources(dst, src string) error {
	files, err := sourceFiles(src)
	if err != nil {
		return err
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(dst, filepath.Base(file)), data, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// jailed is kbuild in a root of unpacked packages.
type jailed struct {
	root, headers string
	// cross is what the names of the compiler and its tools begin with, and flags are for make.
	// Both are empty for a kernel of this machine's architecture.
	cross string
	flags []string
}

func newJailed(root string, k *vmimage.Kernel) *jailed {
	j := &jailed{root: root, headers: "/" + headersDir(k)}
	if of, ok := arch.Find(k.Arch); ok && of.Name != arch.Native {
		j.cross = of.Triplet + "-"
		j.flags = []string{"ARCH=" + of.Dir, "CROSS_COMPILE=" + j.cross}
	}
	return j
}

func (j *jailed) id() string { return filepath.Base(j.root) }

func (j *jailed) workDir() (string, error) {
	return os.MkdirTemp(filepath.Join(j.root, "build"), "work-")
}

func (j *jailed) make(ctx context.Context, dir, name string) error {
	in := "/build/" + filepath.Base(dir)
	args := append([]string{"make", "-s", "-C", j.headers, "M=" + in, "modules"}, j.flags...)
	if err := complain(jail(ctx, j.root, args...)); err != nil {
		return err
	}
	// Debug information is much larger than the code.
	return complain(jail(ctx, j.root, j.cross+"strip", "--strip-debug", in+"/"+name+".ko"))
}

// inTree is kbuild in a kernel tree.
type inTree struct {
	tree string
	temp func() (string, error)
}

// id returns a constant: the digest of the tree's kernel tells builds apart.
func (*inTree) id() string { return "tree" }

func (t *inTree) workDir() (string, error) { return t.temp() }

func (t *inTree) make(ctx context.Context, dir, name string) error {
	if err := run(ctx, "make", "-s", "-C", t.tree, "M="+dir, "modules"); err != nil {
		return err
	}
	return run(ctx, "strip", "--strip-debug", filepath.Join(dir, name+".ko"))
}

// BuildModule builds the caller's module name, whose sources are in dir, for a kernel, as test
// modules are built, and writes it to file. It needs the packages that [BuildModules] has fetched
// for this kernel; without them the error is [ErrNotFetched].
func BuildModule(ctx context.Context, store *vmimage.Store, k *vmimage.Kernel, dir, name, file string) error {
	var with kbuild = &inTree{tree: k.Tree(), temp: store.Cache().TempDir}
	if k.Tree() == "" {
		roots, err := filepath.Glob(store.Cache().SuitePath("roots/*/" + headersDir(k)))
		if err != nil {
			return err
		}
		if len(roots) == 0 {
			return fmt.Errorf("what modules for kernel %s are built with: %w: run `bpfreplay suite modules %s`", k.Release, ErrNotFetched, k.Name)
		}
		root := strings.TrimSuffix(roots[0], "/"+headersDir(k))
		with = newJailed(root, k)
	}
	return inWorkDir(ctx, with, dir, name, func(ko string, failed error) error {
		if failed != nil {
			return fmt.Errorf("module %s for kernel %s: %w", name, k.Release, failed)
		}
		data, err := os.ReadFile(ko)
		if err != nil {
			return err
		}
		return os.WriteFile(file, data, 0o644)
	})
}
