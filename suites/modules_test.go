package suites

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// fakeKbuild builds a module by copying its source, refuses sources with "wrong" in them, and lists
// what it builds.
type fakeKbuild struct {
	dir   string
	named string
	built []string
	err   error // of the machine
}

func (f *fakeKbuild) id() string { return f.named }

func (f *fakeKbuild) workDir() (string, error) { return os.MkdirTemp(f.dir, "") }

func (f *fakeKbuild) make(ctx context.Context, dir, name string) error {
	f.built = append(f.built, name)
	if f.err != nil {
		return f.err
	}
	return complain(exec.CommandContext(ctx, "/bin/sh", "-c", `grep -q "^obj-m := $1.o" "$0/Kbuild" || exit 3
		if grep -q wrong "$0/$1.c"; then echo "$1.c:1:1: error: it is wrong" >&2; exit 2; fi; cp "$0/$1.c" "$0/$1.ko"`, dir, name))
}

// take returns the list of builds and empties it.
func (f *fakeKbuild) take() []string {
	defer func() { f.built = nil }()
	return f.built
}

func writeAll(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		file := filepath.Join(dir, name)
		assert.NilError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		assert.NilError(t, os.WriteFile(file, []byte(text), 0o644))
	}
}

func TestBuildModules(t *testing.T) {
	store, err := vmimage.Open(vmimage.Options{Cache: t.TempDir()})
	assert.NilError(t, err)
	defer store.Close()
	source := t.TempDir()
	writeAll(t, source, map[string]string{
		"bpf_test_modorder_x/bpf_test_modorder_x.c": "x", "bpf_test_modorder_x/bpf_test_modorder_x.mod.c": "left from a build",
		"bpf_testmod/bpf_testmod.c": "t", "bpf_testmod/bpf_testmod.h": "1", "bpf_test_no_cfi/bpf_test_no_cfi.c": "wrong",
		"progs/bpf_testmod.c": "no module",
	})
	with := &fakeKbuild{dir: t.TempDir(), named: "headers 1"}
	o := &ModuleOptions{Store: store, Kernel: &vmimage.Kernel{Arch: arch.Native, Release: "6.12.1-x", SHA256: "k"}, Say: func(string) {}}
	build := func() *TestModules {
		t.Helper()
		m := &TestModules{Release: o.Kernel.Release, Kernel: o.Kernel.SHA256, Source: "here"}
		assert.NilError(t, o.buildAll(t.Context(), m, source, with))
		assert.Check(t, is.DeepEqual(m.Errors, map[string]string{"bpf_test_no_cfi": "it is wrong"}))
		return m
	}
	m := build()
	all := []string{"bpf_testmod", "bpf_test_modorder_x", "bpf_test_no_cfi"}
	assert.Check(t, is.DeepEqual(with.take(), all))
	assert.Check(t, is.Len(m.Files, 2))
	data, err := os.ReadFile(store.Cache().SuitePath(m.Files[0]))
	assert.NilError(t, err)
	assert.Check(t, is.Equal(string(data), "t"))
	left, err := os.ReadDir(with.dir)
	assert.NilError(t, err)
	assert.Check(t, is.Len(left, 0))

	// Built modules and failures are known.
	assert.Check(t, is.DeepEqual(build(), m))
	assert.Check(t, is.Len(with.take(), 0))
	// A change to a header rebuilds its module, other kernel headers or another kernel rebuild all.
	writeAll(t, source, map[string]string{"bpf_testmod/bpf_testmod.h": "2"})
	build()
	assert.Check(t, is.DeepEqual(with.take(), []string{"bpf_testmod"}))
	with.named = "headers 2"
	build()
	assert.Check(t, is.DeepEqual(with.take(), all))
	o.Kernel.SHA256 = "another"
	m = build()
	assert.Check(t, is.DeepEqual(with.take(), all))
	// Again only repeats builds that failed.
	o.Again = true
	build()
	assert.Check(t, is.DeepEqual(with.take(), []string{"bpf_test_no_cfi"}))
	o.Again = false

	// A failure of the machine is an error, and is not remembered.
	with.named, with.err = "headers 3", errors.New("no memory")
	assert.ErrorContains(t, o.buildAll(t.Context(), new(TestModules), source, with), "bpf_testmod: no memory")
	with.err = nil
	with.take()
	build()
	assert.Check(t, is.DeepEqual(with.take(), all))

	// The list names what is in use.
	assert.NilError(t, m.remember(store))
	known, err := KnownModules(store, o.Kernel)
	assert.NilError(t, err)
	assert.Check(t, is.DeepEqual(known, m))
	pruned, err := store.Prune(false)
	assert.NilError(t, err)
	assert.Check(t, len(pruned) > 0)
	for _, file := range m.Files {
		_, err := os.Stat(store.Cache().SuitePath(file))
		assert.NilError(t, err)
	}
	assert.NilError(t, os.RemoveAll(filepath.Dir(store.Cache().SuitePath(m.Files[0]))))
	known, err = KnownModules(store, o.Kernel)
	assert.NilError(t, err)
	assert.Check(t, known == nil)
}

