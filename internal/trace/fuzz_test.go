package trace_test

import (
	"io"
	"os"
	"slices"
	"testing"
	"time"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/emit"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// FuzzPlan: planning, printing and emitting any object neither panics nor takes long, and every
// reference of the trace is valid.
func FuzzPlan(f *testing.F) {
	for _, file := range allObjects(f) {
		raw, err := os.ReadFile(file)
		assert.NilError(f, err)
		if len(raw) < 64<<10 {
			f.Add(raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		obj, err := object.OpenBytes(raw, "fuzz.o")
		if err != nil {
			return
		}
		start := time.Now()
		opts := trace.Options{Autoload: make(map[string]bool)}
		for i := range obj.Functions {
			opts.Autoload[obj.Functions[i].Name] = i%3 != 2
		}
		for _, o := range []trace.Options{{}, opts} {
			tr, err := trace.Plan(obj, o)
			if err != nil {
				continue
			}
			checkTrace(t, tr)
			if _, err := tr.WriteTo(io.Discard); err != nil {
				t.Fatal(err)
			}
			a, err := emit.Emit(tr)
			if err != nil {
				continue
			}
			file, err := a.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := artefact.Parse(file); err != nil {
				t.Fatalf("the artefact cannot be read: %v", err)
			}
		}
		if d := time.Since(start); d > 20*time.Second {
			t.Fatalf("%d bytes took %v", len(raw), d)
		}
	})
}

// checkTrace checks that every reference of a trace is valid.
func checkTrace(t testing.TB, tr *trace.Trace) {
	t.Helper()
	if len(tr.FDs) < 1+tr.Outputs() {
		t.Fatalf("%d fds for %d outputs", len(tr.FDs), tr.Outputs())
	}
	fd := func(x trace.FD) {
		if x < 0 || int(x) >= len(tr.FDs) {
			t.Fatalf("fd %d of %d", x, len(tr.FDs))
		}
	}
	opened := make(map[trace.FD]bool)
	out := func(x trace.FD) {
		fd(x)
		if x == trace.NoFD || opened[x] {
			t.Fatalf("fd %d is opened twice", x)
		}
		opened[x] = true
	}
	maps, programs, symbols, settings := within(t, "map", tr.Maps), within(t, "program", tr.Programs), within(t, "symbol", tr.Symbols), within(t, "setting", tr.Settings)
	loads := make(map[*trace.LoadProgram]bool)
	var edited []*trace.LoadProgram
	for _, c := range tr.Commands {
		switch c := c.(type) {
		case *trace.LoadBTF:
			out(c.Out)
			checkWords(t, c)
		case *trace.CreateMap:
			out(c.Out)
			fd(c.Attr.BTF)
			fd(c.Inner)
			maps(c.Map)
			settings(c.CPUs)
			settings(c.ValueSize)
			symbols(c.Value)
		case *trace.UpdateElem:
			fd(c.Map)
			fd(c.FD)
			maps(c.Initial)
			settings(c.Setting)
		case *trace.FillArray:
			fd(c.Map)
			if c.Count <= 0 || len(c.Values)%c.Count != 0 {
				t.Fatalf("%d values in %d bytes", c.Count, len(c.Values))
			}
		case *trace.Freeze:
			fd(c.Map)
		case *trace.Lookup:
			symbols(c.Symbol)
			fd(c.Symbol.BTF)
			settings(c.Symbol.Mismatch)
		case *trace.ChooseEnum:
			out(c.LocalBTF)
			out(c.OtherBTF)
			for _, e := range c.Edits {
				edited = append(edited, e.Program)
				if e.Record >= len(e.Program.CORE) {
					t.Fatalf("record %d of %d", e.Record, len(e.Program.CORE))
				}
				if at := int(e.Program.CORE[e.Record].InsnOff / 8); e.Imm != nil && at+1 >= len(e.Program.Insns)/8 {
					t.Fatalf("instruction %d of %d", at+1, len(e.Program.Insns)/8)
				}
			}
		case *trace.AskContext:
			out(c.BTF)
			out(c.Out)
			for _, e := range c.Edits {
				edited = append(edited, e.Program)
				if (e.Record+1)*int(e.Program.FuncInfoRecSize) > len(e.Program.FuncInfo) {
					t.Fatalf("record %d of %d bytes", e.Record, len(e.Program.FuncInfo))
				}
			}
		case *trace.LoadProgram:
			loads[c] = true
			out(c.Out)
			fd(c.BTF)
			programs(c.Program)
			symbols(c.Attach)
			settings(c.Expected)
			for _, x := range c.Fixups {
				if x.Insn < 0 || x.Insn >= len(c.Insns)/8 {
					t.Fatalf("instruction %d of %d", x.Insn, len(c.Insns)/8)
				}
				if x.Kind == trace.FixupMap {
					fd(x.FD)
				} else {
					symbols(x.Symbol)
				}
			}
		case *trace.Close:
			fd(c.FD)
			if int(c.FD) <= tr.Outputs() {
				t.Fatalf("output %d is closed", c.FD)
			}
		default:
			t.Fatalf("command %T in a plan", c)
		}
	}
	for _, c := range edited {
		if !loads[c] {
			t.Fatalf("program %s is edited and not loaded", c.Name)
		}
	}
	for i := 1; i <= tr.Outputs(); i++ {
		if !opened[trace.FD(i)] {
			t.Fatalf("output %d (%s) is never opened", i, tr.FDs[i])
		}
	}
}

// within checks that an element is nil or in the list.
func within[T any](t testing.TB, what string, list []*T) func(*T) {
	return func(p *T) {
		if p != nil && !slices.Contains(list, p) {
			t.Fatalf("%s %+v is not in the trace", what, *p)
		}
	}
}

// checkWords checks that fallbacks edit only the types.
func checkWords(t testing.TB, c *trace.LoadBTF) {
	for _, f := range c.Fallbacks {
		for _, w := range f.Data {
			if int(w.Off)+4 > len(c.Data) {
				t.Fatalf("%s: a word at %d of %d", f.Kind, w.Off, len(c.Data))
			}
		}
		for _, w := range f.Extended {
			if int(w.Off)+4 > len(c.Extended) {
				t.Fatalf("%s: a word at %d of %d", f.Kind, w.Off, len(c.Extended))
			}
		}
	}
}
