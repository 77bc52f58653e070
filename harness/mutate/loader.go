package mutate

import (
	"bytes"
	"slices"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/insn"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// Registers and opcodes that the emitter uses (package emit).
const (
	r0    = 0
	r1    = 1
	r3    = 3
	rCtx  = 6
	rBase = 9

	opAddImm   = 0x07
	opStore    = 0x63 // of 4 bytes
	opStoreImm = 0x62 // of 4 bytes
	opLoad     = 0x61 // of 4 bytes
	opLoad64   = 0x79
)

// Selecting the parts of a loader program to change.

// ctxMap and ctxProgram return the offset in the context of the fd that the loader hands out.

func ctxMap(p *Program, name string) int {
	return artefact.CtxMap(slices.IndexFunc(p.Trace.Maps, func(m *trace.Map) bool { return m.Name == name }))
}

func ctxProgram(p *Program, name string) int {
	i := slices.IndexFunc(p.Trace.Programs, func(t *trace.Program) bool { return t.Name == name })
	return artefact.CtxProgram(len(p.Trace.Maps), i)
}

// The blob's parts are found by their contents, not by the emitter's layout, so that these
// mutations change what the kernel sees.

// inAttr changes the attribute of a command that holds name, as the kernel gets it, at offset nameAt.
func inAttr(nameAt int, name string, do func(attr []byte)) edit {
	return func(p *Program) {
		padded := make([]byte, 16)
		copy(padded[:15], name)
		if at := bytes.Index(p.Blob, padded); at >= nameAt {
			do(p.Blob[at-nameAt:])
		}
	}
}

// Offsets of the name in the attributes of commands.
const (
	mapCreateName = bpfsys.MapCreateNameEnd - 16
	progLoadName  = 48
)

// inPart changes a part of the first command for which is returns true.
func inPart[C trace.Command](is func(c C) bool, part func(c C) []byte, do func(b []byte)) edit {
	return func(p *Program) {
		if i, c := command(p.Trace, is); i >= 0 {
			do(partOf(p, part(c)))
		}
	}
}

// part returns the offset in the blob of a part of the trace, -1 if it is not there.
func part(p *Program, b []byte) int {
	if len(b) == 0 {
		return -1
	}
	return bytes.Index(p.Blob, b)
}

// partOf returns that part of the blob. If it is not there, the result is scratch memory.
func partOf(p *Program, b []byte) []byte {
	if at := part(p, b); at >= 0 {
		return p.Blob[at:][:len(b)]
	}
	return make([]byte, max(len(b), scratch))
}

// inText changes a text that is once in the blob, such as a name.
func inText(from, to string) edit {
	return func(p *Program) {
		if at := bytes.Index(p.Blob, []byte(from+"\x00")); at >= 0 {
			copy(p.Blob[at:], to)
		}
	}
}

// site returns the offset in the blob of the instruction of a program's nth fixup of a kind, -1 if
// there is none.
func site(p *Program, program string, kind trace.FixupKind, n int) int {
	_, c := command(p.Trace, programNamed(program))
	if c == nil {
		return -1
	}
	f := fixup(c, n, ofKind(kind))
	if at := part(p, c.Insns); at >= 0 && f.Kind == kind {
		return at + insn.Size*f.Insn
	}
	return -1
}

// Selecting the loader's own instructions to change.

// find returns the index of the first instruction for which is returns true, -1 if there is none.
func find(p *Program, is func(code insn.Insns, i int) bool) int {
	return nth(p.Insns, 0, is, func(insn.Insns, int) {})
}

// inCode changes the first instruction of the loader for which is returns true.
func inCode(p *Program, is func(code insn.Insns, i int) bool, do func(code insn.Insns, i int)) {
	nth(p.Insns, 0, is, do)
}

// storeTo matches a store of 4 bytes from a register to [dst + off].
func storeTo(dst, src uint8, off int) func(code insn.Insns, i int) bool {
	return func(code insn.Insns, i int) bool {
		return code.Op(i) == opStore && code.Dst(i) == dst && code.Src(i) == src && int(code.Off(i)) == off
	}
}

// nothing replaces an instruction by r0 = 0.
func nothing(code insn.Insns, i int) { replace(code, i, opMovImm, r0, 0, 0, 0) }

// storeConstant replaces the register that an instruction stores by a constant.
func storeConstant(n int32) func(code insn.Insns, i int) {
	return func(code insn.Insns, i int) { replace(code, i, opStoreImm, code.Dst(i), 0, code.Off(i), n) }
}

func replace(code insn.Insns, i int, op, dst, src uint8, off int16, imm int32) {
	code[i*insn.Size], code[i*insn.Size+1] = op, dst|src<<4
	code.SetOff(i, off)
	code.SetImm(i, imm)
}

// skip replaces the system call of a command by success.
func skip[C trace.Command](is func(c C) bool) edit {
	return onResult(is, func(code insn.Insns, i int) { nothing(code, i-1) })
}

// onResult changes the instruction that stores a command's result. The call is just before it.
func onResult[C trace.Command](is func(c C) bool, do func(code insn.Insns, i int)) edit {
	return func(p *Program) {
		i, c := command(p.Trace, is)
		if i < 0 {
			return
		}
		for _, s := range p.Steps {
			if s.Subject == c.Subject() && s.Op == trace.What(c) {
				inCode(p, storeTo(rCtx, r0, s.Result), do)
				return
			}
		}
	}
}

// swapFDs swaps two of the fds that the loader hands out. in is ctxMap or ctxProgram.
func swapFDs(in func(p *Program, name string) int, a, b string) edit {
	return func(p *Program) {
		from, to := in(p, a), in(p, b)
		i, j := find(p, storeTo(rCtx, r0, from)), find(p, storeTo(rCtx, r0, to))
		if i >= 0 && j >= 0 {
			code := insn.Insns(p.Insns)
			code.SetOff(i, int16(to))
			code.SetOff(j, int16(from))
		}
	}
}

// immAt is the offset of the immediate in an instruction.
const immAt = 4

// moveStore moves the store of a result into the first fixup's instruction by some bytes.
func moveStore(program string, kind trace.FixupKind, by int) edit {
	return func(p *Program) {
		at := site(p, program, kind, 0) + immAt
		inCode(p, storeTo(rBase, r0, at), func(code insn.Insns, i int) { code.SetOff(i, int16(at+by)) })
	}
}

// onModule changes the instruction that sets the index in fd_array of the first symbol's module.
func onModule(do func(code insn.Insns, i int)) edit {
	return func(p *Program) {
		if len(p.Trace.Symbols) == 0 || p.Trace.Symbols[0].BTF == trace.NoFD {
			return
		}
		fd := int32(p.Trace.Symbols[0].BTF)
		inCode(p, func(code insn.Insns, i int) bool {
			return code.Op(i) == opMovImm && code.Dst(i) == r3 && code.Imm(i) == fd
		}, do)
	}
}

// insert puts an instruction before instruction at, and adjusts the jumps across it.
func insert(p *Program, at int, op, dst, src uint8, off int16, imm int32) {
	old := insn.Insns(p.Insns)
	code := slices.Insert(slices.Clone(old), at*insn.Size, make([]byte, insn.Size)...)
	replace(code, at, op, dst, src, off, imm)
	moved := func(i int) int {
		if i >= at {
			return i + 1
		}
		return i
	}
	for i := range old.Len() {
		if class := old.Op(i) & 7; class != 5 || old.Op(i) == insn.Call || old.Op(i) == insn.Exit {
			continue
		}
		to := i + 1 + int(old.Off(i))
		code.SetOff(moved(i), int16(moved(to)-moved(i)-1))
	}
	p.Insns = code
}
