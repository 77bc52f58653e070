package loader_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/emit"
	"github.com/bpfreplay/bpfreplay/internal/issue"
	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/openfds"
	"github.com/bpfreplay/bpfreplay/internal/replay"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/loader"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// TestMain fails if all tests together leave an fd open.
func TestMain(m *testing.M) {
	runAsHelper()
	before := openfds.List()
	code := m.Run()
	left := slices.DeleteFunc(openfds.List(), func(fd string) bool { return slices.Contains(before, fd) })
	if len(left) > 0 {
		fmt.Fprintln(os.Stderr, "fds that are still open:", left)
		code = max(code, 1)
	}
	os.Exit(code)
}

// keepsFDs fails the test if f leaves an fd open or closes one that it was not given.
func keepsFDs(t testing.TB, f func()) {
	t.Helper()
	before := openfds.List()
	f()
	assert.DeepEqual(t, openfds.List(), before)
}

var marks atomic.Uint32

// mark gives the maps and programs of a trace names that no other load in the kernel uses. It
// returns their common prefix.
func mark(t *trace.Trace) string {
	prefix := fmt.Sprintf("t%x_%x_", os.Getpid()&0xffff, marks.Add(1))
	for _, c := range t.Commands {
		switch c := c.(type) {
		case *trace.LoadBTF:
			c.Data = unique(c.Data, prefix)
		case *trace.CreateMap:
			c.Attr.Name = cut(prefix + strings.Trim(c.Attr.Name, "."))
		case *trace.LoadProgram:
			c.Name = cut(prefix + c.Name)
		}
	}
	return prefix
}

// unique puts prefix into a line of source in the types of steps.o, which nobody reads, to tell
// them from the types of other processes.
func unique(types []byte, prefix string) []byte {
	out := slices.Clone(types)
	if at := bytes.Index(out, []byte(`SEC("syscall") int call`)); at >= 0 {
		copy(out[at:], prefix)
	}
	return out
}

// typesOf returns the types that a trace loads.
func typesOf(t *trace.Trace) []byte {
	for _, c := range t.Commands {
		if c, ok := c.(*trace.LoadBTF); ok {
			return c.Data
		}
	}
	return nil
}

func cut(name string) string { return name[:min(len(name), 15)] }

// kindOfID is a kind of kernel object that has ids.
type kindOfID struct {
	next, open bpfsys.Cmd
	name       func(fd int) (string, error)
}

var kindsOfID = []kindOfID{
	{bpfsys.MapGetNextID, bpfsys.MapGetFDByID, func(fd int) (string, error) {
		info, _, err := bpfsys.GetMapInfo(fd)
		if err != nil {
			return "", err
		}
		name := bpfsys.CString(info.Name[:])
		if info.Type == 3 {
			name = progArray + name
		}
		return name, nil
	}},
	{bpfsys.ProgGetNextID, bpfsys.ProgGetFDByID, func(fd int) (string, error) {
		info, _, err := bpfsys.GetProgInfo(fd)
		if err != nil {
			return "", err
		}
		return bpfsys.CString(info.Name[:]), nil
	}},
}

// ids are the ids of all maps and programs, indexed like kindsOfID.
type ids [2]map[uint32]bool

func allIDs(t testing.TB) ids {
	t.Helper()
	var out ids
	for i, kind := range kindsOfID {
		list, err := bpfsys.IDs(kind.next)
		assert.NilError(t, err)
		out[i] = make(map[uint32]bool)
		for _, id := range list {
			out[i][id] = true
		}
	}
	return out
}

// without returns the ids that are not in before.
func (x ids) without(before ids) ids {
	var out ids
	for i := range x {
		out[i] = maps.Clone(x[i])
		maps.DeleteFunc(out[i], func(id uint32, _ bool) bool { return before[i][id] })
	}
	return out
}

func (x ids) empty() bool { return len(x[0])+len(x[1]) == 0 }

// named returns the names that start with one of the prefixes.
func (x ids) named(t testing.TB, prefixes ...string) []string {
	t.Helper()
	var found []string
	for i, kind := range kindsOfID {
		for id := range x[i] {
			fd, err := bpfsys.FDByID(kind.open, id)
			if errors.Is(err, unix.ENOENT) {
				continue // gone since it was listed
			}
			assert.NilError(t, err)
			name, err := kind.name(fd)
			bpfsys.Close(fd)
			assert.NilError(t, err)
			if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(strings.TrimPrefix(name, progArray), p) }) {
				found = append(found, name)
			}
		}
	}
	return found
}

