// Command cmpxchg16b prints the flags that the processor has after cmpxchg16b, which are 0x242. Of
// QEMU 7.2's processor they are 0x1234767: an operand of the addition before it.
//
//	CGO_ENABLED=0 go run -exec './bpfreplay exec --accel tcg --kernel stable --' ./scripts/cmpxchg16b
//
// The kernel has to be one that guests run with the instruction: see package vm.
package main

import "fmt"

// flags adds 0x1234567 to 0, compares and exchanges 16 bytes at p, and returns the flags. p is a
// multiple of 16.
func flags(p *[2]uint64) uint64

func main() {
	memory := new([4]uint64) // 32 bytes, which the allocator aligns to 32
	fmt.Printf("%#x\n", flags((*[2]uint64)(memory[:])))
}
