package mutate

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/bpfreplay/bpfreplay/internal/core"
	"github.com/bpfreplay/bpfreplay/internal/insn"
	"github.com/bpfreplay/bpfreplay/internal/trace"
)

var le = binary.LittleEndian

// command returns the first command of type C for which is returns true, and its index, or -1.
func command[C trace.Command](t *trace.Trace, is func(c C) bool) (int, C) {
	for i, c := range t.Commands {
		if c, ok := c.(C); ok && is(c) {
			return i, c
		}
	}
	var none C
	return -1, none
}

// on changes the first such command.
func on[C trace.Command](is func(c C) bool, do func(c C)) change {
	return func(t *trace.Trace) {
		if i, c := command(t, is); i >= 0 {
			do(c)
		}
	}
}

// drop removes the first such command.
func drop[C trace.Command](is func(c C) bool) change {
	return func(t *trace.Trace) {
		if i, _ := command(t, is); i >= 0 {
			t.Commands = slices.Delete(t.Commands, i, i+1)
		}
	}
}

// Predicates for the commands of a map or program of this name; "" matches any.

func mapNamed(name string) func(*trace.CreateMap) bool {
	return func(c *trace.CreateMap) bool { return c.Map != nil && (name == "" || c.Name == name) }
}

func template(c *trace.CreateMap) bool { return c.Map == nil }

func valueOf(name string) func(*trace.UpdateElem) bool {
	return func(c *trace.UpdateElem) bool {
		return c.Initial != nil && (name == "" || c.Name == name)
	}
}

func slotOf(name string) func(*trace.UpdateElem) bool {
	return func(c *trace.UpdateElem) bool { return c.FD != trace.NoFD && c.Name == name }
}

func freezeOf(name string) func(*trace.Freeze) bool {
	return func(c *trace.Freeze) bool { return name == "" || c.Name == name }
}

func programNamed(name string) func(*trace.LoadProgram) bool {
	return func(c *trace.LoadProgram) bool { return c.Name == name }
}

func anyBTF(*trace.LoadBTF) bool { return true }

func anyClose(*trace.Close) bool { return true }

func onMap(name string, do func(a *trace.MapAttr)) change {
	return on(mapNamed(name), func(c *trace.CreateMap) { do(&c.Attr) })
}

func onValue(name string, do func(v []byte)) change {
	return on(valueOf(name), func(c *trace.UpdateElem) {
		c.Value = bytes.Clone(c.Value)
		do(c.Value)
	})
}

func onProgram(name string, do func(c *trace.LoadProgram)) change {
	return on(programNamed(name), do)
}

func onSymbol(name string, do func(s *trace.Symbol)) change {
	return func(t *trace.Trace) {
		for i := range t.Symbols {
			if t.Symbols[i].Name == name {
				do(t.Symbols[i])
			}
		}
	}
}

func renameSymbol(from, to string) change {
	return onSymbol(from, func(s *trace.Symbol) { s.Name = to })
}

func swapSymbols(a, b string) change {
	return func(t *trace.Trace) {
		for i := range t.Symbols {
			switch s := t.Symbols[i]; s.Name {
			case a:
				s.Name = b
			case b:
				s.Name = a
			}
		}
	}
}

// pair changes two commands of a type together.
func pair[C trace.Command](first, second func(c C) bool, do func(a, b C)) change {
	return func(t *trace.Trace) {
		i, a := command(t, first)
		j, b := command(t, second)
		if i >= 0 && j >= 0 && i != j {
			do(a, b)
		}
	}
}

// again repeats a command, and nobody closes the second output.
func again[C trace.Command](is func(c C) bool, copied func(c C, out trace.FD) trace.Command) change {
	return func(t *trace.Trace) {
		i, c := command(t, is)
		if i < 0 {
			return
		}
		t.FDs = append(t.FDs, "a second one")
		t.Commands = slices.Insert(t.Commands, i+1, copied(c, trace.FD(len(t.FDs)-1)))
	}
}

// References.

// fixup returns the nth fixup of a program for which is returns true.
func fixup(c *trace.LoadProgram, n int, is func(f *trace.Fixup) bool) *trace.Fixup {
	for i := range c.Fixups {
		if !is(&c.Fixups[i]) {
			continue
		}
		if n == 0 {
			return &c.Fixups[i]
		}
		n--
	}
	return &trace.Fixup{Insn: -1}
}