// TestNoModules: the reason why there are no modules is remembered.
func TestNoModules(t *testing.T) {
	store, err := vmimage.Open(vmimage.Options{Cache: t.TempDir()})
	assert.NilError(t, err)
	defer store.Close()
	k := &vmimage.Kernel{Arch: arch.Native, Name: "/boot/vmlinuz", Release: "6.12.1-x", SHA256: "k"}
	m, err := BuildModules(t.Context(), ModuleOptions{Store: store, Kernel: k})
	assert.NilError(t, err)
	assert.Check(t, is.Contains(m.Reason, "not from Debian's archive"))
	known, err := KnownModules(store, k)
	assert.NilError(t, err)
	assert.Check(t, is.DeepEqual(known, m))

	source := t.TempDir()
	writeAll(t, source, map[string]string{"bpf_testmod/bpf_testmod.c": "wrong"})
	o := &ModuleOptions{Store: store, Kernel: k, Say: func(string) {}}
	err = o.buildAll(t.Context(), new(TestModules), source, &fakeKbuild{dir: t.TempDir()})
	assert.ErrorContains(t, err, "none builds: it is wrong")
	err = o.buildAll(t.Context(), &TestModules{Source: "this"}, t.TempDir(), nil)
	assert.ErrorContains(t, err, "this has no modules")
}

func TestModuleNames(t *testing.T) {
	dir := t.TempDir()
	writeAll(t, dir, map[string]string{"test_kmods/bpf_testmod.c": `
#include "bpf_testmod.h"
DEFINE_PER_CPU(int, bpf_testmod_ksym_percpu) = 123;
noinline int
bpf_testmod_test_struct_arg_1(struct s a, int b) {
	if (called(a.a)) {
	}
}
__bpf_kfunc struct prog_test_ref_kfunc *
bpf_kfunc_call_test_acquire(unsigned long *scalar_ptr)
{
}
int vfs_read(struct file *f,
	     int a);
__weak noinline struct file *bpf_testmod_return_ptr(int arg)
{
}
static struct bpf_struct_ops bpf_bpf_testmod_ops = {
	.name = "bpf_testmod_ops",
	.owner = THIS_MODULE,
};
BTF_ID_FLAGS(func, bpf_iter_testmod_seq_new, KF_ITER_NEW)
`, "test_kmods/bpf_testmod-events.h": `
TRACE_EVENT(bpf_testmod_test_read,
	TP_PROTO(int a));
DECLARE_TRACE(bpf_testmod_test_write_bare,
	TP_PROTO(int a));
BPF_TESTMOD_DECLARE_TRACE(bpf_testmod_test_writable_bare,
	TP_PROTO(int a));
`, "progs/other.c": "int other(void)\n"})
	n, err := readModuleNames(dir)
	assert.NilError(t, err)
	assert.Check(t, is.DeepEqual(n.Modules, []string{"bpf_testmod"}))
	assert.Check(t, is.DeepEqual(n.Variables, []string{"bpf_testmod_ksym_percpu"}))
	assert.Check(t, is.DeepEqual(n.Tracepoints, []string{"bpf_testmod_test_read", "bpf_testmod_test_writable_bare", "bpf_testmod_test_write_bare"}))
	assert.Check(t, is.DeepEqual(n.StructOps, []string{"bpf_testmod_ops"}))
	assert.Check(t, is.DeepEqual(n.Functions, []string{"bpf_kfunc_call_test_acquire", "bpf_testmod_return_ptr", "bpf_testmod_test_struct_arg_1"}))
	assert.Check(t, !slices.Contains(n.Functions, "called"))
}

// TestBuildInTree: a tree has its own make and, if it has them, its own sources.
func TestBuildInTree(t *testing.T) {
	if _, err := exec.LookPath("strip"); err != nil {
		t.Skipf("no binutils: %v", err)
	}
	if _, err := exec.LookPath("make"); err != nil {
		t.Skipf("no make: %v", err)
	}
	store, err := vmimage.Open(vmimage.Options{Cache: t.TempDir()})
	assert.NilError(t, err)
	defer store.Close()
	build, source := t.TempDir(), t.TempDir()
	assert.NilError(t, os.Symlink(source, filepath.Join(build, "source")))
	// It "builds" a copy of /bin/true, because strip needs an ELF file.
	writeAll(t, build, map[string]string{"Makefile": "modules:\n\tcp /bin/true $(M)/$$(sed -n 's/^obj-m := \\(.*\\)\\.o/\\1/p' $(M)/Kbuild).ko\n"})
	writeAll(t, source, map[string]string{selftests + "/bpf_testmod/bpf_testmod.c": "t"})
	o := &ModuleOptions{Store: store, Kernel: &vmimage.Kernel{Arch: arch.Native, Release: "7.0.0-ours", SHA256: "k"}, Say: func(string) {}}
	m := new(TestModules)
	assert.NilError(t, o.buildInTree(t.Context(), m, build))
	assert.Check(t, is.Len(m.Files, 1))
	assert.Check(t, is.Equal(m.Source, filepath.Join(build, "source")))
	assert.Check(t, is.Equal(filepath.Base(m.Files[0]), "bpf_testmod.ko"))
	left, err := os.ReadDir(filepath.Join(store.Cache().SuitePath(".."), "tmp"))
	assert.NilError(t, err)
	assert.Check(t, is.Len(left, 0))

	// Without sources of its own the tree uses the suite's, if there is one.
	err = o.buildInTree(t.Context(), new(TestModules), t.TempDir())
	assert.ErrorIs(t, err, ErrNotFetched)
}
