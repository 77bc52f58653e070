package accel

import (
	"encoding/binary"
	"unsafe"
)

// From uapi linux/kvm.h and asm/kvm.h, for arm64.
const (
	kvmSetOneReg       = 0x4010aeac
	kvmVCPUInit        = 0x4020aeae
	kvmPreferredTarget = 0x8020aeaf

	kvmExitSystemEvent = 24
	kvmRegPC           = 0x6030000000100040 // KVM_REG_ARM_CORE_REG(regs.pc), 64 bits
	featurePSCI        = 1 << 2             // KVM_ARM_VCPU_PSCI_0_2
)

// kvmInit is struct kvm_vcpu_init.
type kvmInit struct {
	target   uint32
	features [7]uint32
}

// kvmOneReg is struct kvm_one_reg.
type kvmOneReg struct{ id, addr uint64 }

// probeCode counts down, and switches the machine off by PSCI, the firmware interface of arm64:
//
//	mov x0, probeIterations
//	loop: subs x0, x0, #1
//	b.ne loop
//	mov x0, #0x84000008 // SYSTEM_OFF
//	hvc #0
var probeCode = func() (code []byte) {
	for _, insn := range []uint32{
		0xd2800000 | probeIterations&0xffff<<5, 0xf2a00000 | probeIterations>>16<<5,
		0xf1000400, 0x54ffffe1,
		0xd2800100, 0xf2b08000, 0xd4000002,
	} {
		code = binary.LittleEndian.AppendUint32(code, insn)
	}
	return code
}()

const (
	probeAddress = 1 << 30
	probeExit    = kvmExitSystemEvent
)

// probeStart is where the code starts. KVM_SET_ONE_REG takes the address of the value, which a stack
// that grows would change.
var probeStart uint64 = probeAddress

// restart resets the virtual CPU, which the code switches off, and makes it begin with probeCode.
func (g *probeGuest) restart() error {
	var init kvmInit
	if _, err := ioctlPtr(g.vm, "KVM_ARM_PREFERRED_TARGET", kvmPreferredTarget, unsafe.Pointer(&init)); err != nil {
		return err
	}
	init.features[0] |= featurePSCI
	if _, err := ioctlPtr(g.vcpu, "KVM_ARM_VCPU_INIT", kvmVCPUInit, unsafe.Pointer(&init)); err != nil {
		return err
	}
	reg := kvmOneReg{id: kvmRegPC, addr: uint64(uintptr(unsafe.Pointer(&probeStart)))}
	_, err := ioctlPtr(g.vcpu, "KVM_SET_ONE_REG", kvmSetOneReg, unsafe.Pointer(&reg))
	return err
}
