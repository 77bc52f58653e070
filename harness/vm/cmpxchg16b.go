package vm

import "github.com/bpfreplay/bpfreplay/internal/kversion"

// flaw holds the workarounds for something that QEMU's emulation of the processor gets wrong.
type flaw struct {
	// features are appended to the value of -cpu.
	features string
	// params are kernel parameters.
	params []string
}

// cmpxchg16b works around a bug of QEMU up to 7.2: its emulation of this instruction gets every
// flag wrong except the zero flag. It computes the flags from stale state, so they may be an
// operand of the previous instruction, such as half an address. Programs only look at the zero
// flag. But an interrupt pushes all flags, and if the trap flag or the virtual 8086 mode flag is
// set, returning from it panics. See docs/findings.md.
//
// Up to 6.19 every allocation in the kernel uses this instruction; on a busy machine some guests in
// a thousand panicked. Without it kmalloc_nolock() (6.18), which allocates for arenas, returns NULL
// unless the slab cache has debug checks, which double the time of an allocation. Since 7.0 the
// allocator has another fast path.
func cmpxchg16b(kernel string) flaw {
	_, known := kversion.Parse(kernel)
	switch {
	case !known || kversion.Compare(kernel, "7.0") >= 0:
		return flaw{}
	case kversion.Compare(kernel, "6.18") >= 0:
		return flaw{features: ",-cx16", params: []string{"slab_debug=F,kmalloc-*"}}
	}
	return flaw{features: ",-cx16"}
}
