package object

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"
)

var le = binary.LittleEndian

// Numbers of the ELF specification that this package needs.
const (
	elfHeaderSize     = 64
	sectionHeaderSize = 64
	symbolSize        = 24
	relSize, relaSize = 16, 24

	class64, dataLSB, dataMSB = 2, 1, 2
	typeRel                   = 1
	machineNone, machineBPF   = 0, 247

	shtProgbits, shtSymtab, shtStrtab = 1, 2, 3
	shtRela, shtNobits, shtRel        = 4, 8, 9
	shtSymtabShndx                    = 18
	shtLLVMAddrsig                    = 0x6fff4c03
	shfExec, shfCompressed            = 1 << 2, 1 << 11

	shnUndef, shnLoReserve, shnXIndex = 0, 0xff00, 0xffff
	noSection                         = -2 // SHN_ABS, SHN_COMMON and so on; -1 is a missing section
	bindLocal, bindGlobal, bindWeak   = 0, 1, 2
	symNoType, symObject              = 0, 1
	symFunc, symSection               = 2, 3
	visInternal, visHidden            = 1, 2
)

// section is one section header with its name resolved.
type section struct {
	index      int
	name       string
	kind       uint32 // sh_type
	flags      uint64
	offset     uint64
	size       uint64
	link, info uint32
	entsize    uint64
}

func (s *section) executable() bool { return s.flags&shfExec != 0 }

// symbol is one entry of the symbol table with its name resolved.
type symbol struct {
	index           int
	name            string
	unnamed         bool // the name is outside the string table
	value, size     uint64
	bind, kind, vis uint8
	section         int // section index, not checked; 0 for an extern, noSection
}

func (s *symbol) hidden() bool { return s.vis == visHidden || s.vis == visInternal }

// extern reports whether the target has to provide the symbol.
func (s *symbol) extern() bool {
	return s.section == shnUndef && (s.bind == bindGlobal || s.bind == bindWeak) && s.kind == symNoType
}

// relocation is one SHT_REL entry.
type relocation struct {
	offset uint64
	symbol *symbol
}

// elfFile is an ELF64 little-endian relocatable BPF file. Section contents are read on demand, so a
// broken section that nothing reads is not an error.
type elfFile struct {
	raw      []byte
	sections []section
	symbols  []symbol
	symtab   int

	names map[string]*section // the first section of each name
	// bySection lists each section's symbols in the order of the table.
	bySection map[int][]*symbol
	// variables has the global and weak STT_OBJECT symbols, the first of each name.
	variables map[string]*symbol
}

func parseELF(raw []byte) (*elfFile, error) {
	if err := checkIdent(raw); err != nil {
		return nil, err
	}
	f := &elfFile{raw: raw}
	if err := f.readSections(); err != nil {
		return nil, err
	}
	return f, f.readSymbols()
}

// checkIdent returns an error that says what the file is, if it is not a BPF object.
func checkIdent(raw []byte) error {
	const ident = "\x7fELF"
	switch {
	case len(raw) == 0:
		return ErrEmpty
	case !strings.HasPrefix(string(raw[:min(4, len(raw))]), ident[:min(4, len(raw))]):
		return fmt.Errorf("%w: it begins with %s", ErrNotELF, firstBytes(raw))
	case len(raw) < elfHeaderSize:
		return fmt.Errorf("%w: %d bytes, an ELF header has %d", ErrTruncated, len(raw), elfHeaderSize)
	case raw[4] != class64:
		return fmt.Errorf("%w: ELF class is %d", ErrClass, raw[4])
	case raw[5] == dataMSB:
		return fmt.Errorf("%w: compile with -target bpfel", ErrBigEndian)
	case raw[5] != dataLSB:
		return fmt.Errorf("%w: byte order %d is unknown", ErrMalformed, raw[5])
	}
	if m := le.Uint16(raw[18:]); m != machineBPF && m != machineNone {
		return fmt.Errorf("%w: ELF machine is %d, BPF is %d", ErrMachine, m, machineBPF)
	}
	if t := le.Uint16(raw[16:]); t != typeRel {
		return fmt.Errorf("%w: ELF type is %d, not %d (relocatable)", ErrNotRelocatable, t, typeRel)
	}
	return nil
}

