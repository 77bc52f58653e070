package trace

import (
	"slices"

	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// chooseTypes decides which of the object's types the kernel gets. What every kernel refuses is
// decided here. A layout section is left out: only 7.1 and later accept it, and none needs it. If
// there are names that no kernel accepts, such as those of C++ templates, the object gets no types,
// as in libbpf. But CO-RE in the kernel needs types, so for an object with records these names get
// underscores.
func (p *planner) chooseTypes() {
	if p.obj.BTF == nil {
		return
	}
	p.types = p.obj.BTF.WithoutLayout()
	if bad := p.types.BadNames(); len(bad) > 0 {
		if !p.hasCORE() {
			return
		}
		p.types = p.types.Rename(bad)
	}
	p.t.Types = p.types
	p.btfFD = p.newFD("btf")
}

func (p *planner) hasCORE() bool {
	return slices.ContainsFunc(p.obj.Functions, func(f object.Function) bool { return len(f.CORE) > 0 })
}

// loadTypes plans BTF_LOAD, and before it the commands that choose the types. It runs after all
// programs are planned, which can still change the types.
func (p *planner) loadTypes() error {
	if p.btfFD == NoFD {
		return nil
	}
	if err := p.planCORE(); err != nil {
		return err
	}
	p.appendTwins()
	p.askContext()
	load := &LoadBTF{Data: p.types.Raw(), Out: p.btfFD, Optional: true}
	for _, c := range p.t.Commands {
		switch c := c.(type) {
		case *CreateMap:
			load.Optional = load.Optional && c.Value == nil
		case *LoadProgram:
			load.Optional = load.Optional && len(c.CORE) == 0
		}
	}
	other := p.types
	if p.extended != nil {
		other = p.extended
		load.Extended = other.Raw()
	}
	for i, from := range p.types.Fallbacks() {
		f := Fallback{Kind: from.Kind, Probe: from.Probe, Data: words(from.Words)}
		if p.extended != nil {
			f.Extended = words(other.Fallbacks()[i].Words)
		}
		if len(f.Data)+len(f.Extended) > 0 {
			load.Fallbacks = append(load.Fallbacks, f)
		}
	}
	p.t.Types = p.types
	p.t.Commands = slices.Concat(p.first, []Command{load}, p.t.Commands)
	return nil
}

func words(w []btf.Word) []Word {
	var out []Word
	for _, w := range w {
		out = append(out, Word{Off: w.Off, Value: w.Value})
	}
	return out
}

// extend returns the types for further types that only some kernels get.
func (p *planner) extend() *btf.Spec {
	if p.extended == nil {
		p.extended = p.types.Clone()
	}
	return p.extended
}

// typesAnswer is the kernels' answer to a map's types (map_check_btf).
type typesAnswer int

const (
	typesUnknown typesAnswer = iota // depends on the kernel
	typesTaken
	typesRefused
)

// noTypes has the map types that refuse BTF type ids, as listed by libbpf.
var noTypes = []uapi.MapType{
	uapi.MapPerfEventArray, uapi.MapCgroupArray, uapi.MapStackTrace, uapi.MapArrayOfMaps, uapi.MapHashOfMaps,
	uapi.MapDevmap, uapi.MapDevmapHash, uapi.MapCPUMap, uapi.MapXSKMap, uapi.MapSockmap, uapi.MapSockhash,
	uapi.MapQueue, uapi.MapStack, uapi.MapArena,
}

// askTypes answers for all kernels from 5.14 on, if they agree. If it did not know that they
// refuse, a load would spend a system call and a branch.
func askTypes(types *btf.Spec, m *object.Map) typesAnswer {
	if slices.Contains(noTypes, m.Type) || m.ValueType == 0 || !fits(types, m.ValueType, m.ValueSize) ||
		m.KeyType != 0 && !fits(types, m.KeyType, m.KeySize) {
		return typesRefused
	}
	if isSpecial(types, m.ValueType) {
		return typesUnknown
	}
	key, err := types.Underlying(m.KeyType)
	if err != nil {
		return typesUnknown
	}
	switch m.Type {
	case uapi.MapHash, uapi.MapPercpuHash, uapi.MapLRUHash, uapi.MapLRUPercpuHash:
		if m.KeyType != 0 {
			return typesTaken
		}
	case uapi.MapArray, uapi.MapPercpuArray:
		switch {
		case m.KeyType != 0: // array_map_check_btf
			if key.Kind == btf.KindInt && key.Int.Bits == 32 && key.Int.Offset == 0 {
				return typesTaken
			}
			return typesRefused
		case m.Type == uapi.MapArray && m.MaxEntries == 1 && types.KindOf(m.ValueType) == btf.KindDatasec:
			return typesTaken
		}
	case uapi.MapLPMTrie: // trie_check_btf
		if key.Kind != btf.KindStruct {
			return typesRefused
		}
		return typesTaken
	}
	return typesUnknown
}

func fits(types *btf.Spec, id btf.TypeID, size uint32) bool {
	n, err := types.SizeOf(id)
	return err == nil && n == size
}

// specialTypes has structs that the kernel looks for in a map's value (btf_parse_fields). Pointers
// with tags are another such thing. Which maps may have them depends on the kernel.
var specialTypes = []string{
	"bpf_spin_lock", "bpf_res_spin_lock", "bpf_timer", "bpf_wq", "bpf_task_work", "bpf_refcount",
	"bpf_list_head", "bpf_list_node", "bpf_rb_root", "bpf_rb_node",
}

// isSpecial reports whether a value holds one of the specialTypes or a tagged pointer.
func isSpecial(types *btf.Spec, id btf.TypeID) bool {
	seen := make(map[btf.TypeID]bool)
	var look func(id btf.TypeID) bool
	look = func(id btf.TypeID) bool {
		if seen[id] {
			return false
		}
		seen[id] = true
		t, err := types.Underlying(id)
		if err != nil {
			return true
		}
		switch t.Kind {
		case btf.KindStruct, btf.KindUnion:
			if slices.Contains(specialTypes, t.Name) {
				return true
			}
			return slices.ContainsFunc(t.Members, func(m btf.Member) bool { return look(m.Type) })
		case btf.KindDatasec:
			return slices.ContainsFunc(t.Vars, func(v btf.VarSecinfo) bool {
				variable, err := types.Type(v.Type)
				return err != nil || look(variable.Ref)
			})
		case btf.KindArray:
			return look(t.Array.Elem)
		case btf.KindPtr:
			return types.KindOf(t.Ref) == btf.KindTypeTag
		}
		return false
	}
	return look(id)
}
