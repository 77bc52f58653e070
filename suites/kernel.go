package suites

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/vmimage"
	"github.com/bpfreplay/bpfreplay/vmimage/cache"
)

// Options configures [Fetch].
type Options struct {
	Store *vmimage.Store
	// Version is that of the source, such as "7.2"; "" for the one that was fetched last, or else
	// the newest 7.x of sid.
	Version string
	// Tree is a kernel tree to take the source from instead; "" for none.
	Tree string
	// Kernel is the kernel whose types the programs are compiled with, and for whose architecture:
	// a name of kernels.yaml or a path; "" for [DefaultKernel].
	Kernel string
	// Update looks for a newer source than the one that was fetched last.
	Update bool
	// Jobs is the number of compilers that run at once; 0 means one.
	Jobs int
	// Clang is the compiler; "" for [DefaultClang].
	Clang string

	Say func(line string) // may be nil
	// Tick is called after each object, by one goroutine at a time; may be nil.
	Tick func(done, of int)
}

// DefaultKernel is the name of the newest kernel, whose types programs are compiled with.
const DefaultKernel = "stable"

// DefaultClang is the default compiler, the one of the core suite.
const DefaultClang = "clang-19"

func (o *Options) defaults() {
	o.Kernel, o.Clang = cmp.Or(o.Kernel, DefaultKernel), cmp.Or(o.Clang, DefaultClang)
	if o.Say == nil {
		o.Say = func(string) {}
	}
	if o.Tick == nil {
		o.Tick = func(int, int) {}
	}
	o.Jobs = max(o.Jobs, 1)
}

// FetchKernel gets the Linux selftests and compiles them. It makes nothing twice, and needs no
// network for what is cached. After an interrupted call, another one continues.
func FetchKernel(ctx context.Context, o Options) (*Corpus, error) {
	o.defaults()
	kernel, err := o.Store.Resolve(ctx, o.Kernel)
	if err != nil {
		return nil, fmt.Errorf("types: %w", err)
	}
	c := &Corpus{Name: nameKernel, Kernel: o.Kernel, Arch: kernel.Arch}
	last, err := Read(o.Store, c.Name, c.Arch)
	if errors.Is(err, ErrNotFetched) { // the source is the same for all architectures
		last, err = Read(o.Store, c.Name, arch.Native)
	}
	if err != nil && !errors.Is(err, ErrNotFetched) {
		o.Say("note: " + err.Error())
	}
	source, err := o.source(ctx, c, last)
	if err != nil {
		return nil, err
	}
	b := &builder{Options: o, source: source}
	if b.arch, err = arch.Parse(c.Arch); err != nil {
		return nil, err
	}
	if err := b.identify(ctx); err != nil {
		return nil, err
	}
	if err := b.makeTools(ctx); err != nil {
		return nil, err
	}
	if err := b.makeTypes(ctx, kernel); err != nil {
		return nil, err
	}
	c.Types, c.Compiler, c.Bpftool = kernel.Release, b.compiler, b.toolsKey+"/bpftool"
	if c.Objects, err = b.compileAll(ctx); err != nil {
		return nil, err
	}
	return c, c.write(o.Store)
}

// source finds the source, notes it in c, and returns its directory.
func (o *Options) source(ctx context.Context, c, last *Corpus) (string, error) {
	if o.Tree != "" {
		tree, err := filepath.Abs(o.Tree)
		if err != nil {
			return "", err
		}
		c.Tree, c.Source, c.Last = tree, tree, last.debian()
		return tree, checkTree(tree)
	}
	if p := last.debian(); p != nil && !o.Update && (o.Version == "" || p.Name == prefixSource+o.Version) {
		c.Package = p
		dir := o.Store.Cache().SuitePath(sourceKey(c.Package))
		if _, err := os.Stat(dir); err == nil {
			c.Source = c.Package.Name + " " + c.Package.Version
			return dir, nil
		}
	}
	var err error
	if c.Package, err = findSource(ctx, o.Store, o.Version); err != nil {
		return "", err
	}
	c.Source = c.Package.Name + " " + c.Package.Version
	return unpackSource(ctx, o.Store, c.Package, o.Say)
}

// debian returns the Debian package of the corpus, or the one that it had before a tree; nil if
// there was none. c may be nil.
func (c *Corpus) debian() *vmimage.Package {
	if c == nil {
		return nil
	}
	return cmp.Or(c.Package, c.Last)
}

// builder builds tools, types and objects from a source.
type builder struct {
	Options
	arch     *arch.Arch // that of the programs
	source   string     // directory
	compiler string     // clang's version
	system   []string
	tools    string // directory with bpftool, include and libbpf.a
	toolsKey string
	types    string // directory with vmlinux.h
	typesKey string
}

