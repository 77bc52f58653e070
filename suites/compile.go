package suites

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/bpfreplay/bpfreplay/vmimage"
	"github.com/bpfreplay/bpfreplay/vmimage/cache"
)

// objectFormat is part of the key of compiled objects.
const objectFormat = "object 1"

// Placeholders for directories in flags, so that keys do not depend on the place of the cache.
const (
	wordSource = "SOURCE"
	wordTools  = "TOOLS"
	wordTypes  = "TYPES"
)

// flags returns the flags of the selftests' Makefile without warnings, with placeholders for
// directories. File names in line information are the same everywhere.
func (b *builder) flags() []string {
	st := wordSource + "/" + selftests
	flags := []string{
		"--target=bpfel", "-mcpu=v3", "-O2", "-g", "-w", "-std=gnu11", "-fno-strict-aliasing", "-fms-extensions",
		"-D__TARGET_ARCH_" + b.arch.Target, "-DENABLE_ATOMICS_TESTS",
		"-ffile-prefix-map=" + wordSource + "=.", "-ffile-prefix-map=" + wordTools + "=tools", "-ffile-prefix-map=" + wordTypes + "=.",
		"-I" + wordTypes, "-I" + wordTools + "/include", "-I" + st, "-I" + wordSource + "/tools/include/uapi", "-I" + wordSource + "/tools/include",
		"-I" + st + "/libarena/include",
	}
	for _, dir := range b.system {
		flags = append(flags, "-idirafter", dir)
	}
	return flags
}

// more returns the flags that the Makefile has for single programs.
func more(name string) []string {
	switch name {
	case "test_l4lb_noinline", "test_xdp_noinline":
		return []string{"-fno-inline"}
	}
	return nil
}

// headers returns a digest of all headers that a program could include.
func (b *builder) headers() (string, error) {
	var digests []string
	for _, in := range []struct {
		dir   string
		parts []string
	}{
		{b.source, []string{selftests, "tools/include"}},
		{b.tools, []string{"include"}},
		{b.types, []string{"vmlinux.h"}},
	} {
		d, err := digestOf(in.dir, in.parts, isHeader)
		if err != nil {
			return "", err
		}
		digests = append(digests, d)
	}
	for _, dir := range b.system {
		d, err := digestOf(dir, []string{"linux", "asm", "asm-generic", "bits", "gnu", "sys"}, isHeader)
		if err != nil {
			return "", err
		}
		digests = append(digests, d)
	}
	return cache.Key(digests...), nil
}

// compileAll compiles all programs that are not compiled yet.
func (b *builder) compileAll(ctx context.Context) ([]Object, error) {
	files, err := filepath.Glob(filepath.Join(b.source, filepath.FromSlash(selftests), "progs", "*.c"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("there are no programs in %s/%s/progs", b.source, selftests)
	}
	slices.Sort(files)
	headers, err := b.headers()
	if err != nil {
		return nil, err
	}
	strip, err := stripFor(b.Clang)
	if err != nil {
		return nil, err
	}
	base := []string{objectFormat, b.compiler, headers, strings.Join(b.flags(), " ")}
	out := make([]Object, len(files))
	var missing []int
	keys := make([]string, len(files))
	for i, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".c")
		text, err := sourceText(file, nil)
		if err != nil {
			return nil, err
		}
		keys[i] = "objects/" + cache.Key(append(slices.Clone(base), name, strings.Join(more(name), " "), text)...)
		out[i] = Object{Name: name}
		out[i].File, out[i].Error = knownBuilt(b.Store, keys[i], objectFile(keys[i], name))
		if out[i].File+out[i].Error == "" {
			missing = append(missing, i)
		}
	}
	if len(missing) == 0 {
		return out, nil
	}
	b.Say(fmt.Sprintf("compiling %d of %d programs with %s", len(missing), len(files), b.compiler))
	var tick sync.Mutex
	done := len(files) - len(missing)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(b.Jobs)
	for _, i := range missing {
		group.Go(func() error {
			if err := b.compile(ctx, &out[i], keys[i], files[i], strip); err != nil {
				return fmt.Errorf("%s: %w", out[i].Name, err)
			}
			tick.Lock()
			defer tick.Unlock()
			done++
			b.Tick(done, len(files))
			return nil
		})
	}
	return out, group.Wait()
}

// Files of a compiled program below its key: the object, whose name libbpf uses in the names of
// maps, or the reason why there is none.
func objectFile(key, name string) string { return key + "/" + name + ".bpf.o" }
func errorFile(key string) string        { return key + "/error" }

// knownBuilt returns the result of an earlier build: its file, or the reason why it failed. Both
// are empty if there was no build.
func knownBuilt(store *vmimage.Store, key, file string) (there, reason string) {
	if _, err := os.Stat(store.Cache().SuitePath(file)); err == nil {
		return file, ""
	}
	said, _ := os.ReadFile(store.Cache().SuitePath(errorFile(key)))
	return "", string(said)
}

// keepBuilt stores the result of a build: the file at path, or err, the compiler's, as the reason
// why there is none. A failed build is not an error of keepBuilt.
func keepBuilt(ctx context.Context, store *vmimage.Store, key, file, path string, err error) (there, reason string, failed error) {
	if ctx.Err() != nil {
		return "", "", context.Cause(ctx)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		status, reason, _ := strings.Cut(err.Error(), ": ")
		reason = cmp.Or(reason, status)
		return "", reason, store.Cache().MakeFile(errorFile(key), []byte(reason))
	}
	if err != nil {
		return "", "", err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", "", err
	}
	return file, "", store.Cache().MakeFile(file, data)
}

// compile compiles one program. If the program does not compile, that is not an error: o has the
// reason.
func (b *builder) compile(ctx context.Context, o *Object, key, file, strip string) error {
	work, err := b.Store.Cache().TempDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	object := filepath.Join(work, o.Name+".bpf.o")
	place := strings.NewReplacer(wordSource, b.source, wordTools, b.tools, wordTypes, b.types)
	var args []string
	for _, f := range b.flags() {
		args = append(args, place.Replace(f))
	}
	args = append(append(args, more(o.Name)...), "-c", file, "-o", object)
	err = run(ctx, b.Clang, args...)
	if err == nil {
		if err := run(ctx, strip, "-g", object); err != nil {
			return err
		}
	}
	o.File, o.Error, err = keepBuilt(ctx, b.Store, key, objectFile(key, o.Name), object, err)
	return err
}

// stripFor returns the llvm-strip of the same LLVM as a clang.
func stripFor(clang string) (string, error) {
	name := strings.Replace(filepath.Base(clang), "clang", "llvm-strip", 1)
	if filepath.Base(clang) != clang {
		return filepath.Join(filepath.Dir(clang), name), nil
	}
	if _, err := exec.LookPath(name); err != nil {
		return "", fmt.Errorf("%w; `scripts/setup.sh suite` installs it", err)
	}
	return name, nil
}

// includeC matches includes of other programs.
var includeC = regexp.MustCompile(`(?m)^\s*#\s*include\s+"([^"]+\.c)"`)

// sourceText returns the text of a program and of the programs that it includes.
func sourceText(file string, above []string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	text := string(data)
	for _, m := range includeC.FindAllStringSubmatch(text, -1) {
		inner := filepath.Join(filepath.Dir(file), filepath.FromSlash(m[1]))
		if slices.Contains(above, inner) {
			continue
		}
		if _, err := os.Stat(inner); err != nil {
			continue // the compiler finds it, or reports that it does not
		}
		more, err := sourceText(inner, append(slices.Clone(above), file))
		if err != nil {
			return "", err
		}
		text += more
	}
	return text, nil
}
