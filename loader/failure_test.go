package loader_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/insn"
	"github.com/bpfreplay/bpfreplay/internal/openfds"
	"github.com/bpfreplay/bpfreplay/internal/replay"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/loader"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// injection makes one step of a trace fail.
type injection struct {
	name  string
	errno unix.Errno
	log   bool // the error has a log
	spoil func(t *trace.Trace, c trace.Command)
}

// spoils adapts a function for commands of one type to an injection.
func spoils[C trace.Command](do func(t *trace.Trace, c C)) func(*trace.Trace, trace.Command) {
	return func(t *trace.Trace, c trace.Command) { do(t, c.(C)) }
}

// injections returns the ways in which a command can be made to fail.
func injections(c trace.Command) []injection {
	switch c := c.(type) {
	case *trace.LoadBTF:
		return []injection{{"bad types", unix.EINVAL, true, spoils(func(_ *trace.Trace, c *trace.LoadBTF) {
			copy(c.Data[bytes.Index(c.Data, []byte("\x00m_hash\x00")):], "\x00m+hash") // invalid
		})}}
	case *trace.CreateMap:
		bad := func(change func(*trace.MapAttr)) func(*trace.Trace, trace.Command) {
			return spoils(func(_ *trace.Trace, c *trace.CreateMap) { change(&c.Attr) })
		}
		return []injection{
			{"bad map type", unix.EINVAL, false, bad(func(a *trace.MapAttr) { a.Type = 9999 })},
			{"bad flags", unix.EINVAL, false, bad(func(a *trace.MapAttr) { a.Flags = 1 << 31 })},
			{"bad name", unix.EINVAL, false, bad(func(a *trace.MapAttr) { a.Name = "no name!" })},
		}
	case *trace.UpdateElem:
		return []injection{{"bad flags", unix.EINVAL, false, spoils(func(_ *trace.Trace, c *trace.UpdateElem) { c.Flags = 99 })}}
	case *trace.Freeze:
		return []injection{{"no map", unix.EINVAL, false, spoils(func(t *trace.Trace, c *trace.Freeze) { c.Map = fdOfTypes(t) })}}
	case *trace.Lookup:
		return []injection{{"missing symbol", unix.ENOENT, false, spoils(func(_ *trace.Trace, c *trace.Lookup) {
			c.Symbol.Name, c.Symbol.Weak = "no_such_thing_anywhere", false
		})}}
	case *trace.LoadProgram:
		bad := func(change func(*trace.LoadProgram)) func(*trace.Trace, trace.Command) {
			return spoils(func(_ *trace.Trace, c *trace.LoadProgram) { change(c) })
		}
		out := []injection{
			{"verifier reject", unix.EACCES, true, bad(func(p *trace.LoadProgram) {
				// r0 = r9, which is not initialised
				p.Insns = []byte{0xbf, 0x90, 0, 0, 0, 0, 0, 0, insn.Exit, 0, 0, 0, 0, 0, 0, 0}
				p.Fixups, p.FuncInfo, p.LineInfo = nil, p.FuncInfo[:p.FuncInfoRecSize], nil
			})},
			{"bad instruction", unix.EINVAL, true, bad(func(p *trace.LoadProgram) { p.Insns[len(p.Insns)-8] = 0xff })},
			{"bad type", unix.EINVAL, false, bad(func(p *trace.LoadProgram) { p.Type = 9999 })},
			{"bad flags", unix.EINVAL, false, bad(func(p *trace.LoadProgram) { p.Flags = 1 << 31 })},
		}
		if len(c.FuncInfo) > 0 {
			out = append(out, injection{"bad func_info", unix.EINVAL, true, bad(func(p *trace.LoadProgram) {
				p.FuncInfo[0] = 1 // the main function does not start at 1
			})})
		}
		return out
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

// steps returns a trace with every kind of step, for tests that make one fail.
func steps(t testing.TB) *trace.Trace {
	t.Helper()
	needType(t, "bpf_struct_ops_link", btf.KindStruct, "struct_ops with links (6.4)")
	return plan(t, "testdata/steps.o")
}

// TestFailureAtEveryStep: whichever step fails, and however, the error names it, no fd stays open,
// and nothing stays in the kernel.
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
			for k, inject := range injections(c) {
				name := fmt.Sprintf("%s: step %d (%s): %s", e.name, i, c.Subject(), inject.name)
				bad := steps(t)
				prefixes, types = append(prefixes, mark(bad)), append(types, typesOf(bad))
				at := bad.Commands[i]
				injections(at)[k].spoil(bad, at)
				keepsFDs(t, func() {
					_, err := e.load(bad, shared, target.Options{})
					var step *artefact.StepError
					assert.Assert(t, errors.As(err, &step), "%s: %v", name, err)
					assert.Equal(t, step.Subject, at.Subject(), "%s: %v", name, err)
					assert.Equal(t, step.Op, trace.What(at), "%s: %v", name, err)
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

// TestFailureWithoutSteps: if the manifest names no steps, a failing step still gives an error and
// leaves nothing behind.
func TestFailureWithoutSteps(t *testing.T) {
	needLoaders(t)
	tr := planCore(t, "maps_array")
	before := allIDs(t)
	var prefixes []string
	failed := 0
	for i, c := range tr.Commands {
		switch c.(type) {
		case *trace.CreateMap, *trace.LoadProgram:
		default:
			continue // a step without an fd is not missed
		}
		for k, inject := range injections(c) {
			bad := planCore(t, "maps_array")
			prefixes = append(prefixes, mark(bad))
			at := bad.Commands[i]
			injections(at)[k].spoil(bad, at)
			a := emitted(t, bad)
			a.Steps = nil
			keepsFDs(t, func() {
				_, err := replay.Load(a, replay.Options{})
				var step *artefact.StepError
				assert.Assert(t, errors.As(err, &step), "step %d: %s: %v", i, inject.name, err)
			})
			failed++
		}
	}
	goneFromKernel(t, before, prefixes...)
	assert.Assert(t, failed >= 8, "%d", failed)
}

// TestFailureAfterLongLog: a program whose log does not fit the buffer is not blamed for a later
// failure.
func TestFailureAfterLongLog(t *testing.T) {
	needLoaders(t)
	tr := planCore(t, "fail_second")
	first := slices.IndexFunc(tr.Commands, func(c trace.Command) bool { return c.Subject() == "program good" })
	long := tr.Commands[first].(*trace.LoadProgram)
	long.Insns = []byte{
		0xb7, 0, 0, 0, 0, 0, 0, 0, // r0 = 0
		0x07, 0, 0, 0, 1, 0, 0, 0, // r0 += 1
		0xa5, 0, 0xfe, 0xff, 0xff, 0x7f, 0, 0, // if r0 < 32767 goto -2
		insn.Exit, 0, 0, 0, 0, 0, 0, 0,
	}
	long.Fixups, long.FuncInfo, long.LineInfo, long.CORE = nil, long.FuncInfo[:long.FuncInfoRecSize], nil, nil
	for _, e := range engines {
		_, err := e.load(tr, shared, target.Options{})
		var step *artefact.StepError
		assert.Assert(t, errors.As(err, &step), "%s: %v", e.name, err)
		assert.Assert(t, is.Contains(err.Error(), "program outside: PROG_LOAD: EACCES"), e.name)
		assert.ErrorIs(t, err, unix.EACCES, e.name)
		assert.Assert(t, step.Log != "", "%s: %v", e.name, err)
	}
}

// TestFailureOfFill: the third element of an array is refused.
func TestFailureOfFill(t *testing.T) {
	needLoaders(t)
	for _, count := range []int{4, 5} {
		tr := steps(t)
		prefix := mark(tr)
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
					var step *artefact.StepError
					assert.Assert(t, errors.As(err, &step), "%v", err)
					assert.Equal(t, step.Subject, fill.Subject())
					assert.Equal(t, step.Op, "MAP_UPDATE_ELEM")
					assert.ErrorIs(t, err, unix.E2BIG)
					return
				}
				assert.NilError(t, err)
				defer fds.Close()
				for i := range count {
					v := make([]byte, 16)
					assert.NilError(t, bpfsys.LookupElem(fds.Maps[int(array.Out)-1], []byte{byte(i), 0, 0, 0}, v))
					assert.DeepEqual(t, v, values[16*i:16*i+16])
				}
			})
		}
		goneFromKernel(t, before, prefix)
	}
}

// TestFDLimit allows a load one more fd each time, until it succeeds. The Target must not keep
// answers that it got while fds were short.
func TestFDLimit(t *testing.T) {
	needLoaders(t)
	tr := steps(t)
	for _, e := range engines {
		tg := target.New()
		warm, err := e.load(tr, tg, target.Options{}) // fills the Target's caches, which takes fds
		assert.NilError(t, err)
		want := outcome(t, tr, warm, nil)
		warm.Close()

		before := allIDs(t)
		reused, err := e.load(tr, tg, target.Options{})
		assert.NilError(t, err)
		o := target.Options{Maps: map[string]int{tr.Maps[0].Name: reused.Maps[0], ".rodata": reused.Maps[mapNamed(t, tr, ".rodata")]}}
		bad := steps(t)
		prefix := mark(bad)
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
			var need *artefact.NeedError
			assert.Assert(t, !errors.As(err, &need), "%s with %d fds: %v", e.name, n, err)
		}
		reused.Close()
		assert.Assert(t, failures >= len(tr.Maps)+len(tr.Programs), "%s: %d failures", e.name, failures)
		goneFromKernel(t, before, prefix)
		after, err := e.load(tr, tg, target.Options{})
		assert.NilError(t, err)
		assert.Equal(t, outcome(t, tr, after, nil), want, e.name)
		after.Close()
	}
}