// goneFromKernel waits until nothing that was created since before, and whose name starts with a
// prefix, is left. The kernel frees what a program used some time after the program.
//
// Program arrays are cleared in the background once their last fd is closed. If a process opens one
// by its id at that moment and closes it again, the kernel takes a reference for the queued work
// and loses it: the map stays for ever (prog_array_map_clear, seen on 6.18). So this function looks
// at ids only while something may still go, and does not report program arrays in the end, because
// other processes walk ids, too. It does check our programs and fds.
func goneFromKernel(t testing.TB, before ids, prefixes ...string) {
	t.Helper()
	start := time.Now()
	for {
		left := allIDs(t).without(before)
		if left.empty() {
			return
		}
		waited := time.Since(start)
		if waited > time.Second && len(left.named(t, prefixes...)) == 0 {
			return // another process's
		}
		if waited > 20*time.Second {
			names := slices.DeleteFunc(left.named(t, prefixes...), func(name string) bool { return strings.HasPrefix(name, progArray) })
			assert.Assert(t, len(names) == 0, "still in the kernel: %v", names)
			t.Log("the kernel has lost count of a program array")
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// progArray is the prefix that named puts before the names of program arrays.
const progArray = "program array "

// typesGone waits until no BTF object in the kernel holds any of these types.
func typesGone(t testing.TB, types ...[]byte) {
	t.Helper()
	var left []uint32
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if left = sameTypes(t, types...); len(left) == 0 {
			return
		}
	}
	t.Fatalf("still in the kernel: BTF objects %v", left)
}

// sameTypes lists the BTF objects in the kernel that hold any of these types.
func sameTypes(t testing.TB, types ...[]byte) []uint32 {
	t.Helper()
	sizes, all := make(map[int]bool), make(map[string]bool)
	for _, raw := range types {
		sizes[len(raw)], all[string(raw)] = true, true
	}
	var found []uint32
	ids, err := bpfsys.IDs(bpfsys.BTFGetNextID)
	assert.NilError(t, err)
	for _, id := range ids {
		fd, err := bpfsys.FDByID(bpfsys.BTFGetFDByID, id)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		assert.NilError(t, err)
		info, _, _, err := bpfsys.GetBTFInfo(fd, false)
		if err == nil && sizes[int(info.BTFSize)] {
			var data []byte
			_, _, data, err = bpfsys.GetBTFInfo(fd, true)
			if all[string(data)] {
				found = append(found, id)
			}
		}
		bpfsys.Close(fd)
		assert.NilError(t, err)
	}
	return found
}

// engine is a way to load a trace.
type engine struct {
	name string
	load func(tr *trace.Trace, tg *target.Target, o target.Options) (*target.Result, error)
}

var engines = []engine{
	{"issue", issue.Issue},
	{"replay", func(tr *trace.Trace, tg *target.Target, o target.Options) (*target.Result, error) {
		a, err := emit.Emit(tr)
		if err != nil {
			return nil, err
		}
		return replay.Load(a, replay.Options{Options: o, Target: tg})
	}},
}

// needLoaders skips tests on kernels that cannot run loader programs.
func needLoaders(t testing.TB) {
	t.Helper()
	need.Root(t)
	need.BPF(t)
	if err := target.ProbeSyscall(); err != nil {
		t.Skipf("needs programs of type SYSCALL (5.14): %v", err)
	}
}

// needType skips if the kernel lacks a type, and so the feature that came with it.
func needType(t testing.TB, name string, kind btf.Kind, what string) {
	t.Helper()
	vmlinux, err := shared.Vmlinux()
	assert.NilError(t, err)
	if _, err := vmlinux.First(name, kind); err != nil {
		t.Skipf("needs %s, and the kernel has no %s", what, name)
	}
}

func needKfuncs(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		needType(t, name, btf.KindFunc, "a kfunc")
	}
}

const coreObjects = "../selftests/bpf"

func generate(t testing.TB, path string, opts *loader.GenerateOptions) *loader.Program {
	t.Helper()
	obj, err := loader.Open(path)
	assert.NilError(t, err)
	p, err := loader.Generate(obj, opts)
	assert.NilError(t, err)
	return p
}

// plan makes the trace of an object. The test may change it.
func plan(t testing.TB, path string) *trace.Trace {
	t.Helper()
	obj, err := object.Open(path)
	assert.NilError(t, err)
	tr, err := trace.Plan(obj, trace.Options{})
	assert.NilError(t, err)
	return tr
}

// planCore makes the trace of an object of the core suite.
func planCore(t testing.TB, name string) *trace.Trace {
	t.Helper()
	return plan(t, filepath.Join(coreObjects, name+".bpf.o"))
}

func emitted(t testing.TB, tr *trace.Trace) *artefact.Artefact {
	t.Helper()
	a, err := emit.Emit(tr)
	assert.NilError(t, err)
	return a
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	assert.NilError(t, err)
	return raw
}

// shared is the kernel under test. Its types are read once.
var shared = target.New()
