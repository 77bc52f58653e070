package object

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// readStructOps makes a map from each variable in the struct_ops sections.
func (o *opener) readStructOps() error {
	for i, r := range o.roles {
		if r != roleStructOps {
			continue
		}
		s := &o.elf.sections[i]
		if err := o.readStructOpsSection(s); err != nil {
			return in(s.name, "", err)
		}
	}
	return nil
}

func (o *opener) readStructOpsSection(s *section) error {
	sec, err := o.datasec(s.name)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	data, err := o.elf.contents(s)
	if err != nil {
		return err
	}
	for _, v := range sec.Vars {
		m, err := o.readStructOpsMap(s, data, v)
		if err != nil {
			return in(s.name, o.obj.BTF.TypeName(v.Type), err)
		}
		o.structOps = append(o.structOps, structOpsPlace{len(o.obj.Maps), s.index, uint64(v.Offset)})
		o.obj.Maps = append(o.obj.Maps, m)
	}
	return nil
}

// structOpsPlace is the position in the file of a struct_ops map's variable.
type structOpsPlace struct {
	index   int // in obj.Maps
	section int
	offset  uint64
}

func (o *opener) readStructOpsMap(s *section, data []byte, v btf.VarSecinfo) (Map, error) {
	name := o.obj.BTF.TypeName(v.Type)
	t, err := o.obj.BTF.Type(v.Type)
	if err != nil {
		return Map{}, err
	}
	if t, err = o.obj.BTF.Underlying(t.Ref); err != nil {
		return Map{}, err
	}
	switch {
	case t.Kind != btf.KindStruct:
		return Map{}, malformed("type is a %v, not a struct", t.Kind)
	case t.Name == "":
		return Map{}, unsupported("type is a struct without a name")
	case uint64(v.Offset)+uint64(t.Size) > uint64(len(data)):
		return Map{}, malformed("struct at %d+%d ends beyond the section", v.Offset, t.Size)
	}
	content, err := o.take(data[v.Offset:][:t.Size])
	if err != nil {
		return Map{}, err
	}
	section, optional := strings.CutPrefix(s.name, "?")
	m := Map{
		Name: name, Kind: MapStructOps, Section: s.name,
		Type: uapi.MapStructOps, KeySize: 4, ValueSize: t.Size, MaxEntries: 1,
		StructOps: &StructOps{
			Type: btf.EssentialName(t.Name), TypeID: t.ID, Data: content,
			Link: section == secLink, Optional: optional,
		},
	}
	if m.StructOps.Link {
		m.Flags = unix.BPF_F_LINK
	}
	return m, nil
}

// readMembers reads the relocations of a struct_ops section: the functions that
// its variables point to.
func (o *opener) readMembers(s *section, rels []relocation) error {
	for i, r := range rels {
		if err := o.readMember(s.index, r); err != nil {
			return in(s.name, r.symbol.name, fmt.Errorf("relocation %d: %w", i, err))
		}
	}
	for _, p := range o.structOps {
		members := o.obj.Maps[p.index].StructOps.Members
		slices.SortStableFunc(members, func(a, b StructOpsMember) int { return cmp.Compare(a.Offset, b.Offset) })
	}
	return nil
}

func (o *opener) readMember(section int, r relocation) error {
	m, off := o.structOpsAt(section, r.offset)
	if m == nil {
		return malformed("offset %d is in no struct_ops variable", r.offset)
	}
	if _, err := o.home(r.symbol); err != nil {
		return fmt.Errorf("member of map %q: %w", m.Name, err)
	}
	if r.symbol.value%8 != 0 {
		return malformed("member of map %q does not point to a function", m.Name)
	}
	t, err := o.obj.BTF.Type(m.StructOps.TypeID)
	if err != nil {
		return err
	}
	member, err := o.functionMember(t, off)
	if err != nil {
		return fmt.Errorf("map %q: %w", m.Name, err)
	}
	fn, ok := o.functionAt(r.symbol.section, r.symbol.value)
	if !ok {
		return malformed("map %q, member %q: no function at the symbol", m.Name, member)
	}
	if f := &o.obj.Functions[fn]; f.Program.Type != uapi.ProgStructOps {
		return malformed("map %q, member %q: program %q is not of type struct_ops; put it into SEC(\"struct_ops\")", m.Name, member, f.Name)
	}
	so := m.StructOps
	clear(so.Data[min(off, uint64(len(so.Data))):min(off+8, uint64(len(so.Data)))])
	for i := range so.Members {
		if uint64(so.Members[i].Offset) == off {
			so.Members[i].Function = fn
			return nil
		}
	}
	so.Members = append(so.Members, StructOpsMember{Name: member, Offset: uint32(off), Function: fn})
	return nil
}

// structOpsAt returns the map whose variable covers an offset of a section, and the offset in the
// variable.
func (o *opener) structOpsAt(section int, off uint64) (*Map, uint64) {
	for _, p := range o.structOps {
		m := &o.obj.Maps[p.index]
		if p.section == section && off >= p.offset && off-p.offset < uint64(m.ValueSize) {
			return m, off - p.offset
		}
	}
	return nil, 0
}

// functionMember returns the name of the member at an offset. The member must be a pointer to a
// function.
func (o *opener) functionMember(t *btf.Type, off uint64) (string, error) {
	for _, m := range t.Members {
		if uint64(m.BitOffset) != off*8 {
			continue
		}
		ptr, err := o.obj.BTF.Underlying(m.Type)
		if err != nil {
			return "", err
		}
		if ptr.Kind == btf.KindPtr {
			proto, err := o.obj.BTF.Underlying(ptr.Ref)
			if err != nil {
				return "", err
			}
			if proto.Kind == btf.KindFuncProto {
				return m.Name, nil
			}
		}
		return "", malformed("member %q is not a pointer to a function", m.Name)
	}
	return "", malformed("no member at offset %d", off)
}

// adjustAutoload sets Autoload of the programs that struct_ops maps use: such a program is loaded
// if one of its maps is created by default.
func (o *opener) adjustAutoload() {
	created := map[int]bool{}
	for _, p := range o.structOps {
		so := o.obj.Maps[p.index].StructOps
		for _, m := range so.Members {
			created[m.Function] = created[m.Function] || !so.Optional
		}
	}
	for fn, autoload := range created {
		o.obj.Functions[fn].Autoload = autoload
	}
}

// IsStructOps reports whether the programs of a section belong to struct_ops maps.
func IsStructOps(section string) bool {
	return strings.HasPrefix(strings.TrimPrefix(section, "?"), "struct_ops")
}
