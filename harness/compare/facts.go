package compare

import (
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/insn"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// Facts are facts about an object that rules need and that the kernel does not report. They depend
// on the object alone.
type Facts struct {
	// StaticOnly are the data sections without a variable that is visible to user space, or all
	// data sections if the object has no BTF. libbpf does not make them mappable.
	StaticOnly []string
	// HiddenVariables are the variables with hidden visibility, by section. libbpf makes them
	// static.
	HiddenVariables map[string][]string
	// Unreferenced are the data sections that have no symbols and that no instruction refers to.
	Unreferenced []string
	// Entries are the max_entries of all maps that are not data sections.
	Entries map[string]uint32
	// NotAutoloaded are the programs in sections named SEC("?...").
	NotAutoloaded []string
	USDT          []string // programs of SEC("usdt...")
	Programs      map[string]ProgramFacts
	// EnumCORE is the number of enums that CO-RE relocations refer to.
	EnumCORE int
	// SizedRings are ring buffers and perf event arrays whose key or value size the kernel refuses.
	// The size comes from the value's type.
	SizedRings []string
	Functions  int // number of functions, subprograms included
	// EmptySection reports whether the types have a DATASEC without variables.
	EmptySection bool
	// What libbpf's generator of loader programs does not know: struct_ops maps, an arena with
	// variables, a raw tracepoint's section that names none, programs in program arrays.
	HasStructOps, ArenaData, BareRawTracepoint, ProgramSlots bool
	// StructOps are the struct_ops maps in .struct_ops.link, by name.
	StructOps map[string]StructOpsFacts
}

// StructOpsFacts are facts about one struct_ops map.
type StructOpsFacts struct {
	Type    string            // name of the kernel's struct
	Members map[string]string // function names by member
	// Plain are the non-zero bytes of the other members, sorted. Their offsets depend on the
	// kernel, so the order is not compared.
	Plain []byte
}

// ProgramFacts are facts about a program and all functions that it calls.
type ProgramFacts struct {
	// Order are the functions in libbpf's order: depth first, by the first call or load of the
	// address of each.
	Order []string
	// Breadth are the functions in cilium/ebpf's order: breadth first, the callees of one function
	// sorted by name.
	Breadth    []string
	WeakKfuncs []string // weak kfuncs that the program calls
	Weak       []string // weak kfuncs that it calls or takes the address of, with their flavours
	TypedKsyms []string // typed kernel variables whose address the program takes
	// KfuncAddresses are the kfuncs whose address the program takes, to check whether they exist.
	KfuncAddresses []string
	// Hidden are the global functions with hidden visibility. libbpf makes them static.
	Hidden []string
	// LocalTypeIDs are the types whose ids are immediates of instructions (CO-RE kind
	// type_id_local): "struct foo" by id in the object's BTF.
	LocalTypeIDs map[uint32]string
	TypeCORE     bool // a CO-RE relocation asks for the size or the id of a type of the kernel
	// WideCORE reports whether a 64-bit constant has a CO-RE relocation that fails if the kernel
	// lacks its target. Engines poison such a constant in different ways.
	WideCORE bool
}

// Values of enum bpf_core_relo_kind that are 0 for a type that the kernel lacks.
const (
	coreTypeIDTarget = 7
	coreTypeSize     = 9
)

// Values of enum bpf_core_relo_kind that never fail: checks for existence, and the id of a local
// type.
const (
	coreFieldExists = 2
	coreTypeIDLocal = 6
	coreTypeExists  = 8
	coreEnumExists  = 10
	coreTypeMatches = 12
)

var coreNeverFails = []uint32{coreFieldExists, coreTypeIDLocal, coreTypeExists, coreEnumExists, coreTypeMatches}

// FactsOf collects the facts about an object.
func FactsOf(o *object.Object) *Facts {
	f := &Facts{Entries: make(map[string]uint32), HiddenVariables: make(map[string][]string), Programs: make(map[string]ProgramFacts)}
	for i := range o.Maps {
		m := &o.Maps[i]
		f.HasStructOps = f.HasStructOps || m.StructOps != nil
		f.ArenaData = f.ArenaData || m.Type == uapi.MapArena && m.DataSize > 0
		f.ProgramSlots = f.ProgramSlots || m.Type == uapi.MapProgArray && len(m.Slots) > 0
		if m.Kind == object.MapUser {
			f.Entries[m.Name] = m.MaxEntries
		}
		if isData(m.Kind) && (o.BTF == nil || !slices.ContainsFunc(m.Variables, func(v object.Variable) bool { return !v.Static && !v.Hidden })) {
			f.StaticOnly = append(f.StaticOnly, m.Section)
		}
		for _, v := range m.Variables {
			if isData(m.Kind) && v.Hidden {
				f.HiddenVariables[m.Section] = append(f.HiddenVariables[m.Section], v.Name)
			}
		}
	}
	f.EmptySection = hasEmptySection(o.BTF)
	f.StructOps = structOpsFacts(o)
	f.EnumCORE, f.SizedRings = enumsOf(o), sizedRings(o)
	f.Unreferenced = unreferenced(o)
	f.Functions = len(o.Functions)
	for i := range o.Functions {
		fn := &o.Functions[i]
		f.BareRawTracepoint = f.BareRawTracepoint || !strings.Contains(fn.Section, "/") &&
			(strings.HasPrefix(fn.Section, "raw_tp") || strings.HasPrefix(fn.Section, "raw_tracepoint"))
		if fn.Subprog {
			continue
		}
		if !fn.Autoload {
			f.NotAutoloaded = append(f.NotAutoloaded, fn.Name)
		}
		if fn.Program.USDT {
			f.USDT = append(f.USDT, fn.Name)
		}
		f.Programs[fn.Name] = programFacts(o, i)
	}
	return f
}

func hasEmptySection(types *btf.Spec) bool {
	if types == nil {
		return false
	}
	for t := range types.OfKind(btf.KindDatasec) {
		if t.Vlen == 0 {
			return true
		}
	}
	return false
}

func structOpsFacts(o *object.Object) map[string]StructOpsFacts {
	facts := make(map[string]StructOpsFacts)
	for i := range o.Maps {
		so := o.Maps[i].StructOps
		if so == nil || !so.Link {
			continue
		}
		f := StructOpsFacts{Type: so.Type, Members: make(map[string]string), Plain: plainBytes(so.Data)}
		for _, m := range so.Members {
			f.Members[m.Name] = o.Functions[m.Function].Name
		}
		facts[o.Maps[i].Name] = f
	}
	return facts
}

// plainBytes returns the non-zero bytes, sorted.
func plainBytes(b []byte) []byte {
	out := slices.DeleteFunc(slices.Clone(b), func(c byte) bool { return c == 0 })
	slices.Sort(out)
	return out
}

// enumsOf counts the named enums that CO-RE relocations refer to.
func enumsOf(o *object.Object) int {
	if o.BTF == nil {
		return 0
	}
	enums := make(map[btf.TypeID]bool)
	for i := range o.Functions {
		for _, r := range o.Functions[i].CORE {
			if k := o.BTF.KindOf(r.TypeID); (k == btf.KindEnum || k == btf.KindEnum64) && o.BTF.TypeName(r.TypeID) != "" {
				enums[r.TypeID] = true
			}
		}
	}
	return len(enums)
}

func sizedRings(o *object.Object) (names []string) {
	for i := range o.Maps {
		m := &o.Maps[i]
		ring := m.Type == uapi.MapRingbuf || m.Type == uapi.MapUserRingbuf
		if ring && m.KeySize+m.ValueSize > 0 || m.Type == uapi.MapPerfEventArray && m.ValueSize > 4 {
			names = append(names, m.Name)
		}
	}
	return names
}

func unreferenced(o *object.Object) []string {
	used := make(map[int]bool)
	for i := range o.Functions {
		for _, r := range o.Functions[i].Relocations {
			if r.Kind == object.RelocMap || r.Kind == object.RelocMapValue {
				used[r.Target] = true
			}
		}
	}
	var sections []string
	for i := range o.Maps {
		if m := &o.Maps[i]; isData(m.Kind) && len(m.Variables) == 0 && !used[i] {
			sections = append(sections, m.Section)
		}
	}
	return sections
}

func isData(k object.MapKind) bool {
	return k == object.MapData || k == object.MapBSS || k == object.MapRodata
}

// programFacts collects facts about a function and all functions that it calls or takes the address
// of.
func programFacts(o *object.Object, entry int) ProgramFacts {
	p := ProgramFacts{LocalTypeIDs: make(map[uint32]string)}
	seen, names := make(map[int]string), make(map[string]int)
	var visit func(i int)
	visit = func(i int) {
		if i < 0 || i >= len(o.Functions) || seen[i] != "" {
			return
		}
		fn := &o.Functions[i]
		seen[i] = state.UniqueName(names, fn.Name)
		p.Order = append(p.Order, seen[i])
		p.addFunction(o, fn)
		for _, next := range callees(fn) {
			visit(next)
		}
	}
	visit(entry)
	if cb := o.Functions[entry].ExceptionCallback; cb != nil {
		visit(*cb)
	}
	for _, i := range breadthFirst(o, entry) {
		p.Breadth = append(p.Breadth, seen[i])
	}
	return p
}

// breadthFirst returns functions in the order of flattenInstructions in cilium/ebpf's linker.go.
func breadthFirst(o *object.Object, entry int) []int {
	order := []int{entry}
	for at := 0; at < len(order); at++ {
		next := callees(&o.Functions[order[at]])
		slices.SortStableFunc(next, func(a, b int) int { return strings.Compare(o.Functions[a].Name, o.Functions[b].Name) })
		for _, i := range next {
			if !slices.Contains(order, i) {
				order = append(order, i)
			}
		}
	}
	return order
}

func callees(fn *object.Function) []int {
	var next []int
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
		if r.Kind != object.RelocKsym && r.Kind != object.RelocKfunc {
			continue
		}
		e := &o.Externs[r.Target]
		if e.Weak && e.Kind == object.ExternFunc && !slices.Contains(p.Weak, e.Name) {
			p.Weak = append(p.Weak, e.Name)
		}
		switch {
		case r.Kind == object.RelocKsym && e.Kind == object.ExternVar:
			p.TypedKsyms = append(p.TypedKsyms, e.EssentialName())
		case r.Kind == object.RelocKsym && e.Kind == object.ExternFunc:
			p.KfuncAddresses = append(p.KfuncAddresses, e.EssentialName())
		case r.Kind == object.RelocKfunc && e.Weak:
			p.WeakKfuncs = append(p.WeakKfuncs, e.EssentialName())
		}
	}
	for _, r := range fn.CORE {
		insns := insn.Insns(fn.Insns)
		if r.Insn >= 0 && r.Insn < insns.Len() && insns.IsLdImm64(r.Insn) && !slices.Contains(coreNeverFails, r.Kind) {
			p.WideCORE = true
		}
		p.TypeCORE = p.TypeCORE || r.Kind == coreTypeIDTarget || r.Kind == coreTypeSize
		if r.Kind == coreTypeIDLocal && o.BTF != nil {
			p.LocalTypeIDs[uint32(r.TypeID)] = o.BTF.KindOf(r.TypeID).String() + " " + o.BTF.TypeName(r.TypeID)
		}
	}
}
