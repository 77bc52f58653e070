package probe

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/insn"
)

// instruction is one eBPF instruction. cilium/ebpf's asm cannot be used: it encodes FetchAdd as an
// addition without a fetch (0.22), and a probe needs the fetch.
type instruction struct {
	op       uint8
	dst, src uint8
	off      int16
	imm      int32
	// ref, if it has a name, is the type whose id becomes imm.
	ref symbol
}

// code is a piece of a program. Jumps count slots: an instruction has one,
// ldSymbol two.
type code []instruction

func join(parts ...code) code { return slices.Concat(parts...) }

// Registers; r10 is the frame pointer.
const r0, r1, r2, r3, r4, r5, r6, r10 = 0, 1, 2, 3, 4, 5, 6, 10

func exit() code { return code{{op: insn.Exit}} }

// returns is a program that only returns n.
func returns(n int32) code { return join(movImm(r0, n), exit()) }

func movImm(dst uint8, imm int32) code { return code{{op: 0xb7, dst: dst, imm: imm}} }
func movReg(dst, src uint8) code       { return code{{op: 0xbf, dst: dst, src: src}} }

// onStack is dst = r10 + off, in two slots.
func onStack(dst uint8, off int32) code {
	return join(movReg(dst, r10), code{{op: 0x07, dst: dst, imm: off}})
}

// load32 is dst = *(u32 *)(src + off), load64 the same with a u64.
func load32(dst, src uint8, off int16) code { return code{{op: 0x61, dst: dst, src: src, off: off}} }
func load64(dst, src uint8, off int16) code { return code{{op: 0x79, dst: dst, src: src, off: off}} }

// zero is *(u64 *)(r10 + off) = 0.
func zero(off int16) code { return code{{op: 0x7a, dst: r10, off: off}} }

// text puts four characters on the stack.
func text(off int16, four string) code {
	return code{{op: 0x62, dst: r10, off: off, imm: int32(binary.LittleEndian.Uint32([]byte(four)))}}
}

// ifZero and ifNotZero skip slots.
func ifZero(dst uint8, skip int16) code    { return code{{op: 0x15, dst: dst, off: skip}} }
func ifNotZero(dst uint8, skip int16) code { return code{{op: 0x55, dst: dst, off: skip}} }

// call calls a helper.
func call(number int32) code { return code{{op: insn.Call, imm: number}} }

// callOwn calls the program's own function that begins skip slots after the call.
func callOwn(skip int32) code {
	return code{{op: insn.Call, src: insn.PseudoCall, imm: skip}}
}

// callKfunc calls a function of the kernel or of a module.
func callKfunc(name string) code {
	return code{{op: insn.Call, src: insn.PseudoKfunc, ref: symbol{btf.KindFunc, name, true}}}
}

// movID is dst = the id of a type of the kernel.
func movID(dst uint8, kind btf.Kind, name string) code {
	return code{{op: 0xb7, dst: dst, ref: symbol{kind: kind, name: name}}}
}

// ldSymbol is dst = the address of a variable or function of the kernel, in two slots.
func ldSymbol(dst uint8, kind btf.Kind, name string) code {
	return code{{op: insn.LdImm64, dst: dst, src: insn.PseudoBTFID, ref: symbol{kind: kind, name: name}}}
}

// link encodes the code with this kernel's ids of the symbols. A function of a module gets an index
// into the returned fds, counted from 1, as in fd_array. The caller must close the fds even if link
// fails.
func (c code) link(k kernel) (raw []byte, modules []int, err error) {
	for _, in := range c {
		if in.ref.name != "" {
			id, fd, err := in.ref.find(k)
			if err != nil {
				return nil, modules, fmt.Errorf("look-up of %s: %w", in.ref, err)
			}
			in.imm = int32(id)
			if fd >= 0 {
				modules = append(modules, fd)
				in.off = int16(len(modules))
			}
		}
		raw = append(raw, in.op, in.dst|in.src<<4)
		raw = binary.LittleEndian.AppendUint16(raw, uint16(in.off))
		raw = binary.LittleEndian.AppendUint32(raw, uint32(in.imm))
		if in.op == insn.LdImm64 {
			raw = append(raw, make([]byte, insn.Size)...)
		}
	}
	return raw, modules, nil
}