// TestFDLimitProbes: a probe that runs out of fds does not report that the kernel lacks something.
func TestFDLimitProbes(t *testing.T) {
	needLoaders(t)
	_, err := shared.Vmlinux()
	assert.NilError(t, err)
	for _, capability := range []string{artefact.NeedCORE, artefact.NeedEnum64, artefact.NeedTypeMatch, artefact.NeedKallsyms, artefact.NeedNoFuncInfo} {
		if err := target.Probe(capability); err != nil {
			continue // TestProbes covers these
		}
		tr := planCore(t, "maps_hash")
		tr.Needs = []trace.Need{{Capability: capability, Why: "this test"}}
		for _, e := range engines {
			tg := target.New()
			_, err := e.limited(t, 0, tr, tg, target.Options{})
			assert.ErrorIs(t, err, unix.EMFILE, "%s: %s", e.name, capability)
			var need *artefact.NeedError
			assert.Assert(t, !errors.As(err, &need), "%s: %v", e.name, err)
			fds, err := e.load(tr, tg, target.Options{})
			assert.NilError(t, err, "%s: %s", e.name, capability)
			fds.Close()
		}
	}
}

func mapNamed(t testing.TB, tr *trace.Trace, name string) int {
	t.Helper()
	i := slices.IndexFunc(tr.Maps, func(m *trace.Map) bool { return m.Name == name })
	assert.Assert(t, i >= 0, "no map %s", name)
	return i
}

