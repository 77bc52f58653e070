package emit

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/bpfreplay/bpfreplay/internal/insn"
)

// reg is a BPF register.
type reg uint8

const (
	r0 reg = iota
	r1
	r2
	r3
	r4
	r5
	rCtx  // r6: the context
	rErr  // r7: the loader program's result
	rNear // r8: the near base, an address in the blob close to the current stores
	rBase // r9: the address of the blob
	rStack
)

// Opcodes that loader programs use.
const (
	opMovReg  = 0xbf // 64-bit
	opMovImm  = 0xb7
	opAddReg  = 0x0f
	opAddImm  = 0x07
	opOrImm   = 0x47
	opAndImm  = 0x57
	opOrReg   = 0x4f
	opRshImm  = 0x77
	opArshImm = 0xc7
	opMulImm  = 0x27
	opJa      = 0x05
	opJeqImm  = 0x15
	opJneImm  = 0x55
	opJleImm  = 0xb5
	opJsgeImm = 0x75
	opJgtImm  = 0x25
	opJsltImm = 0xc5
)

// Helpers that a loader program calls (enum bpf_func_id). All are in 5.14, except the last, which
// came with 5.16.
const (
	fnSysBPF       = 166
	fnFindByName   = 167
	fnSysClose     = 168
	fnKallsymsName = 179
)

// label is a jump target. Jumps may come before or after its position is known.
type label struct {
	at    int   // instruction index, -1 while unknown
	jumps []int // jumps to patch once it is known
}

func newLabel() *label { return &label{at: -1} }

// asm collects instructions. It checks the range of every field, which cilium/ebpf's assembler does
// not. The first value that does not fit becomes the error of the whole program.
type asm struct {
	code   insn.Insns
	err    error
	nearAt int // offset in the blob that rNear points to, -1 if unknown
	size   int // of the blob
}

func (a *asm) limit(format string, args ...any) {
	if a.err == nil {
		a.err = fmt.Errorf("loader program: "+format, args...)
	}
}

func (a *asm) raw(op uint8, dst, src reg, off, imm int64) {
	if off < math.MinInt16 || off > math.MaxInt16 {
		a.limit("offset %d of instruction %d does not fit into 16 bits", off, a.code.Len())
	}
	if imm < math.MinInt32 || imm > math.MaxInt32 {
		a.limit("immediate %d of instruction %d does not fit into 32 bits", imm, a.code.Len())
	}
	a.code = append(a.code, op, uint8(dst)|uint8(src)<<4)
	a.code = binary.LittleEndian.AppendUint16(a.code, uint16(off))
	a.code = binary.LittleEndian.AppendUint32(a.code, uint32(imm))
}

func (a *asm) mov(dst, src reg)                  { a.raw(opMovReg, dst, src, 0, 0) }
func (a *asm) movImm(dst reg, v int64)           { a.raw(opMovImm, dst, 0, 0, v) }
func (a *asm) add(dst, src reg)                  { a.raw(opAddReg, dst, src, 0, 0) }
func (a *asm) aluImm(op uint8, dst reg, v int64) { a.raw(op, dst, 0, 0, v) }
func (a *asm) call(helper int64)                 { a.raw(insn.Call, 0, 0, 0, helper) }

// sizeBits are the BPF_SIZE bits of loads and stores by width in bytes.
var sizeBits = map[int]uint8{1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}

func (a *asm) load(width int, dst, src reg, off int) {
	a.raw(0x61|sizeBits[width], dst, src, int64(off), 0)
}
func (a *asm) store(width int, dst reg, off int, src reg) {
	a.raw(0x63|sizeBits[width], dst, src, int64(off), 0)
}
func (a *asm) storeImm(width int, dst reg, off int, v int64) {
	a.raw(0x62|sizeBits[width], dst, 0, int64(off), v)
}

// blobAddr sets dst to the address of off in the blob, in two slots. Adding off to rBase takes two
// instructions as well, but costs the verifier twice as much, because it has to derive the bounds
// of the sum.
func (a *asm) blobAddr(dst reg, off int) {
	a.raw(insn.LdImm64, dst, insn.PseudoMapIdxValue, 0, 0)
	a.raw(0, 0, 0, 0, int64(off))
}

// reach returns a register and a displacement that reach span bytes at off in the blob. The
// register is rBase if they are close to the blob's start, else rNear, which reach moves if
// necessary. It moves rNear beyond off, because the stores of one command go upwards.
func (a *asm) reach(off, span int) (reg, int) {
	if off+span <= math.MaxInt16 {
		return rBase, off
	}
	if d := off - a.nearAt; a.nearAt < 0 || d < math.MinInt16 || d+span > math.MaxInt16 {
		a.nearAt = min(off-math.MinInt16, a.size-1)
		a.blobAddr(rNear, a.nearAt)
	}
	return rNear, off - a.nearAt
}

func (a *asm) loadBlob(width int, dst reg, off int) {
	r, d := a.reach(off, width)
	a.load(width, dst, r, d)
}

func (a *asm) storeBlob(width int, off int, src reg) {
	r, d := a.reach(off, width)
	a.store(width, r, d, src)
}

func (a *asm) storeBlobImm(width int, off int, v int64) {
	r, d := a.reach(off, width)
	a.storeImm(width, r, d, v)
}

// jump emits a conditional jump (or opJa) to l.
func (a *asm) jump(op uint8, dst reg, v int64, l *label) {
	if l.at < 0 {
		l.jumps = append(l.jumps, a.code.Len())
		a.raw(op, dst, 0, 0, v)
		return
	}
	a.raw(op, dst, 0, int64(l.at-a.code.Len()-1), v)
}

// bind places l here. rNear is unknown afterwards, because code that jumps to l may not have set
// it.
func (a *asm) bind(l *label) {
	l.at = a.code.Len()
	for _, j := range l.jumps {
		d := l.at - j - 1
		if d > math.MaxInt16 {
			a.limit("jump of %d instructions does not fit into 16 bits", d)
		}
		a.code.SetOff(j, int16(d))
	}
	l.jumps = nil
	a.nearAt = -1
}
