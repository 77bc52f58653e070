package core

import (
	"sync"

	"github.com/bpfreplay/bpfreplay/loader/btf"
)

// Module is the BTF of a kernel module, split from that of vmlinux.
type Module struct {
	Name string
	BTF  *btf.Spec
}

// Target is the kernel that programs are relocated for. It is safe for
// concurrent use, and worth sharing: the index of names is built once, when the
// first record needs it.
type Target struct {
	vmlinux *index
	modules func() ([]*index, error)
}

// NewTarget describes a target by its BTF. modules is called at most once, and
// only if a type is not in vmlinux; nil means that there are none, as for a BTF
// that comes from a file.
func NewTarget(vmlinux *btf.Spec, modules func() ([]Module, error)) *Target {
	t := &Target{vmlinux: newIndex("vmlinux", vmlinux)}
	t.modules = sync.OnceValues(func() ([]*index, error) {
		if modules == nil {
			return nil, nil
		}
		mods, err := modules()
		if err != nil {
			return nil, err
		}
		indices := make([]*index, len(mods))
		for i, m := range mods {
			indices[i] = newIndex(m.Name, m.BTF)
		}
		return indices, nil
	})
	return t
}

// index finds types by their essential names: a chained hash table over the
// types that can be candidates. These are a sixth of a kernel's types, so that it
// costs a pass over the headers of all and over the names of these few.
type index struct {
	name string
	spec *btf.Spec

	once    sync.Once
	ids     []btf.TypeID
	next    []uint32 // index into ids plus one, in ascending order
	buckets []uint32
}

func newIndex(name string, spec *btf.Spec) *index { return &index{name: name, spec: spec} }

// isCandidate tells the kinds that can satisfy a record. libbpf's search also
// finds functions and declaration tags, but neither ever matches; the kinds that
// remain have no names.
func isCandidate(k btf.Kind) bool {
	switch k {
	case btf.KindInt, btf.KindStruct, btf.KindUnion, btf.KindEnum, btf.KindEnum64, btf.KindFwd, btf.KindTypedef,
		btf.KindFloat, btf.KindVar, btf.KindDatasec, btf.KindTypeTag:
		return true
	}
	return false
}

func hashName(name string) uint32 {
	h := uint32(2166136261)
	for i := range len(name) {
		h = (h ^ uint32(name[i])) * 16777619
	}
	return h
}

func (x *index) build() {
	for id := range x.spec.All() {
		if isCandidate(x.spec.KindOf(id)) {
			x.ids = append(x.ids, id)
		}
	}
	n := 1
	for n < len(x.ids) {
		n <<= 1
	}
	x.buckets, x.next = make([]uint32, n), make([]uint32, len(x.ids))
	for i := len(x.ids) - 1; i >= 0; i-- {
		name := EssentialName(x.spec.TypeName(x.ids[i]))
		if name == "" {
			continue
		}
		b := &x.buckets[hashName(name)&uint32(n-1)]
		x.next[i], *b = *b, uint32(i)+1
	}
}

// find appends the types that have this essential name and a kind like kind, in
// the order of their ids.
func (x *index) find(to []candidate, name string, kind btf.Kind) []candidate {
	x.once.Do(x.build)
	for at := x.buckets[hashName(name)&uint32(len(x.buckets)-1)]; at != 0; at = x.next[at-1] {
		id := x.ids[at-1]
		if sameKind(x.spec.KindOf(id), kind) && EssentialName(x.spec.TypeName(id)) == name {
			to = append(to, candidate{in: x, id: id})
		}
	}
	return to
}

// candidate is a type of the target that a local type may mean.
type candidate struct {
	in *index
	id btf.TypeID
}

// candidates finds the types of the target for a local type.
func (t *Target) candidates(name string, kind btf.Kind) ([]candidate, error) {
	cands := t.vmlinux.find(nil, name, kind)
	if len(cands) > 0 {
		return cands, nil
	}
	modules, err := t.modules()
	if err != nil {
		return nil, err
	}
	for _, m := range modules {
		cands = m.find(cands, name, kind)
	}
	return cands, nil
}
