// Package emit turns a trace into a loader program: the instructions of a BPF_PROG_TYPE_SYSCALL
// program and the value of its one map, the blob. docs/loader-program.md has the layout of blob and
// context, and explains where each decision that depends on the kernel is made. Begin with [Emit]:
// it lays out the context and the blob (emit.go), then generates the code, one function for each
// command of the trace (code.go).
//
// # Glossary
//
//   - cell: four bytes of the blob that hold one fd of the trace; the cells are fd_array
//   - slot: the place in the context that returns a map's or program's fd
//   - result: the place in the context that returns the result of another step
//   - answer: what a lookup found, or that a probe failed
//   - fixup: a place in the blob that is completed with an fd or an answer
//   - near base: a register from which stores reach a part of the blob (asm.reach)
//
// # Registers
//
//	r6  the context
//	r7  negative once the kernel has refused a program
//	r8  the near base
//	r9  the address of the blob
//
// Every call clobbers r0 to r5. Each emitter documents its inputs and outputs.
//
// # What the verifier costs
//
// Verification takes most of a loader program's time. On 6.12 it takes about 1,600 machine
// instructions for a constant, 1,800 for a store, 2,600 for an address in the blob, 11,700 for a
// call of bpf_sys_bpf, and 12,000 to 15,000 for a branch to an error path. Therefore a command is
// followed by a branch only if the program can handle a failure, an answer is stored in each fixup
// separately unless there are at least tableFixups of them, and attributes end with the last field
// that they use.
package emit
