// Package object reads BPF ELF objects: the step that libbpf calls "open". Begin with [Object], the
// result, and [Open].
//
// An [Object] depends only on the bytes of the file: not on a kernel, /proc, the page size or the
// number of CPUs. Package trace, which plans the load, handles what depends on the target.
//
// The rules are those of libbpf 1.8: which functions are programs, what a section name means, how a
// map is declared, how data sections are named and which of them can be mapped, how extern
// variables are laid out, and how the BTF changes before a kernel sees it. If libbpf refuses to
// open an object, this package refuses it, with an error that names section and symbol. Errors that
// libbpf finds only while it loads a program are in [Function.Err].
//
// Instructions stay the bytes that the compiler wrote. A relocation names the instruction, which
// package trace changes when it builds the program:
//
//	RelocMap, RelocMapValue   ld_imm64: source register 1 or 2, fd, offset
//	RelocCall                 call: imm is the distance to the function
//	RelocFunc                 ld_imm64: source register 4, imm is the distance
//	RelocKconfig              ld_imm64: like RelocMapValue, of the .kconfig map
//	RelocKsym                 ld_imm64: source register 3 and BTF id, or an address
//	RelocKfunc                call: source register 2 and BTF id
//	RelocJumpTable            ld_imm64: like RelocMapValue, of the table's map
//
// Reading is safe on any input: every access is checked against the bounds of the file. Memory is
// bounded by the size of the file, which [MaxFileBytes] bounds. Sizes that a file only declares,
// such as a large .bss, cost no memory.
package object
