package loader_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/loader"
	"github.com/bpfreplay/bpfreplay/loader/bpfsys"
	"github.com/bpfreplay/bpfreplay/loader/btf"
	"github.com/bpfreplay/bpfreplay/loader/insn"
	"github.com/bpfreplay/bpfreplay/loader/target"
	"github.com/bpfreplay/bpfreplay/loader/trace"
)

// injection makes one step of a trace fail.
type injection struct {
	name  string
	errno unix.Errno
	log   bool // the error has a log
	spoil func(t *trace.Trace, i int)
}

// injections are the ways in which a step can fail, by its kind.
func injections(c trace.Command) []injection {
	switch c := c.(type) {
	case *trace.LoadBTF:
		return []injection{{"bad types", unix.EINVAL, true, func(t *trace.Trace, i int) {
			n := *c
			n.Data = slices.Clone(n.Data)
			n.Data[len(n.Data)-1] = 'x' // the last string has no end
			t.Commands[i] = &n
		}}}
	case *trace.CreateMap:
		bad := func(change func(*trace.MapAttr)) func(*trace.Trace, int) {
			return func(t *trace.Trace, i int) {
				n := *c
				change(&n.Attr)
				t.Commands[i] = &n
			}
		}
		return []injection{
			{"bad map type", unix.EINVAL, false, bad(func(a *trace.MapAttr) { a.Type = 9999 })},
			{"bad flags", unix.EINVAL, false, bad(func(a *trace.MapAttr) { a.Flags = 1 << 31 })},
			{"bad name", unix.EINVAL, false, bad(func(a *trace.MapAttr) { a.Name = "no name!" })},
		}
	case *trace.UpdateElem:
		if c.OnlyGiven {
			return nil // not issued
		}
		return []injection{{"bad flags", unix.EINVAL, false, func(t *trace.Trace, i int) {
			n := *c
			n.Flags = 99
			t.Commands[i] = &n
		}}}
	case *trace.Freeze:
		return []injection{{"no map", unix.EINVAL, false, func(t *trace.Trace, i int) {
			n := *c
			n.Map = fdOfTypes(t)
			t.Commands[i] = &n
		}}}
	case *trace.Lookup:
		return []injection{{"missing symbol", unix.ENOENT, false, func(t *trace.Trace, i int) {
			s := &t.Symbols[c.Symbol]
			s.Name, s.Weak = "no_such_thing_anywhere", false
		}}}
	case *trace.LoadProgram:
		bad := func(change func(*trace.LoadProgram)) func(*trace.Trace, int) {
			return func(t *trace.Trace, i int) {
				n := *c
				n.Insns = slices.Clone(n.Insns)
				change(&n)
				t.Commands[i] = &n
			}
		}
		return []injection{
			{"verifier reject", unix.EACCES, true, bad(func(p *trace.LoadProgram) {
				// r0 = r9, which is not initialised
				p.Insns = []byte{0xbf, 0x90, 0, 0, 0, 0, 0, 0, insn.Exit, 0, 0, 0, 0, 0, 0, 0}
				p.Fixups, p.FuncInfo, p.LineInfo = nil, p.FuncInfo[:p.FuncInfoRecSize], nil
			})},
			{"bad instruction", unix.EINVAL, true, bad(func(p *trace.LoadProgram) { p.Insns[len(p.Insns)-8] = 0xff })},
			{"bad type", unix.EINVAL, false, bad(func(p *trace.LoadProgram) { p.Type = 9999 })},
			{"bad flags", unix.EINVAL, false, bad(func(p *trace.LoadProgram) { p.Flags = 1 << 31 })},
			{"bad func_info", unix.EINVAL, true, bad(func(p *trace.LoadProgram) {
				p.FuncInfo = slices.Clone(p.FuncInfo)
				p.FuncInfo[0] = 1 // the main function does not start at 1
			})},
		}
	}
	return nil
}

