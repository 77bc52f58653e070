package random

import (
	"debug/elf"
	"fmt"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/btf"
)

// section is a section of the file.
type section struct {
	name    string
	kind    elf.SectionType
	flags   elf.SectionFlag
	data    []byte
	size    uint64 // of SHT_NOBITS
	link    uint32
	info    uint32
	entsize uint64
	align   uint64
	relocs  []reloc
}

type reloc struct {
	offset uint64
	kind   uint32
	symbol string
}

// Relocations of BPF.
const (
	r64To64    = 1  // ld_imm64
	r64ToABS64 = 2  // data
	r64To32    = 10 // call
)

type symbol struct {
	name    string
	bind    elf.SymBind
	kind    elf.SymType
	section string // "" for undefined
	value   uint64
	size    uint64
	hidden  bool
}

// writer turns a description into a file.
type writer struct {
	o        *Object
	sections []section
	symbols  []symbol
	types    *types
	ext      ext
	at       map[string]uint64 // functions and variables in their sections, bytes
	funcs    map[string][]placed
}

// ELF writes the object as a compiler would.
func (o *Object) ELF() ([]byte, error) {
	w := &writer{
		o: o, types: newTypes(), at: make(map[string]uint64), funcs: make(map[string][]placed),
		ext: ext{newExtPart(8), newExtPart(16), newExtPart(16)},
	}
	w.lay()
	if err := w.code(); err != nil {
		return nil, fmt.Errorf("object %s: %w", o.Name(), err)
	}
	w.data()
	w.maps()
	w.externs()
	w.license()
	extra := w.ext.bytes(w.types) // adds strings
	w.add(section{name: ".BTF", kind: elf.SHT_PROGBITS, data: w.types.bytes(), align: 4})
	if len(w.o.Functions) > 0 {
		w.add(section{name: ".BTF.ext", kind: elf.SHT_PROGBITS, data: extra, align: 4})
	}
	return w.file()
}

func (w *writer) add(s section) *section {
	w.sections = append(w.sections, s)
	return &w.sections[len(w.sections)-1]
}

// lay decides where functions and variables are.
func (w *writer) lay() {
	ends := make(map[string]uint64)
	for i := range w.o.Functions {
		f := &w.o.Functions[i]
		list := f.place()
		w.funcs[f.Name] = list
		w.at[f.Name] = ends[f.Section]
		ends[f.Section] += uint64(list[len(list)-1].at+1) * 8
	}
	for i := range w.o.Vars {
		v := &w.o.Vars[i]
		align := uint64(v.align())
		w.at[v.Name] = (ends[v.Section] + align - 1) / align * align
		ends[v.Section] = w.at[v.Name] + uint64(v.Size)
	}
}

// code writes functions, section by section.
func (w *writer) code() error {
	names := []string{".text"} // which compilers write first, even if it is empty
	for i := range w.o.Functions {
		if s := w.o.Functions[i].Section; !slices.Contains(names, s) {
			names = append(names, s)
		}
	}
	for _, name := range names {
		s := section{name: name, kind: elf.SHT_PROGBITS, flags: elf.SHF_ALLOC | elf.SHF_EXECINSTR, align: 8}
		for i := range w.o.Functions {
			if f := &w.o.Functions[i]; f.Section == name {
				if err := w.function(&s, f); err != nil {
					return fmt.Errorf("function %s: %w", f.Name, err)
				}
			}
		}
		w.add(s)
	}
	return nil
}

// protos are the types of functions by their roles.
func (w *writer) proto(f *Function) btf.TypeID {
	switch f.Role {
	case Subprogram:
		return w.types.proto("int", "n", "int")
	case OfLoop:
		return w.types.proto("long long", "n", "u64", "*void")
	case OfElements:
		return w.types.proto("long long", "n", "*void", "*void", "*void", "*void")
	}
	return w.types.proto("int", "ctx", "*void")
}

func (w *writer) function(s *section, f *Function) error {
	list := w.funcs[f.Name]
	base := w.at[f.Name]
	linkage, bind := 0, elf.STB_LOCAL
	if f.Global {
		linkage, bind = 1, elf.STB_GLOBAL
	}
	id := w.types.function(f.Name, w.proto(f), linkage)
	w.ext.funcs.add(s.name, uint32(base), uint32(id))
	what := ""
	for i := range list {
		p := &list[i]
		at := base + uint64(p.at)*8
		imm := p.Imm
		if p.Core != nil {
			imm = w.access(s.name, at, p)
		}
		if p.Ref != nil {
			var err error
			if imm, err = w.refer(s, f, at, p.Ref); err != nil {
				return err
			}
		}
		if i == 0 || w.o.Lines && p.what != what {
			what = p.what
			w.ext.lines.add(s.name, uint32(at), w.types.str("/fuzz/"+w.o.Name()+".bpf.c"), w.types.str("\t"+what+";"), uint32(i+1)<<10|9)
		}
		s.data = append(s.data, encode(p, imm)...)
	}
	w.symbols = append(w.symbols, symbol{f.Name, bind, elf.STT_FUNC, s.name, base, uint64(len(s.data)) - base, f.Hidden})
	return nil
}

