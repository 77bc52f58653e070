package core

import (
	"fmt"

	"github.com/bpfreplay/bpfreplay/loader/btf"
)

// value is the property that a record asks for, of one spec.
type value struct {
	val uint64
	// size and typ of what a load or store accesses; FieldByteOffset only, and
	// not for bitfields, whose loads are built from several records.
	size uint32
	typ  btf.TypeID
	// validate: the compiler must have put the local value into the instruction.
	validate bool
}

// valueOf computes the property. A nil spec stands for "not in the target".
func valueOf(kind Kind, s *spec) (value, error) {
	switch kind {
	case FieldExists, EnumvalExists, TypeExists, TypeMatches:
		return value{val: boolean(s != nil), validate: true}, nil
	}
	if s == nil {
		if kind.isType() {
			return value{validate: true}, nil
		}
		return value{}, errPoison
	}
	switch kind {
	case TypeIDTarget:
		// A static linker may have moved the id that the compiler put there.
		return value{val: uint64(s.root)}, nil
	case TypeSize:
		size, err := s.types.sizeOf(s.root)
		return value{val: uint64(size), validate: true}, err
	case EnumvalValue:
		return enumvalOf(s)
	}
	if s.last().name == "" {
		return elemValue(kind, s)
	}
	return memberValue(kind, s)
}

func boolean(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func enumvalOf(s *spec) (value, error) {
	t, err := s.types.at(s.last().typ)
	if err != nil {
		return value{}, err
	}
	v := t.Values[s.last().index].Value
	if t.Kind == btf.KindEnum {
		// Sign-extended even if the enum is unsigned, as in libbpf and the kernel.
		v = uint64(int64(int32(v)))
	}
	return value{val: v, validate: true}, nil
}

// elemValue is a property of an array element or of the root itself.
func elemValue(kind Kind, s *spec) (value, error) {
	id := s.last().typ
	switch kind {
	case FieldByteOffset:
		size, err := s.types.accessSize(id)
		return value{val: s.bits / 8, size: size, typ: id, validate: true}, err
	case FieldByteSize:
		size, err := s.types.sizeOf(id)
		return value{val: uint64(size), validate: true}, err
	}
	return value{}, unsupported("%v of an array element", kind)
}

// sizeOf is in bytes.
func (ts *types) sizeOf(id btf.TypeID) (uint32, error) {
	size, err := ts.SizeOf(id)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return size, nil
}

// accessSize is the number of bytes that a load of a field of this type takes:
// of an array, that of its elements.
func (ts *types) accessSize(id btf.TypeID) (uint32, error) {
	elem, err := ts.elemOf(id)
	if err != nil {
		return 0, err
	}
	return ts.sizeOf(elem.ID)
}

// memberValue is a property of a named member.
func memberValue(kind Kind, s *spec) (value, error) {
	t, err := s.types.at(s.last().typ)
	if err != nil {
		return value{}, err
	}
	m := &t.Members[s.last().index]
	mt, err := s.types.resolve(m.Type)
	if err != nil {
		return value{}, err
	}
	w, err := s.windowOf(m, mt)
	if err != nil {
		return value{}, err
	}
	// How the compiler reads a bitfield is up to it, except for its sign and its
	// width.
	v := value{validate: m.BitSize == 0}
	switch kind {
	case FieldByteOffset:
		v.val = w.off
		if m.BitSize == 0 {
			v.typ = mt.ID
			v.size, err = s.types.accessSize(mt.ID)
		}
	case FieldByteSize:
		v.val = w.size
	case FieldSigned:
		v.val = boolean(isEnum(mt.Kind) && mt.Flag || mt.Kind == btf.KindInt && mt.Int.Signed)
		v.validate = true
	// Shifts are of 32 bits, also where a member of more than 64 makes no sense.
	case FieldLshiftU64:
		v.val = uint64(uint32(64 - (s.bits + w.bits - w.off*8)))
	case FieldRshiftU64:
		v.val = uint64(uint32(64 - w.bits))
		v.validate = true
	}
	return v, err
}

// window is the aligned piece of memory that has to be loaded to get a member.
type window struct {
	off, size uint64 // bytes
	bits      uint64 // width of the member
}

func (s *spec) windowOf(m *btf.Member, mt *btf.Type) (window, error) {
	if m.BitSize == 0 {
		size, err := s.types.sizeOf(mt.ID)
		if err != nil {
			return window{}, err
		}
		return window{off: s.bits / 8, size: uint64(size), bits: uint64(size) * 8}, nil
	}
	size, bits := uint64(mt.Size), uint64(m.BitSize)
	if size == 0 {
		return window{}, unsupported("bitfield %q of a type without a size", m.Name)
	}
	off := s.bits / 8 / size * size
	// A packed bitfield may reach beyond its own type: double the load until it fits.
	for s.bits+bits-off*8 > size*8 {
		if size >= 8 {
			return window{}, fmt.Errorf("bitfield %q does not fit in a load of 64 bits: %w", m.Name, ErrUnsupported)
		}
		size *= 2
		off = s.bits / 8 / size * size
	}
	return window{off: off, size: size, bits: bits}, nil
}
