package core

import (
	"fmt"
	"math"

	"github.com/bpfreplay/bpfreplay/loader/insn"
)

// Poison is the helper that a poisoned instruction calls: 0xbad2310, "bad relo".
// The verifier reports it as "invalid func unknown#195896080".
const Poison = 195896080

// Fix is what a record does to its instruction.
type Fix struct {
	Old, New uint64
	// Validate: the instruction must hold Old.
	Validate bool
	// Poison: the target has no answer; New means nothing.
	Poison bool
	// OldSize and NewSize are the widths in bytes that a load or store of the
	// field takes, 0 if the record says nothing of them. Resizable: the one may
	// replace the other.
	OldSize, NewSize uint32
	Resizable        bool
}

func (f Fix) outcome(s *spec) string {
	if f.Poison {
		return "none"
	}
	return fmt.Sprintf("%d @ offset %d", f.New, s.bits/8)
}

// IsPoisoned says whether instruction i is poisoned, so that the verifier's
// refusal of it can be explained by its record.
func IsPoisoned(insns insn.Insns, i int) bool {
	return insns.IsCallTo(i, 0) && insns.Imm(i) == Poison
}

// Instruction classes (linux/bpf_common.h, linux/bpf.h) and the source bit.
const (
	classLD    = 0x00
	classLDX   = 0x01
	classST    = 0x02
	classSTX   = 0x03
	classALU   = 0x04
	classALU64 = 0x07
	classMask  = 0x07
	sourceX    = 0x08
	sizeMask   = 0x18
)

// Patch changes instruction i, which must exist. ld_imm64 takes the 64 bits of
// New, ALU instructions with an immediate its lower 32, loads and stores get it
// as their offset and the width of the target's field.
func (f Fix) Patch(insns insn.Insns, i int) error {
	if f.Poison {
		poison(insns, i)
		return nil
	}
	switch insns.Op(i) & classMask {
	case classALU, classALU64:
		return f.patchALU(insns, i)
	case classLDX, classST, classSTX:
		return f.patchMem(insns, i)
	case classLD:
		return f.patchLdImm64(insns, i)
	}
	return badInsn("opcode %#x has nothing to relocate", insns.Op(i))
}

func poison(insns insn.Insns, i int) {
	// The second slot too: alone it would be reported as an unknown opcode.
	if insns.IsLdImm64(i) {
		poisonSlot(insns, i+1)
	}
	poisonSlot(insns, i)
}

func poisonSlot(insns insn.Insns, i int) {
	slot := insns[i*insn.Size:][:insn.Size]
	clear(slot)
	slot[0] = insn.Call
	insns.SetImm(i, Poison)
}

// check compares what the instruction holds with what it should hold.
func (f Fix) check(have uint64) error {
	if f.Validate && have != f.Old {
		return badInsn("it holds %d, not %d (the target has %d)", int64(have), int64(f.Old), int64(f.New))
	}
	return nil
}

func (f Fix) patchALU(insns insn.Insns, i int) error {
	if insns.Op(i)&sourceX != 0 {
		return badInsn("opcode %#x has no immediate", insns.Op(i))
	}
	if err := f.check(uint64(int64(insns.Imm(i)))); err != nil {
		return err
	}
	insns.SetImm(i, int32(uint32(f.New)))
	return nil
}

func (f Fix) patchMem(insns insn.Insns, i int) error {
	if err := f.check(uint64(int64(insns.Off(i)))); err != nil {
		return err
	}
	if f.New > math.MaxInt16 {
		return badInsn("offset %d does not fit in 16 bits", f.New)
	}
	if f.OldSize == f.NewSize {
		insns.SetOff(i, int16(f.New))
		return nil
	}
	// A field of another width may be accessed in code that is never reached.
	if !f.Resizable {
		poison(insns, i)
		return nil
	}
	if have := accessWidth(insns.Op(i)); have != f.OldSize {
		return badInsn("it accesses %d bytes, not %d", have, f.OldSize)
	}
	size, ok := sizeBits(f.NewSize)
	if !ok {
		return badInsn("%d bytes cannot be accessed at once", f.NewSize)
	}
	insns.SetOff(i, int16(f.New))
	insns[i*insn.Size] = insns.Op(i)&^sizeMask | size
	return nil
}

// The size bits of loads and stores: word, half word, byte, double word.
var widths = [...]uint32{4, 2, 1, 8}

func accessWidth(op uint8) uint32 { return widths[op&sizeMask>>3] }

func sizeBits(width uint32) (uint8, bool) {
	for i, w := range widths {
		if w == width {
			return uint8(i) << 3, true
		}
	}
	return 0, false
}

func (f Fix) patchLdImm64(insns insn.Insns, i int) error {
	if !insns.IsLdImm64(i) {
		return badInsn("opcode %#x is not an ld_imm64 of two slots", insns.Op(i))
	}
	if insns.Src(i) != 0 || insns.Off(i) != 0 || insns.Op(i+1) != 0 ||
		insns.Dst(i+1) != 0 || insns.Src(i+1) != 0 || insns.Off(i+1) != 0 {
		return badInsn("ld_imm64 refers to something else already")
	}
	have := uint64(uint32(insns.Imm(i))) | uint64(uint32(insns.Imm(i+1)))<<32
	if err := f.check(have); err != nil {
		return err
	}
	insns.SetImm(i, int32(uint32(f.New)))
	insns.SetImm(i+1, int32(uint32(f.New>>32)))
	return nil
}
