package suites

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
)

const (
	elfHeaderSize     = 64 // of ELF64
	sectionHeaderSize = 64
)

// embedded returns the BPF objects in a file, in their order: the file itself if it is an object,
// or those inside a program. Skeletons of libbpf and go:embed store an object unchanged.
func embedded(data []byte) [][]byte {
	var out [][]byte
	for at := 0; ; {
		i := bytes.Index(data[at:], []byte(elf.ELFMAG))
		if i < 0 {
			return out
		}
		at += i
		size := objectSize(data[at:])
		if size == 0 {
			at++
			continue
		}
		out = append(out, data[at:at+size])
		at += size
	}
}

// objectSize returns the size in bytes of the BPF object at the beginning of data, 0 if there is
// none. ELF has no such field: an object ends with its last section or its section headers.
func objectSize(data []byte) int {
	if len(data) < elfHeaderSize || elf.Class(data[elf.EI_CLASS]) != elf.ELFCLASS64 {
		return 0
	}
	var order binary.ByteOrder = binary.LittleEndian
	switch elf.Data(data[elf.EI_DATA]) {
	case elf.ELFDATA2LSB:
	case elf.ELFDATA2MSB:
		order = binary.BigEndian
	default:
		return 0
	}
	kind, machine := elf.Type(order.Uint16(data[16:])), elf.Machine(order.Uint16(data[18:]))
	if kind != elf.ET_REL || machine != elf.EM_BPF || order.Uint16(data[58:]) != sectionHeaderSize {
		return 0
	}
	all, first, count := uint64(len(data)), order.Uint64(data[40:]), uint64(order.Uint16(data[60:]))
	if first < elfHeaderSize || first > all || count == 0 || count*sectionHeaderSize > all-first {
		return 0
	}
	end := first + count*sectionHeaderSize
	for n := range count {
		header := data[first+n*sectionHeaderSize:]
		switch elf.SectionType(order.Uint32(header[4:])) {
		case elf.SHT_NULL, elf.SHT_NOBITS:
			continue
		}
		offset, size := order.Uint64(header[24:]), order.Uint64(header[32:])
		if offset > all || size > all-offset {
			return 0
		}
		end = max(end, offset+size)
	}
	return int(end)
}