func encode(p *placed, imm int64) []byte {
	src := p.Src
	if p.Ref != nil && p.Ref.Kind == RefCall {
		src = 1 // BPF_PSEUDO_CALL
	}
	if p.Core != nil && p.Op&7 == clLDX {
		p.Off, imm = int16(imm), 0
	}
	out := []byte{p.Op, p.Dst | src<<4}
	out = le.AppendUint16(out, uint16(p.Off))
	out = le.AppendUint32(out, uint32(imm))
	if p.Op != opImm64 {
		return out
	}
	high := uint32(imm >> 32)
	if p.Ref != nil {
		high = 0
	}
	out = append(out, 0, 0, 0, 0)
	return le.AppendUint32(out, high)
}

// access adds the record of a CO-RE access and returns what the instruction holds.
func (w *writer) access(section string, at uint64, p *placed) int64 {
	id := w.types.named(p.Core.Type)
	w.ext.core.add(section, uint32(at), uint32(id), w.types.str(p.Core.Path), p.Core.Kind)
	if p.Core.Kind == typeIDLocal || p.Core.Kind == typeIDTarget {
		return int64(id)
	}
	return p.Core.local()
}

// refer adds a relocation and returns what the instruction holds.
func (w *writer) refer(s *section, from *Function, at uint64, r *Ref) (int64, error) {
	target := r.Name
	offset := w.at[r.Name] + uint64(r.Offset) // in its section
	if f := w.o.findFunction(r.Name); f != nil {
		switch {
		case r.Kind == RefCall && !f.Global && f.Section == s.name && r.BySection:
			// The assembler knows the distance.
			return (int64(offset)-int64(at))/8 - 1, nil
		case r.Kind == RefCall && r.BySection && !f.Global:
			s.relocs = append(s.relocs, reloc{at, r64To32, f.Section})
			return int64(offset)/8 - 1, nil
		case r.Kind == RefCall:
			s.relocs = append(s.relocs, reloc{at, r64To32, target})
			return -1, nil
		case r.BySection && !f.Global:
			s.relocs = append(s.relocs, reloc{at, r64To64, f.Section})
			return int64(offset), nil
		}
		s.relocs = append(s.relocs, reloc{at, r64To64, target})
		return 0, nil
	}
	if e := w.o.findExtern(r.Name); e != nil {
		if r.Kind == RefCall {
			s.relocs = append(s.relocs, reloc{at, r64To32, target})
			return -1, nil
		}
		s.relocs = append(s.relocs, reloc{at, r64To64, target})
		return 0, nil
	}
	imm := int64(r.Offset)
	if v := w.o.findVar(r.Name); v != nil && r.BySection && v.Static {
		target, imm = v.Section, int64(offset)
	} else if v == nil && !slices.ContainsFunc(w.o.Maps, func(m Map) bool { return m.Name == r.Name }) {
		return 0, fmt.Errorf("refers to %s, which is not there", r.Name)
	}
	s.relocs = append(s.relocs, reloc{at, r64To64, target})
	return imm, nil
}

// dataSections are the names of the data sections, in order.
func (o *Object) dataSections() []string {
	var names []string
	for _, v := range o.Vars {
		if !slices.Contains(names, v.Section) {
			names = append(names, v.Section)
		}
	}
	return names
}

func (w *writer) data() {
	for _, name := range w.o.dataSections() {
		s := section{name: name, kind: elf.SHT_PROGBITS, flags: elf.SHF_ALLOC | elf.SHF_WRITE, align: 8}
		if strings.HasPrefix(name, ".rodata") {
			s.flags = elf.SHF_ALLOC
		}
		if strings.HasPrefix(name, ".bss") {
			s.kind = elf.SHT_NOBITS
		}
		var vars []place
		for i := range w.o.Vars {
			v := &w.o.Vars[i]
			if v.Section != name {
				continue
			}
			at := w.at[v.Name]
			if s.size = at + uint64(v.Size); s.kind != elf.SHT_NOBITS {
				s.data = append(s.data, make([]byte, at-uint64(len(s.data)))...)
				s.data = append(s.data, v.Data...)
			}
			linkage, bind := uint32(1), elf.STB_GLOBAL
			if v.Static {
				linkage, bind = 0, elf.STB_LOCAL
			}
			w.symbols = append(w.symbols, symbol{v.Name, bind, elf.STT_OBJECT, name, at, uint64(v.Size), false})
			p := place{w.types.variable(v.Name, w.varType(v), linkage), uint32(at), v.Size}
			if w.o.Compiled && !v.Static {
				p.offset = 0
			}
			vars = append(vars, p)
		}
		size := uint32(s.size)
		if w.o.Compiled {
			size = 0
		}
		w.types.section(name, size, vars)
		w.add(s)
	}
}

