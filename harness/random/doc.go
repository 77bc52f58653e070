// Package random generates BPF objects that every kernel should load, with combinations of features
// that no person would write, to compare engines with. Begin reading at Generate.
//
//	o := random.Generate(seed, index)  // a description, always the same one
//	file, err := o.ELF()               // as clang would have compiled it
//	fmt.Print(o)                       // for a person
//
// A description is a Go value: maps, variables, externs and functions, which consist of blocks of
// instructions. It is valid for the verifier by construction:
//
//   - r6 holds the context or the argument of a function, r7 a number, the accumulator. A block may
//     read both and change r7. It may use r0 to r5, r8 and r9 freely, because no block expects their
//     values to survive another block.
//   - A block only reads stack slots that it has written.
//   - Subprograms and callbacks may be called from any program, so they only contain blocks that are
//     allowed in all programs. A function only calls functions before it.
//
// So any block can be removed, and any map, variable, extern or function together with the blocks
// that refer to it. Shrink uses this to reduce an object as long as engines still differ.
//
// Values that depend on time, addresses or other activity in the guest never reach the accumulator,
// so a test run of a program always returns the same value.
package random
