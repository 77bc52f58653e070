package state

import (
	"slices"

	"github.com/bpfreplay/bpfreplay/loader/insn"
	"github.com/bpfreplay/bpfreplay/loader/object"
)

// Facts is what rules have to know about the object that was loaded and cannot
// see in the kernel. It comes from the object alone.
type Facts struct {
	Name string // the object's, as libbpf derives it
	// StaticOnly are the data sections without a variable that others may see.
	// libbpf does not let user space map them.
	StaticOnly []string
	// NotAutoloaded are the programs of SEC("?...").
	NotAutoloaded []string
	Programs      map[string]ProgramFacts
}

// ProgramFacts is about a program with all functions that it calls.
type ProgramFacts struct {
	Kconfig    bool     // refers to .kconfig
	WeakKfuncs []string // calls of kfuncs that need not exist
	TypedKsyms []string // addresses taken of typed kernel symbols
	// Hidden are global functions with hidden visibility, which libbpf makes static.
	Hidden []string
	// LocalTypeIDs are the types whose ids instructions hold (CO-RE kind
	// type_id_local): "struct foo" by id in the object's BTF.
	LocalTypeIDs map[uint32]string
	// WideCORE: CO-RE relocates a 64-bit constant. Engines poison one that has
	// no target in different ways.
	WideCORE bool
}

// coreTypeIDLocal is BPF_CORE_TYPE_ID_LOCAL of enum bpf_core_relo_kind.
const coreTypeIDLocal = 6

// FactsOf collects the facts about an object.
func FactsOf(o *object.Object) *Facts {
	f := &Facts{Name: o.Name, Programs: make(map[string]ProgramFacts)}
	for i := range o.Maps {
		if m := &o.Maps[i]; isData(m.Kind) && !slices.ContainsFunc(m.Variables, func(v object.Variable) bool { return !v.Static }) {
			f.StaticOnly = append(f.StaticOnly, m.Section)
		}
	}
	for i := range o.Functions {
		fn := &o.Functions[i]
		if fn.Subprog {
			continue
		}
		if !fn.Autoload {
			f.NotAutoloaded = append(f.NotAutoloaded, fn.Name)
		}
		f.Programs[fn.Name] = programFacts(o, i)
	}
	return f
}

func isData(k object.MapKind) bool {
	return k == object.MapData || k == object.MapBSS || k == object.MapRodata
}

// programFacts looks at a function and all that it calls or takes the address of.
func programFacts(o *object.Object, entry int) ProgramFacts {
	p := ProgramFacts{LocalTypeIDs: make(map[uint32]string)}
	seen := map[int]bool{entry: true}
	for queue := []int{entry}; len(queue) > 0; queue = queue[1:] {
		fn := &o.Functions[queue[0]]
		p.addFunction(o, fn)
		for _, next := range callees(fn) {
			if next >= 0 && next < len(o.Functions) && !seen[next] {
				seen[next] = true
				queue = append(queue, next)
			}
		}
	}
	return p
}

func callees(fn *object.Function) []int {
	next := []int{fn.ExceptionCallback}
	for _, r := range fn.Relocations {
		if r.Kind == object.RelocCall || r.Kind == object.RelocFunc {
			next = append(next, r.Target)
		}
	}
	return next
}

func (p *ProgramFacts) addFunction(o *object.Object, fn *object.Function) {
	if fn.Hidden && !fn.Static && fn.Subprog {
		p.Hidden = append(p.Hidden, fn.Name)
	}
	for _, r := range fn.Relocations {
		switch r.Kind {
		case object.RelocKconfig:
			p.Kconfig = true
		case object.RelocKsym:
			if e := &o.Externs[r.Target]; e.Kind != object.ExternTypeless {
				p.TypedKsyms = append(p.TypedKsyms, e.Name)
			}
		case object.RelocKfunc:
			if e := &o.Externs[r.Target]; e.Weak {
				p.WeakKfuncs = append(p.WeakKfuncs, e.EssentialName())
			}
		}
	}
	for _, r := range fn.CORE {
		if r.Insn >= 0 && r.Insn < len(fn.Insns)/insn.Size && fn.Insns[r.Insn*insn.Size] == insn.LdImm64 {
			p.WideCORE = true
		}
		if r.Kind == coreTypeIDLocal && o.BTF != nil {
			p.LocalTypeIDs[uint32(r.TypeID)] = o.BTF.KindOf(r.TypeID).String() + " " + o.BTF.TypeName(r.TypeID)
		}
	}
}