func (w *writer) varType(v *Var) btf.TypeID {
	kind := kindArray
	if _, ok := sized[v.Size]; ok {
		kind = kindInt
	} else if v.Size%4 == 0 && v.Size < 256 {
		kind = kindStruct
	}
	id := w.types.of(typeOf(kind, v.Size))
	if kind == kindArray {
		return id
	}
	id = w.types.once(fmt.Sprint("volatile", id), func() btf.TypeID { return w.types.ref(btf.KindVolatile, "", id) })
	if strings.HasPrefix(v.Section, ".rodata") {
		id = w.types.once(fmt.Sprint("const", id), func() btf.TypeID { return w.types.ref(btf.KindConst, "", id) })
	}
	return id
}

func (w *writer) maps() {
	if len(w.o.Maps) == 0 {
		return
	}
	s := section{name: ".maps", kind: elf.SHT_PROGBITS, flags: elf.SHF_ALLOC | elf.SHF_WRITE, align: 8}
	var vars []place
	for i := range w.o.Maps {
		m := &w.o.Maps[i]
		id, size := w.types.mapDefinition(m)
		at := uint64(len(s.data))
		slots := 0
		for _, slot := range m.Slots {
			slots = max(slots, slot.Index+1)
			s.relocs = append(s.relocs, reloc{at + uint64(size) + uint64(slot.Index)*8, r64ToABS64, slot.To})
		}
		whole := size + uint32(slots)*8
		s.data = append(s.data, make([]byte, whole)...)
		w.symbols = append(w.symbols, symbol{m.Name, elf.STB_GLOBAL, elf.STT_OBJECT, s.name, at, uint64(whole), false})
		p := place{w.types.variable(m.Name, id, 1), uint32(at), whole}
		if w.o.Compiled {
			p.offset = 0
		}
		vars = append(vars, p)
	}
	size := uint32(len(s.data))
	if w.o.Compiled {
		size = 0
	}
	w.types.section(s.name, size, vars)
	w.add(s)
}

func (w *writer) externs() {
	var ksyms, settings []place
	for i := range w.o.Externs {
		e := &w.o.Externs[i]
		bind := elf.STB_GLOBAL
		if e.Weak {
			bind = elf.STB_WEAK
		}
		w.symbols = append(w.symbols, symbol{name: e.Name, bind: bind, kind: elf.STT_NOTYPE})
		switch e.Kind {
		case Kfunc:
			k := kfuncs[e.Name]
			ksyms = append(ksyms, place{id: w.types.function(e.Name, w.types.proto(k.result, "", k.params...), 2)})
		case Typeless:
			ksyms = append(ksyms, place{id: w.types.variable(e.Name, 0, 2), size: 1})
		case Typed:
			t := w.types.named(variables[e.Name])
			t = w.types.once(fmt.Sprint("const", t), func() btf.TypeID { return w.types.ref(btf.KindConst, "", t) })
			ksyms = append(ksyms, place{id: w.types.variable(e.Name, t, 2), size: 4})
		case Kconfig:
			name, size := configs[e.Name], uint32(4)
			switch name {
			case "bool", "char":
				size = 1
			case "u64":
				size = 8
			case "char[]":
				name, size = "char[24]", 24
			}
			settings = append(settings, place{id: w.types.variable(e.Name, w.types.named(name), 2), size: size})
		}
	}
	if len(ksyms) > 0 {
		w.types.section(".ksyms", 0, ksyms)
	}
	if len(settings) > 0 {
		w.types.section(".kconfig", 0, settings)
	}
}

func (w *writer) license() {
	text := append([]byte(w.o.License), 0)
	id := w.types.array(w.types.named("char"), uint32(len(text)))
	w.types.section("license", uint32(len(text)), []place{{w.types.variable("_license", id, 1), 0, uint32(len(text))}})
	w.add(section{name: "license", kind: elf.SHT_PROGBITS, flags: elf.SHF_ALLOC | elf.SHF_WRITE, data: text, align: 1})
	w.symbols = append(w.symbols, symbol{"_license", elf.STB_GLOBAL, elf.STT_OBJECT, "license", 0, uint64(len(text)), false})
}

// strings is a string table.
type strtab []byte