// firstBytes quotes the start of a file, for the error about one that is not ELF.
func firstBytes(raw []byte) string {
	head := raw[:min(len(raw), 24)]
	if line, _, ok := bytes.Cut(head, []byte("\n")); ok {
		head = line
	}
	if utf8.Valid(head) {
		return fmt.Sprintf("%q", head)
	}
	return fmt.Sprintf("% x", head[:min(len(head), 8)])
}

func (f *elfFile) readSections() error {
	off := le.Uint64(f.raw[40:])
	count, names := uint64(le.Uint16(f.raw[60:])), uint32(le.Uint16(f.raw[62:]))
	if off == 0 {
		return malformed("no section headers")
	}
	if size := le.Uint16(f.raw[58:]); size != sectionHeaderSize {
		return malformed("section headers of %d bytes (e_shentsize), not %d", size, sectionHeaderSize)
	}
	first, err := f.slice(off, sectionHeaderSize)
	if err != nil {
		return fmt.Errorf("section headers: %w", err)
	}
	// Files with very many sections keep both numbers in section header 0.
	if count == 0 {
		count = le.Uint64(first[32:])
	}
	if names == shnXIndex {
		names = le.Uint32(first[40:])
	}
	if count > uint64(len(f.raw))/sectionHeaderSize {
		return fmt.Errorf("%w: %d section headers in %d bytes", ErrTruncated, count, len(f.raw))
	}
	table, err := f.slice(off, count*sectionHeaderSize)
	if err != nil {
		return fmt.Errorf("section headers: %w", err)
	}
	f.sections = make([]section, count)
	nameOffs := make([]uint32, count)
	for i := range f.sections {
		h := table[i*sectionHeaderSize:]
		nameOffs[i] = le.Uint32(h)
		f.sections[i] = section{
			index: i, kind: le.Uint32(h[4:]), flags: le.Uint64(h[8:]),
			offset: le.Uint64(h[24:]), size: le.Uint64(h[32:]),
			link: le.Uint32(h[40:]), info: le.Uint32(h[44:]), entsize: le.Uint64(h[56:]),
		}
	}
	if uint64(names) >= count {
		return fmt.Errorf("%w: section %d, said to hold the section names, is not one of %d", ErrMalformed, names, count)
	}
	strtab, err := f.contents(&f.sections[names])
	if err != nil {
		return fmt.Errorf("section names: %w", err)
	}
	f.names = make(map[string]*section, count)
	for i := range f.sections {
		s := &f.sections[i]
		var ok bool
		if s.name, ok = cString(strtab, nameOffs[i]); !ok && i > 0 {
			return fmt.Errorf("%w: section %d has no name", ErrMalformed, i)
		}
		if i > 0 && f.names[s.name] == nil {
			f.names[s.name] = s
		}
	}
	return nil
}

func (f *elfFile) readSymbols() error {
	for i := range f.sections {
		if f.sections[i].kind != shtSymtab {
			continue
		}
		if f.symtab != 0 {
			return fmt.Errorf("%w: more than one symbol table", ErrMalformed)
		}
		f.symtab = i
	}
	if f.symtab == 0 {
		return fmt.Errorf("%w: no symbol table, was the object stripped?", ErrMalformed)
	}
	sec := &f.sections[f.symtab]
	data, err := f.contents(sec)
	if err != nil {
		return fmt.Errorf("symbol table: %w", err)
	}
	if sec.entsize != symbolSize || len(data)%symbolSize != 0 {
		return in(sec.name, "", malformed("%d bytes of symbols of %d bytes (sh_entsize), not %d", len(data), sec.entsize, symbolSize))
	}
	if sec.link == 0 || int64(sec.link) >= int64(len(f.sections)) {
		return fmt.Errorf("%w: symbol table without strings", ErrMalformed)
	}
	strtab, err := f.contents(&f.sections[sec.link])
	if err != nil {
		return fmt.Errorf("symbol names: %w", err)
	}
	indexes, err := f.sectionIndexes(len(data) / symbolSize)
	if err != nil {
		return err
	}
	f.symbols = make([]symbol, len(data)/symbolSize)
	for i := range f.symbols {
		e := data[i*symbolSize:]
		name, ok := cString(strtab, le.Uint32(e))
		f.symbols[i] = symbol{
			index: i, name: name, unnamed: !ok, bind: e[4] >> 4, kind: e[4] & 15, vis: e[5] & 3,
			section: int(le.Uint16(e[6:])), value: le.Uint64(e[8:]), size: le.Uint64(e[16:]),
		}
		switch s := &f.symbols[i]; {
		case s.section == shnXIndex && indexes == nil:
			return malformed("symbol %d (%q) has its section's index elsewhere, and there is no SHT_SYMTAB_SHNDX", i, name)
		case s.section == shnXIndex:
			s.section = int(le.Uint32(indexes[4*i:]))
		case s.section >= shnLoReserve:
			s.section = noSection
		}
	}
	f.groupSymbols()
	return nil
}

