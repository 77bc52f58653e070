package object

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/insn"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

const (
	jumpSlotSize = 8  // bytes of one entry of a jump table in ELF
	jumpValue    = 16 // struct bpf_insn_array_value
)

// readRelocations resolves the relocations of code, of .maps and of struct_ops.
func (o *opener) readRelocations() error {
	for i := range o.elf.sections {
		s := &o.elf.sections[i]
		if s.kind != shtRel && s.kind != shtRela || ignored(s) {
			continue
		}
		if int64(s.info) >= int64(len(o.elf.sections)) {
			return in(s.name, "", malformed("relocations of section %d of %d", s.info, len(o.elf.sections)))
		}
		target := &o.elf.sections[s.info]
		if !target.executable() && o.roles[target.index] != roleMaps && o.roles[target.index] != roleStructOps {
			if err := o.skipRelocations(s, target); err != nil {
				return in(s.name, "", err)
			}
			continue
		}
		if s.kind == shtRela {
			return in(s.name, "", unsupported("relocations of section %q are of type SHT_RELA, whose addends are not in the instructions; BPF has SHT_REL: compile with clang -target bpf", target.name))
		}
		rels, err := o.elf.relocations(s)
		if err != nil {
			return in(s.name, "", err)
		}
		if err := o.readSectionRelocations(target, rels); err != nil {
			return in(target.name, "", err)
		}
	}
	for i := range o.obj.Functions {
		f := &o.obj.Functions[i]
		slices.SortStableFunc(f.Relocations, func(a, b Relocation) int { return cmp.Compare(a.Insn, b.Insn) })
		for n := 1; n < len(f.Relocations); n++ {
			if f.Relocations[n].Insn == f.Relocations[n-1].Insn {
				return in(f.Section, f.Name, malformed("instruction %d has two relocations", f.Relocations[n].Insn))
			}
		}
	}
	o.adjustAutoload()
	return nil
}

// skipRelocations warns of relocations that no BPF loader applies: those of data that holds
// addresses, and of sections whose bytes the loader uses as they are.
func (o *opener) skipRelocations(s, target *section) error {
	role := o.roles[target.index]
	if role == roleNone && !known(target) || target.name == secBTF || target.name == secBTFExt {
		return nil // no loader reads it, or only linkers use its relocations (BTF)
	}
	size := uint64(relSize)
	if s.kind == shtRela {
		size = relaSize
	}
	data, err := o.elf.contents(s)
	if err != nil {
		return err
	}
	if s.entsize != size || uint64(len(data))%size != 0 {
		return malformed("%d bytes of relocations of %d bytes (sh_entsize), not %d", len(data), s.entsize, size)
	}
	count := uint64(len(data)) / size
	if count == 0 || role == roleJumpTable && s.kind == shtRel && o.ofSections(data) {
		return nil // section offsets, as a jump table wants them
	}
	o.warn(Warning{
		Section: target.name, Symbol: o.variableAt(target.index, le.Uint64(data)),
		Defect:      fmt.Sprintf("relocations of data are not applied, by no BPF loader: %d, the first at offset %d", count, le.Uint64(data)),
		Consequence: "pointers in it are not filled in and lead nowhere; programs have to take the addresses",
	})
	return nil
}

// ofSections reports whether SHT_REL entries add 0: all refer to the start of a section.
func (o *opener) ofSections(rels []byte) bool {
	for ; len(rels) > 0; rels = rels[relSize:] {
		sym := le.Uint32(rels[12:])
		if int64(sym) >= int64(len(o.elf.symbols)) || o.elf.symbols[sym].value != 0 {
			return false
		}
	}
	return true
}

// variableAt returns the name of the variable at an offset of a section, or "".
func (o *opener) variableAt(section int, off uint64) string {
	for _, sym := range o.elf.bySection[section] {
		if sym.kind == symObject && off >= sym.value && off-sym.value < sym.size {
			return sym.name
		}
	}
	return ""
}

func (o *opener) readSectionRelocations(target *section, rels []relocation) error {
	switch o.roles[target.index] {
	case roleMaps:
		return o.readSlots(rels)
	case roleStructOps:
		return o.readMembers(target, rels)
	}
	for i, r := range rels {
		if r.offset%8 != 0 || r.offset >= target.size {
			return malformed("relocation %d at offset %d is misaligned or beyond the section's %d bytes", i, r.offset, target.size)
		}
		fn, ok := o.functionAt(target.index, r.offset)
		if !ok {
			continue // the code of an overridden weak function
		}
		f := &o.obj.Functions[fn]
		relo, err := o.resolve(fn, int(r.offset-uint64(f.Offset))/8, r.symbol)
		if err != nil {
			insn := (r.offset - uint64(f.Offset)) / 8
			return in(f.Section, f.Name, fmt.Errorf("instruction %d: relocation against %q: %w", insn, o.symbolName(r.symbol), err))
		}
		f.Relocations = append(f.Relocations, relo)
	}
	return nil
}

