package object

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// readMaps reads the map definitions in section .maps. The struct type of each variable spells the
// definition, member by member.
func (o *opener) readMaps() error {
	if o.maps == 0 {
		return nil
	}
	return in(secMaps, "", o.readUserMaps())
}

var errNoArena = malformed("global __arena variables need an arena map in %s", secMaps)

func (o *opener) readUserMaps() error {
	sec, err := o.datasec(secMaps)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	o.mapsVars = sec.Vars
	for i, v := range sec.Vars {
		m, err := o.readUserMap(v)
		if err != nil {
			return in(secMaps, o.obj.BTF.TypeName(v.Type), err)
		}
		if err := o.noteArena(&m, len(o.obj.Maps)); err != nil {
			return in(secMaps, m.Name, err)
		}
		o.obj.Maps = append(o.obj.Maps, m)
		o.mapVar = append(o.mapVar, i)
	}
	if o.arena == nil && slices.Contains(o.roles, roleArena) {
		return in(secArena, "", errNoArena)
	}
	return nil
}

// noteArena records the arena's index, and gives the map the data of the arena's section.
func (o *opener) noteArena(m *Map, index int) error {
	if m.Type != uapi.MapArena {
		return nil
	}
	if o.arena != nil {
		return unsupported("only one arena per object, %q is one too", o.obj.Maps[*o.arena].Name)
	}
	o.arena = &index
	for i, r := range o.roles {
		if r != roleArena {
			continue
		}
		s := &o.elf.sections[i]
		data, err := o.sectionData(s)
		if err != nil {
			return err
		}
		m.Data, m.DataSize = data, uint32(s.size)
		if m.Variables, err = o.variables(s); err != nil {
			return err
		}
	}
	return nil
}

func (o *opener) readUserMap(v btf.VarSecinfo) (Map, error) {
	t, err := o.obj.BTF.Type(v.Type)
	if err != nil {
		return Map{}, err
	}
	switch {
	case t.Name == "":
		return Map{}, malformed("map without a name")
	case uint64(v.Offset)+uint64(v.Size) > o.elf.sections[o.maps].size:
		return Map{}, malformed("definition at %d+%d ends beyond the section", v.Offset, v.Size)
	case t.Kind != btf.KindVar:
		return Map{}, malformed("BTF has a %v instead of a var", t.Kind)
	case t.Linkage != btf.Global:
		if sym := o.elf.variables[t.Name]; sym != nil && sym.hidden() {
			return Map{}, unsupported("map is hidden (libbpf: unsupported map linkage static); compile without -fvisibility=hidden, or give it __attribute__((visibility(\"default\")))")
		}
		return Map{}, unsupported("map is %v, only global maps can be defined", t.Linkage)
	}
	def, err := o.obj.BTF.Underlying(t.Ref)
	if err != nil {
		return Map{}, err
	}
	if def.Kind != btf.KindStruct {
		return Map{}, malformed("definition is a %v, not a struct", def.Kind)
	}
	if def.Size > v.Size {
		return Map{}, malformed("definition of %d bytes in a variable of %d", def.Size, v.Size)
	}
	m := Map{Name: t.Name, Kind: MapUser, Section: secMaps}
	p := mapParser{spec: o.obj.BTF, m: &m}
	if err := p.parse(def); err != nil {
		return m, err
	}
	o.warnOfSize(&m)
	return m, nil
}

// sizeless has the map types that accept 0 for max_entries: their elements belong to something
// else, or the number of CPUs decides.
var sizeless = []uapi.MapType{
	uapi.MapPerfEventArray, uapi.MapCgroupStorage, uapi.MapPercpuCgroupStorage, uapi.MapSkStorage,
	uapi.MapInodeStorage, uapi.MapTaskStorage, uapi.MapCgrpStorage,
}

// warnOfSize warns of a map whose size only user space can set.
func (o *opener) warnOfSize(m *Map) {
	for _, sized := range []*Map{m, m.Inner} {
		if sized == nil || sized.MaxEntries != 0 || slices.Contains(sizeless, sized.Type) {
			continue
		}
		o.warn(Warning{
			Section: secMaps, Symbol: sized.Name, Defect: "max_entries is 0",
			Consequence: "no kernel makes such a map: declare __uint(max_entries, N), or set it before the load (bpf_map__set_max_entries of libbpf; MaxEntries of package loader's options)",
		})
	}
}

// mapParser reads one map definition.
type mapParser struct {
	spec  *btf.Spec
	m     *Map
	inner bool // the definition of an inner map
}

