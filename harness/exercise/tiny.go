package exercise

import (
	"debug/elf"
	"runtime"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/internal/elffile"
)

// tiny is a program that calls a function and exits with status 0. The trigger executes it, and
// uprobes are attached to its function.
type tiny struct {
	code []byte
	// function is the offset of the function in the code, in bytes.
	function uint64
}

var tinyCode = map[string]tiny{
	"amd64": {[]byte{
		0xe8, 10, 0, 0, 0, // call function
		0x31, 0xff, // xor edi, edi
		0xb8, 60, 0, 0, 0, // mov eax, exit
		0x0f, 0x05, // syscall
		0x90,
		0x31, 0xc0, // function: xor eax, eax
		0xc3, // ret
	}, 15},
	"arm64": {[]byte{
		0x04, 0, 0, 0x94, // bl function
		0, 0, 0x80, 0xd2, // mov x0, 0
		0xa8, 0x0b, 0x80, 0xd2, // mov x8, exit
		0x01, 0, 0, 0xd4, // svc 0
		0xe1, 0x03, 0x01, 0xaa, // function: mov x1, x1
		0xc0, 0x03, 0x5f, 0xd6, // ret
	}, 16},
	"riscv64": {[]byte{
		0xef, 0, 0, 0x01, // jal ra, function
		0x13, 0x05, 0, 0, // li a0, 0
		0x93, 0x08, 0xd0, 0x05, // li a7, exit
		0x73, 0, 0, 0, // ecall
		0x13, 0, 0, 0, // function: nop
		0x67, 0x80, 0, 0, // ret
	}, 16},
}

// Offsets in the file, in bytes.
const (
	tinyHeaders = 64 + 56 // file header, one program header
	tinyBase    = 0x400000
)

// tinyFunction returns the offset of the function in the file.
func tinyFunction() uint64 { return tinyHeaders + tinyCode[runtime.GOARCH].function }

// tinyELF returns the program as an ELF file, or nil if there is no code for this architecture.
func tinyELF() []byte {
	t, ok := tinyCode[runtime.GOARCH]
	of, known := arch.Find(runtime.GOARCH)
	if !ok || !known {
		return nil
	}
	header := elffile.Header(elf.ET_EXEC, of.Machine)
	header.Entry, header.Phoff, header.Phentsize, header.Phnum = tinyBase+tinyHeaders, 64, 56, 1
	size := uint64(tinyHeaders + len(t.code))
	return append(elffile.Append(nil, header, elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X),
		Vaddr: tinyBase, Paddr: tinyBase, Filesz: size, Memsz: size, Align: 0x10000,
	}), t.code...)
}