func fdOfTypes(t *trace.Trace) trace.FD {
	for _, c := range t.Commands {
		if c, ok := c.(*trace.LoadBTF); ok {
			return c.Out
		}
	}
	return trace.NoFD
}

// steps is a trace with every kind of step, which tests of failures spoil.
func steps(t testing.TB) *trace.Trace {
	t.Helper()
	needType(t, "bpf_struct_ops_link", btf.KindStruct, "struct_ops with links (6.4)")
	return generate(t, "testdata/steps.o", nil).Trace
}

// TestFailureAtEveryStep: whichever step fails, in whichever way: the error
// names it, no fd is left open and nothing is left in the kernel.
func TestFailureAtEveryStep(t *testing.T) {
	needLoaders(t)
	tr := steps(t)
	assert.Assert(t, len(tr.Commands) >= 40)
	failed := 0
	for _, e := range engines {
		before := allIDs(t)
		var prefixes []string
		var types [][]byte
		for i, c := range tr.Commands {
			for _, inject := range injections(c) {
				name := fmt.Sprintf("%s: step %d (%s): %s", e.name, i, c.Subject(), inject.name)
				bad, prefix := mark(tr)
				prefixes, types = append(prefixes, prefix), append(types, typesOf(bad))
				inject.spoil(bad, i)
				keepsFDs(t, func() {
					_, err := e.load(bad, shared, target.Options{})
					var step *trace.StepError
					assert.Assert(t, errors.As(err, &step), "%s: %v", name, err)
					assert.Equal(t, step.Step, i, "%s: %v", name, err)
					assert.Equal(t, step.Subject, bad.Commands[i].Subject(), name)
					assert.ErrorIs(t, err, inject.errno, name)
					assert.Assert(t, is.Contains(err.Error(), unix.ErrnoName(inject.errno)), name)
					assert.Assert(t, !inject.log || step.Log != "", "%s: no log: %v", name, err)
				})
				failed++
			}
		}
		goneFromKernel(t, before, prefixes...)
		typesGone(t, types...)
	}
	t.Logf("%d failures in %d steps", failed, len(tr.Commands))
}

// TestFailureWithoutSteps: a loader program that does not say which step failed
// says that one did, whichever it was, and nothing of what came after it is left.
func TestFailureWithoutSteps(t *testing.T) {
	needLoaders(t)
	tr := generate(t, filepath.Join(coreObjects, "maps_array.bpf.o"), nil).Trace
	before := allIDs(t)
	var prefixes []string
	failed := 0
	for i, c := range tr.Commands {
		for _, inject := range injections(c) {
			bad, prefix := mark(tr)
			prefixes = append(prefixes, prefix)
			inject.spoil(bad, i)
			p, err := loader.FromTrace(bad, false)
			assert.NilError(t, err)
			raw := loader.Raw{Insns: p.Insns, Blob: p.Blob, Maps: len(bad.Maps), Programs: len(bad.Programs)}
			keepsFDs(t, func() {
				_, err := raw.Run(loader.Inputs{})
				var run *loader.RunError
				assert.Assert(t, errors.As(err, &run), "step %d: %s: %v", i, inject.name, err)
				assert.Equal(t, run.What, "a step of it")
			})
			failed++
		}
	}
	goneFromKernel(t, before, prefixes...)
	assert.Assert(t, failed > 10, "%d", failed)
}

