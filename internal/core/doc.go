// Package core reads CO-RE relocations and finds out what they need from a kernel. Package trace
// uses it to make the kernel resolve them as libbpf would: see [Asks], [KindClashes] and
// [ElementAccess].
//
// CO-RE ("compile once, run everywhere") lets a program name a field, a type or an enumerator
// instead of hard-coding an offset, a size or a value. For every instruction that depends on the
// target kernel the compiler emits one [Record]: which local type the code means, how it walks into
// it, and which property of the result belongs in the instruction.
//
// Kernels from 5.17 on resolve records themselves (fbd94c7afcf9), with libbpf's code
// (tools/lib/bpf/relo_core.c is one file for both). The code around it differs, so the result can
// differ from that of a direct load by libbpf:
//
//   - libbpf looks for candidates among both ENUM and ENUM64, the kernel only among types of the
//     local type's kind. A loader program finds out which kind the kernel has (trace.ChooseEnum).
//   - The kernel's cache of candidates has only names: [KindClashes].
//   - The kernel stops comparing with a candidate after two levels of structs (type_matches) or
//     prototypes, libbpf after 32. PROG_LOAD then fails with EINVAL. Of 1,445 objects of two suites
//     this affects one, the selftest core_kern_overflow, which exists to show it.
//   - Kernels before 6.15 take the size of a whole array for the width of an access:
//     [ElementAccess].
//   - Kernels before 6.0 know neither type_matches nor unsigned enums: [AsksMatch], [AsksEnumSign].
//   - If a candidate does not fit one record of a local type, libbpf drops it for the following
//     records. The kernel starts over for each record, so it may report an ambiguity that libbpf
//     does not. No known object is affected.
//
// Up to 7.2 the kernel ignores records if PROG_LOAD has neither func_info nor line_info.
//
// All input is checked: no input makes this package panic, and the work for one record is bounded.
package core
