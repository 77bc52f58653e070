// Package emit turns a trace into a loader program: the instructions of a
// BPF_PROG_TYPE_SYSCALL program and the value of its one map, the blob.
// docs/loader-program.md has the layout of blob and context and says who decides what
// depends on the kernel.
//
// # Glossary
//
//   - cell: four bytes of the blob that hold one fd of the trace; the cells are fd_array
//   - slot: the place in the context where a map's or a program's fd is handed out
//   - result: the place in the context where another step's outcome is left
//   - site: a place in the blob that is completed with an fd or an answer
//   - near base: a register from which stores reach a part of the blob (asm.reach)
//
// # Registers
//
//	r6  the context
//	r7  negative once a program was refused
//	r8  an address in the blob, near to what is being stored to
//	r9  the address of the blob
//
// r0 to r5 are clobbered by every call. Each emitter says what it takes and leaves.
//
// # What the verifier costs
//
// Most of the time that a loader program takes goes into verifying it: on 6.12 some
// 1,600 machine instructions for a constant, 1,800 for a store, 2,600 for an address in the
// blob, 11,700 for a call of bpf_sys_bpf, and 12,000 to 15,000 for a branch to an error
// path. So commands are followed by no branch but where something can be done about a
// failure, answers go into all sites by a store each, or from tableSites on by one loop, and
// attributes end with their last field.
package emit
