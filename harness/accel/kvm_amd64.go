package accel

import (
	"encoding/binary"
	"unsafe"
)

// From uapi linux/kvm.h, for x86.
const (
	kvmSetRegs  = 0x4090ae82
	kvmGetSregs = 0x8138ae83
	kvmSetSregs = 0x4138ae84

	kvmExitHLT = 5
)

// kvmRegs is struct kvm_regs.
type kvmRegs struct {
	general [16]uint64
	rip     uint64
	rflags  uint64
}

// kvmSegment is struct kvm_segment.
type kvmSegment struct {
	base     uint64
	limit    uint32
	selector uint16
	_        [10]uint8
}

// kvmSregs is struct kvm_sregs.
type kvmSregs struct {
	cs, ds, es, fs, gs, ss, tr, ldt kvmSegment
	_                               [120]byte
}

// probeCode counts down in 16-bit real mode, where a new virtual CPU starts, and halts:
//
//	mov ecx, probeIterations
//	loop: dec ecx
//	jnz loop
//	hlt
var probeCode = append(
	binary.LittleEndian.AppendUint32([]byte{0x66, 0xb9}, probeIterations),
	0x66, 0x49, 0x75, 0xfc, 0xf4)

const (
	probeAddress = 0
	probeExit    = kvmExitHLT
)

// restart makes the virtual CPU begin with probeCode: its code segment is at physical address 0, and
// not at the reset vector.
func (g *probeGuest) restart() error {
	var sregs kvmSregs
	if _, err := ioctlPtr(g.vcpu, "KVM_GET_SREGS", kvmGetSregs, unsafe.Pointer(&sregs)); err != nil {
		return err
	}
	sregs.cs.base, sregs.cs.selector = 0, 0
	if _, err := ioctlPtr(g.vcpu, "KVM_SET_SREGS", kvmSetSregs, unsafe.Pointer(&sregs)); err != nil {
		return err
	}
	regs := kvmRegs{rflags: 2} // bit 1 is always set
	_, err := ioctlPtr(g.vcpu, "KVM_SET_REGS", kvmSetRegs, unsafe.Pointer(&regs))
	return err
}