func ofKind(kind trace.FixupKind) func(f *trace.Fixup) bool {
	return func(f *trace.Fixup) bool { return f.Kind == kind }
}

// toMap matches references to the map of this name.
func toMap(t *trace.Trace, name string) func(f *trace.Fixup) bool {
	i := slices.IndexFunc(t.Maps, func(m *trace.Map) bool { return m.Name == name })
	return func(f *trace.Fixup) bool { return f.Kind == trace.FixupMap && i >= 0 && f.FD == t.MapFD(i) }
}

// swapRefs swaps the first references of a program to two maps.
func swapRefs(program, a, b string) change {
	return func(t *trace.Trace) {
		onProgram(program, func(c *trace.LoadProgram) {
			x, y := fixup(c, 0, toMap(t, a)), fixup(c, 0, toMap(t, b))
			x.FD, y.FD = y.FD, x.FD
		})(t)
	}
}

// dropFixup removes a fixup, so that the instruction stays as planned.
func dropFixup(program string, kind trace.FixupKind, n int) change {
	return onProgram(program, func(c *trace.LoadProgram) {
		f := *fixup(c, n, ofKind(kind))
		c.Fixups = slices.DeleteFunc(slices.Clone(c.Fixups), func(g trace.Fixup) bool { return g == f })
	})
}

// nth changes the nth instruction for which is returns true, and returns its index, or -1.
func nth(p insn.Insns, n int, is func(p insn.Insns, i int) bool, do func(p insn.Insns, i int)) int {
	for i := range p.Len() {
		if !is(p, i) {
			continue
		}
		if n == 0 {
			do(p, i)
			return i
		}
		n--
	}
	return -1
}

// onNth changes the nth instruction of a program for which is returns true.
func onNth(program string, n int, is func(p insn.Insns, i int) bool, do func(p insn.Insns, i int)) change {
	return onProgram(program, func(c *trace.LoadProgram) { nth(c.Insns, n, is, do) })
}

// onRef changes the nth 64-bit load of a program with this kind of reference (insn.Pseudo*).
func onRef(program string, src uint8, n int, do func(p insn.Insns, i int)) change {
	return onNth(program, n, func(p insn.Insns, i int) bool { return p.IsLdImm64(i) && p.Src(i) == src }, do)
}

// onOp changes the nth instruction of a program with this opcode.
func onOp(program string, op uint8, n int, do func(p insn.Insns, i int)) change {
	return onNth(program, n, func(p insn.Insns, i int) bool { return p.Op(i) == op }, do)
}

// Opcodes of changed instructions in the objects' programs.
const (
	opMovImm   = 0xb7 // 64 bit
	opMovImm32 = 0xb4
	opJump     = 0x05
)

func loadsConstant(p insn.Insns, i int) bool { return p.Op(i) == opMovImm || p.Op(i) == opMovImm32 }

func setImm(n int32) func(p insn.Insns, i int) {
	return func(p insn.Insns, i int) { p.SetImm(i, n) }
}

func setSrc(src uint8) func(p insn.Insns, i int) {
	return func(p insn.Insns, i int) { p.SetSrc(i, src) }
}

func addImm(n int32) func(p insn.Insns, i int) {
	return func(p insn.Insns, i int) { p.SetImm(i, p.Imm(i)+n) }
}

func addSecondImm(n int32) func(p insn.Insns, i int) {
	return func(p insn.Insns, i int) { p.SetImm(i+1, p.Imm(i+1)+n) }
}

// Functions of a program, as func_info has them.

// starts returns the first instruction of each function of a program, and the end of the last one.
func starts(c *trace.LoadProgram) []int {
	var at []int
	for o := 0; o+8 <= len(c.FuncInfo); o += int(c.FuncInfoRecSize) {
		at = append(at, int(le.Uint32(c.FuncInfo[o:])))
	}
	return append(at, insn.Insns(c.Insns).Len())
}

// calls and loadsFunction match references to functions.

func calls(p insn.Insns, i int) bool { return p.IsCallTo(i, insn.PseudoCall) }

func loadsFunction(p insn.Insns, i int) bool { return p.IsLdImm64(i) && p.Src(i) == insn.PseudoFunc }

// callTo redirects the nth such reference of a program to function number to.
func callTo(program string, is func(p insn.Insns, i int) bool, n, to int) change {
	return onProgram(program, func(c *trace.LoadProgram) {
		at := starts(c)
		nth(c.Insns, n, is, func(p insn.Insns, i int) {
			if to < len(at)-1 {
				p.SetImm(i, int32(at[to]-i-1))
			}
		})
	})
}

