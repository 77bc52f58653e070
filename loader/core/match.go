package core

import (
	"fmt"

	"github.com/bpfreplay/bpfreplay/loader/btf"
)

// match applies a local spec to a candidate. It is nil if the candidate is not
// what the record means.
func (c *comparer) match(local *spec, candidate btf.TypeID) (*spec, error) {
	s := &spec{types: c.target, root: candidate, kind: local.kind}
	var ok bool
	var err error
	switch {
	case local.kind == TypeMatches:
		ok, err = c.typesMatch(local.root, candidate, false, maxLevel)
	case local.kind.isType():
		ok, err = c.typesCompatible(local.root, candidate, maxLevel)
	case local.kind.isEnumval():
		ok, err = c.matchEnumval(s, local.last().name)
	default:
		ok, err = c.matchFields(s, local.path)
	}
	if err != nil || !ok {
		return nil, err
	}
	return s, nil
}

func (c *comparer) matchEnumval(s *spec, name string) (bool, error) {
	t, err := c.target.resolve(s.root)
	if err != nil || !isEnum(t.Kind) {
		return false, err
	}
	for i := range t.Values {
		if sameName(name, t.Values[i].Name) {
			s.path = append(s.path, accessor{typ: t.ID, index: uint32(i), name: t.Values[i].Name})
			s.raw = append(s.raw, uint32(i))
			return true, nil
		}
	}
	return false, nil
}

func (c *comparer) matchFields(s *spec, path []accessor) (bool, error) {
	id := s.root
	for i, a := range path {
		var next btf.TypeID
		var ok bool
		var err error
		if a.name != "" {
			next, ok, err = c.matchMember(s, a, id)
		} else {
			next, ok, err = c.matchElem(s, a, id, i == 0)
		}
		if err != nil || !ok {
			return false, err
		}
		id = next
	}
	return true, nil
}

// matchElem steps to an element of an array. The root type is the element of an
// array already: what the pointer points to.
func (c *comparer) matchElem(s *spec, a accessor, id btf.TypeID, root bool) (btf.TypeID, bool, error) {
	t, err := c.target.resolve(id)
	if err != nil {
		return 0, false, err
	}
	elem := t.ID
	if !root {
		if t.Kind != btf.KindArray {
			return 0, false, nil
		}
		flexible, err := c.target.isFlexible(t, s.last())
		if err != nil {
			return 0, false, err
		}
		if !flexible && a.index >= t.Array.Len {
			return 0, false, nil
		}
		if elem, err = c.target.SkipModifiers(t.Array.Elem); err != nil {
			return 0, false, err
		}
	}
	if err := s.push(a.index); err != nil {
		return 0, false, err
	}
	s.path = append(s.path, accessor{typ: elem, index: a.index})
	return elem, true, s.advanceElems(elem, a.index)
}

func (s *spec) push(index uint32) error {
	if len(s.raw) == maxAccess {
		return fmt.Errorf("more than %d steps into type id %d: %w", maxAccess, s.root, ErrTooComplex)
	}
	s.raw = append(s.raw, index)
	return nil
}

// matchMember steps to the member of a struct or union that has the name of the
// local one, through anonymous members if need be.
func (c *comparer) matchMember(s *spec, a accessor, id btf.TypeID) (btf.TypeID, bool, error) {
	l, err := c.local.at(a.typ)
	if err != nil {
		return 0, false, err
	}
	bits, depth := s.bits, len(s.raw)
	m, err := c.findMember(s, a.name, id)
	if err != nil || m == nil {
		s.bits, s.raw = bits, s.raw[:depth]
		return 0, false, err
	}
	ok, err := c.fieldsCompatible(l.Members[a.index].Type, m.Type)
	return m.Type, ok, err
}

func (c *comparer) findMember(s *spec, name string, id btf.TypeID) (*btf.Member, error) {
	t, err := c.target.resolve(id)
	if err != nil || !isComposite(t.Kind) {
		return nil, err
	}
	for i := range t.Members {
		if err := c.step(); err != nil {
			return nil, err
		}
		m := &t.Members[i]
		if m.Name != "" && m.Name != name {
			continue
		}
		if err := s.push(uint32(i)); err != nil {
			return nil, err
		}
		if err := s.advance(uint64(m.BitOffset)); err != nil {
			return nil, err
		}
		if m.Name != "" {
			s.path = append(s.path, accessor{typ: t.ID, index: uint32(i), name: name})
			return m, nil
		}
		found, err := c.findMember(s, name, m.Type)
		if err != nil || found != nil {
			return found, err
		}
		s.bits -= uint64(m.BitOffset)
		s.raw = s.raw[:len(s.raw)-1]
	}
	return nil, nil
}