func (p *mapParser) parse(def *btf.Type) error {
	for i, member := range def.Members {
		if err := p.key(member, i == len(def.Members)-1); err != nil {
			return fmt.Errorf("key %q: %w", member.Name, err)
		}
	}
	if p.m.Type == 0 {
		return malformed("map type is not given")
	}
	return nil
}

func (p *mapParser) key(m btf.Member, last bool) error {
	switch m.Name {
	case "type":
		return p.number(m, (*uint32)(&p.m.Type))
	case "max_entries":
		return p.number(m, &p.m.MaxEntries)
	case "map_flags":
		return p.number(m, &p.m.Flags)
	case "numa_node":
		return p.number(m, &p.m.NUMANode)
	case "key_size":
		return p.size(m, &p.m.KeySize)
	case "value_size":
		return p.size(m, &p.m.ValueSize)
	case "key":
		return p.typed(m, &p.m.KeyType, &p.m.KeySize)
	case "value":
		return p.typed(m, &p.m.ValueType, &p.m.ValueSize)
	case "values":
		return p.values(m, last)
	case "pinning":
		return p.pinning(m)
	case "map_extra":
		return p.long(m, &p.m.Extra)
	}
	return unsupported("unknown key of a map definition")
}

// number reads __uint(name, N): a pointer to an array of N ints.
func (p *mapParser) number(m btf.Member, to *uint32) error {
	t, err := p.spec.Underlying(m.Type)
	if err != nil {
		return err
	}
	if t.Kind != btf.KindPtr {
		return malformed("%v instead of a pointer; use __uint", t.Kind)
	}
	if t, err = p.spec.Type(t.Ref); err != nil {
		return err
	}
	if t.Kind != btf.KindArray {
		return malformed("pointer to %v instead of an array; use __uint", t.Kind)
	}
	*to = t.Array.Len
	return nil
}

// long reads __uint or __ulong(name, N): an enum whose only value is N.
func (p *mapParser) long(m btf.Member, to *uint64) error {
	t, err := p.spec.Underlying(m.Type)
	if err != nil {
		return err
	}
	switch {
	case t.Kind == btf.KindPtr:
		var n uint32
		err := p.number(m, &n)
		*to = uint64(n)
		return err
	case t.Kind != btf.KindEnum && t.Kind != btf.KindEnum64:
		return malformed("%v instead of an enum; use __ulong", t.Kind)
	case len(t.Values) != 1:
		return malformed("enum with %d values; use __ulong", len(t.Values))
	}
	*to = t.Values[0].Value
	if t.Kind == btf.KindEnum {
		*to = uint64(int64(int32(t.Values[0].Value)))
	}
	return nil
}

func (p *mapParser) size(m btf.Member, to *uint32) error {
	var n uint32
	if err := p.number(m, &n); err != nil {
		return err
	}
	return setSize(to, n)
}

func setSize(to *uint32, n uint32) error {
	if *to != 0 && *to != n {
		return malformed("size %d conflicts with %d", n, *to)
	}
	*to = n
	return nil
}

// typed reads __type(name, T): a pointer to T.
func (p *mapParser) typed(m btf.Member, id *btf.TypeID, size *uint32) error {
	t, err := p.spec.Type(m.Type)
	if err != nil {
		return err
	}
	if t.Kind != btf.KindPtr {
		return malformed("%v instead of a pointer; use __type", t.Kind)
	}
	n, err := p.spec.SizeOf(t.Ref)
	if err != nil {
		return err
	}
	*id = t.Ref
	return setSize(size, n)
}

func (p *mapParser) pinning(m btf.Member) error {
	const none, byName = 0, 1
	if p.inner {
		return malformed("an inner map cannot be pinned")
	}
	if err := p.number(m, &p.m.Pinning); err != nil {
		return err
	}
	if p.m.Pinning != none && p.m.Pinning != byName {
		return unsupported("pinning value %d", p.m.Pinning)
	}
	return nil
}

