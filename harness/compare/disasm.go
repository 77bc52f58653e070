package compare

import (
	"fmt"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/internal/insn"
)

// listed is one instruction as text. slot is its number in slots of 8 bytes, as the verifier
// counts. text does not contain the number, so an additional instruction does not make all later
// lines differ.
type listed struct {
	slot   int
	source string // the source line that starts here, if any
	text   string
}

// listing disassembles a function.
func listing(s *state.State, f *state.Function) []listed {
	d := disassembler{insns: insn.Insns(f.Insns), refs: refsOf(f)}
	source := make(map[uint32]string, len(f.Lines))
	for _, l := range f.Lines {
		source[l[0]] = lineText(s, l[1])
	}
	var list []listed
	for i := 0; i < d.insns.Len(); i++ {
		list = append(list, listed{slot: i, source: source[uint32(i)], text: d.text(i)})
		if d.insns.IsLdImm64(i) {
			i++
		}
	}
	return list
}

// lines returns the lines of a listing, with source lines between the instructions.
func lines(list []listed) []string {
	var lines []string
	for _, l := range list {
		if l.source != "" {
			lines = append(lines, "; "+l.source)
		}
		lines = append(lines, l.text)
	}
	return lines
}

// lineText returns a source line of the state, or "?" if the index is out of range in a damaged
// state.
func lineText(s *state.State, i uint32) string {
	if int(i) < len(s.Strings) {
		return s.Strings[i]
	}
	return "?"
}

// disassembler formats instructions as the kernel's verifier does, and refers to maps, functions
// and symbols by name.
type disassembler struct {
	insns insn.Insns
	refs  map[uint32]*state.Ref
}

var aluOps = map[uint8]string{
	0x00: "+=", 0x10: "-=", 0x20: "*=", 0x30: "/=", 0x40: "|=", 0x50: "&=", 0x60: "<<=",
	0x70: ">>=", 0x90: "%=", 0xa0: "^=", 0xb0: "=", 0xc0: "s>>=",
}

var jumpOps = map[uint8]string{
	0x10: "==", 0x20: ">", 0x30: ">=", 0x40: "&", 0x50: "!=", 0x60: "s>", 0x70: "s>=",
	0xa0: "<", 0xb0: "<=", 0xc0: "s<", 0xd0: "s<=",
}

var accessSizes = map[uint8]string{0x00: "u32", 0x08: "u16", 0x10: "u8", 0x18: "u64"}

// raw formats every field of an instruction, so that no field of an unknown instruction is hidden.
func (d *disassembler) raw(i int) string {
	return fmt.Sprintf("insn %#02x dst %d src %d off %d imm %#x",
		d.insns.Op(i), d.insns.Dst(i), d.insns.Src(i), d.insns.Off(i), uint32(d.insns.Imm(i)))
}

func (d *disassembler) text(i int) string {
	text := ""
	switch d.insns.Op(i) & 7 {
	case 0: // LD
		text = d.load64(i)
	case 1, 2, 3: // LDX, ST, STX
		text = d.access(i)
	case 4, 7: // ALU, ALU64
		text = d.alu(i)
	case 5, 6: // JMP, JMP32
		text = d.jump(i)
	}
	if text == "" {
		return d.raw(i)
	}
	return text
}

func (d *disassembler) load64(i int) string {
	if !d.insns.IsLdImm64(i) {
		return ""
	}
	dst := d.insns.Dst(i)
	if r, ok := d.refs[uint32(i)]; ok {
		switch r.Kind {
		case state.RefMap:
			return fmt.Sprintf("r%d = map %s", dst, r.To)
		case state.RefValue:
			return fmt.Sprintf("r%d = value of map %s+%d", dst, r.To, r.Offset)
		case state.RefFunc:
			return fmt.Sprintf("r%d = function %s", dst, r.To)
		}
		return fmt.Sprintf("r%d = address of %s", dst, r.To)
	}
	if d.insns.Src(i) != 0 {
		return d.raw(i) + " / " + d.raw(i+1)
	}
	value := uint64(uint32(d.insns.Imm(i))) | uint64(uint32(d.insns.Imm(i+1)))<<32
	return fmt.Sprintf("r%d = %#x ll", dst, value)
}

// access formats plain loads and stores (mode MEM). It returns "" for others, which stay raw.
func (d *disassembler) access(i int) string {
	op := d.insns.Op(i)
	if op&0xe0 != 0x60 {
		return ""
	}
	size := accessSizes[op&0x18]
	dst, src, off := d.insns.Dst(i), d.insns.Src(i), d.insns.Off(i)
	switch {
	case op&7 == 1 && d.insns.Imm(i) == 0:
		return fmt.Sprintf("r%d = *(%s *)(r%d %+d)", dst, size, src, off)
	case op&7 == 2 && src == 0:
		return fmt.Sprintf("*(%s *)(r%d %+d) = %d", size, dst, off, d.insns.Imm(i))
	case op&7 == 3 && d.insns.Imm(i) == 0:
		return fmt.Sprintf("*(%s *)(r%d %+d) = r%d", size, dst, off, src)
	}
	return ""
}

func (d *disassembler) alu(i int) string {
	op := d.insns.Op(i)
	sign := aluOps[op&0xf0]
	if sign == "" || d.insns.Off(i) != 0 {
		return "" // neg, end, and the signed and address-space forms that use off
	}
	if constant := op&8 == 0; constant && d.insns.Src(i) != 0 || !constant && d.insns.Imm(i) != 0 {
		return ""
	}
	dst, src := d.operands(i)
	return fmt.Sprintf("%s %s %s", dst, sign, src)
}

// operands formats the operands of an ALU or jump instruction; the second is a register or a
// constant.
func (d *disassembler) operands(i int) (dst, src string) {
	op, reg := d.insns.Op(i), "r"
	if op&7 == 4 || op&7 == 6 { // ALU and JMP32 are of 32 bits
		reg = "w"
	}
	dst = fmt.Sprintf("%s%d", reg, d.insns.Dst(i))
	if op&8 == 0 {
		return dst, fmt.Sprint(d.insns.Imm(i))
	}
	return dst, fmt.Sprintf("%s%d", reg, d.insns.Src(i))
}

func (d *disassembler) jump(i int) string {
	op := d.insns.Op(i)
	switch op {
	case insn.Exit:
		return "exit"
	case insn.Call:
		return d.call(i)
	case 0x05:
		return fmt.Sprintf("goto %+d", d.insns.Off(i))
	case 0x06:
		return fmt.Sprintf("goto %+d", d.insns.Imm(i))
	}
	sign := jumpOps[op&0xf0]
	if sign == "" {
		return ""
	}
	dst, src := d.operands(i)
	return fmt.Sprintf("if %s %s %s goto %+d", dst, sign, src, d.insns.Off(i))
}

func (d *disassembler) call(i int) string {
	if r, ok := d.refs[uint32(i)]; ok {
		return "call " + r.To
	}
	if d.insns.Src(i) != 0 {
		return ""
	}
	imm := d.insns.Imm(i)
	if imm == state.TailCall {
		return "call bpf_tail_call"
	}
	return "call helper " + strings.TrimPrefix(state.HelperKey(imm), "+")
}
