package vm

import "github.com/bpfreplay/bpfreplay/internal/kversion"

// flaw is how guests live with something that QEMU's emulation of their processor gets wrong.
type flaw struct {
	// features are added to -cpu.
	features string
	// params are kernel parameters.
	params []string
}

// cmpxchg16b is the instruction of which QEMU up to 7.2 gets the flags wrong, all but the zero flag: it computes
// them from its state without bringing that up to date, and so they may be an operand of the instruction before, such as
// half an address. A program looks at the zero flag only. But an interrupt pushes all of them, and to return
// with the flag of a trap or of virtual 8086 mode set is a panic. See docs/findings.md.
//
// Up to 6.19 each allocation of the kernel has this instruction, and some guests of a thousand on a busy machine
// panicked. Without it kmalloc_nolock(), of 6.18, which allocates for arenas, returns nothing unless the cache has checks,
// which take as long again as the allocation. Since 7.0 the allocator has another fast path.
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