// reorder changes the order of a program's functions, and adjusts all references to them.
func reorder(program string, order ...int) change {
	return onProgram(program, func(c *trace.LoadProgram) {
		at := starts(c)
		if len(order) != len(at)-1 {
			return
		}
		old := insn.Insns(c.Insns)
		to := make([]int, old.Len()) // new index by old
		var insns insn.Insns
		var funcs []byte
		for _, f := range order {
			rec := bytes.Clone(c.FuncInfo[f*int(c.FuncInfoRecSize):][:c.FuncInfoRecSize])
			le.PutUint32(rec, uint32(insns.Len()))
			funcs = append(funcs, rec...)
			for i := at[f]; i < at[f+1]; i++ {
				to[i] = insns.Len()
				insns = append(insns, old[i*insn.Size:][:insn.Size]...)
			}
		}
		for i := range old.Len() {
			if calls(old, i) || loadsFunction(old, i) {
				insns.SetImm(to[i], int32(to[i+1+int(old.Imm(i))]-to[i]-1))
			}
		}
		for i := range c.Fixups {
			c.Fixups[i].Insn = to[c.Fixups[i].Insn]
		}
		c.Insns, c.FuncInfo = insns, funcs
		c.LineInfo = renumber(c.LineInfo, int(c.LineInfoRecSize), to)
		for i := range c.CORE {
			c.CORE[i].InsnOff = uint32(insn.Size * to[c.CORE[i].InsnOff/insn.Size])
		}
		slices.SortFunc(c.CORE, func(a, b core.Record) int { return int(a.InsnOff) - int(b.InsnOff) })
	})
}

// renumber updates the instruction in the first field of each record, and sorts the records.
func renumber(records []byte, size int, to []int) []byte {
	var out [][]byte
	for o := 0; size > 0 && o+size <= len(records); o += size {
		rec := bytes.Clone(records[o:][:size])
		le.PutUint32(rec, uint32(to[int(le.Uint32(rec))]))
		out = append(out, rec)
	}
	slices.SortFunc(out, func(a, b []byte) int { return int(le.Uint32(a)) - int(le.Uint32(b)) })
	return bytes.Join(out, nil)
}

// Records of func_info, line_info and CO-RE. Each field has 4 bytes.

const (
	funcType = 4 // of struct bpf_func_info

	lineFile = 4 // of struct bpf_line_info
	lineText = 8
	linePos  = 12 // line << 10 | column

	coreAccess = 8 // of struct bpf_core_relo
	coreKind   = 12
)

// scratch is the size of what is changed, without effect, in place of data that does not exist.
const scratch = 32

func record(b []byte, size uint32, n int) []byte {
	if size == 0 || n < 0 || (n+1)*int(size) > len(b) {
		return make([]byte, scratch)
	}
	return b[n*int(size):][:size]
}

func onFuncInfo(program string, n int, do func(rec []byte)) change {
	return onProgram(program, func(c *trace.LoadProgram) { do(record(c.FuncInfo, c.FuncInfoRecSize, n)) })
}

func onLineInfo(program string, n int, do func(rec []byte)) change {
	return onProgram(program, func(c *trace.LoadProgram) { do(record(c.LineInfo, c.LineInfoRecSize, n)) })
}

func onCORE(program string, n int, do func(r *core.Record)) change {
	return onProgram(program, func(c *trace.LoadProgram) { do(relocation(c, n)) })
}

// relocation returns the nth CO-RE record of a program, or an unused one if there are fewer.
func relocation(c *trace.LoadProgram, n int) *core.Record {
	if n < 0 || n >= len(c.CORE) {
		return &core.Record{}
	}
	return &c.CORE[n]
}

// flip inverts bits of the byte at off.
func flip(off int, bits byte) func(b []byte) {
	return func(b []byte) {
		if off < len(b) {
			b[off] ^= bits
		}
	}
}

// cut removes the last n bytes.
func cut(b []byte, n int) []byte { return b[:max(0, len(b)-n)] }

// add32 adds n to the number of 4 bytes at off.
func add32(off int, n uint32) func(b []byte) {
	return func(b []byte) { le.PutUint32(b[off:], le.Uint32(b[off:])+n) }
}