// symbolName returns the name of a symbol, or of its section for section symbols.
func (o *opener) symbolName(s *symbol) string {
	if s.name == "" && s.kind == symSection && s.section > shnUndef && s.section < len(o.elf.sections) {
		return o.elf.sections[s.section].name
	}
	return s.name
}

// resolve finds what an instruction refers to. The order of the cases is libbpf's.
func (o *opener) resolve(fn, at int, sym *symbol) (Relocation, error) {
	p := insn.Insns(o.obj.Functions[fn].Insns)
	r := Relocation{Insn: at}
	switch p.Op(at) {
	case insn.Call:
	case insn.LdImm64:
		if !p.IsLdImm64(at) {
			return r, malformed("second half of ld_imm64 is missing")
		}
	default:
		return r, malformed("opcode %#x takes no relocation", p.Op(at))
	}
	switch {
	case sym.extern():
		return r, o.resolveExtern(&r, p.Op(at), sym)
	case p.Op(at) == insn.Call:
		return r, o.resolveCall(fn, &r, sym)
	}
	s, err := o.home(sym)
	if s != nil && o.roles[s.index] == roleJumpTable {
		return r, o.resolveJumpTable(fn, &r, sym) // libbpf reads it when it loads the program
	}
	if err != nil {
		return r, err
	}
	if o.isSubprogSymbol(sym) {
		return r, o.resolveFuncAddress(fn, &r, p.Imm(at), sym)
	}
	return r, o.resolveData(fn, &r, p.Imm(at), sym)
}

// home returns the section of a symbol. It fails, and still returns the section, if the symbol is
// not completely inside of it. It fails and returns nil if the symbol has no section.
func (o *opener) home(sym *symbol) (*section, error) {
	if sym.section <= shnUndef || sym.section >= len(o.elf.sections) {
		return nil, malformed("symbol is not in any section; does a global variable lack an initialiser?")
	}
	s := &o.elf.sections[sym.section]
	if sym.value > s.size || sym.size > s.size-sym.value {
		return s, malformed("symbol is outside of its section: %d bytes at offset %d of %d in %q", sym.size, sym.value, s.size, s.name)
	}
	return s, nil
}

func (o *opener) resolveExtern(r *Relocation, op uint8, sym *symbol) error {
	n, ok := o.externBy[sym.index]
	if !ok {
		return malformed("extern without a name")
	}
	r.Target = n
	kind := o.obj.Externs[n].Kind
	switch {
	case op == insn.Call && kind != ExternFunc:
		return malformed("call of an extern that is not a function")
	case op == insn.Call:
		r.Kind = RelocKfunc
	case kind == ExternKconfig:
		r.Kind, r.Offset = RelocKconfig, o.obj.Externs[n].KconfigOffset
	default:
		r.Kind = RelocKsym
	}
	return nil
}

// resolveCall handles calls of subprograms. The symbol names a global function, and imm is -1. For
// a static function the symbol is its section's, and imm counts instructions from the start of the
// section.
func (o *opener) resolveCall(fn int, r *Relocation, sym *symbol) error {
	r.Kind = RelocCall
	p := insn.Insns(o.obj.Functions[fn].Insns)
	if src := p.Src(r.Insn); src != insn.PseudoCall {
		return malformed("call with source register %d, not %d", src, insn.PseudoCall)
	}
	if o.text == 0 || sym.section != o.text {
		return o.notInText(sym)
	}
	if _, err := o.home(sym); err != nil {
		return err
	}
	if sym.value%8 != 0 {
		return malformed("symbol at offset %d is in the middle of an instruction", sym.value)
	}
	target, err := o.subprogAt(int64(sym.value/8) + int64(p.Imm(r.Insn)) + 1)
	if err != nil {
		return o.deferError(fn, r, err)
	}
	r.Target = target
	return nil
}

// notInText returns the error about a call to a function outside of .text.
func (o *opener) notInText(sym *symbol) error {
	if sym.section <= shnUndef || sym.section >= len(o.elf.sections) {
		return malformed("calls can only go to functions in %s, and this one is defined nowhere", secText)
	}
	s := &o.elf.sections[sym.section]
	how := ""
	switch {
	case strings.HasPrefix(s.name, secText+"."):
		how = "; the compiler puts functions there that have __attribute__((cold)), or with -ffunction-sections"
	case s.executable():
		how = ": it is a program; leave SEC() away to call it"
	}
	return malformed("calls can only go to functions in %s, and this one is in %q%s", secText, s.name, how)
}

