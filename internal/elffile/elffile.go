// Package elffile writes little-endian 64-bit ELF files.
package elffile

import (
	"debug/elf"
	"encoding/binary"
)

// Section is a section of a file. Size counts only for a section without data (SHT_NOBITS); others
// have the size of their Data.
type Section struct {
	Name                       string
	Type                       elf.SectionType
	Flags                      elf.SectionFlag
	Data                       []byte
	Addr, Size, Entsize, Align uint64
	Link, Info                 uint32
}

// Strings is a string table.
type Strings []byte

// Add appends text and returns its offset in the table.
func (s *Strings) Add(text string) uint32 {
	if len(*s) == 0 {
		*s = append(*s, 0)
	}
	if text == "" {
		return 0
	}
	off := len(*s)
	*s = append(append(*s, text...), 0)
	return uint32(off)
}

// Header returns the header of a file without segments and sections.
func Header(kind elf.Type, machine elf.Machine) elf.Header64 {
	return elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(kind), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT),
		Ehsize: 64, Shentsize: 64,
	}
}

// Append appends structures of debug/elf, such as elf.Sym64, to data.
func Append(data []byte, structs ...any) []byte {
	for _, s := range structs {
		var err error
		if data, err = binary.Append(data, binary.LittleEndian, s); err != nil {
			panic(err) // not a structure of debug/elf
		}
	}
	return data
}

// Write returns a file with these sections, numbered from 1. It adds .strtab as the last one, with
// strs and the names of the sections.
func Write(kind elf.Type, machine elf.Machine, sections []Section, strs Strings) []byte {
	names := make([]uint32, 0, len(sections)+1)
	for _, s := range sections {
		names = append(names, strs.Add(s.Name))
	}
	names = append(names, strs.Add(".strtab"))
	header := Header(kind, machine)
	raw := make([]byte, header.Ehsize)
	headers := []elf.Section64{{}}
	for i, s := range append(sections[:len(sections):len(sections)], Section{Type: elf.SHT_STRTAB, Data: strs, Align: 1}) {
		raw = append(raw, make([]byte, -len(raw)&7)...)
		if s.Type != elf.SHT_NOBITS {
			s.Size = uint64(len(s.Data))
		}
		headers = append(headers, elf.Section64{
			Name: names[i], Type: uint32(s.Type), Flags: uint64(s.Flags), Addr: s.Addr, Off: uint64(len(raw)), Size: s.Size,
			Link: s.Link, Info: s.Info, Addralign: s.Align, Entsize: s.Entsize,
		})
		raw = append(raw, s.Data...)
	}
	raw = append(raw, make([]byte, -len(raw)&7)...)
	header.Shoff, header.Shnum, header.Shstrndx = uint64(len(raw)), uint16(len(headers)), uint16(len(headers)-1)
	copy(raw, Append(nil, header))
	return Append(raw, headers)
}
