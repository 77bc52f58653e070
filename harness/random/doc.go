// Package random makes BPF objects that no person would write and every kernel
// should load, to compare engines with.
//
//	o := random.Generate(seed, index)  // a description, always the same one
//	file, err := o.ELF()               // as clang would have compiled it
//	fmt.Print(o)                       // for a person
//
// A description is a Go value: maps, variables, externs, functions, and in the
// functions blocks of instructions. Whatever it holds is valid for the verifier
// by construction:
//
//   - r6 holds the context or the argument of a function, r7 a number, the
//     accumulator. A block may read both, change r7, and do with r0 to r5, r8 and
//     r9 as it likes, which the next block takes to be lost.
//   - A block reads no more of the stack than it has written itself.
//   - Subprograms and callbacks, which any program may call, hold blocks only
//     that any program may have. A function calls only functions before it.
//
// So any block can be taken out, and any map, variable, extern or function with
// the blocks that refer to it. That is how Shrink makes the object small with
// which engines still differ.
//
// What depends on time, addresses or on what runs in a guest is never added to
// the accumulator: a test run of a program returns the same each time.
package random
