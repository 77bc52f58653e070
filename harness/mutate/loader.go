package mutate

import (
	"bytes"
	"slices"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/insn"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// edit is a mutation of a loader program.
type edit = func(p *Program)

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

func mapIndex(p *Program, name string) int {
	return slices.IndexFunc(p.Trace.Maps, func(m *trace.Map) bool { return m.Name == name })
}

func progIndex(p *Program, name string) int {
	return slices.IndexFunc(p.Trace.Programs, func(t *trace.Program) bool { return t.Name == name })
}

// The blob's parts are found by their contents, not by the emitter's layout, so that these
// mutations change what the kernel sees.

// attrOf returns the offset in the blob of the attribute that holds name, as the kernel gets it, at
// offset field of the attribute; -1 if there is none.
func attrOf(p *Program, name string, field int) int {
	padded := make([]byte, 16)
	copy(padded[:15], name)
	return max(-1, bytes.Index(p.Blob, padded)-field)
}

// inMap changes the attribute that creates a map.
func inMap(name string, do func(attr []byte)) edit {
	return func(p *Program) {
		_, c := command(p.Trace, mapNamed(name))
		if c == nil {
			return
		}
		if at := attrOf(p, c.Attr.Name, bpfsys.MapCreateNameEnd-16); at >= 0 {
			do(p.Blob[at:])
		}
	}
}

// inAttr changes the attribute that loads a program.
func inAttr(name string, do func(attr []byte)) edit {
	return func(p *Program) {
		if at := attrOf(p, name, progLoadName); at >= 0 {
			do(p.Blob[at:])
		}
	}
}

const progLoadName = 48 // in PROG_LOAD's attribute

// inBTF changes the object's types.
func inBTF(do func(raw []byte)) edit {
	return func(p *Program) {
		if _, c := command(p.Trace, anyBTF); c != nil {
			do(partOf(p, c.Data))
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
	return make([]byte, max(len(b), len(scratch)))
}

// inProgram changes the instructions of a program.
func inProgram(name string, do func(p insn.Insns)) edit {
	return func(p *Program) {
		if _, c := command(p.Trace, programNamed(name)); c != nil {
			do(insn.Insns(partOf(p, c.Insns)))
		}
	}
}

// inText changes a text that is once in the blob, such as a name.
func inText(from, to string) edit {
	return func(p *Program) {
		if bytes.Count(p.Blob, []byte(from+"\x00")) > 0 {
			copy(p.Blob[bytes.Index(p.Blob, []byte(from+"\x00")):], to)
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

// find returns the index of the nth instruction for which is returns true, -1 if there is none.
func find(p *Program, n int, is func(code insn.Insns, i int) bool) int {
	return nth(insn.Insns(p.Insns), n, is, func(insn.Insns, int) {})
}

// inCode changes the nth instruction of the loader for which is returns true.
func inCode(p *Program, n int, is func(code insn.Insns, i int) bool, do func(code insn.Insns, i int)) {
	nth(insn.Insns(p.Insns), n, is, do)
}

// storeTo matches a store of 4 bytes from a register to [dst + off].
func storeTo(dst, src uint8, off int) func(code insn.Insns, i int) bool {
	return func(code insn.Insns, i int) bool {
		return code.Op(i) == opStore && code.Dst(i) == dst && code.Src(i) == src && int(code.Off(i)) == off
	}
}

// nothing replaces an instruction by r0 = 0.
func nothing(code insn.Insns, i int) { replace(code, i, opMovImm, r0, 0, 0, 0) }

func replace(code insn.Insns, i int, op, dst, src uint8, off int16, imm int32) {
	code[i*insn.Size], code[i*insn.Size+1] = op, dst|src<<4
	code.SetOff(i, off)
	code.SetImm(i, imm)
}

// skip replaces the system call of a command by success.
func skip[C trace.Command](is func(c C) bool) edit {
	return func(p *Program) {
		if at := resultOf(p, is); at >= 1 {
			nothing(insn.Insns(p.Insns), at-1)
		}
	}
}

// resultOf returns the index of the instruction that stores a command's result. The call is just
// before it.
func resultOf[C trace.Command](p *Program, is func(c C) bool) int {
	i, c := command(p.Trace, is)
	if i < 0 {
		return -1
	}
	for _, s := range p.Steps {
		if s.Subject == c.Subject() && s.Op == trace.What(c) {
			return find(p, 0, storeTo(rCtx, r0, s.Result))
		}
	}
	return -1
}

// swapStores swaps the targets of two stores.
func swapStores(dst, src uint8, a, b int) edit {
	return func(p *Program) {
		i, j := find(p, 0, storeTo(dst, src, a)), find(p, 0, storeTo(dst, src, b))
		if i >= 0 && j >= 0 {
			code := insn.Insns(p.Insns)
			code.SetOff(i, int16(b))
			code.SetOff(j, int16(a))
		}
	}
}

// swapMaps and swapPrograms swap two of the fds that the loader returns.
func swapMaps(a, b string) edit {
	return func(p *Program) {
		swapStores(rCtx, r0, artefact.CtxMap(mapIndex(p, a)), artefact.CtxMap(mapIndex(p, b)))(p)
	}
}

func ctxProgram(p *Program, name string) int {
	return artefact.CtxProgram(len(p.Trace.Maps), progIndex(p, name))
}

func swapPrograms(a, b string) edit {
	return func(p *Program) { swapStores(rCtx, r0, ctxProgram(p, a), ctxProgram(p, b))(p) }
}

// moveStore moves the store of a result (src) into the nth fixup's instruction by some bytes.
func moveStore(program string, kind trace.FixupKind, n int, src uint8, field, by int) edit {
	return func(p *Program) {
		at := site(p, program, kind, n) + field
		inCode(p, 0, storeTo(rBase, src, at), func(code insn.Insns, i int) { code.SetOff(i, int16(at+by)) })
	}
}

// firstModule returns the fd of the BTF of the first symbol's module.
func firstModule(p *Program) trace.FD {
	if len(p.Trace.Symbols) == 0 {
		return trace.NoFD
	}
	return p.Trace.Symbols[0].BTF
}

// slotOfModule matches the instruction that sets the first symbol's module's index in fd_array.
func slotOfModule(p *Program) func(code insn.Insns, i int) bool {
	fd := firstModule(p)
	return func(code insn.Insns, i int) bool {
		return fd != trace.NoFD && code.Op(i) == opMovImm && code.Dst(i) == r3 && int(code.Imm(i)) == int(fd)
	}
}

// insert puts an instruction before instruction at, and adjusts the jumps across it.
func insert(p *Program, at int, op, dst, src uint8, off int16, imm int32) {
	old := insn.Insns(p.Insns)
	code := append(insn.Insns(nil), old[:at*insn.Size]...)
	code = append(code, make([]byte, insn.Size)...)
	code = append(code, old[at*insn.Size:]...)
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
