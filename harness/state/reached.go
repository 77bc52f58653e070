package state

import (
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/btf"
)

// reached lists the named types that the roots refer to, also through pointers and prototypes, and
// their declaration tags, as indices into State.Types. Other types do not matter to the kernel:
// cilium/ebpf only loads these types with a map or program, libbpf all types of the object. Data
// sections are omitted, because Map.Value has them.
func (c *capturer) reached(t *types, roots ...btf.TypeID) []uint32 {
	if t.tags == nil {
		t.findTags()
	}
	seen := make(map[btf.TypeID]bool)
	var out []uint32
	for queue := roots; len(queue) > 0; queue = queue[1:] {
		id := queue[0]
		if id == 0 || seen[id] {
			continue
		}
		seen[id] = true
		typ, err := t.spec.Type(id)
		if err != nil {
			continue // Render reports it in the referring type
		}
		queue = append(queue, t.refers(typ)...)
		queue = append(queue, t.tags[id]...)
		switch typ.Kind {
		case btf.KindDatasec, btf.KindVar, btf.KindFunc, btf.KindTypeTag:
		default:
			if typ.Name != "" {
				out = append(out, c.typeText(t, id))
			}
		}
	}
	slices.SortFunc(out, func(a, b uint32) int { return strings.Compare(c.state.Types[a], c.state.Types[b]) })
	return slices.Compact(out)
}

// findTags collects the declaration tags of each type.
func (t *types) findTags() {
	t.tags, t.texts = make(map[btf.TypeID][]btf.TypeID), make(map[btf.TypeID]uint32)
	for id := range t.spec.All() {
		if t.spec.KindOf(id) != btf.KindDeclTag {
			continue
		}
		if typ, err := t.spec.Type(id); err == nil {
			t.tags[typ.Ref] = append(t.tags[typ.Ref], id)
		}
	}
}

// typeText returns the index of a type's text.
func (c *capturer) typeText(t *types, id btf.TypeID) uint32 {
	if i, ok := t.texts[id]; ok {
		return i
	}
	text := t.spec.Render(id)
	i, ok := c.texts[text]
	if !ok {
		i = uint32(len(c.state.Types))
		c.texts[text] = i
		c.state.Types = append(c.state.Types, text)
	}
	t.texts[id] = i
	return i
}

// refers returns all types that a type refers to.
func (t *types) refers(typ *btf.Type) []btf.TypeID {
	var ids []btf.TypeID
	switch typ.Kind {
	case btf.KindStruct, btf.KindUnion:
		for _, m := range typ.Members {
			ids = append(ids, m.Type)
		}
	case btf.KindDatasec:
		for _, v := range typ.Vars {
			ids = append(ids, v.Type)
		}
	case btf.KindFuncProto:
		ids = append(ids, typ.Ref)
		for _, p := range typ.Params {
			ids = append(ids, p.Type)
		}
	case btf.KindArray:
		ids = append(ids, typ.Array.Elem, typ.Array.Index)
	case btf.KindPtr, btf.KindTypedef, btf.KindConst, btf.KindVolatile, btf.KindRestrict, btf.KindVar, btf.KindTypeTag, btf.KindFunc:
		ids = append(ids, typ.Ref)
	}
	return ids
}

// TypeTexts returns the texts of the types of a map or program.
func (s *State) TypeTexts(indices []uint32) []string {
	texts := make([]string, 0, len(indices))
	for _, i := range indices {
		if int(i) < len(s.Types) {
			texts = append(texts, s.Types[i])
		} else {
			texts = append(texts, "(no such type)")
		}
	}
	return texts
}
