// Package object reads BPF ELF objects: the step that libbpf calls "open".
//
// An [Object] says everything that a load needs to know, in the order of the
// file, with each relocation resolved to what it refers to. It depends on the
// bytes of the file and on nothing else: no kernel, no /proc, no page size or
// number of CPUs. What does depend on the target, such as the values of kconfig
// variables or the size of a ring buffer that is not a whole number of pages, is
// left for the planner of the load.
//
// The rules are those of libbpf 1.8: which functions are programs, what a
// section name means, how a map is declared, how data sections are named and
// which of them can be mapped, how extern variables are laid out, and what is
// done to the BTF before a kernel sees it. An object that libbpf refuses to
// open is refused here, with an error that names section and symbol. What
// libbpf notices only while it loads a program is kept in [Function.Err].
//
// [Open] and its siblings read an object from a path, an fs.FS, a reader or bytes;
// [Options] bound the file and say whose rules hold for the names of sections. What
// is wrong with an object and keeps it from nothing is in [Object.Warnings], with
// what it costs.
//
// Instructions stay the bytes that the compiler wrote. A relocation names the
// instruction, and the builder of the final program changes it:
//
//	RelocMap, RelocMapValue   ld_imm64: source register 1 or 2, fd, offset
//	RelocCall                 call: imm is the distance to the function
//	RelocFunc                 ld_imm64: source register 4, imm is the distance
//	RelocKconfig              ld_imm64: like RelocMapValue, of the .kconfig map
//	RelocKsym                 ld_imm64: source register 3 and BTF id, or an address
//	RelocKfunc                call: source register 2 and BTF id
//	RelocJumpTable            ld_imm64: like RelocMapValue, of the table's map
//
// Reading is safe on any input: every access is checked against the bounds of
// the file. Memory is bounded by the size of the file, which is bounded by
// [MaxFileBytes]: what a file only promises, such as a large .bss, is a number.
package object
