package object

import (
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/insn"
)

// elfBuilder writes ELF objects that compilers do not produce.
type elfBuilder struct {
	sections []builtSection
	symbols  []builtSymbol
}

type builtSection struct {
	name       string
	kind       uint32
	flags      uint64
	data       []byte
	size       uint64 // of SHT_NOBITS
	link, info uint32
	entsize    uint64
}

type builtSymbol struct {
	name            string
	bind, kind, vis uint8
	section         int  // index that add returned, 0 for none
	reserved        bool // section is one of SHN_LORESERVE and above
	value, size     uint64
}

// add appends a section and returns its index.
func (b *elfBuilder) add(s builtSection) int {
	b.sections = append(b.sections, s)
	return len(b.sections) // 0 is the null section
}

func (b *elfBuilder) code(name string, insns ...uint64) int {
	return b.add(builtSection{name: name, kind: shtProgbits, flags: shfExec, data: words(insns...)})
}

func (b *elfBuilder) data(name string, data []byte) int {
	return b.add(builtSection{name: name, kind: shtProgbits, data: data})
}

// symbol appends a symbol and returns its index.
func (b *elfBuilder) symbol(s builtSymbol) uint32 {
	b.symbols = append(b.symbols, s)
	return uint32(len(b.symbols))
}

// function adds a global function that fills a section.
func (b *elfBuilder) function(name string, section int) uint32 {
	return b.symbol(builtSymbol{name: name, bind: bindGlobal, kind: symFunc, section: section, size: uint64(len(b.sections[section-1].data))})
}

// relocate adds a relocation section from pairs of offset and symbol.
func (b *elfBuilder) relocate(section int, pairs ...uint64) int {
	var data []byte
	for i := 0; i < len(pairs); i += 2 {
		data = le.AppendUint64(data, pairs[i])
		data = le.AppendUint64(data, pairs[i+1]<<32|1)
	}
	return b.add(builtSection{name: ".rel" + b.sections[section-1].name, kind: shtRel, data: data, info: uint32(section), entsize: relSize})
}

func words(w ...uint64) []byte {
	var out []byte
	for _, v := range w {
		out = le.AppendUint64(out, v)
	}
	return out
}

// Instructions, as little-endian words: opcode, registers, off, imm.
func encode(op, dst, src uint8, off int16, imm int32) uint64 {
	return uint64(op) | uint64(dst|src<<4)<<8 | uint64(uint16(off))<<16 | uint64(uint32(imm))<<32
}

var (
	exitInsn = encode(0x95, 0, 0, 0, 0)
	movZero  = encode(0xb7, 0, 0, 0, 0)
)

func callInsn(imm int32) uint64 { return encode(insn.Call, 0, insn.PseudoCall, 0, imm) }

func loadImm64(src uint8, imm int32) [2]uint64 {
	return [2]uint64{encode(insn.LdImm64, 1, src, 0, imm), 0}
}

func (b *elfBuilder) bytes() []byte {
	var strtab strings.Builder
	strtab.WriteByte(0)
	str := func(s string) uint32 {
		if s == "" {
			return 0
		}
		off := strtab.Len()
		strtab.WriteString(s + "\x00")
		return uint32(off)
	}
	symtab, indexes := make([]byte, symbolSize), make([]byte, 4)
	many := false
	for _, s := range b.symbols {
		index := uint16(s.section)
		if s.section >= shnLoReserve && !s.reserved {
			index, many = shnXIndex, true
		}
		indexes = le.AppendUint32(indexes, uint32(s.section))
		symtab = le.AppendUint32(symtab, str(s.name))
		symtab = append(symtab, s.bind<<4|s.kind, s.vis)
		symtab = le.AppendUint16(symtab, index)
		symtab = le.AppendUint64(symtab, s.value)
		symtab = le.AppendUint64(symtab, s.size)
	}
	all := append([]builtSection{{}}, b.sections...)
	strIndex := uint32(len(all) + 1)
	if many {
		strIndex++
		all = append(all, builtSection{name: ".symtab_shndx", kind: shtSymtabShndx, data: indexes, link: uint32(len(all) + 1), entsize: 4})
	}
	all = append(all, builtSection{name: ".symtab", kind: shtSymtab, data: symtab, link: strIndex, entsize: symbolSize})
	nameOffs := make([]uint32, len(all)+1)
	for i, s := range all {
		nameOffs[i] = str(s.name)
	}
	nameOffs[len(all)] = str(".strtab")
	all = append(all, builtSection{name: ".strtab", kind: shtStrtab, data: []byte(strtab.String())})

	raw := make([]byte, elfHeaderSize)
	copy(raw, "\x7fELF\x02\x01\x01")
	le.PutUint16(raw[16:], typeRel)
	le.PutUint16(raw[18:], machineBPF)
	raw[20] = 1 // version
	headers := make([]byte, 0, len(all)*sectionHeaderSize)
	for i, s := range all {
		size := uint64(len(s.data))
		if s.kind == shtNobits {
			size = s.size
		}
		h := make([]byte, sectionHeaderSize)
		le.PutUint32(h, nameOffs[i])
		le.PutUint32(h[4:], s.kind)
		le.PutUint64(h[8:], s.flags)
		le.PutUint64(h[24:], uint64(len(raw)))
		le.PutUint64(h[32:], size)
		le.PutUint32(h[40:], s.link)
		le.PutUint32(h[44:], s.info)
		le.PutUint64(h[56:], s.entsize)
		if i > 0 {
			headers = append(headers, h...)
		} else {
			headers = append(headers, make([]byte, sectionHeaderSize)...)
		}
		raw = append(raw, s.data...)
		raw = append(raw, make([]byte, -len(raw)&7)...)
	}
	le.PutUint64(raw[40:], uint64(len(raw)))
	le.PutUint16(raw[58:], sectionHeaderSize)
	if len(all) < shnLoReserve {
		le.PutUint16(raw[60:], uint16(len(all)))
		le.PutUint16(raw[62:], uint16(strIndex))
	} else {
		le.PutUint16(raw[62:], shnXIndex)
		le.PutUint64(headers[32:], uint64(len(all)))
		le.PutUint32(headers[40:], strIndex)
	}
	return append(raw, headers...)
}
