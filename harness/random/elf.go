package random

import (
	"debug/elf"
	"fmt"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/core"
	"github.com/bpfreplay/bpfreplay/internal/elffile"
	"github.com/bpfreplay/bpfreplay/internal/insn"
)

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
	sections []elffile.Section
	relocs   map[string][]reloc // by section
	symbols  []symbol
	types    *types
	ext      ext
	at       map[string]uint64 // functions and variables in their sections, bytes
	funcs    map[string][]placed
}

// ELF writes the object as a compiler would.
func (o *Object) ELF() ([]byte, error) {
	w := &writer{
		o: o, types: newTypes(), relocs: make(map[string][]reloc), at: make(map[string]uint64), funcs: make(map[string][]placed),
		ext: ext{newExtPart(8), newExtPart(16), newExtPart(16)},
	}
	w.lay()
	w.code()
	w.data()
	w.maps()
	w.externs()
	w.license()
	extra := w.ext.bytes(w.types) // adds strings
	w.add(elffile.Section{Name: ".BTF", Type: elf.SHT_PROGBITS, Data: w.types.bytes(), Align: 4})
	if len(w.o.Functions) > 0 {
		w.add(elffile.Section{Name: ".BTF.ext", Type: elf.SHT_PROGBITS, Data: extra, Align: 4})
	}
	file, err := w.file()
	if err != nil {
		return nil, fmt.Errorf("object %s: %w", o.Name(), err)
	}
	return file, nil
}

func (w *writer) add(s elffile.Section) { w.sections = append(w.sections, s) }

func (w *writer) relocate(section string, r reloc) { w.relocs[section] = append(w.relocs[section], r) }

// lay assigns offsets to functions and variables.
func (w *writer) lay() {
	ends := make(map[string]uint64)
	for _, f := range w.o.Functions {
		list := f.place()
		w.funcs[f.Name] = list
		w.at[f.Name] = ends[f.Section]
		ends[f.Section] += uint64(slotsIn(list)) * 8
	}
	for _, v := range w.o.Vars {
		align := uint64(v.align())
		w.at[v.Name] = (ends[v.Section] + align - 1) / align * align
		ends[v.Section] = w.at[v.Name] + uint64(v.Size)
	}
}

// code writes functions, section by section.
func (w *writer) code() {
	names := []string{".text"} // compilers write it first, even if it is empty
	for _, f := range w.o.Functions {
		if !slices.Contains(names, f.Section) {
			names = append(names, f.Section)
		}
	}
	for _, name := range names {
		s := elffile.Section{Name: name, Type: elf.SHT_PROGBITS, Flags: elf.SHF_ALLOC | elf.SHF_EXECINSTR, Align: 8}
		for _, f := range w.o.Functions {
			if f.Section == name {
				w.function(&s, &f)
			}
		}
		w.add(s)
	}
}

// proto returns the type of a function for its role.
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

func (w *writer) function(s *elffile.Section, f *Function) {
	list := w.funcs[f.Name]
	base := w.at[f.Name]
	linkage, bind := 0, elf.STB_LOCAL
	if f.Global {
		linkage, bind = 1, elf.STB_GLOBAL
	}
	id := w.types.function(f.Name, w.proto(f), linkage)
	w.ext.funcs.add(s.Name, uint32(base), uint32(id))
	what := ""
	for i, p := range list {
		at := base + uint64(p.at)*8
		imm := p.Imm
		if p.Core != nil {
			imm = w.access(s.Name, at, p.Core)
		}
		if p.Ref != nil {
			imm = w.refer(s.Name, at, p.Op == insn.Call, p.Ref)
		}
		if i == 0 || w.o.Lines && p.what != what {
			what = p.what
			w.ext.lines.add(s.Name, uint32(at), w.types.str("/fuzz/"+w.o.Name()+".bpf.c"), w.types.str("\t"+what+";"), uint32(i+1)<<10|9)
		}
		s.Data = append(s.Data, encode(p.Insn, imm)...)
	}
	w.symbols = append(w.symbols, symbol{f.Name, bind, elf.STT_FUNC, s.Name, base, uint64(len(s.Data)) - base, f.Hidden})
}

