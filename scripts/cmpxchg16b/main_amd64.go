// Command cmpxchg16b prints the processor's flags after cmpxchg16b, which should be 0x242. With
// QEMU 7.2 they are 0x1234767, which come from the operand of the addition before it.
//
//	CGO_ENABLED=0 go run -exec './bpfreplay exec --accel tcg --kernel stable --' ./scripts/cmpxchg16b
//
// The guest's processor must have the instruction, so the kernel must be 7.0 or later: see package
// vm.
package main

import "fmt"

// flags adds 0x1234567 to 0, compares and exchanges 16 bytes at p, and returns the flags. p must be
// a multiple of 16.
func flags(p *[2]uint64) uint64

func main() {
	memory := new([4]uint64) // 32 bytes, which the allocator aligns to 32
	fmt.Printf("%#x\n", flags((*[2]uint64)(memory[:])))
}
