package btf

import "fmt"

// Type is one decoded type. Kind decides which fields are set; the others are zero.
type Type struct {
	ID      TypeID
	Kind    Kind
	Name    string
	NameOff uint32
	Flag    bool   // kind_flag: bitfields in a struct, signed enum, union fwd, attribute tag
	Vlen    uint32 // number of elements

	Size uint32 // bytes: INT, STRUCT, UNION, ENUM, ENUM64, FLOAT, DATASEC
	Ref  TypeID // PTR, TYPEDEF, qualifiers, FUNC, FUNC_PROTO (result), VAR, tags

	Linkage   Linkage  // VAR, FUNC
	Component int32    // DECL_TAG: member or parameter, -1 for the whole type
	Int       Encoding // INT
	Array     Array    // ARRAY

	Members []Member     // STRUCT, UNION
	Params  []Param      // FUNC_PROTO
	Values  []EnumValue  // ENUM, ENUM64
	Vars    []VarSecinfo // DATASEC
}

// Encoding of an INT.
type Encoding struct {
	Signed, Char, Bool bool
	Offset, Bits       uint8
}

// Array has the element and index type of an ARRAY and its number of elements.
type Array struct {
	Elem, Index TypeID
	Len         uint32
}

// Member of a struct or union.
type Member struct {
	Name      string
	NameOff   uint32
	Type      TypeID
	BitOffset uint32
	BitSize   uint32 // of a bitfield, 0 for other members
}

// Param of a function prototype. The last one of a variadic function has
// neither name nor type.
type Param struct {
	Name    string
	NameOff uint32
	Type    TypeID
}

// EnumValue is one enumerator. Value is signed if the enum's Flag is set. For a 32-bit ENUM it is
// then sign-extended.
type EnumValue struct {
	Name  string
	Value uint64
}

// VarSecinfo is one variable (or extern function) of a DATASEC.
type VarSecinfo struct {
	Type         TypeID
	Offset, Size uint32 // bytes
}

// Type decodes the type with this id. Id 0 is void. All strings and references of the result are
// valid.
func (s *Spec) Type(id TypeID) (*Type, error) {
	if id == 0 {
		return &Type{}, nil
	}
	b := s.at(id)
	if b == nil {
		return nil, fmt.Errorf("type id %d of %d: %w", id, s.NumTypes(), ErrNotFound)
	}
	d := decoder{s: s}
	t := d.decode(id, b)
	if d.err != nil {
		return nil, d.err
	}
	return t, nil
}

// decoder decodes one type and keeps the first error.
type decoder struct {
	s   *Spec
	t   *Type
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = malformed("type %d (%v): %s", d.t.ID, d.t.Kind, fmt.Sprintf(format, args...))
	}
}

func (d *decoder) name(off uint32) string {
	name, ok := d.s.lookupString(off)
	if !ok {
		d.fail("no string at offset %d", off)
	}
	return name
}

func (d *decoder) ref(id uint32) TypeID {
	if int64(id) >= int64(d.s.NumTypes()) {
		d.fail("refers to type %d of %d", id, d.s.NumTypes())
	}
	return TypeID(id)
}

func (d *decoder) decode(id TypeID, b []byte) *Type {
	info := le.Uint32(b[4:])
	t := &Type{ID: id, Kind: infoKind(info), NameOff: le.Uint32(b), Flag: infoFlag(info), Vlen: infoVlen(info)}
	d.t = t
	t.Name = d.name(t.NameOff)
	if t.Kind.hasRef() {
		t.Ref = d.ref(le.Uint32(b[8:]))
	} else {
		t.Size = le.Uint32(b[8:])
	}
	b = b[typeHeader:]
	switch t.Kind {
	case KindInt:
		v := le.Uint32(b)
		t.Int = Encoding{
			Signed: v>>24&1 != 0, Char: v>>24&2 != 0, Bool: v>>24&4 != 0,
			Offset: uint8(v >> 16), Bits: uint8(v),
		}
	case KindArray:
		t.Size = 0
		t.Array = Array{Elem: d.ref(le.Uint32(b)), Index: d.ref(le.Uint32(b[4:])), Len: le.Uint32(b[8:])}
	case KindStruct, KindUnion:
		d.members(b)
	case KindEnum, KindEnum64:
		d.values(b)
	case KindFunc:
		t.Linkage, t.Vlen = Linkage(t.Vlen), 0
	case KindFuncProto:
		d.params(b)
	case KindVar:
		t.Linkage = Linkage(le.Uint32(b))
	case KindDatasec:
		t.Vars = make([]VarSecinfo, t.Vlen)
		for i := range t.Vars {
			e := b[i*12:]
			t.Vars[i] = VarSecinfo{Type: d.ref(le.Uint32(e)), Offset: le.Uint32(e[4:]), Size: le.Uint32(e[8:])}
		}
	case KindDeclTag:
		t.Component = int32(le.Uint32(b))
	}
	return t
}

func (d *decoder) members(b []byte) {
	d.t.Members = make([]Member, d.t.Vlen)
	for i := range d.t.Members {
		e, m := b[i*12:], &d.t.Members[i]
		*m = Member{NameOff: le.Uint32(e), Type: d.ref(le.Uint32(e[4:])), BitOffset: le.Uint32(e[8:])}
		m.Name = d.name(m.NameOff)
		if d.t.Flag {
			m.BitSize, m.BitOffset = m.BitOffset>>24, m.BitOffset&0xffffff
		}
	}
}

func (d *decoder) params(b []byte) {
	d.t.Params = make([]Param, d.t.Vlen)
	for i := range d.t.Params {
		e := b[i*8:]
		d.t.Params[i] = Param{NameOff: le.Uint32(e), Type: d.ref(le.Uint32(e[4:])), Name: d.name(le.Uint32(e))}
	}
}

func (d *decoder) values(b []byte) {
	d.t.Values = make([]EnumValue, d.t.Vlen)
	for i := range d.t.Values {
		e := b[i*int(layouts[d.t.Kind].elem):]
		v := EnumValue{Name: d.name(le.Uint32(e)), Value: uint64(le.Uint32(e[4:]))}
		switch {
		case d.t.Kind == KindEnum64:
			v.Value |= uint64(le.Uint32(e[8:])) << 32
		case d.t.Flag:
			v.Value = uint64(int64(int32(v.Value)))
		}
		d.t.Values[i] = v
	}
}