func encode(in Insn, imm int64) []byte {
	if in.Ref != nil && in.Op == insn.Call {
		in.Src = insn.PseudoCall
	}
	if in.Core != nil && in.Op&7 == clLDX {
		in.Off, imm = int16(imm), 0
	}
	out := []byte{in.Op, in.Dst | in.Src<<4}
	out = le.AppendUint16(out, uint16(in.Off))
	out = le.AppendUint32(out, uint32(imm))
	if in.Op != insn.LdImm64 {
		return out
	}
	if in.Ref != nil { // the high half stays 0
		imm = 0
	}
	out = append(out, 0, 0, 0, 0)
	return le.AppendUint32(out, uint32(imm>>32))
}

// access adds the record of a CO-RE access and returns the instruction's immediate value.
func (w *writer) access(section string, at uint64, a *Access) int64 {
	id := w.types.named(a.Type)
	w.ext.core.add(section, uint32(at), uint32(id), w.types.str(a.Path), uint32(a.Kind))
	if a.Kind == core.TypeIDLocal || a.Kind == core.TypeIDTarget {
		return int64(id)
	}
	return a.local()
}

// refer adds the relocation of an instruction in a section and returns its immediate value.
func (w *writer) refer(section string, at uint64, call bool, r *Ref) int64 {
	// By its own name, or by its section and the offset there.
	target, offset := r.Name, int64(r.Offset)
	bySection := func(section string) { target, offset = section, int64(w.at[r.Name])+int64(r.Offset) }
	if f := find(w.o.Functions, r.Name); f != nil && r.BySection && !f.Global {
		bySection(f.Section)
	}
	if v := find(w.o.Vars, r.Name); v != nil && r.BySection && v.Static {
		bySection(v.Section)
	}
	switch {
	case !call:
		w.relocate(section, reloc{at, r64To64, target})
		return offset
	case target == section: // the assembler resolves this call itself
		return (offset-int64(at))/8 - 1
	}
	w.relocate(section, reloc{at, r64To32, target})
	return offset/8 - 1
}

func (w *writer) data() {
	var names []string
	for _, v := range w.o.Vars {
		names = append(names, v.Section)
	}
	for _, name := range slices.Compact(names) {
		s := elffile.Section{Name: name, Type: elf.SHT_PROGBITS, Flags: elf.SHF_ALLOC | elf.SHF_WRITE, Align: 8}
		if strings.HasPrefix(name, ".rodata") {
			s.Flags = elf.SHF_ALLOC
		}
		if strings.HasPrefix(name, ".bss") {
			s.Type = elf.SHT_NOBITS
		}
		var vars []place
		for _, v := range w.o.Vars {
			if v.Section != name {
				continue
			}
			at := w.at[v.Name]
			if s.Size = at + uint64(v.Size); s.Type != elf.SHT_NOBITS {
				s.Data = append(s.Data, make([]byte, at-uint64(len(s.Data)))...)
				s.Data = append(s.Data, v.Data...)
			}
			vars = append(vars, w.variable(v.Name, name, v.Static, w.varType(v), at, v.Size))
		}
		w.dataSection(s, uint32(s.Size), vars)
	}
}

// variable adds the symbol and the type of a variable, and returns its place in its section.
func (w *writer) variable(name, section string, static bool, id btf.TypeID, at uint64, size uint32) place {
	linkage, bind := uint32(1), elf.STB_GLOBAL
	if static {
		linkage, bind = 0, elf.STB_LOCAL
	}
	w.symbols = append(w.symbols, symbol{name, bind, elf.STT_OBJECT, section, at, uint64(size), false})
	p := place{w.types.variable(name, id, linkage), uint32(at), size}
	if w.o.Compiled && !static {
		p.offset = 0
	}
	return p
}

// dataSection adds a section of variables and its type.
func (w *writer) dataSection(s elffile.Section, size uint32, vars []place) {
	if w.o.Compiled {
		size = 0
	}
	w.types.section(s.Name, size, vars)
	w.add(s)
}

func (w *writer) varType(v Var) btf.TypeID {
	kind := kindArray
	if _, ok := sized[v.Size]; ok {
		kind = kindInt
	} else if v.Size%4 == 0 && v.Size < 256 {
		kind = kindStruct
	}
	id := w.types.of(Type{kind, v.Size})
	if kind == kindArray {
		return id
	}
	id = w.types.ref(btf.KindVolatile, "", id)
	if strings.HasPrefix(v.Section, ".rodata") {
		id = w.types.ref(btf.KindConst, "", id)
	}
	return id
}