// values reads __array(values, T): the type of what the slots of a map-in-map or PROG_ARRAY hold.
func (p *mapParser) values(m btf.Member, last bool) error {
	inMap := p.m.Type == uapi.MapArrayOfMaps || p.m.Type == uapi.MapHashOfMaps
	switch {
	case p.inner:
		return unsupported("inner maps of more than one level")
	case !last:
		return malformed("must be the last key")
	case !inMap && p.m.Type != uapi.MapProgArray:
		return unsupported("only a map-in-map or PROG_ARRAY has it")
	}
	if err := setSize(&p.m.ValueSize, 4); err != nil {
		return err
	}
	t, err := p.spec.Type(m.Type)
	if err != nil {
		return err
	}
	if t.Kind != btf.KindArray || t.Array.Len != 0 {
		return malformed("not an array of size zero; use __array")
	}
	if t, err = p.spec.Underlying(t.Array.Elem); err != nil {
		return err
	}
	if t.Kind != btf.KindPtr {
		return malformed("array of %v instead of pointers", t.Kind)
	}
	if t, err = p.spec.Underlying(t.Ref); err != nil {
		return err
	}
	if !inMap {
		if t.Kind != btf.KindFuncProto {
			return malformed("array of pointers to %v instead of functions", t.Kind)
		}
		return nil
	}
	if t.Kind != btf.KindStruct {
		return malformed("inner map definition is a %v, not a struct", t.Kind)
	}
	p.m.Inner = &Map{Name: p.m.Name + ".inner", Kind: MapUser, Section: secMaps}
	inner := mapParser{spec: p.spec, m: p.m.Inner, inner: true}
	return inner.parse(t)
}

// readSlots reads the relocations of .maps: static initialisers of "values".
func (o *opener) readSlots(rels []relocation) error {
	for i, r := range rels {
		if err := o.readSlot(r); err != nil {
			return in(secMaps, r.symbol.name, fmt.Errorf("relocation %d: %w", i, err))
		}
	}
	for i := range o.obj.Maps {
		slices.SortFunc(o.obj.Maps[i].Slots, func(a, b Slot) int { return cmp.Compare(a.Index, b.Index) })
	}
	return nil
}

func (o *opener) readSlot(r relocation) error {
	m, v := o.mapOfSlot(r.offset)
	if m == nil {
		return malformed("offset %d is in no map", r.offset)
	}
	var target int
	var err error
	switch m.Type {
	case uapi.MapArrayOfMaps, uapi.MapHashOfMaps:
		target, err = o.innerMap(m, r.symbol)
	case uapi.MapProgArray:
		target, err = o.slotProgram(r.symbol)
	default:
		err = malformed("map %q cannot have initial values", m.Name)
	}
	if err != nil {
		return err
	}
	start, err := o.valuesOffset(v)
	if err != nil {
		return err
	}
	off := r.offset - uint64(v.Offset)
	if off < start || (off-start)%8 != 0 {
		return malformed("offset %d is not a slot of map %q", r.offset, m.Name)
	}
	index := uint32((off - start) / 8)
	m.Slots = slices.DeleteFunc(m.Slots, func(s Slot) bool { return s.Index == index }) // the last one counts
	m.Slots = append(m.Slots, Slot{Index: index, Target: target})
	return nil
}

func (o *opener) mapOfSlot(off uint64) (*Map, btf.VarSecinfo) {
	for i, n := range o.mapVar {
		v := o.mapsVars[n]
		if uint64(v.Offset) <= off && off <= off+8 && off+8 <= uint64(v.Offset)+uint64(v.Size) {
			return &o.obj.Maps[i], v
		}
	}
	return nil, btf.VarSecinfo{}
}

func (o *opener) innerMap(m *Map, sym *symbol) (int, error) {
	if sym.section != o.maps {
		return 0, malformed("not a map in %s", secMaps)
	}
	if m.Type == uapi.MapHashOfMaps && m.KeySize != 4 {
		return 0, unsupported("hash of maps %q with initial values has keys of %d bytes, not 4", m.Name, m.KeySize)
	}
	i := slices.IndexFunc(o.obj.Maps[:len(o.mapVar)], func(m Map) bool { return m.Name == sym.name })
	if i < 0 {
		return 0, malformed("no such map")
	}
	return i, nil
}

func (o *opener) slotProgram(sym *symbol) (int, error) {
	for i := range o.obj.Functions {
		f := &o.obj.Functions[i]
		if f.Subprog || f.Name != sym.name {
			continue
		}
		if o.fnSection[i] != sym.section || uint64(f.Offset) != sym.value {
			return 0, malformed("not the start of program %q", f.Name)
		}
		return i, nil
	}
	return 0, malformed("no such program")
}

// valuesOffset returns the offset in bytes of the slots in the map's variable.
func (o *opener) valuesOffset(v btf.VarSecinfo) (uint64, error) {
	t, err := o.obj.BTF.Type(v.Type)
	if err != nil {
		return 0, err
	}
	def, err := o.obj.BTF.Underlying(t.Ref)
	if err != nil {
		return 0, err
	}
	if len(def.Members) == 0 {
		return 0, errors.New("empty map definition")
	}
	last := def.Members[len(def.Members)-1]
	if last.Name != "values" {
		return 0, malformed(`initial values need the key "values"`)
	}
	return uint64(last.BitOffset / 8), nil
}