// limited loads with room for n more fds.
func (e engine) limited(t testing.TB, n int, tr *trace.Trace, tg *target.Target, o target.Options) (*target.Result, error) {
	t.Helper()
	before := openfds.List()
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
		assert.DeepEqual(t, openfds.List(), before)
	}
	return fds, err
}

// fillGaps opens every free fd below top.
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

// TestRunFails: the loader program itself cannot be run, or cannot be loaded.
func TestRunFails(t *testing.T) {
	needLoaders(t)
	a := emitted(t, steps(t))
	a.Context = 1<<16 + 8 // PROG_TEST_RUN takes 64 KiB
	keepsFDs(t, func() {
		_, err := replay.Load(a, replay.Options{Target: shared})
		var step *artefact.StepError
		assert.Assert(t, errors.As(err, &step), "%v", err)
		assert.Equal(t, step.Subject, "loader program")
		assert.Equal(t, step.Op, "PROG_TEST_RUN")
		assert.ErrorIs(t, err, unix.EINVAL)
	})
	a = emitted(t, steps(t))
	a.Insns = a.Insns[:len(a.Insns)-8]
	keepsFDs(t, func() {
		_, err := replay.Load(a, replay.Options{Target: shared})
		var step *artefact.StepError
		assert.Assert(t, errors.As(err, &step), "%v", err)
		assert.Equal(t, step.Subject, "loader program")
		assert.Equal(t, step.Op, "PROG_LOAD")
		assert.Assert(t, step.Log != "")
	})
}