// insnPlace is one instruction of one function.
type insnPlace struct {
	function, insn int
}

// deferError stores an error that libbpf raises while loading, not while opening. linkFunctions
// assigns it to the function and drops the relocation.
func (o *opener) deferError(fn int, r *Relocation, err error) error {
	o.deferredErrors[insnPlace{fn, r.Insn}] = err
	return nil
}

// subprogAt returns the function in .text that contains an instruction.
func (o *opener) subprogAt(insn int64) (int, error) {
	if o.text != 0 && insn >= 0 {
		if fn, ok := o.functionAt(o.text, uint64(insn)*8); ok {
			return fn, nil
		}
	}
	return 0, malformed("no function at instruction %d of %s", insn, secText)
}

func (o *opener) isSubprogSymbol(sym *symbol) bool {
	if sym.section != o.text {
		return false
	}
	if sym.bind == bindLocal {
		return sym.kind == symSection
	}
	return sym.kind == symFunc
}

// resolveFuncAddress handles ld_imm64 of a callback: symbol plus imm is its offset in bytes.
func (o *opener) resolveFuncAddress(fn int, r *Relocation, imm int32, sym *symbol) error {
	r.Kind = RelocFunc
	if sym.value%8 != 0 || imm%8 != 0 {
		return malformed("function address %d%+d is in the middle of an instruction", sym.value, imm)
	}
	target, err := o.subprogAt((int64(sym.value) + int64(imm)) / 8)
	if err != nil {
		return o.deferError(fn, r, err)
	}
	r.Target = target
	return nil
}

// resolveData handles ld_imm64 of maps and of variables.
func (o *opener) resolveData(fn int, r *Relocation, imm int32, sym *symbol) error {
	switch o.roles[sym.section] {
	case roleArena:
		if o.arena == nil {
			return errNoArena
		}
		r.Kind, r.Target = RelocMapValue, *o.arena
	case roleMaps:
		r.Kind = RelocMap
		for i, n := range o.mapVar {
			if uint64(o.mapsVars[n].Offset) == sym.value {
				r.Target = i
				return nil
			}
		}
		return malformed("no map at offset %d of %s", sym.value, secMaps)
	case roleData, roleBSS, roleRodata, rolePercpu:
		r.Kind, r.Target = RelocMapValue, o.dataMap[sym.section]
	default:
		return malformed("section %q holds neither maps nor data", o.elf.sections[sym.section].name)
	}
	// No overflow: the symbol is inside of a section whose size fits.
	at := int64(sym.value) + int64(imm)
	if at < 0 || at > math.MaxUint32 {
		return o.deferError(fn, r, malformed("address of byte %d of section %q, which has %d", at, o.elf.sections[sym.section].name, o.elf.sections[sym.section].size))
	}
	r.Offset = uint32(at)
	return nil
}

type jumpTableKey struct {
	function int
	offset   uint64
}

func (o *opener) resolveJumpTable(fn int, r *Relocation, sym *symbol) error {
	r.Kind = RelocJumpTable
	key := jumpTableKey{fn, sym.value}
	if n, ok := o.jumpTable[key]; ok {
		r.Target = n
		return nil
	}
	m, err := o.readJumpTable(fn, sym)
	if err != nil {
		return o.deferError(fn, r, err)
	}
	r.Target = len(o.obj.Maps)
	o.jumpTable[key] = r.Target
	o.obj.Maps = append(o.obj.Maps, m)
	return nil
}

// readJumpTable makes the map of one jump table. In ELF its entries are byte offsets from the start
// of the code's section.
func (o *opener) readJumpTable(fn int, sym *symbol) (Map, error) {
	f := &o.obj.Functions[fn]
	data, err := o.elf.contents(&o.elf.sections[sym.section])
	if err != nil {
		return Map{}, err
	}
	if sym.value%jumpSlotSize != 0 || sym.size%jumpSlotSize != 0 || sym.value > uint64(len(data)) || sym.size > uint64(len(data))-sym.value {
		return Map{}, malformed("jump table at %d+%d is misaligned or beyond its section", sym.value, sym.size)
	}
	if err := o.spend(sym.size); err != nil {
		return Map{}, err
	}
	table := &JumpTable{Function: fn}
	for b := data[sym.value:][:sym.size]; len(b) > 0; b = b[jumpSlotSize:] {
		to := le.Uint64(b)/8 - uint64(f.Offset)/8
		if to >= uint64(len(f.Insns))/8 {
			return Map{}, malformed("jump table leads to offset %d, outside the function", le.Uint64(b))
		}
		table.Targets = append(table.Targets, uint32(to))
	}
	return Map{
		Name: secJumpTable, Kind: MapJumpTable, Section: secJumpTable, Type: uapi.MapInsnArray,
		KeySize: 4, ValueSize: jumpValue, MaxEntries: uint32(len(table.Targets)), Frozen: true, JumpTable: table,
	}, nil
}

