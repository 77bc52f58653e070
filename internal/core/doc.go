// Package core reads CO-RE relocations and finds out what they ask of a kernel.
//
// CO-RE ("compile once, run everywhere") lets a program name a field, a type or
// an enumerator instead of hard-coding an offset, a size or a value. The
// compiler leaves one [Record] behind for every instruction that depends on the
// target kernel: which local type the code means, how it walks into it, and
// which property of the thing found there belongs in the instruction.
//
// Kernels from 5.17 on resolve records themselves (fbd94c7afcf9), by the code
// that libbpf has (tools/lib/bpf/relo_core.c is one file for both). What is around that
// code differs, so the answer can differ from that of a direct load by libbpf:
//
//   - libbpf looks for candidates among ENUM and ENUM64 alike, the kernel among
//     types of the local type's kind. A loader program finds out which kind the
//     kernel has (trace.ChooseEnum).
//   - The kernel's cache of candidates knows names only: [KindClashes].
//   - Comparisons with a candidate stop after two levels of structs (type_matches) or
//     prototypes, libbpf's after 32: PROG_LOAD fails with EINVAL then. Of 1,445 objects
//     of two suites one is such: the selftest core_kern_overflow, which is there to show it.
//   - Kernels before 6.15 take the size of a whole array for the width of an
//     access: [ElementAccess].
//   - Kernels before 6.0 know neither type_matches nor unsigned enums: [AsksMatch],
//     [AsksEnumSign].
//   - libbpf drops candidates that did not fit one record of a local type for
//     the records that follow. The kernel starts over for each record, so it may
//     call ambiguous what libbpf does not. No object is known for which this counts.
//
// Up to 7.2 the kernel ignores records if PROG_LOAD hands over neither func_info nor
// line_info.
//
// Everything that comes in is checked: no input makes this package panic, and
// the work for one record is bounded.
package core
