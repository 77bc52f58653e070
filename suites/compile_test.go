package suites

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// fakeClang compiles by copying, and lists each file. It refuses sources with "wrong" in them, and
// hangs for sources with "wait".
const fakeClang = `#!/bin/sh
for a; do
	case "$last" in -c) src=$a ;; -o) out=$a ;; esac
	last=$a
done
echo "${src##*/}" >>"$(dirname "$0")/compiled"
if grep -q wrong "$src"; then
	echo "$src:1:1: error: it is wrong" >&2
	exit 1
fi
if grep -q wait "$src" && [ ! -e "$(dirname "$0")/go" ]; then
	: >"$(dirname "$0")/waits"
	sleep 60
fi
cp "$src" "$out"
`

// fixture is a builder for a tree with a few programs.
func fixture(t *testing.T, programs map[string]string) *builder {
	t.Helper()
	tree, bin := t.TempDir(), t.TempDir()
	write := func(path, text string, mode os.FileMode) {
		assert.NilError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		assert.NilError(t, os.WriteFile(path, []byte(text), mode))
	}
	for name, text := range programs {
		write(filepath.Join(tree, selftests, "progs", name), text, 0o644)
	}
	write(filepath.Join(tree, selftests, "some.h"), "1", 0o644)
	write(filepath.Join(bin, "clang"), fakeClang, 0o755)
	write(filepath.Join(bin, "llvm-strip"), "#!/bin/sh\n", 0o755)
	store, err := vmimage.Open(vmimage.Options{Cache: t.TempDir()})
	assert.NilError(t, err)
	t.Cleanup(func() { store.Close() })
	b := &builder{
		Options: Options{Store: store, Clang: filepath.Join(bin, "clang"), Jobs: 2},
		arch:    arch.All[0],
		source:  tree, compiler: "fake", tools: t.TempDir(), types: t.TempDir(),
	}
	b.defaults()
	return b
}

// compiled returns the files that were compiled since the last call.
func (b *builder) compiled(t *testing.T) []string {
	t.Helper()
	file := filepath.Join(filepath.Dir(b.Clang), "compiled")
	data, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return nil
	}
	assert.NilError(t, err)
	assert.NilError(t, os.Remove(file))
	names := strings.Fields(string(data))
	slices.Sort(names)
	return names
}

func TestCompile(t *testing.T) {
	b := fixture(t, map[string]string{"a.c": "a", "b.c": "  # include \"a.c\"\n", "w.c": "wrong"})
	program := func(name string) string { return filepath.Join(b.source, selftests, "progs", name) }
	compile := func(want ...string) []Object {
		t.Helper()
		got, err := b.compileAll(context.Background())
		assert.NilError(t, err)
		assert.Check(t, is.DeepEqual(b.compiled(t), want))
		return got
	}
	objects := compile("a.c", "b.c", "w.c")
	assert.Check(t, is.Equal(filepath.Base(objects[0].File), "a.bpf.o"))
	assert.Check(t, is.Equal(objects[2].Error, "it is wrong"))
	assert.Check(t, is.Equal(objects[2].File, ""))
	data, err := os.ReadFile(b.Store.Cache().SuitePath(objects[0].File))
	assert.NilError(t, err)
	assert.Check(t, is.Equal(string(data), "a"))

	// Failures are remembered, too.
	assert.Check(t, is.DeepEqual(compile(), objects))

	// A change to a program also recompiles programs that include it, a change to a header all.
	assert.NilError(t, os.WriteFile(program("a.c"), []byte("A"), 0o644))
	compile("a.c", "b.c")
	assert.NilError(t, os.WriteFile(filepath.Join(b.source, selftests, "some.h"), []byte("2"), 0o644))
	compile("a.c", "b.c", "w.c")
	b.compiler = "newer"
	compile("a.c", "b.c", "w.c")

	// The same again.
	assert.NilError(t, os.WriteFile(program("w.c"), []byte("right"), 0o644))
	objects = compile("w.c")
	assert.Check(t, is.Equal(objects[2].Error, ""))
}

