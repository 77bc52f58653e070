package core

import (
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/insn"
)

// Asked is what a kernel must support, beyond resolving CO-RE (5.17), to resolve a record as libbpf
// does.
type Asked int

// What records need from the kernel.
const (
	AsksNothing Asked = iota
	// AsksMatch: type_matches, 6.0.
	AsksMatch
	// AsksEnumSign: the sign of an enum. Kernels before 6.0 treat every enum as signed.
	AsksEnumSign
)

// Asks returns what a record needs. It looks only at the object.
func Asks(local *btf.Spec, rec Record) Asked {
	if rec.Kind == TypeIDLocal {
		return AsksNothing
	}
	ts := newTypes(local)
	s, err := parseSpec(ts, rec)
	if err != nil {
		return AsksNothing // every kernel gives an error
	}
	switch {
	case rec.Kind == TypeMatches:
		return AsksMatch
	case rec.Kind == FieldSigned:
		if t, err := s.fieldType(); err == nil && isEnum(t.Kind) {
			return AsksEnumSign
		}
	}
	return AsksNothing
}

// fieldType returns the type at the end of the path.
func (s *spec) fieldType() (*btf.Type, error) {
	last := s.last()
	if last.name == "" {
		return s.types.resolve(last.typ)
	}
	t, err := s.types.at(last.typ)
	if err != nil {
		return nil, err
	}
	return s.types.resolve(t.Members[last.index].Type)
}

// ElementAccess returns another access string for loads and stores whose field is an array: that of
// the array's first element. The meaning is the same, because the access has the width of an
// element, but kernels before 6.15 compare the sizes of whole arrays.
func ElementAccess(local *btf.Spec, insns insn.Insns, rec Record) (string, bool) {
	i := int64(rec.InsnOff / insn.Size)
	if rec.Kind != FieldByteOffset || i >= int64(insns.Len()) {
		return "", false
	}
	switch insns.Op(int(i)) & classMask {
	case classLDX, classST, classSTX:
	default:
		return "", false
	}
	ts := newTypes(local)
	s, err := parseSpec(ts, rec)
	if err != nil {
		return "", false
	}
	t, err := s.fieldType()
	if err != nil || t.Kind != btf.KindArray {
		return "", false
	}
	access := local.Name(rec.AccessStr)
	for range maxAccess {
		access += ":0"
		if t, err = ts.resolve(t.Array.Elem); err != nil || t.Kind != btf.KindArray {
			return access, err == nil && strings.Count(access, ":") < maxAccess
		}
	}
	return "", false
}

const (
	classMask = 0x07
	classLDX  = 0x01
	classST   = 0x02
	classSTX  = 0x03
)

// Enumerator returns the index of the enumerator that a record names, false if the record names
// none or does not fit.
func Enumerator(local *btf.Spec, rec Record) (int, bool) {
	if !rec.Kind.isEnumval() {
		return 0, false
	}
	s, err := parseSpec(newTypes(local), rec)
	if err != nil {
		return 0, false
	}
	return int(s.last().index), true
}

// KindClashes returns the names that records use for types of two kinds. The kernel's cache of
// candidates has only names, so the second kind would get the first one's candidates. The two kinds
// of enums count as one.
func KindClashes(local *btf.Spec, programs [][]Record) map[string]bool {
	kinds := make(map[string]btf.Kind)
	clashes := make(map[string]bool)
	for _, records := range programs {
		for _, rec := range records {
			if rec.Kind == TypeIDLocal {
				continue
			}
			name, kind := btf.EssentialName(local.TypeName(rec.TypeID)), local.KindOf(rec.TypeID)
			if kind == btf.KindEnum64 {
				kind = btf.KindEnum
			}
			if have, ok := kinds[name]; ok && have != kind {
				clashes[name] = true
			}
			kinds[name] = kind
		}
	}
	return clashes
}
