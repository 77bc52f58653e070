package object

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// fixDatasecs completes all BTF data sections as the compiler expects a loader to: sizes and
// offsets come from ELF, hidden variables become static, and variables are sorted by offset.
func (o *opener) fixDatasecs() error {
	if o.obj.BTF == nil {
		return nil
	}
	for sec := range o.obj.BTF.OfKind(btf.KindDatasec) {
		if err := o.fixDatasec(sec); err != nil {
			return in(sec.Name, "", err)
		}
	}
	return nil
}

func (o *opener) fixDatasec(sec *btf.Type) error {
	size := sec.Size
	if sec.Name != secKconfig && sec.Name != secKsyms {
		var err error
		if size, err = o.placeVars(sec); err != nil {
			return err
		}
	}
	slices.SortStableFunc(sec.Vars, func(a, b btf.VarSecinfo) int { return cmp.Compare(a.Offset, b.Offset) })
	return o.obj.BTF.SetDatasec(sec.ID, size, sec.Vars)
}

// placeVars fills in size and offsets where the compiler left them 0. A static linker has already
// set them.
func (o *opener) placeVars(sec *btf.Type) (size uint32, err error) {
	size = sec.Size
	place := size == 0
	if place {
		s := o.elf.byName(sec.Name)
		switch {
		case s == nil:
			return 0, malformed("BTF has a data section of this name, and ELF has none")
		case s.size == 0:
			return 0, unsupported("all variables of the section are empty structs or arrays: the section has no bytes, and no map has a value without any; give one of them a size")
		case s.size > MaxDataBytes:
			return 0, fmt.Errorf("%w: %d bytes of data, more than %d (MaxDataBytes); put what is so large into a map of its own", ErrTooLarge, s.size, MaxDataBytes)
		}
		size = uint32(s.size)
	}
	for i := range sec.Vars {
		v := &sec.Vars[i]
		t, err := o.obj.BTF.Type(v.Type)
		if err != nil {
			return 0, err
		}
		if t.Kind != btf.KindVar {
			return 0, malformed("BTF data section lists %v %q", t.Kind, t.Name)
		}
		if t.Linkage != btf.Global {
			continue
		}
		sym := o.elf.variables[t.Name]
		if sym == nil {
			return 0, in(sec.Name, t.Name, malformed("BTF variable without a symbol"))
		}
		if s, err := o.home(sym); s == nil {
			return 0, in(sec.Name, t.Name, err)
		}
		if place {
			if sym.value > uint64(size) {
				return 0, in(sec.Name, t.Name, malformed("symbol is outside of its section: at offset %d of %d", sym.value, size))
			}
			v.Offset = uint32(sym.value)
		}
		if sym.hidden() {
			if err := o.obj.BTF.SetLinkage(v.Type, btf.Static); err != nil {
				return 0, err
			}
		}
	}
	return size, nil
}

// hideFunctions makes hidden global subprograms static in BTF: the verifier
// then checks them with their callers instead of on their own.
func (o *opener) hideFunctions() error {
	if o.obj.BTF == nil {
		return nil
	}
	for i := range o.obj.Functions {
		f := &o.obj.Functions[i]
		if !f.Hidden || !f.Subprog {
			continue
		}
		for id := range o.obj.BTF.FindByName(f.Name, btf.KindFunc) {
			t, err := o.obj.BTF.Type(id)
			if err != nil {
				return err
			}
			if t.Linkage != btf.Global {
				continue
			}
			if err := o.obj.BTF.SetLinkage(id, btf.Static); err != nil {
				return err
			}
			break
		}
	}
	return nil
}

const maxNameLen = 15 // BPF_OBJ_NAME_LEN without its NUL

// readDataMaps makes a map of each data section, in the order of sections.
func (o *opener) readDataMaps() error {
	kinds := map[role]MapKind{roleData: MapData, roleBSS: MapBSS, roleRodata: MapRodata, rolePercpu: MapPercpu}
	for i, r := range o.roles {
		kind, ok := kinds[r]
		if !ok {
			continue
		}
		s := &o.elf.sections[i]
		data, err := o.sectionData(s)
		if err != nil {
			return in(s.name, "", err)
		}
		o.dataMap[i] = len(o.obj.Maps)
		m := o.dataMapOf(kind, s.name, data, uint32(s.size))
		if m.Variables, err = o.variables(s); err != nil {
			return err
		}
		o.obj.Maps = append(o.obj.Maps, m)
	}
	return nil
}

