package object

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/bpfreplay/bpfreplay/internal/uapi"
	"github.com/bpfreplay/bpfreplay/internal/visible"
)

// FuzzOpen: opening never panics, and every reference in the result is valid.
func FuzzOpen(f *testing.F) {
	for _, pattern := range []string{"*.o", "refused/*.o", "reported/*.o"} {
		files, err := filepath.Glob(filepath.Join("testdata", pattern))
		if err != nil || len(files) == 0 {
			f.Fatalf("no seeds: %v", err)
		}
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(raw)
		}
	}
	b, prog, _ := twoFunctions(loadImm64(0, 0)[0], 0)
	b.relocate(prog, 0, uint64(b.symbol(builtSymbol{kind: symSection, section: b.data(".jumptables", words(0, 8)), size: 16})))
	f.Add(b.bytes())
	f.Fuzz(func(t *testing.T, raw []byte) {
		o, err := open(raw, "fuzz.o", 1<<22, CiliumRules)
		if err != nil {
			if text := err.Error(); visible.Text(text) != text {
				t.Fatalf("%q", text)
			}
			return
		}
		checkReferences(t, o)
		dump(o)
		for _, w := range o.Warnings {
			if text := w.String(); visible.Line(text) != text {
				t.Fatalf("%q", text)
			}
		}
	})
}

func checkReferences(t testing.TB, o *Object) {
	t.Helper()
	index := func(what string, i, n int) {
		if i < 0 || i >= n {
			t.Fatalf("%s %d of %d", what, i, n)
		}
	}
	for i := range o.Functions {
		f := &o.Functions[i]
		last := -1
		for _, r := range f.Relocations {
			index("instruction", r.Insn, len(f.Insns)/8)
			if r.Insn <= last {
				t.Fatalf("relocation of instruction %d after %d", r.Insn, last)
			}
			last = r.Insn
			switch r.Kind {
			case RelocMap, RelocMapValue, RelocJumpTable:
				index("map", r.Target, len(o.Maps))
			case RelocCall, RelocFunc:
				index("function", r.Target, len(o.Functions))
				if !o.Functions[r.Target].Subprog {
					t.Fatalf("call of %q, which is not a subprogram", o.Functions[r.Target].Name)
				}
			default:
				index("extern", r.Target, len(o.Externs))
			}
		}
		for _, c := range f.CORE {
			index("instruction", c.Insn, len(f.Insns)/8)
		}
		if f.ExceptionCallback != nil {
			index("function", *f.ExceptionCallback, len(o.Functions))
		}
	}
	for i := range o.Maps {
		m := &o.Maps[i]
		if m.Data != nil && m.Type != uapi.MapArena && m.DataSize != m.ValueSize || len(m.Data) > int(m.DataSize) {
			t.Fatalf("map %q: %d of %d bytes of data for a value of %d", m.Name, len(m.Data), m.DataSize, m.ValueSize)
		}
		for _, s := range m.Slots {
			if m.Type == uapi.MapProgArray {
				index("function", s.Target, len(o.Functions))
			} else {
				index("map", s.Target, len(o.Maps))
			}
		}
		if m.StructOps != nil {
			for _, member := range m.StructOps.Members {
				index("function", member.Function, len(o.Functions))
			}
		}
		if m.JumpTable != nil {
			index("function", m.JumpTable.Function, len(o.Functions))
		}
	}
}