// TestFailureAfterLongLog: a program whose log fits into no buffer is not the one that
// fails.
func TestFailureAfterLongLog(t *testing.T) {
	needLoaders(t)
	tr := generate(t, filepath.Join(coreObjects, "fail_second.bpf.o"), nil).Trace
	first := slices.IndexFunc(tr.Commands, func(c trace.Command) bool { return c.Subject() == "program good" })
	long := *tr.Commands[first].(*trace.LoadProgram)
	long.Insns = []byte{
		0xb7, 0, 0, 0, 0, 0, 0, 0, // r0 = 0
		0x07, 0, 0, 0, 1, 0, 0, 0, // r0 += 1
		0xa5, 0, 0xfe, 0xff, 0xff, 0x7f, 0, 0, // if r0 < 32767 goto -2
		insn.Exit, 0, 0, 0, 0, 0, 0, 0,
	}
	long.Fixups, long.FuncInfo, long.LineInfo, long.CORE = nil, long.FuncInfo[:long.FuncInfoRecSize], nil, nil
	tr.Commands[first] = &long

	check := func(name string, err error, log bool) {
		t.Helper()
		var step *trace.StepError
		assert.Assert(t, errors.As(err, &step), "%s: %v", name, err)
		assert.Assert(t, is.Contains(err.Error(), "program outside: PROG_LOAD: EACCES"), name)
		assert.ErrorIs(t, err, unix.EACCES, name)
		assert.Equal(t, step.Log != "", log, "%s: %v", name, err)
	}
	for _, e := range engines {
		_, err := e.load(tr, shared, target.Options{})
		check(e.name, err, true)
	}
	p, err := loader.FromTrace(tr, true)
	assert.NilError(t, err)
	_, err = p.Artefact().Load()
	check("artefact", err, false) // settings are for all programs
}

// TestFailureOfFill: the third element of an array is refused.
func TestFailureOfFill(t *testing.T) {
	needLoaders(t)
	for _, count := range []int{4, 5} {
		tr, prefix := mark(steps(t))
		at := slices.IndexFunc(tr.Commands, func(c trace.Command) bool { return c.Subject() == "map m_array" })
		array := tr.Commands[at].(*trace.CreateMap)
		values := make([]byte, 16*count)
		for i := range values {
			values[i] = byte(i)
		}
		fill := &trace.FillArray{Map: array.Out, Name: "m_array", Values: values, Count: count}
		tr.Commands = slices.Insert(tr.Commands, at+1, trace.Command(fill))
		before := allIDs(t)
		for _, e := range engines {
			keepsFDs(t, func() {
				fds, err := e.load(tr, shared, target.Options{})
				if count > int(array.Attr.MaxEntries) {
					var step *trace.StepError
					assert.Assert(t, errors.As(err, &step), "%v", err)
					assert.Equal(t, step.Step, at+1)
					assert.ErrorIs(t, err, unix.E2BIG)
					return
				}
				assert.NilError(t, err)
				defer fds.Close()
				for i := range count {
					v := make([]byte, 16)
					assert.NilError(t, bpfsys.LookupElem(fds.Maps[array.Map], []byte{byte(i), 0, 0, 0}, v))
					assert.DeepEqual(t, v, values[16*i:16*i+16])
				}
			})
		}
		goneFromKernel(t, before, prefix)
	}
}

// TestFDLimit allows a load one fd more each time, until it succeeds. Nothing
// that is learnt of the kernel in this state may be kept.
func TestFDLimit(t *testing.T) {
	needLoaders(t)
	tr := steps(t)
	_, err := shared.Vmlinux()
	assert.NilError(t, err)
	tg := target.New()
	_, err = engines[0].limited(t, 0, generate(t, filepath.Join(coreObjects, "maps_hash.bpf.o"), nil).Trace, tg, target.Options{})
	assert.ErrorIs(t, err, unix.EMFILE)
	assert.Equal(t, tg.Features(), target.New().Features())

	for _, e := range engines {
		tg := target.New()
		warm, err := e.load(tr, tg, target.Options{}) // reads what takes fds of its own
		assert.NilError(t, err)
		want := outcome(t, tr, warm, nil)
		warm.Close()

		before := allIDs(t)
		given, err := e.load(tr, tg, target.Options{})
		assert.NilError(t, err)
		o := target.Options{Maps: map[string]int{tr.Maps[0].Name: given.Maps[0], ".rodata": given.Maps[mapNamed(t, tr, ".rodata")]}}
		bad, prefix := mark(tr)
		failures := 0
		for n := 0; ; n++ {
			assert.Assert(t, n < 200)
			fds, err := e.limited(t, n, bad, tg, o)
			if err == nil {
				fds.Close()
				break
			}
			failures++
			assert.ErrorIs(t, err, unix.EMFILE, "%s with %d fds", e.name, n)
			var step *trace.StepError
			var run *loader.RunError
			assert.Assert(t, errors.As(err, &step) || errors.As(err, &run), "%s with %d fds: %v", e.name, n, err)
		}
		given.Close()
		assert.Assert(t, failures >= len(tr.Maps)+len(tr.Programs), "%s: %d failures", e.name, failures)
		goneFromKernel(t, before, prefix)
		after, err := e.load(tr, tg, target.Options{})
		assert.NilError(t, err)
		assert.Equal(t, outcome(t, tr, after, nil), want, e.name)
		assert.Equal(t, tg.Features(), target.New().Features(), e.name)
		after.Close()
	}
}

