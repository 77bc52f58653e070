package btf

import (
	"fmt"
	"hash/maphash"
	"iter"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// names finds types by name. The first few lookups search the blob, which is cheaper than indexing
// all of a kernel's BTF. Then it builds an index.
type names struct {
	searches atomic.Int32
	once     sync.Once
	index    nameIndex
}

const maxSearches = 8

// nameIndex is a chained hash table over the ids of one blob: two flat arrays, and no allocation
// per name. next links the ids of a bucket in ascending order.
type nameIndex struct {
	buckets []uint32 // head of the chain: index into next plus one
	next    []uint32
}

var hashSeed = maphash.MakeSeed()

// bucket returns the head of the chain for a name. The number of buckets is a power of two.
func (x *nameIndex) bucket(name string) *uint32 {
	return &x.buckets[maphash.String(hashSeed, name)&uint64(len(x.buckets)-1)]
}

func (s *Spec) buildIndex() {
	idx := nameIndex{buckets: make([]uint32, 1<<bits.Len(uint(len(s.offsets)))), next: make([]uint32, len(s.offsets))}
	// Insert backwards, so that each chain has ascending ids.
	for i := len(s.offsets) - 1; i >= 0; i-- {
		name := s.Name(le.Uint32(s.raw[s.offsets[i]:]))
		if name == "" {
			continue
		}
		b := idx.bucket(name)
		idx.next[i], *b = *b, uint32(i)+1
	}
	s.names.index = idx
}

// FindByName yields the ids of all types with this name and one of the given kinds, or of any kind
// if none is given, in ascending order. For split BTF, those of the base come first. The empty name
// matches nothing.
func (s *Spec) FindByName(name string, kinds ...Kind) iter.Seq[TypeID] {
	return func(yield func(TypeID) bool) {
		if name != "" {
			s.find(name, kinds, yield)
		}
	}
}

func (s *Spec) find(name string, kinds []Kind, yield func(TypeID) bool) bool {
	if s.base != nil && !s.base.find(name, kinds, yield) {
		return false
	}
	if s.names.searches.Load() < maxSearches {
		s.names.searches.Add(1)
		return s.search(name, kinds, yield)
	}
	s.names.once.Do(s.buildIndex)
	idx := &s.names.index
	for at := *idx.bucket(name); at != 0; at = idx.next[at-1] {
		b := s.raw[s.offsets[at-1]:]
		if s.Name(le.Uint32(b)) != name || !isKind(b, kinds) {
			continue
		}
		if !yield(s.firstID + TypeID(at-1)) {
			return false
		}
	}
	return true
}

func isKind(b []byte, kinds []Kind) bool {
	return len(kinds) == 0 || slices.Contains(kinds, infoKind(le.Uint32(b[4:])))
}

// search finds the offsets of the name in the strings, then the types that refer to them: two
// linear passes over the bytes.
func (s *Spec) search(name string, kinds []Kind, yield func(TypeID) bool) bool {
	if strings.IndexByte(name, 0) >= 0 {
		return true
	}
	offs := s.stringOffsets(name)
	if len(offs) == 0 {
		return true
	}
	for i, at := range s.offsets {
		b := s.raw[at:]
		if _, ok := slices.BinarySearch(offs, le.Uint32(b)); !ok || !isKind(b, kinds) {
			continue
		}
		if !yield(s.firstID + TypeID(i)) {
			return false
		}
	}
	return true
}

// stringOffsets returns every offset at which a string equals name, ascending. The end of a longer
// string counts too, because strings may share tails.
func (s *Spec) stringOffsets(name string) []uint32 {
	var offs []uint32
	if s.base != nil {
		offs = s.base.stringOffsets(name)
	}
	for at := 0; at < len(s.strs); {
		i := strings.Index(s.strs[at:], name)
		if i < 0 {
			break
		}
		at += i
		if end := at + len(name); end < len(s.strs) && s.strs[end] == 0 {
			offs = append(offs, s.firstStr+uint32(at))
		}
		at++
	}
	return offs
}

// First returns the lowest id that [Spec.FindByName] yields. The error wraps [ErrNotFound] and
// contains name and kinds.
func (s *Spec) First(name string, kinds ...Kind) (TypeID, error) {
	for id := range s.FindByName(name, kinds...) {
		return id, nil
	}
	if len(kinds) > 0 {
		return 0, fmt.Errorf("%v %q: %w", kinds[0], name, ErrNotFound)
	}
	return 0, fmt.Errorf("%q: %w", name, ErrNotFound)
}

// OfKind yields the types of one kind that this blob itself defines, by ascending id. It leaves out
// types that cannot be decoded; in a blob of [Parse] there are none.
func (s *Spec) OfKind(kind Kind) iter.Seq[*Type] {
	return func(yield func(*Type) bool) {
		for id := range s.All() {
			if s.KindOf(id) != kind {
				continue
			}
			if t, err := s.Type(id); err == nil && !yield(t) {
				return
			}
		}
	}
}

// All yields the ids that this blob itself defines, ascending.
func (s *Spec) All() iter.Seq[TypeID] {
	return func(yield func(TypeID) bool) {
		for i := range s.offsets {
			if !yield(s.firstID + TypeID(i)) {
				return
			}
		}
	}
}