// sectionIndexes returns the table of section indexes that do not fit into a symbol, 4 bytes for
// each of n symbols. It returns nil for files with few sections, which have no such table.
func (f *elfFile) sectionIndexes(n int) ([]byte, error) {
	for i := range f.sections {
		s := &f.sections[i]
		if s.kind != shtSymtabShndx || int64(s.link) != int64(f.symtab) {
			continue
		}
		data, err := f.contents(s)
		if err != nil {
			return nil, in(s.name, "", err)
		}
		if s.entsize != 4 || len(data) != 4*n {
			return nil, in(s.name, "", malformed("%d bytes of indexes of %d bytes (sh_entsize) for %d symbols", len(data), s.entsize, n))
		}
		return data, nil
	}
	return nil, nil
}

func (f *elfFile) groupSymbols() {
	f.bySection = map[int][]*symbol{}
	f.variables = map[string]*symbol{}
	for i := range f.symbols {
		s := &f.symbols[i]
		if s.section > shnUndef && s.section < len(f.sections) {
			f.bySection[s.section] = append(f.bySection[s.section], s)
		}
		if s.kind == symObject && (s.bind == bindGlobal || s.bind == bindWeak) && f.variables[s.name] == nil {
			f.variables[s.name] = s
		}
	}
}

// slice returns size bytes of the file from offset off.
func (f *elfFile) slice(off, size uint64) ([]byte, error) {
	if total := uint64(len(f.raw)); off > total || size > total-off {
		return nil, fmt.Errorf("%w: %d bytes at offset %d end beyond the file's %d", ErrTruncated, size, off, total)
	}
	return f.raw[off : off+size], nil
}

// contents returns the bytes of a section, none for SHT_NOBITS. They are the file's bytes and must
// not be changed.
func (f *elfFile) contents(s *section) ([]byte, error) {
	data, err := f.stored(s)
	if err == nil && s.flags&shfCompressed != 0 {
		return nil, unsupported("section is compressed (SHF_COMPRESSED); " + decompress)
	}
	return data, err
}

// decompress tells users how to handle compressed sections.
const decompress = "no BPF loader reads such sections: compile without -gz, or decompress it with llvm-objcopy --decompress-debug-sections"

// stored returns the bytes of a section as they are in the file, compressed or not.
func (f *elfFile) stored(s *section) ([]byte, error) {
	if s.kind == shtNobits || s.kind == 0 {
		return nil, nil
	}
	return f.slice(s.offset, s.size)
}

// byName returns the first section with this name, nil if there is none.
func (f *elfFile) byName(name string) *section { return f.names[name] }

// relocations reads an SHT_REL section.
func (f *elfFile) relocations(s *section) ([]relocation, error) {
	data, err := f.contents(s)
	if err != nil {
		return nil, err
	}
	if s.entsize != relSize || len(data)%relSize != 0 {
		return nil, malformed("%d bytes of relocations of %d bytes (sh_entsize), not %d", len(data), s.entsize, relSize)
	}
	rels := make([]relocation, len(data)/relSize)
	for i := range rels {
		e := data[i*relSize:]
		sym := le.Uint32(e[12:])
		if int64(sym) >= int64(len(f.symbols)) {
			return nil, fmt.Errorf("%w: relocation %d refers to symbol %d of %d", ErrMalformed, i, sym, len(f.symbols))
		}
		rels[i] = relocation{offset: le.Uint64(e), symbol: &f.symbols[sym]}
	}
	return rels, nil
}

// cString returns the NUL-terminated string at off.
func cString(table []byte, off uint32) (string, bool) {
	if uint64(off) >= uint64(len(table)) {
		return "", off == 0
	}
	end := bytes.IndexByte(table[off:], 0)
	if end < 0 {
		return "", false
	}
	return string(table[off:][:end]), true
}