// sectionData returns a copy of a data section up to its last byte that is not zero.
func (o *opener) sectionData(s *section) ([]byte, error) {
	if err := o.reserve(s.size); err != nil {
		return nil, err
	}
	data, err := o.elf.contents(s) // empty for .bss
	if err != nil {
		return nil, err
	}
	data = bytes.TrimRight(data, "\x00")
	if err := o.spend(uint64(len(data))); err != nil {
		return nil, err
	}
	return append([]byte{}, data...), nil // not nil: the section has content, if only zeros
}

// dataMapOf returns the map for a data section of size bytes.
func (o *opener) dataMapOf(kind MapKind, section string, data []byte, size uint32) Map {
	m := Map{
		Name: dataMapName(o.obj.Name, section), Kind: kind, Section: section,
		Type: uapi.MapArray, KeySize: 4, ValueSize: size, MaxEntries: 1, Data: data, DataSize: size,
	}
	if kind == MapPercpu {
		m.Type = uapi.MapPercpuArray
	}
	if kind == MapRodata || kind == MapKconfig {
		m.Flags |= unix.BPF_F_RDONLY_PROG
		m.Frozen = true
	}
	if o.obj.BTF == nil {
		return m
	}
	// Sections such as .rodata.str1.1 have no BTF.
	m.ValueType, _ = o.obj.BTF.First(section)
	if kind != MapPercpu && o.mmapable(m.ValueType) {
		m.Flags |= unix.BPF_F_MMAPABLE
	}
	return m
}

// mmapable reports whether user space can use a mapping of a data section: some variable in it is
// visible outside the object.
func (o *opener) mmapable(id btf.TypeID) bool {
	sec, err := o.obj.BTF.Type(id)
	if err != nil || sec.Kind != btf.KindDatasec {
		return false
	}
	return slices.ContainsFunc(sec.Vars, func(v btf.VarSecinfo) bool {
		t, err := o.obj.BTF.Type(v.Type)
		return err == nil && t.Kind == btf.KindVar && t.Linkage != btf.Static
	})
}

// dataMapName returns libbpf's name for the map of a data section. The name ends with the section's
// last characters, at least 7, and the rest of its 15 characters are the object's name. Sections
// with a second dot keep their own name.
func dataMapName(object, section string) string {
	suffix := min(max(7, len(section)), maxNameLen)
	prefix := min(maxNameLen-suffix, len(object))
	if strings.Contains(section[1:], ".") {
		prefix = 0
	}
	name := []byte(object[:prefix] + section[:min(suffix, len(section))])
	for i, c := range name {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.') {
			name[i] = '_'
		}
	}
	return string(name)
}

// variables lists the symbols of a data section by offset.
func (o *opener) variables(s *section) ([]Variable, error) {
	var vars []Variable
	for _, sym := range o.elf.bySection[s.index] {
		if sym.kind != symObject || sym.name == "" {
			continue
		}
		if _, err := o.home(sym); err != nil {
			return nil, in(s.name, sym.name, err)
		}
		vars = append(vars, Variable{
			Name: sym.name, Offset: uint32(sym.value), Size: uint32(sym.size), Static: sym.bind == bindLocal,
			Hidden: sym.bind != bindLocal && sym.hidden(),
		})
	}
	slices.SortStableFunc(vars, byOffset)
	return vars, nil
}

func byOffset(a, b Variable) int { return cmp.Compare(a.Offset, b.Offset) }

// readKconfigMap makes the map of the kconfig values. The values depend on the target, so the data
// is zero.
func (o *opener) readKconfigMap() error {
	var size uint32
	var vars []Variable
	for i := range o.obj.Externs {
		e := &o.obj.Externs[i]
		if e.Kind != ExternKconfig {
			continue
		}
		size = max(size, e.KconfigOffset+e.KconfigSize) // at most MaxKconfigBytes
		vars = append(vars, Variable{Name: e.Name, Offset: e.KconfigOffset, Size: e.KconfigSize})
	}
	if vars == nil {
		return nil
	}
	slices.SortStableFunc(vars, byOffset)
	m := o.dataMapOf(MapKconfig, secKconfig, []byte{}, size)
	m.Variables = vars
	o.obj.Maps = append(o.obj.Maps, m)
	return nil
}
