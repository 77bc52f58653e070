// Package core resolves CO-RE relocations in user space.
//
// CO-RE ("compile once, run everywhere") lets a program name a field, a type or
// an enumerator instead of hard-coding an offset, a size or a value. The
// compiler leaves one [Record] behind for every instruction that depends on the
// target kernel: which local type the code means, how it walks into it, and
// which property of the thing found there belongs in the instruction.
// A [Resolver] looks the local type up in the BTF of the target and patches the
// instruction.
//
// # How a record is resolved
//
//  1. The access string ("0:1:2") is walked through the local type. Anonymous
//     members are stepped over, so that only names and array indices remain.
//  2. The candidates are searched: all types of the target with the same kind
//     and the same name, where a flavour (everything from "___" on) counts on
//     neither side. The two sizes of enums are one kind here. Modules are
//     searched only if vmlinux has no candidate at all.
//  3. Each candidate is walked by those names and indices. One that lacks a
//     member, or has an incompatible one, drops out.
//  4. The property is computed for each candidate that is left. All of them must
//     agree, otherwise the record is ambiguous, which is an error.
//  5. The instruction must hold what the local type predicts; then it gets the
//     target's value. If nothing matched, a question ("does it exist?") is
//     answered with 0, and everything else poisons the instruction: it becomes
//     a call to helper [Poison], which the verifier refuses if it is reachable.
//
// That is the algorithm of libbpf 1.6 and of kernels from 6.15 on, whose
// relo_core.c is one and the same file. Older kernels and libbpfs take the size of
// a whole array, not of its elements, for the width of a load.
//
// # In the kernel or here
//
// Kernels from 5.17 on resolve records themselves if PROG_LOAD hands them over
// (up to 7.2 only if it hands over func_info or line_info too, else they are
// ignored). They do so with other limits and another candidate search, so that
// the answer can differ from that of a direct load: see [Divergences].
// One more difference cannot be seen without the target: here, as in libbpf,
// candidates that dropped out for one record of a local type stay out for the
// records that follow; the kernel starts over for each record.
//
// The local BTF must be the object's own, before anything in it was sanitised
// for an old kernel: an enum64 that became a union has no enumerators.
//
// # Trust
//
// Everything that comes in is checked: no input makes this package panic, and
// the work for one record is bounded. The same input gives the same output.
package core
