package core

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/btf"
)

// maxAccess is the maximum number of steps in an access string, and of members and elements in the
// path into a candidate (BPF_CORE_SPEC_MAX_LEN).
const maxAccess = 64

// accessor is one step into a type: to a named member, or to an element of an
// array if name is empty.
type accessor struct {
	typ   btf.TypeID // the struct or union, or the type of the element
	index uint32
	name  string
}

// spec is the path that a record takes into a root type.
type spec struct {
	types *types
	root  btf.TypeID
	kind  Kind

	// path has only named members and array elements, raw every step.
	path []accessor
	raw  []uint32
	bits uint64 // offset from the start of the root type, in bits
}

func (s *spec) last() accessor { return s.path[len(s.path)-1] }

func (s *spec) advance(bits uint64) error {
	if bits > math.MaxUint32 || s.bits+bits > math.MaxUint32 {
		return malformed("offset is beyond 512 MiB")
	}
	s.bits += bits
	return nil
}

// parseSpec walks a record's access string through its local type.
func parseSpec(local *types, r Record) (*spec, error) {
	if r.Kind > TypeMatches {
		return nil, unsupported("%v is unknown", r.Kind)
	}
	root, err := local.at(r.TypeID)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	s := &spec{types: local, root: r.TypeID, kind: r.Kind}
	access := local.Name(r.AccessStr)
	if r.Kind.isType() {
		if access != "0" {
			return nil, malformed("access string of a type is %q, not \"0\"", access)
		}
		return s, nil
	}
	if s.raw, err = parseAccess(access); err != nil {
		return nil, err
	}
	t, err := local.resolve(root.ID)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if r.Kind.isEnumval() {
		return s, s.enterEnum(t)
	}
	return s, s.enterFields(t)
}

func parseAccess(access string) ([]uint32, error) {
	if access == "" {
		return nil, malformed("no access string")
	}
	raw := make([]uint32, 0, strings.Count(access, ":")+1)
	for step := range strings.SplitSeq(access, ":") {
		n, err := strconv.ParseInt(step, 10, 32)
		if err != nil || n < 0 {
			return nil, malformed("access string %q", access)
		}
		if len(raw) == maxAccess {
			return nil, malformed("access string %q has more than %d steps", access, maxAccess)
		}
		raw = append(raw, uint32(n))
	}
	return raw, nil
}

func (s *spec) enterEnum(t *btf.Type) error {
	if !isEnum(t.Kind) || len(s.raw) != 1 || int(s.raw[0]) >= len(t.Values) {
		return malformed("access string is not an enumerator of %v %q", t.Kind, t.Name)
	}
	s.path = append(s.path, accessor{typ: t.ID, index: s.raw[0], name: t.Values[s.raw[0]].Name})
	return nil
}

func (s *spec) enterFields(t *btf.Type) error {
	// The first step indexes the root as a pointer: p[0].
	s.path = append(s.path, accessor{typ: t.ID, index: s.raw[0]})
	if err := s.advanceElems(t.ID, s.raw[0]); err != nil {
		return err
	}
	id := t.ID
	for _, index := range s.raw[1:] {
		t, err := s.types.resolve(id)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		switch {
		case isComposite(t.Kind):
			id, err = s.enterMember(t, index)
		case t.Kind == btf.KindArray:
			id, err = s.enterElem(t, index)
		default:
			err = malformed("cannot step into %v %q", t.Kind, t.Name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *spec) advanceElems(elem btf.TypeID, n uint32) error {
	size, err := s.types.SizeOf(elem)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return s.advance(uint64(n) * uint64(size) * 8)
}

func (s *spec) enterMember(t *btf.Type, index uint32) (btf.TypeID, error) {
	if uint64(index) >= uint64(len(t.Members)) {
		return 0, malformed("%v %q has no member %d", t.Kind, t.Name, index)
	}
	m := &t.Members[index]
	if m.Name != "" {
		s.path = append(s.path, accessor{typ: t.ID, index: index, name: m.Name})
	}
	return m.Type, s.advance(uint64(m.BitOffset))
}

func (s *spec) enterElem(t *btf.Type, index uint32) (btf.TypeID, error) {
	flexible, err := s.types.isFlexible(t, s.last())
	if err != nil {
		return 0, err
	}
	if !flexible && index >= t.Array.Len {
		return 0, malformed("array of %d has no element %d", t.Array.Len, index)
	}
	elem, err := s.types.SkipModifiers(t.Array.Elem)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	s.path = append(s.path, accessor{typ: elem, index: index})
	return elem, s.advanceElems(elem, index)
}

// isFlexible reports whether an array is a flexible one: the last member of its
// struct, without a length. from is the step that led to it.
func (ts *types) isFlexible(array *btf.Type, from accessor) (bool, error) {
	if from.name == "" || array.Array.Len > 0 {
		return false, nil
	}
	t, err := ts.at(from.typ)
	if err != nil {
		return false, err
	}
	return uint64(from.index)+1 == uint64(len(t.Members)), nil
}

// describe names a type as C does: "struct task_struct".
func describe(kind btf.Kind, name string) string {
	return kind.String() + " " + cmp.Or(name, "<anon>")
}

// String renders the spec as libbpf does, without the type id.
func (s *spec) String() string {
	var b strings.Builder
	b.WriteString(describe(s.types.KindOf(s.root), s.types.TypeName(s.root)))
	switch {
	case s.kind.isEnumval():
		s.writeEnumval(&b)
	case s.kind.isField():
		s.writeField(&b)
	}
	return b.String()
}

func (s *spec) writeEnumval(b *strings.Builder) {
	b.WriteString("::" + s.last().name)
	t, err := s.types.at(s.last().typ)
	if err != nil || uint64(s.last().index) >= uint64(len(t.Values)) {
		return
	}
	if v := t.Values[s.last().index].Value; t.Flag {
		fmt.Fprintf(b, " = %d", int64(v))
	} else {
		fmt.Fprintf(b, " = %d", v)
	}
}

func (s *spec) writeField(b *strings.Builder) {
	for i, a := range s.path {
		if a.name != "" {
			b.WriteString("." + a.name)
		} else if i > 0 || a.index > 0 {
			fmt.Fprintf(b, "[%d]", a.index)
		}
	}
	b.WriteString(" (")
	for i, index := range s.raw {
		if i > 0 {
			b.WriteByte(':')
		}
		fmt.Fprintf(b, "%d", index)
	}
	fmt.Fprintf(b, " @ offset %d", s.bits/8)
	if s.bits%8 != 0 {
		fmt.Fprintf(b, ".%d", s.bits%8)
	}
	b.WriteByte(')')
}