// identify asks the compiler for its version and its directories of headers.
func (b *builder) identify(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, b.Clang, "--version").Output()
	if err != nil {
		return fmt.Errorf("compiler: %w; `scripts/setup.sh suite` installs it", err)
	}
	b.compiler, _, _ = strings.Cut(string(out), "\n")
	// The headers of the programs' architecture come first, if this machine has them. The others
	// are for what all architectures share.
	for _, of := range []string{b.arch.Triplet, ""} {
		dirs, err := b.headerDirs(ctx, of)
		if err != nil {
			return err
		}
		for _, dir := range dirs {
			if !slices.Contains(b.system, dir) {
				b.system = append(b.system, dir)
			}
		}
	}
	return nil
}

// headerDirs returns the directories where the compiler looks for headers without being told to,
// for a triplet, or for this machine if that is empty. BPF programs have to look there, too, behind
// everything else.
func (b *builder) headerDirs(ctx context.Context, triplet string) ([]string, error) {
	args := []string{"-v", "-E", "-x", "c", "/dev/null"}
	if triplet != "" {
		args = append(args, "--target="+triplet)
	}
	out, err := exec.CommandContext(ctx, b.Clang, args...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("compiler: %w: %s", err, firstLine(string(out)))
	}
	_, list, ok := strings.Cut(string(out), "#include <...> search starts here:\n")
	list, _, ok2 := strings.Cut(list, "End of search list.")
	if !ok || !ok2 {
		return nil, fmt.Errorf("compiler: %s -v does not say where it looks for headers", b.Clang)
	}
	var dirs []string
	for line := range strings.Lines(list) {
		dirs = append(dirs, strings.TrimSpace(line))
	}
	return dirs, nil
}

// toolsFormat is part of the key of built tools.
const toolsFormat = "bpftool 1"

// makeTools builds bpftool and libbpf, without features that need more libraries. This bpftool
// writes prototypes of kfuncs into vmlinux.h, which the selftests need and older ones do not write.
func (b *builder) makeTools(ctx context.Context) error {
	digest, err := digestOf(b.source, []string{
		"include/uapi", "kernel/bpf", "scripts/bpf_doc.py", "tools/arch", "tools/bpf/bpftool", "tools/build", "tools/include",
		"tools/lib", "tools/scripts",
	}, isAny)
	if err != nil {
		return err
	}
	gcc, err := exec.CommandContext(ctx, "gcc", "--version").Output()
	if err != nil {
		return fmt.Errorf("bpftool: %w; `scripts/setup.sh suite` installs what is needed", err)
	}
	b.toolsKey = "tools/" + cache.Key(toolsFormat, digest, firstLine(string(gcc)))
	b.tools, err = b.Store.Cache().MakeDir(ctx, "bpftool", b.toolsKey, func(dir string) error {
		b.Say("building bpftool and libbpf")
		work, err := b.Store.Cache().TempDir()
		if err != nil {
			return err
		}
		defer os.RemoveAll(work)
		err = run(ctx, "make", "-s", fmt.Sprintf("-j%d", b.Jobs), "-C", filepath.Join(b.source, "tools/bpf/bpftool"), "OUTPUT="+work+"/",
			"SKIP_CRYPTO=1", "SKIP_LLVM=1", "SKIP_LIBBFD=1",
			"feature-clang-bpf-co-re=0", "feature-llvm=0", "feature-libbfd=0", "feature-libcap=0")
		if err != nil {
			return fmt.Errorf("bpftool does not build: %w", err)
		}
		for _, name := range []string{"bpftool", "libbpf/libbpf.a", "libbpf/include"} {
			if err := os.Rename(filepath.Join(work, name), filepath.Join(dir, filepath.Base(name))); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// makeTypes writes vmlinux.h.
func (b *builder) makeTypes(ctx context.Context, k *vmimage.Kernel) (err error) {
	b.typesKey = "types/" + cache.Key("vmlinux.h 1", b.toolsKey, k.SHA256)
	b.types, err = b.Store.Cache().MakeDir(ctx, "vmlinux.h", b.typesKey, func(dir string) error {
		b.Say("making vmlinux.h of kernel " + k.Release)
		types, err := openTypes(k)
		if err != nil {
			return err
		}
		defer types.Close()
		f, err := os.Create(filepath.Join(dir, "vmlinux.h"))
		if err != nil {
			return err
		}
		defer f.Close()
		cmd := command(ctx, filepath.Join(b.tools, "bpftool"), "btf", "dump", "file", "/proc/self/fd/3", "format", "c")
		cmd.Stdout, cmd.ExtraFiles = f, []*os.File{types}
		if err := complain(cmd); err != nil {
			return fmt.Errorf("types of kernel %s: %w", k.Name, err)
		}
		return f.Close()
	})
	return err
}