func (w *writer) maps() {
	if len(w.o.Maps) == 0 {
		return
	}
	s := elffile.Section{Name: ".maps", Type: elf.SHT_PROGBITS, Flags: elf.SHF_ALLOC | elf.SHF_WRITE, Align: 8}
	var vars []place
	for _, m := range w.o.Maps {
		id, size := w.types.mapDefinition(&m)
		at := uint64(len(s.Data))
		slots := 0
		for _, slot := range m.Slots {
			slots = max(slots, slot.Index+1)
			w.relocate(s.Name, reloc{at + uint64(size) + uint64(slot.Index)*8, r64ToABS64, slot.To})
		}
		whole := size + uint32(slots)*8
		s.Data = append(s.Data, make([]byte, whole)...)
		vars = append(vars, w.variable(m.Name, s.Name, false, id, at, whole))
	}
	w.dataSection(s, uint32(len(s.Data)), vars)
}

func (w *writer) externs() {
	var ksyms, settings []place
	for _, e := range w.o.Externs {
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
			t := w.types.ref(btf.KindConst, "", w.types.named(variables[e.Name]))
			ksyms = append(ksyms, place{id: w.types.variable(e.Name, t, 2), size: 4})
		case Kconfig:
			c := configs[e.Name]
			settings = append(settings, place{id: w.types.variable(e.Name, w.types.named(c.typ), 2), size: c.size})
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
	w.types.section("license", uint32(len(text)), []place{w.variable("_license", "license", false, id, 0, uint32(len(text)))})
	w.add(elffile.Section{Name: "license", Type: elf.SHT_PROGBITS, Flags: elf.SHF_ALLOC | elf.SHF_WRITE, Data: text, Align: 1})
}

// file assembles the file from the sections and symbols.
func (w *writer) file() ([]byte, error) {
	var strs elffile.Strings
	index := make(map[string]uint32) // of sections
	var all []elffile.Section
	for _, s := range w.sections {
		all = append(all, s)
		index[s.Name] = uint32(len(all))
		if len(w.relocs[s.Name]) > 0 {
			all = append(all, elffile.Section{Name: ".rel" + s.Name, Type: elf.SHT_REL, Flags: elf.SHF_INFO_LINK, Info: uint32(len(all)), Entsize: 16, Align: 8})
		}
	}
	symtab := make([]byte, elf.Sym64Size)
	symbols := make(map[string]uint32)
	put := func(s symbol, name string) {
		symbols[s.name] = uint32(len(symtab) / elf.Sym64Size)
		visibility := elf.STV_DEFAULT
		if s.hidden {
			visibility = elf.STV_HIDDEN
		}
		symtab = elffile.Append(symtab, elf.Sym64{
			Name: strs.Add(name), Info: elf.ST_INFO(s.bind, s.kind), Other: byte(visibility), Shndx: uint16(index[s.section]), Value: s.value, Size: s.size,
		})
	}
	for _, s := range w.sections { // local symbols come first
		if s.Flags&elf.SHF_ALLOC != 0 && s.Name != ".maps" && s.Name != "license" {
			put(symbol{name: s.Name, kind: elf.STT_SECTION, section: s.Name}, "")
		}
	}
	for _, s := range w.symbols {
		if s.bind == elf.STB_LOCAL {
			put(s, s.name)
		}
	}
	locals := uint32(len(symtab) / elf.Sym64Size)
	for _, s := range w.symbols {
		if s.bind != elf.STB_LOCAL {
			put(s, s.name)
		}
	}
	all = append(all, elffile.Section{Name: ".symtab", Type: elf.SHT_SYMTAB, Data: symtab, Link: uint32(len(all) + 2), Info: locals, Entsize: elf.Sym64Size, Align: 8})
	symtabIndex := uint32(len(all))
	for _, s := range w.sections {
		for _, r := range w.relocs[s.Name] {
			n, ok := symbols[r.symbol]
			if !ok {
				return nil, fmt.Errorf("relocation against %s, which is no symbol", r.symbol)
			}
			rel := &all[index[s.Name]] // the one behind it
			rel.Link = symtabIndex
			rel.Data = elffile.Append(rel.Data, elf.Rel64{Off: r.offset, Info: elf.R_INFO(n, r.kind)})
		}
	}
	return elffile.Write(elf.ET_REL, elf.EM_BPF, all, strs), nil
}