func (s *strtab) add(text string) uint32 {
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

const (
	headerSize  = 64 // struct elf64_hdr
	sectionSize = 64 // struct elf64_shdr
	symbolSize  = 24 // struct elf64_sym
	relocSize   = 16 // struct elf64_rel
	machineBPF  = 247
)

// file writes sections and symbols, which are all there now.
func (w *writer) file() ([]byte, error) {
	var strs strtab
	index := make(map[string]uint32) // of sections
	var all []section
	for _, s := range w.sections {
		all = append(all, s)
		index[s.name] = uint32(len(all))
		if len(s.relocs) > 0 {
			all = append(all, section{name: ".rel" + s.name, kind: elf.SHT_REL, flags: elf.SHF_INFO_LINK, info: uint32(len(all)), entsize: relocSize, align: 8})
		}
	}
	symtab := make([]byte, symbolSize)
	symbols := make(map[string]uint32)
	put := func(s symbol, name string) {
		symbols[s.name] = uint32(len(symtab) / symbolSize)
		symtab = le.AppendUint32(symtab, strs.add(name))
		visibility := elf.STV_DEFAULT
		if s.hidden {
			visibility = elf.STV_HIDDEN
		}
		symtab = append(symtab, byte(s.bind)<<4|byte(s.kind), byte(visibility))
		symtab = le.AppendUint16(symtab, uint16(index[s.section]))
		symtab = le.AppendUint64(symtab, s.value)
		symtab = le.AppendUint64(symtab, s.size)
	}
	for _, s := range w.sections { // local symbols come first
		if s.flags&elf.SHF_ALLOC != 0 && s.name != ".maps" && s.name != "license" {
			put(symbol{name: s.name, kind: elf.STT_SECTION, section: s.name}, "")
		}
	}
	for _, s := range w.symbols {
		if s.bind == elf.STB_LOCAL {
			put(s, s.name)
		}
	}
	locals := uint32(len(symtab) / symbolSize)
	for _, s := range w.symbols {
		if s.bind != elf.STB_LOCAL {
			put(s, s.name)
		}
	}
	all = append(all, section{name: ".symtab", kind: elf.SHT_SYMTAB, data: symtab, link: uint32(len(all) + 2), info: locals, entsize: symbolSize, align: 8})
	symtabIndex := uint32(len(all))
	for _, s := range w.sections {
		if len(s.relocs) == 0 {
			continue
		}
		rel := &all[index[s.name]] // the one behind it
		rel.link = symtabIndex
		for _, r := range s.relocs {
			n, ok := symbols[r.symbol]
			if !ok {
				return nil, fmt.Errorf("relocation against %s, which is no symbol", r.symbol)
			}
			rel.data = le.AppendUint64(rel.data, r.offset)
			rel.data = le.AppendUint64(rel.data, uint64(n)<<32|uint64(r.kind))
		}
	}
	return assemble(all, strs), nil
}

// assemble puts the file together; the string table is added as last section.
func assemble(all []section, strs strtab) []byte {
	var names []uint32
	for _, s := range all {
		names = append(names, strs.add(s.name))
	}
	names = append(names, strs.add(".strtab"))
	all = append(all, section{name: ".strtab", kind: elf.SHT_STRTAB, data: strs, align: 1})
	raw := make([]byte, headerSize)
	copy(raw, "\x7fELF\x02\x01\x01")
	le.PutUint16(raw[16:], uint16(elf.ET_REL))
	le.PutUint16(raw[18:], machineBPF)
	le.PutUint32(raw[20:], 1)
	le.PutUint16(raw[52:], headerSize)
	le.PutUint16(raw[58:], sectionSize)
	le.PutUint16(raw[60:], uint16(len(all)+1))
	le.PutUint16(raw[62:], uint16(len(all)))
	headers := make([]byte, sectionSize)
	for i, s := range all {
		raw = append(raw, make([]byte, -len(raw)&7)...)
		size := uint64(len(s.data))
		if s.kind == elf.SHT_NOBITS {
			size = s.size
		}
		h := make([]byte, sectionSize)
		le.PutUint32(h, names[i])
		le.PutUint32(h[4:], uint32(s.kind))
		le.PutUint64(h[8:], uint64(s.flags))
		le.PutUint64(h[24:], uint64(len(raw)))
		le.PutUint64(h[32:], size)
		le.PutUint32(h[40:], s.link)
		le.PutUint32(h[44:], s.info)
		le.PutUint64(h[48:], s.align)
		le.PutUint64(h[56:], s.entsize)
		headers = append(headers, h...)
		raw = append(raw, s.data...)
	}
	raw = append(raw, make([]byte, -len(raw)&7)...)
	le.PutUint64(raw[40:], uint64(len(raw)))
	return append(raw, headers...)
}