func mapNamed(t testing.TB, tr *trace.Trace, name string) int {
	t.Helper()
	i := slices.IndexFunc(tr.Maps, func(m trace.Map) bool { return m.Name == name })
	assert.Assert(t, i >= 0, "no map %s", name)
	return i
}

// limited loads with room for n more fds.
func (e engine) limited(t testing.TB, n int, tr *trace.Trace, tg *target.Target, o target.Options) (*loader.FDs, error) {
	t.Helper()
	before := openFDs()
	top := 2
	for fd := range before {
		top = max(top, fd)
	}
	restore := fillGaps(t, top)
	var old unix.Rlimit
	assert.NilError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	assert.NilError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(top + 1 + n), Max: old.Max}))
	fds, err := e.load(tr, tg, o)
	assert.NilError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old))
	restore()
	if err != nil {
		assert.DeepEqual(t, openFDs(), before)
	}
	return fds, err
}

// fillGaps opens all fds below top.
func fillGaps(t testing.TB, top int) (restore func()) {
	t.Helper()
	var filled []int
	for {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		assert.NilError(t, err)
		if fd > top {
			bpfsys.Close(fd)
			break
		}
		filled = append(filled, fd)
	}
	return func() {
		for _, fd := range filled {
			bpfsys.Close(fd)
		}
	}
}

// TestRunFails: PROG_TEST_RUN itself fails, before the loader program has run.
func TestRunFails(t *testing.T) {
	needLoaders(t)
	p := generate(t, "testdata/steps.o", nil)
	raw := loader.Raw{Insns: p.Insns, Blob: p.Blob, Maps: 5000} // a context of more than 64 KiB
	keepsFDs(t, func() {
		_, err := raw.Run(loader.Inputs{})
		var run *loader.RunError
		assert.Assert(t, errors.As(err, &run), "%v", err)
		assert.Equal(t, run.What, "PROG_TEST_RUN")
		assert.ErrorIs(t, err, unix.EINVAL)
	})
	raw = loader.Raw{Insns: p.Insns[:len(p.Insns)-8], Blob: p.Blob}
	keepsFDs(t, func() {
		_, err := raw.Run(loader.Inputs{})
		var run *loader.RunError
		assert.Assert(t, errors.As(err, &run), "%v", err)
		assert.Equal(t, run.What, "PROG_LOAD")
		assert.Assert(t, run.Log != "")
	})
}

