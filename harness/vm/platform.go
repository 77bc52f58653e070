package vm

import (
	"fmt"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/arch"
)

// platform is what a guest's architecture decides about its machine. There is one for each of [arch.All].
//
// Each machine has PCI, for virtio, and one processor model under TCG. Which one was measured: see docs/architectures.md.
type platform struct {
	*arch.Arch
	// machine is QEMU's -machine, and what KVM needs besides; cpu its -cpu under TCG.
	machine, machineKVM, cpu string
	// params are kernel parameters that this machine needs.
	params []string
	// flaw is what QEMU gets wrong for a version of the kernel; nil for nothing.
	flaw func(kernel string) flaw
	// console are the parameters that begin the console with the kernel's first line.
	console []string
	// maxLine is the longest command line that a kernel takes, in bytes (COMMAND_LINE_SIZE with the zero at its
	// end). Of a longer one kernels take a part, or hang.
	maxLine int
	// panicDevice means that distributions' kernels have a driver for QEMU's panic device.
	panicDevice bool
	// how has the guest's kernel say where it is.
	how interruption
	// programCounter is what QEMU calls it in "info registers".
	programCounter string
}

// interruption is a way to have a kernel that hangs print a backtrace, and panic.
type interruption interface {
	// params are kernel parameters that make it heed the interruption.
	params() []string
	// input means that it needs to write to the console.
	input() bool
	interrupt(vm *VM)
	// words say what found the guest.
	words() string
}

var platforms = map[string]*platform{
	// q35 and not microvm: microvm boots 0.2 s faster, but q35 has PCI, an ACPI power-off, a calibrated
	// TSC (the resolution of bpf_ktime_get_ns) and NMIs, and distribution kernels have its virtio transport built in.
	//
	// Under TCG one processor model is as fast as another, but QEMU's default one has no RDRAND, without
	// which the guest's first getrandom(2) takes a second: the kernel has nothing to seed its generator with.
	// RDRAND does so where the kernel's configuration does not say it (CONFIG_RANDOM_TRUST_CPU, up to 6.1).
	//
	// no_timer_check keeps the kernel from counting ticks to see whether its timer works: where the host has
	// other things to do it counts too few, and panics ("IO-APIC + timer doesn't work"). Patching the kernel
	// for a single processor takes 0.15 s.
	"amd64": {
		machine: "q35", cpu: "qemu64,+rdrand",
		params:  []string{"random.trust_cpu=on", "no_timer_check", "noreplace-smp"},
		flaw:    cmpxchg16b,
		console: []string{"earlyprintk=ttyS0,115200", "console=ttyS0"},
		maxLine: 2048 - 1, panicDevice: true, how: nmi{}, programCounter: "RIP",
	},
	// virt's default processor has 32 bits. "max" signs pointers with QARMA5, which costs 1.7 s of a boot of
	// 1.1 s and half as much again of a suite; others are alike. The machine hands over a seed for the kernel's
	// random numbers.
	"arm64": {
		machine: "virt", machineKVM: ",gic-version=host", cpu: "cortex-a76",
		params:  []string{"random.trust_bootloader=on"},
		console: []string{"earlycon", "console=ttyAMA0"},
		maxLine: 2048 - 1, how: serialBreak{}, programCounter: "PC",
	},
	// OpenSBI comes with QEMU, and prints on the console before the kernel does.
	"riscv64": {
		machine: "virt", cpu: "rv64",
		params:  []string{"random.trust_bootloader=on"},
		console: []string{"earlycon", "console=ttyS0"},
		maxLine: 1024 - 1, how: serialBreak{}, programCounter: "pc",
	},
}

// platformOf returns the machine of an architecture.
func platformOf(name string) (*platform, error) {
	p, ok := platforms[name]
	if !ok {
		return nil, fmt.Errorf("no guests are known for the architecture %s: there are %s", name, strings.Join(arch.Names(), ", "))
	}
	return p, nil
}

func init() {
	for _, a := range arch.All {
		platforms[a.Name].Arch = a
	}
}