// TestInterrupted checks that an interrupted run keeps what it has compiled, and leaves nothing of
// the rest.
func TestInterrupted(t *testing.T) {
	b := fixture(t, map[string]string{"a.c": "a", "b.c": "wait"})
	b.Jobs = 1
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	waits := filepath.Join(filepath.Dir(b.Clang), "waits")
	b.Tick = func(int, int) { // a.c is done
		go func() {
			for {
				if _, err := os.Stat(waits); err == nil {
					cancel()
					return
				}
			}
		}()
	}
	_, err := b.compileAll(ctx)
	assert.ErrorIs(t, err, context.Canceled)
	temps, err := os.ReadDir(filepath.Join(b.Store.Cache().SuitePath(".."), "tmp"))
	assert.NilError(t, err)
	assert.Check(t, is.Len(temps, 0))
	b.compiled(t)

	assert.NilError(t, os.WriteFile(filepath.Join(filepath.Dir(b.Clang), "go"), nil, 0o644))
	b.Tick = func(int, int) {}
	objects, err := b.compileAll(context.Background())
	assert.NilError(t, err)
	assert.Check(t, is.DeepEqual(b.compiled(t), []string{"b.c"}))
	assert.Check(t, objects[0].File != "" && objects[1].File != "")
}

// TestMissing: without an earlier source there is nothing to use instead.
func TestMissing(t *testing.T) {
	store, err := vmimage.Open(vmimage.Options{Cache: t.TempDir()})
	assert.NilError(t, err)
	defer store.Close()
	_, err = Read(store, "kernel", arch.Native)
	assert.ErrorIs(t, err, ErrNotFetched)
	assert.ErrorContains(t, err, "bpfreplay suite fetch kernel")
	_, err = FetchKernel(context.Background(), Options{Store: store, Tree: t.TempDir()})
	assert.ErrorContains(t, err, "no kernel tree with BPF selftests")
}

func TestCorpusRoundTrip(t *testing.T) {
	store, err := vmimage.Open(vmimage.Options{Cache: t.TempDir()})
	assert.NilError(t, err)
	defer store.Close()
	c := &Corpus{
		Name: "kernel", Arch: arch.Native, Source: "here", Bpftool: "tools/1/bpftool", Package: &vmimage.Package{Name: "linux-source-7.2", SHA256: "f"},
		Objects: []Object{{Name: "a", File: "objects/2/a.bpf.o"}, {Name: "w", Error: "wrong"}},
	}
	assert.NilError(t, c.write(store))
	got, err := Read(store, "kernel", arch.Native)
	assert.NilError(t, err)
	assert.Check(t, is.DeepEqual(got.Uses, []string{sourceKey(c.Package), "tools/1", "objects/2"}))
	assert.Check(t, is.DeepEqual(got.Compiled(store), []Object{{Name: "a", File: store.Cache().SuitePath("objects/2/a.bpf.o")}}))
	assert.Check(t, is.Equal(got.Tool(store), store.Cache().SuitePath("tools/1/bpftool")))
}

// TestArchitectures: suite kernel is kept for each architecture, compiled with its registers.
func TestArchitectures(t *testing.T) {
	b := fixture(t, map[string]string{"a.c": "a"})
	for _, a := range arch.All {
		b.arch = a
		assert.Check(t, slices.Contains(b.flags(), "-D__TARGET_ARCH_"+a.Target))
		c := &Corpus{Name: nameKernel, Arch: a.Name, Types: a.Name}
		assert.NilError(t, c.write(b.Store))
	}
	for _, a := range arch.All {
		c, err := Read(b.Store, nameKernel, a.Name)
		assert.NilError(t, err)
		assert.Equal(t, c.Types, a.Name)
	}
	_, err := Read(b.Store, nameKernel, "mips")
	assert.ErrorIs(t, err, ErrNotFetched)
	assert.ErrorContains(t, err, "bpfreplay suite fetch kernel --arch mips")
}
