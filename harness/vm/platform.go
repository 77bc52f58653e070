package vm

import (
	"fmt"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/arch"
)

// platform is what depends on the guest's architecture. There is one for each of [arch.All].
//
// Each machine has PCI, for virtio, and one processor model under TCG. docs/architectures.md has
// the measurements behind the models.
type platform struct {
	*arch.Arch
	// machine is QEMU's -machine, machineKVM what KVM adds to it, cpu the -cpu under TCG.
	machine, machineKVM, cpu string
	// params are kernel parameters that this machine needs.
	params []string
	// flaw returns the workarounds for what QEMU gets wrong with a version of the kernel; nil if
	// there are none.
	flaw func(kernel string) flaw
	// console holds the parameters that make the console begin with the kernel's first line.
	console []string
	// maxLine is the longest command line that a kernel accepts, in bytes (COMMAND_LINE_SIZE less
	// the zero at its end). Kernels cut a longer one, or hang.
	maxLine int
	// panicDevice means that distributions' kernels have a driver for QEMU's panic device.
	panicDevice bool
	// how makes a hung kernel print a backtrace.
	how interruption
	// programCounter is the name of that register in the output of "info registers".
	programCounter string
}

// interruption is a way to make a hung kernel print a backtrace and panic.
type interruption interface {
	// params are kernel parameters that enable the interruption.
	params() []string
	// input reports whether it needs to write to the console.
	input() bool
	interrupt(vm *VM)
	// words says how the guest's position was found; the position follows.
	words() string
}

var platforms = map[string]*platform{
	// q35, not microvm: microvm boots 0.2 s faster, but q35 has PCI, an ACPI power-off, a
	// calibrated TSC (the resolution of bpf_ktime_get_ns) and NMIs, and distribution kernels have
	// its virtio transport built in.
	//
	// Under TCG all processor models are equally fast, but QEMU's default one has no RDRAND.
	// Without it the kernel has nothing to seed its generator with, and the guest's first
	// getrandom(2) takes a second. random.trust_cpu makes kernels up to 6.1 seed from RDRAND where
	// CONFIG_RANDOM_TRUST_CPU is not set.
	//
	// no_timer_check: on a busy host the kernel counts too few ticks when it checks its timer, and
	// panics ("IO-APIC + timer doesn't work"). noreplace-smp: patching the kernel for a single
	// processor takes 0.15 s.
	"amd64": {
		machine: "q35", cpu: "qemu64,+rdrand",
		params:  []string{"random.trust_cpu=on", "no_timer_check", "noreplace-smp"},
		flaw:    cmpxchg16b,
		console: []string{"earlyprintk=ttyS0,115200", "console=ttyS0"},
		maxLine: 2048 - 1, panicDevice: true, how: nmi{}, programCounter: "RIP",
	},
	// virt's default processor has 32 bits. "max" signs pointers with QARMA5, which adds 1.7 s to a
	// boot of 1.1 s and half to a suite's time; other models do not differ. The machine passes a
	// seed for the kernel's random numbers.
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

// platformOf returns the machine of an architecture, or an error that lists the known ones.
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