// TestLongLoader: a failure gets out of a loader program of tens of
// thousands of instructions from wherever it happens.
func TestLongLoader(t *testing.T) {
	needLoaders(t)
	tr := &trace.Trace{
		Object: "long", License: "GPL", Maps: []trace.Map{{Name: "m"}}, FDs: []trace.FDInfo{{Name: "map m"}},
		Commands: []trace.Command{&trace.CreateMap{
			Name: "m", Inner: trace.NoFD, Setting: -1, Out: 0,
			Attr: trace.MapAttr{Type: 2, KeySize: 4, ValueSize: 4, MaxEntries: 6_000, Name: "m", BTF: trace.NoFD},
		}},
	}
	for i := range 6_000 {
		n := []byte{byte(i), byte(i >> 8), 0, 0}
		tr.Commands = append(tr.Commands, &trace.UpdateElem{Map: 0, Name: "m", Key: n, Value: n, FD: trace.NoFD, MapIndex: -1, Setting: -1})
	}
	p, err := loader.FromTrace(tr, false)
	assert.NilError(t, err)
	assert.Assert(t, len(p.Insns)/insn.Size > 50_000)
	for _, e := range engines {
		keepsFDs(t, func() {
			fds, err := e.load(tr, shared, target.Options{})
			assert.NilError(t, err)
			defer fds.Close()
			v := make([]byte, 4)
			assert.NilError(t, bpfsys.LookupElem(fds.Maps[0], []byte{0x6f, 0x17, 0, 0}, v))
			assert.DeepEqual(t, v, []byte{0x6f, 0x17, 0, 0})
			for _, at := range []int{1, 3000, 6_000} {
				bad := *tr
				bad.Commands = slices.Clone(tr.Commands)
				n := *bad.Commands[at].(*trace.UpdateElem)
				n.Flags = 99
				bad.Commands[at] = &n
				_, err := e.load(&bad, shared, target.Options{})
				var step *trace.StepError
				assert.Assert(t, errors.As(err, &step), "%v", err)
				assert.Equal(t, step.Step, at)
			}
		})
	}
}

// TestNothing loads an object in which there is nothing to load.
func TestNothing(t *testing.T) {
	needLoaders(t)
	for _, e := range engines {
		keepsFDs(t, func() {
			fds, err := e.load(&trace.Trace{Object: "nothing"}, shared, target.Options{})
			assert.NilError(t, err)
			assert.Equal(t, len(fds.Maps)+len(fds.Programs), 0)
			fds.Close()
		})
	}
}

// TestNoStdin: fd 0 is as good as any other, and is open while a daemon loads.
func TestNoStdin(t *testing.T) {
	needLoaders(t)
	tr := steps(t)
	normal, err := engines[0].load(tr, shared, target.Options{})
	assert.NilError(t, err)
	defer normal.Close()
	want := outcome(t, tr, normal, nil)
	for _, e := range engines {
		keepsFDs(t, func() {
			saved, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 100)
			assert.NilError(t, err)
			bpfsys.Close(0)
			fds, err := e.load(tr, shared, target.Options{Maps: map[string]int{"m_hash": normal.Maps[mapNamed(t, tr, "m_hash")]}})
			got := outcome(t, tr, fds, err)
			fail := *tr
			fail.Commands = append(slices.Clone(tr.Commands), &trace.Freeze{Map: fail.ProgramFD(0), Name: "no map"})
			_, failure := e.load(&fail, shared, target.Options{Maps: map[string]int{"m_hash": normal.Maps[mapNamed(t, tr, "m_hash")]}})
			if fds != nil {
				fds.Close()
			}
			_, free := unix.FcntlInt(0, unix.F_GETFD, 0)
			assert.NilError(t, unix.Dup3(saved, 0, 0))
			bpfsys.Close(saved)
			assert.Equal(t, got, want, e.name)
			assert.ErrorIs(t, failure, unix.EINVAL)
			assert.ErrorIs(t, free, unix.EBADF, "%s: fd 0 stays open", e.name)
		})
	}
}

// TestSameName: a collection cannot hold two things of one name.
func TestSameName(t *testing.T) {
	needLoaders(t)
	p := generate(t, filepath.Join(coreObjects, "prog_many.bpf.o"), nil)
	p.Trace.Programs = slices.Clone(p.Trace.Programs)
	p.Trace.Programs[1].Name = p.Trace.Programs[0].Name
	keepsFDs(t, func() {
		coll, err := p.Load(nil)
		if err == nil {
			coll.Close()
		}
		assert.ErrorContains(t, err, p.Trace.Programs[0].Name)
	})
}
