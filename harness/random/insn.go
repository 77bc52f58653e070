package random

import "github.com/bpfreplay/bpfreplay/internal/insn"

// Instruction classes, sizes and operations (include/uapi/linux/bpf.h). They are plain numbers: an
// assembler might refuse or change an instruction that is meant to test readers.
const (
	alu32, alu64  = 0x04, 0x07
	jmp64, jmp32  = 0x05, 0x06
	srcReg        = 0x08
	modeMem       = 0x60
	modeAbs       = 0x20
	modeSigned    = 0x80
	modeAtomic    = 0xc0
	clLD          = 0x00
	clLDX         = 0x01
	clST          = 0x02
	clSTX         = 0x03
	word, half    = 0x00, 0x08
	byte1, double = 0x10, 0x18
)

const (
	add, sub, mul, div, or, and = 0x00, 0x10, 0x20, 0x30, 0x40, 0x50
	lsh, rsh, neg, mod, xor     = 0x60, 0x70, 0x80, 0x90, 0xa0
	movOp, arsh, end            = 0xb0, 0xc0, 0xd0

	ja, jeq, jgt, jge, jset, jne = 0x00, 0x10, 0x20, 0x30, 0x40, 0x50
	jsgt, jsge, jlt, jle         = 0x60, 0x70, 0xa0, 0xb0
)

// Registers.
const (
	r0, r1, r2, r3, r4, r5 = 0, 1, 2, 3, 4, 5
	ctx, acc, r8, r9, fp   = 6, 7, 8, 9, 10
)

var sizes = map[uint32]uint8{1: byte1, 2: half, 4: word, 8: double}

func aluImm(op, dst uint8, imm int64) Insn { return Insn{Op: alu64 | op, Dst: dst, Imm: imm} }
func aluReg(op, dst, src uint8) Insn       { return Insn{Op: alu64 | srcReg | op, Dst: dst, Src: src} }
func mov(dst uint8, imm int64) Insn        { return aluImm(movOp, dst, imm) }
func movReg(dst, src uint8) Insn           { return aluReg(movOp, dst, src) }

func load(size uint32, dst, src uint8, off int16) Insn {
	return Insn{Op: clLDX | modeMem | sizes[size], Dst: dst, Src: src, Off: off}
}

func store(size uint32, dst uint8, off int16, src uint8) Insn {
	return Insn{Op: clSTX | modeMem | sizes[size], Dst: dst, Src: src, Off: off}
}

func storeImm(size uint32, dst uint8, off int16, imm int64) Insn {
	return Insn{Op: clST | modeMem | sizes[size], Dst: dst, Off: off, Imm: imm}
}

func jump(op, dst uint8, imm int64, to Target) Insn {
	return Insn{Op: jmp64 | op, Dst: dst, Imm: imm, To: to}
}

func call(helper int64) Insn { return Insn{Op: insn.Call, Imm: helper} }

func callRef(name string) Insn {
	return Insn{Op: insn.Call, Ref: &Ref{Name: name}}
}

func address(dst uint8, name string) Insn {
	return Insn{Op: insn.LdImm64, Dst: dst, Ref: &Ref{Name: name}}
}

// stack makes a register point to the stack.
func stack(dst uint8, off int64) []Insn {
	return []Insn{movReg(dst, fp), aluImm(add, dst, off)}
}

func join(parts ...any) []Insn {
	var out []Insn
	for _, p := range parts {
		switch p := p.(type) {
		case Insn:
			out = append(out, p)
		case []Insn:
			out = append(out, p...)
		}
	}
	return out
}

// slots is how many instruction slots an instruction takes.
func (i *Insn) slots() int {
	if i.Op == insn.LdImm64 {
		return 2
	}
	return 1
}

func slotsOf(list []Insn) int {
	n := 0
	for i := range list {
		n += list[i].slots()
	}
	return n
}

func (b *Block) slots() int {
	n := slotsOf(b.Head) + slotsOf(b.Tail)
	for i := range b.Body {
		n += b.Body[i].slots()
	}
	return n
}

// placed is an instruction with its slot in the function.
type placed struct {
	Insn
	at   int
	what string // the block
}

// slotsIn is how many slots a function takes. Its last instruction, exit, takes one.
func slotsIn(list []placed) int { return list[len(list)-1].at + 1 }

// place lays out a block from slot at on.
func (b *Block) place(at int, out []placed) []placed {
	body := at + slotsOf(b.Head)
	end := at + b.slots()
	tail := end - slotsOf(b.Tail)
	put := func(list []Insn, at int) {
		for _, in := range list {
			switch in.To {
			case ToBody:
				in.Off = int16(body - at - 1)
			case ToTail:
				in.Off = int16(tail - at - 1)
			case ToEnd:
				in.Off = int16(end - at - 1)
			}
			out = append(out, placed{in, at, b.What})
			at += in.slots()
		}
	}
	put(b.Head, at)
	at = body
	for i := range b.Body {
		out = b.Body[i].place(at, out)
		at += b.Body[i].slots()
	}
	put(b.Tail, tail)
	return out
}

// place lays out the function.
func (f *Function) place() []placed {
	begin := Block{What: "begin", Head: []Insn{movReg(ctx, r1), mov(acc, int64(len(f.Name)))}}
	if f.Role == Subprogram {
		begin.Head[1] = movReg(acc, r1)
	}
	finish := Block{What: "end", Head: []Insn{mov(r0, int64(f.Result)), {Op: insn.Exit}}}
	if f.Returns {
		finish.Head[0] = movReg(r0, acc)
	}
	all := Block{Body: append(append([]Block{begin}, f.Blocks...), finish)}
	return all.place(0, nil)
}
