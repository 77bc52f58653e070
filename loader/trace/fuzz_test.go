package trace_test

import (
	"io"
	"os"
	"testing"
	"time"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/loader/emit"
	"github.com/bpfreplay/bpfreplay/loader/object"
	"github.com/bpfreplay/bpfreplay/loader/trace"
)

// FuzzPlan: whatever the object, planning, printing and emitting it neither
// panics nor takes long, and all that a trace refers to is there.
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
			for _, inputs := range []bool{false, true} {
				if l, err := emit.Emit(tr, emit.Options{Inputs: inputs}); err == nil && len(l.Blob)%8 != 0 {
					t.Fatalf("a blob of %d bytes", len(l.Blob))
				}
			}
		}
		if d := time.Since(start); d > 20*time.Second {
			t.Fatalf("%d bytes took %v", len(raw), d)
		}
	})
}

// checkTrace checks that a trace refers only to what is there.
func checkTrace(t testing.TB, tr *trace.Trace) {
	t.Helper()
	index := func(what string, i, n int) {
		if i < -1 || i >= n {
			t.Fatalf("%s %d of %d", what, i, n)
		}
	}
	fd := func(fd trace.FD) { index("fd", int(fd), len(tr.FDs)) }
	opened := make(map[trace.FD]bool)
	out := func(x trace.FD) {
		fd(x)
		if x < 0 || opened[x] {
			t.Fatalf("fd %d is opened twice", x)
		}
		opened[x] = true
	}
	for _, c := range tr.Commands {
		switch c := c.(type) {
		case *trace.LoadBTF:
			out(c.Out)
		case *trace.CreateMap:
			out(c.Out)
			fd(c.Attr.BTF)
			fd(c.Inner)
			index("map", c.Map, len(tr.Maps))
			index("setting", c.Setting, len(tr.Settings))
		case *trace.UpdateElem:
			fd(c.Map)
			fd(c.FD)
			index("map", c.MapIndex, len(tr.Maps))
			index("setting", c.Setting, len(tr.Settings))
		case *trace.FillArray:
			fd(c.Map)
			if c.Count <= 0 || len(c.Values)%c.Count != 0 {
				t.Fatalf("%d values in %d bytes", c.Count, len(c.Values))
			}
		case *trace.Freeze:
			fd(c.Map)
		case *trace.Lookup:
			index("symbol", c.Symbol, len(tr.Symbols))
			fd(tr.Symbols[c.Symbol].BTF)
		case *trace.LoadProgram:
			out(c.Out)
			fd(c.BTF)
			index("program", c.Program, len(tr.Programs))
			index("symbol", c.Attach, len(tr.Symbols))
			for _, x := range c.Fixups {
				index("instruction", x.Insn, len(c.Insns)/8)
				if x.Kind == trace.FixupMap {
					fd(x.FD)
				} else {
					index("symbol", x.Symbol, len(tr.Symbols))
				}
			}
		case *trace.Close:
			fd(c.FD)
			if int(c.FD) < tr.Outputs() {
				t.Fatalf("output %d is closed", c.FD)
			}
		default:
			t.Fatalf("command %T in a plan", c)
		}
	}
	for i := range tr.Outputs() {
		if !opened[trace.FD(i)] {
			t.Fatalf("output %d (%s) is never opened", i, tr.FDs[i].Name)
		}
	}
}