// linkFunctions finds the calls that need no relocation, and the exception callbacks. An error here
// prevents a program from being loaded, not the object from being opened.
func (o *opener) linkFunctions() error {
	tags := o.exceptionTags()
	for i := range o.obj.Functions {
		f := &o.obj.Functions[i]
		if err := o.linkCalls(i); err != nil && f.Err == nil {
			f.Err = err
		}
		if f.Subprog {
			continue
		}
		if err := o.linkException(f, tags); err != nil && f.Err == nil {
			f.Err = fmt.Errorf("exception callback: %w", err)
		}
	}
	return nil
}

func (o *opener) linkCalls(fn int) error {
	f := &o.obj.Functions[fn]
	var first error
	fail := func(at int, err error) {
		if first == nil {
			first = fmt.Errorf("instruction %d: %w", at, err)
		}
	}
	relocs := f.Relocations
	var all []Relocation
	p := insn.Insns(f.Insns)
	for at := range p.Len() {
		if len(relocs) > 0 && relocs[0].Insn == at {
			if err := o.deferredErrors[insnPlace{fn, at}]; err != nil {
				fail(at, err)
			} else {
				all = append(all, relocs[0])
			}
			relocs = relocs[1:]
			continue
		}
		switch {
		case p.Op(at) == insn.LdImm64 && p.Src(at) == insn.PseudoFunc:
			fail(at, malformed("address of a function without a relocation"))
		case p.IsCallTo(at, insn.PseudoCall) && p.Dst(at) == 0 && p.Off(at) == 0:
			target, err := o.localCall(fn, at, p.Imm(at))
			if err != nil {
				fail(at, err)
				continue
			}
			all = append(all, Relocation{Insn: at, Kind: RelocCall, Target: target})
		}
	}
	f.Relocations = all
	return first
}

// localCall finds the target of a call within one section, which the compiler has resolved.
func (o *opener) localCall(fn, at int, imm int32) (int, error) {
	f := &o.obj.Functions[fn]
	if o.fnSection[fn] != o.text {
		return 0, malformed("call of a function outside %s", secText)
	}
	return o.subprogAt(int64(f.Offset)/8 + int64(at) + int64(imm) + 1)
}

const exceptionTag = "exception_callback:"

// exceptionTags returns the decl tags that name an exception callback, by id. Ref is the tagged
// type.
func (o *opener) exceptionTags() []*btf.Type {
	if o.obj.BTF == nil {
		return nil
	}
	var tags []*btf.Type
	for t := range o.obj.BTF.OfKind(btf.KindDeclTag) {
		if t.Component == -1 && strings.HasPrefix(t.Name, exceptionTag) {
			tags = append(tags, t)
		}
	}
	return tags
}

// linkException finds the exception callback of an entry program. If there are two tags it sets
// none: the verifier refuses such a program with a better message.
func (o *opener) linkException(f *Function, tags []*btf.Type) error {
	var names []string
	for _, tag := range tags {
		t, err := o.obj.BTF.Type(tag.Ref)
		if err != nil {
			return err
		}
		if t.Kind != btf.KindFunc || t.Linkage != btf.Global {
			return malformed("decl tag %q is on a %v, not on a program", tag.Name, t.Kind)
		}
		if t.Name == f.Name {
			names = append(names, strings.TrimPrefix(tag.Name, exceptionTag))
		}
	}
	if len(names) != 1 {
		return nil
	}
	n, err := o.exceptionCallback(names[0])
	if err == nil {
		f.ExceptionCallback = &n
	}
	return err
}

func (o *opener) exceptionCallback(name string) (int, error) {
	if name == "" {
		return 0, malformed("decl tag %q names no function", exceptionTag)
	}
	for i := range o.obj.Functions {
		cb := &o.obj.Functions[i]
		if !cb.Subprog || cb.Name != name {
			continue
		}
		if cb.Static || cb.Hidden {
			return 0, malformed("%q must be a global function that is not hidden", name)
		}
		return i, nil
	}
	return 0, malformed("no function %q", name)
}