// TestLongLoader: in a loader program of tens of thousands of instructions every failure reaches
// the exit.
func TestLongLoader(t *testing.T) {
	needLoaders(t)
	m := &trace.Map{Name: "m"}
	tr := &trace.Trace{
		Object: "long", License: "GPL", Maps: []*trace.Map{m}, FDs: []string{"none", "map m"},
		Commands: []trace.Command{&trace.CreateMap{
			Map: m, Name: "m", Out: 1, Attr: trace.MapAttr{Type: 2, KeySize: 4, ValueSize: 4, MaxEntries: 6_000, Name: "m"},
		}},
	}
	for i := range 6_000 {
		n := []byte{byte(i), byte(i >> 8), 0, 0}
		tr.Commands = append(tr.Commands, &trace.UpdateElem{Map: 1, Name: fmt.Sprint("m", i), Key: n, Value: n})
	}
	assert.Assert(t, len(emitted(t, tr).Insns)/insn.Size > 50_000)
	for _, e := range engines {
		keepsFDs(t, func() {
			fds, err := e.load(tr, shared, target.Options{})
			assert.NilError(t, err)
			defer fds.Close()
			v := make([]byte, 4)
			assert.NilError(t, bpfsys.LookupElem(fds.Maps[0], []byte{0x6f, 0x17, 0, 0}, v))
			assert.DeepEqual(t, v, []byte{0x6f, 0x17, 0, 0})
			for _, at := range []int{1, 3000, 6_000} {
				bad := tr.Commands[at].(*trace.UpdateElem)
				bad.Flags = 99
				_, err := e.load(tr, shared, target.Options{})
				bad.Flags = 0
				var step *artefact.StepError
				assert.Assert(t, errors.As(err, &step), "%v", err)
				assert.Equal(t, step.Subject, bad.Subject())
				assert.ErrorIs(t, err, unix.EINVAL)
			}
		})
	}
}

// TestNothing loads an empty object.
func TestNothing(t *testing.T) {
	needLoaders(t)
	for _, e := range engines {
		keepsFDs(t, func() {
			fds, err := e.load(&trace.Trace{Object: "nothing", FDs: []string{"none"}}, shared, target.Options{})
			assert.NilError(t, err)
			assert.Equal(t, len(fds.Maps)+len(fds.Programs), 0)
			fds.Close()
		})
	}
}

// TestNoStdin: a load works while fd 0 is closed, as in a daemon, where 0 may become any file's fd.
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
			fail := steps(t)
			fail.Commands = append(fail.Commands, &trace.Freeze{Map: fail.ProgramFD(0), Name: "no map"})
			_, failure := e.load(fail, shared, target.Options{Maps: map[string]int{"m_hash": normal.Maps[mapNamed(t, tr, "m_hash")]}})
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

// TestSameName: a load that would put two things of one name into a collection fails.
func TestSameName(t *testing.T) {
	needLoaders(t)
	a := emitted(t, planCore(t, "prog_many"))
	a.Programs[1].Name = a.Programs[0].Name
	file, err := a.MarshalBinary()
	assert.NilError(t, err)
	p, err := loader.Parse(file)
	assert.NilError(t, err)
	keepsFDs(t, func() {
		coll, err := p.Load(nil)
		if err == nil {
			coll.Close()
		}
		assert.ErrorContains(t, err, "two programs have the name "+a.Programs[0].Name)
	})
}
