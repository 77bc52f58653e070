// Package insn reads and writes eBPF instructions in place, as the 8 bytes that the kernel sees
// (struct bpf_insn, little-endian).
//
// Subject programs are never decoded and re-encoded: a decoder loses what it does not know. This
// package changes single fields of single instructions and leaves the rest as the compiler wrote
// it.
package insn

import "encoding/binary"

// Size is the size of an instruction slot in bytes; ld_imm64 takes two slots.
const Size = 8

// Opcodes and pseudo source registers that matter for loading.
const (
	LdImm64 = 0x18 // BPF_LD | BPF_DW | BPF_IMM: two slots
	Call    = 0x85 // BPF_JMP | BPF_CALL
	Exit    = 0x95 // BPF_JMP | BPF_EXIT

	PseudoMapFD       = 1 // ld_imm64: imm is a map fd
	PseudoMapValue    = 2 // ld_imm64: imm is a map fd, second imm an offset in its first value
	PseudoBTFID       = 3 // ld_imm64: imm is a BTF type id, second imm a BTF fd or 0 for vmlinux (5.10; modules 5.12)
	PseudoFunc        = 4 // ld_imm64: imm is the distance to a function (5.13)
	PseudoMapIdx      = 5 // ld_imm64: imm is an index in attr.fd_array (5.14)
	PseudoMapIdxValue = 6 // the same with an offset (5.14)

	PseudoCall  = 1 // call: imm is the distance to a function
	PseudoKfunc = 2 // call: imm is a BTF FUNC id, off an index in attr.fd_array (5.13, modules 5.16)
)

// Insns are instructions in memory, 8 bytes each.
type Insns []byte

// Len returns the number of instruction slots.
func (p Insns) Len() int { return len(p) / Size }

// Op returns the opcode of instruction i.
func (p Insns) Op(i int) uint8 { return p[i*Size] }

// Dst returns the destination register of instruction i.
func (p Insns) Dst(i int) uint8 { return p[i*Size+1] & 0xf }

// Src returns the source register of instruction i, or the pseudo source register that gives imm a
// meaning.
func (p Insns) Src(i int) uint8 { return p[i*Size+1] >> 4 }

// Off returns the 16-bit offset of instruction i.
func (p Insns) Off(i int) int16 { return int16(binary.LittleEndian.Uint16(p[i*Size+2:])) }

// Imm returns the immediate of instruction i.
func (p Insns) Imm(i int) int32 { return int32(binary.LittleEndian.Uint32(p[i*Size+4:])) }

// SetSrc replaces the source register of instruction i.
func (p Insns) SetSrc(i int, src uint8) { p[i*Size+1] = p[i*Size+1]&0xf | src<<4 }

// SetOff replaces the offset of instruction i.
func (p Insns) SetOff(i int, off int16) {
	binary.LittleEndian.PutUint16(p[i*Size+2:], uint16(off))
}

// SetImm replaces the immediate of instruction i.
func (p Insns) SetImm(i int, imm int32) {
	binary.LittleEndian.PutUint32(p[i*Size+4:], uint32(imm))
}

// IsLdImm64 reports whether instruction i is the first slot of an ld_imm64 whose
// second slot is there too.
func (p Insns) IsLdImm64(i int) bool { return p.Op(i) == LdImm64 && i+1 < p.Len() }

// IsCallTo reports whether instruction i is a call with this pseudo source register.
func (p Insns) IsCallTo(i int, pseudo uint8) bool { return p.Op(i) == Call && p.Src(i) == pseudo }
