package btf

import (
	"bytes"
	"fmt"
	"slices"
)

// Clone returns a copy. Patches of one do not affect the other.
func (s *Spec) Clone() *Spec {
	c := *s
	c.raw = bytes.Clone(s.raw)
	c.offsets = slices.Clip(s.offsets)
	c.names = new(names)
	return &c
}

// own returns the type's bytes if it has one of the kinds and is in this blob: types of a base are
// never patched through a split blob.
func (s *Spec) own(id TypeID, kinds ...Kind) ([]byte, error) {
	if id < s.firstID {
		return nil, fmt.Errorf("type id %d is not part of this blob: %w", id, ErrNotFound)
	}
	b := s.at(id)
	if b == nil {
		return nil, fmt.Errorf("type id %d of %d: %w", id, s.NumTypes(), ErrNotFound)
	}
	if have := infoKind(le.Uint32(b[4:])); !slices.Contains(kinds, have) {
		return nil, fmt.Errorf("type %d is of kind %v, not %v", id, have, kinds[0])
	}
	return b, nil
}

// SetLinkage changes the linkage of a VAR or FUNC.
func (s *Spec) SetLinkage(id TypeID, l Linkage) error {
	b, err := s.own(id, KindVar, KindFunc)
	if err != nil {
		return err
	}
	if infoKind(le.Uint32(b[4:])) == KindVar {
		le.PutUint32(b[typeHeader:], uint32(l))
		return nil
	}
	le.PutUint32(b[4:], makeInfo(KindFunc, uint32(l), false))
	return nil
}

// SetDatasec changes the size in bytes and the elements of a DATASEC. The number of elements must
// not change.
func (s *Spec) SetDatasec(id TypeID, size uint32, vars []VarSecinfo) error {
	b, err := s.own(id, KindDatasec)
	if err != nil {
		return err
	}
	if n := infoVlen(le.Uint32(b[4:])); int(n) != len(vars) {
		return fmt.Errorf("datasec %q has %d elements, not %d", s.TypeName(id), n, len(vars))
	}
	le.PutUint32(b[8:], size)
	for i, v := range vars {
		e := b[typeHeader+i*12:]
		le.PutUint32(e, uint32(v.Type))
		le.PutUint32(e[4:], v.Offset)
		le.PutUint32(e[8:], v.Size)
	}
	return nil
}

// SetVarType changes the type of a VAR.
func (s *Spec) SetVarType(id, ref TypeID) error {
	b, err := s.own(id, KindVar)
	if err != nil {
		return err
	}
	if int(ref) >= s.NumTypes() {
		return fmt.Errorf("type id %d of %d: %w", ref, s.NumTypes(), ErrNotFound)
	}
	le.PutUint32(b[8:], uint32(ref))
	return nil
}

// NameParams names every unnamed parameter of a FUNC_PROTO after the string at nameOff, except for
// the "..." of a variadic function: the kernel requires names for the parameters of every FUNC.
func (s *Spec) NameParams(proto TypeID, nameOff uint32) error {
	b, err := s.own(proto, KindFuncProto)
	if err != nil {
		return err
	}
	for i := range infoVlen(le.Uint32(b[4:])) {
		p := b[typeHeader+i*8:]
		if le.Uint32(p) == 0 && le.Uint32(p[4:]) != 0 {
			le.PutUint32(p, nameOff)
		}
	}
	return nil
}

// AppendInt adds an INT after the last type and returns its id. size is in bytes.
func (s *Spec) AppendInt(name string, size uint32, signed bool) TypeID {
	enc := size * 8
	if signed {
		enc |= 1 << 24
	}
	return s.append(name, makeInfo(KindInt, 0, false), size, enc)
}

// AppendEnum adds an ENUM or ENUM64 after the last type and returns its id. It has the name, size
// and sign of another one, and its values have the names at their positions in of.
func (s *Spec) AppendEnum(of *Type, kind Kind, values []EnumValue) TypeID {
	var words []uint32
	elements, size := s.at(of.ID)[typeHeader:], int(layouts[of.Kind].elem)
	for i, v := range values {
		words = append(words, le.Uint32(elements[size*i:]), uint32(v.Value))
		if kind == KindEnum64 {
			words = append(words, uint32(v.Value>>32))
		}
	}
	return s.append(of.Name, makeInfo(kind, uint32(len(values)), of.Flag), of.Size, words...)
}

// AppendVar adds a VAR after the last type and returns its id.
func (s *Spec) AppendVar(name string, ref TypeID, l Linkage) TypeID {
	return s.append(name, makeInfo(KindVar, 0, false), uint32(ref), uint32(l))
}

// AppendStruct adds a STRUCT without members after the last type and returns its id.
func (s *Spec) AppendStruct(name string) TypeID {
	return s.append(name, makeInfo(KindStruct, 0, false), 0)
}

// AppendPtr adds a PTR after the last type and returns its id.
func (s *Spec) AppendPtr(to TypeID) TypeID {
	return s.append("", makeInfo(KindPtr, 0, false), uint32(to))
}

// AppendFunc adds a FUNC_PROTO and its FUNC after the last type and returns the id of the FUNC. The
// names of the parameters are those at NameOff.
func (s *Spec) AppendFunc(name string, l Linkage, result TypeID, params []Param) TypeID {
	var words []uint32
	for _, p := range params {
		words = append(words, p.NameOff, uint32(p.Type))
	}
	proto := s.append("", makeInfo(KindFuncProto, uint32(len(params)), false), uint32(result), words...)
	return s.append(name, makeInfo(KindFunc, uint32(l), false), uint32(proto))
}

// AppendDeclTag adds a DECL_TAG after the last type and returns its id. component is the index of
// the tagged parameter or member, -1 for the whole type.
func (s *Spec) AppendDeclTag(name string, of TypeID, component int32) TypeID {
	return s.append(name, makeInfo(KindDeclTag, 0, false), uint32(of), uint32(component))
}

// append adds a type and its name at the end of the two sections. Existing ids and string offsets
// stay as they are. third is the size or the referenced type, more is what follows the header.
func (s *Spec) append(name string, info, third uint32, more ...uint32) TypeID {
	id := TypeID(s.NumTypes())
	nameOff := uint32(0)
	if name != "" {
		if offs := s.stringOffsets(name); len(offs) > 0 {
			nameOff, name = offs[0], ""
		} else {
			nameOff = s.firstStr + uint32(len(s.strs))
			name += "\x00"
		}
	}
	size := uint32(typeHeader + 4*len(more))

	typeEnd := s.typeOff + s.typeLen
	raw := bytes.Clone(s.raw[:typeEnd])
	for _, w := range append([]uint32{nameOff, info, third}, more...) {
		raw = le.AppendUint32(raw, w)
	}
	strOff := s.strOff + size
	raw = append(raw, s.raw[typeEnd:s.strOff]...) // layout section, padding
	raw = append(raw, s.strs+name...)

	s.offsets = append(s.offsets, typeEnd)
	s.typeLen += size
	s.strOff = strOff
	s.strs = string(raw[strOff:])
	s.raw = raw
	le.PutUint32(raw[12:], s.typeLen)
	le.PutUint32(raw[16:], strOff-s.hdrLen)
	le.PutUint32(raw[20:], uint32(len(s.strs)))
	if s.hdrLen >= layoutHeader && le.Uint32(raw[28:]) != 0 {
		le.PutUint32(raw[24:], le.Uint32(raw[24:])+size)
	}
	s.names = new(names)
	return id
}
