package btf

import (
	"fmt"
	"math"
)

// PointerSize is the size of a pointer on every BPF target, in bytes.
const PointerSize = 8

// maxDepth bounds walks through typedefs, qualifiers and arrays, like MAX_RESOLVE_DEPTH in the
// kernel and in libbpf.
const maxDepth = 32

// SkipModifiers follows typedefs, qualifiers and type tags to the underlying type.
func (s *Spec) SkipModifiers(id TypeID) (TypeID, error) {
	start := id
	for range s.NumTypes() {
		b := s.at(id)
		if b == nil || !infoKind(le.Uint32(b[4:])).isModifier() {
			if b == nil && id != 0 {
				return 0, fmt.Errorf("type id %d of %d: %w", id, s.NumTypes(), ErrNotFound)
			}
			return id, nil
		}
		id = TypeID(le.Uint32(b[8:]))
	}
	return 0, malformed("type %d: typedefs and qualifiers form a loop", start)
}

// Underlying returns the decoded type behind typedefs, qualifiers and type tags.
func (s *Spec) Underlying(id TypeID) (*Type, error) {
	id, err := s.SkipModifiers(id)
	if err != nil {
		return nil, err
	}
	return s.Type(id)
}

// SizeOf returns the size of a type in bytes, as libbpf resolves it: a VAR has the size of its
// type. Types without a size (void, functions, forward declarations) are an error.
func (s *Spec) SizeOf(id TypeID) (uint32, error) {
	n := uint64(1)
	for range maxDepth {
		b := s.at(id)
		if b == nil {
			return 0, fmt.Errorf("size of type id %d: %w", id, ErrNotFound)
		}
		switch kind, third := infoKind(le.Uint32(b[4:])), le.Uint32(b[8:]); kind {
		case KindInt, KindStruct, KindUnion, KindEnum, KindEnum64, KindFloat, KindDatasec:
			return sized(id, n, uint64(third))
		case KindPtr:
			return sized(id, n, PointerSize)
		case KindTypedef, KindVolatile, KindConst, KindRestrict, KindTypeTag, KindVar:
			id = TypeID(third)
		case KindArray:
			if n *= uint64(le.Uint32(b[typeHeader+8:])); n > math.MaxUint32 {
				return 0, malformed("array type %d is larger than 4 GiB", id)
			}
			id = TypeID(le.Uint32(b[typeHeader:]))
		default:
			return 0, fmt.Errorf("type %q (%v) has no size", s.TypeName(id), kind)
		}
	}
	return 0, malformed("type %d is nested too deeply", id)
}

func sized(id TypeID, n, size uint64) (uint32, error) {
	if n *= size; n > math.MaxUint32 {
		return 0, malformed("type %d is larger than 4 GiB", id)
	}
	return uint32(n), nil
}

// AlignOf returns the alignment of a type in bytes, as libbpf derives it from BTF: a struct with a
// member off its natural alignment counts as packed.
func (s *Spec) AlignOf(id TypeID) (uint32, error) {
	a := aligner{s: s, steps: maxAlignSteps}
	return a.of(id, 0)
}

// maxAlignSteps bounds how many members AlignOf visits. Structs that contain each other several
// times over can have too many.
const maxAlignSteps = 1 << 16

type aligner struct {
	s     *Spec
	steps int
}

func (a *aligner) of(id TypeID, depth int) (uint32, error) {
	if a.steps--; depth > maxDepth || a.steps < 0 {
		return 0, malformed("type %d is nested too deeply", id)
	}
	t, err := a.s.Type(id)
	if err != nil {
		return 0, err
	}
	switch t.Kind {
	case KindInt, KindEnum, KindEnum64, KindFloat:
		return min(PointerSize, t.Size), nil
	case KindPtr:
		return PointerSize, nil
	case KindTypedef, KindVolatile, KindConst, KindRestrict, KindTypeTag:
		return a.of(t.Ref, depth+1)
	case KindArray:
		return a.of(t.Array.Elem, depth+1)
	case KindStruct, KindUnion:
		return a.ofStruct(t, depth)
	}
	return 0, fmt.Errorf("type %q (%v) has no alignment", t.Name, t.Kind)
}

func (a *aligner) ofStruct(t *Type, depth int) (uint32, error) {
	align := uint32(1)
	a.steps -= len(t.Members)
	for _, m := range t.Members {
		n, err := a.of(m.Type, depth+1)
		if err != nil {
			return 0, err
		}
		if n == 0 || m.BitSize == 0 && m.BitOffset%(8*n) != 0 {
			return 1, nil
		}
		align = max(align, n)
	}
	if t.Size%align != 0 {
		return 1, nil
	}
	return align, nil
}
