package trace

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/core"
	"github.com/bpfreplay/bpfreplay/internal/insn"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// planCORE makes the kernel resolve CO-RE records as a direct load does. libbpf and the kernel
// share the code that resolves a record, but not the search for candidates, and kernels before 6.15
// have avoidable defects: see package core.
func (p *planner) planCORE() error {
	var loads []*LoadProgram
	var programs [][]core.Record
	for _, c := range p.t.Commands {
		if c, ok := c.(*LoadProgram); ok && len(c.CORE) > 0 {
			loads = append(loads, c)
			programs = append(programs, c.CORE)
			p.need(artefact.NeedCORE, c.Subject(), "CO-RE relocations")
		}
	}
	clashes := core.KindClashes(p.types, programs)
	enums := make(map[btf.TypeID]*ChooseEnum)
	for _, c := range loads {
		for i := range c.CORE {
			if err := p.planRecord(c, i, clashes, enums); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *planner) planRecord(c *LoadProgram, i int, clashes map[string]bool, enums map[btf.TypeID]*ChooseEnum) error {
	rec := &c.CORE[i]
	if rec.Kind == core.TypeIDLocal {
		return nil
	}
	switch core.Asks(p.types, *rec) {
	case core.AsksMatch:
		p.need(artefact.NeedTypeMatch, c.Subject(), rec.String(p.types))
	case core.AsksEnumSign:
		p.need(artefact.NeedEnum64, c.Subject(), rec.String(p.types))
	}
	if clashes[btf.EssentialName(p.types.TypeName(rec.TypeID))] {
		return refuse(c.Subject(), unix.EOPNOTSUPP, "CO-RE %s: the object means types of two kinds by this name, which no kernel tells apart", rec.String(p.types))
	}
	if access, ok := core.ElementAccess(p.types, insn.Insns(c.Insns), *rec); ok {
		if p.types == p.obj.BTF {
			p.types = p.types.Clone()
		}
		rec.AccessStr = p.types.String(access)
	}
	if kind := p.types.KindOf(rec.TypeID); kind == btf.KindEnum || kind == btf.KindEnum64 {
		p.chooseEnum(c, i, kind, enums)
	}
	return nil
}

// chooseEnum plans for kernels in which the enum has the other width.
func (p *planner) chooseEnum(c *LoadProgram, i int, kind btf.Kind, enums map[btf.TypeID]*ChooseEnum) {
	rec := c.CORE[i]
	t, err := p.types.Type(rec.TypeID)
	if err != nil || t.Name == "" {
		return // every kernel gives an error
	}
	choose, ok := enums[rec.TypeID]
	if !ok {
		other := btf.KindEnum
		if kind == btf.KindEnum {
			other = btf.KindEnum64
		}
		name := btf.EssentialName(t.Name)
		choose = &ChooseEnum{
			Name: name, Local: uint32(kind), Other: uint32(other),
			LocalBTF: p.newFD("module of enum " + name), OtherBTF: p.newFD("module of " + other.String() + " " + name),
		}
		enums[rec.TypeID] = choose
		p.first = append(p.first, choose)
		p.twins = append(p.twins, twin{choose, t, other})
	}
	choose.Edits = append(choose.Edits, CoreEdit{Program: c, Record: i})
}

// twin is a copy of an enum, to be appended with the other width.
type twin struct {
	choose *ChooseEnum
	of     *btf.Type
	kind   btf.Kind
}

// appendTwins appends the twins, after all other changes of the types.
func (p *planner) appendTwins() {
	for _, w := range p.twins {
		values := slices.Clone(w.of.Values)
		for i := range values { // libbpf and the kernel sign-extend 32-bit values
			values[i].Value = uint64(int64(int32(values[i].Value)))
		}
		id := p.extend().AppendEnum(w.of, w.kind, values)
		for i := range w.choose.Edits {
			e := &w.choose.Edits[i]
			e.Type = id
			e.Imm = p.enumImm(e.Program, e.Program.CORE[e.Record], w.of, values)
		}
	}
}

// enumImm returns the value that the instruction of a record must hold if its enum has the given
// values, or nil if that does not change. The kernel compares this value before it patches.
func (p *planner) enumImm(c *LoadProgram, rec core.Record, was *btf.Type, values []btf.EnumValue) *[2]uint32 {
	index, ok := core.Enumerator(p.types, rec)
	at := int(rec.InsnOff / insn.Size)
	if !ok || rec.Kind != core.EnumvalValue || at >= insn.Insns(c.Insns).Len() || !insn.Insns(c.Insns).IsLdImm64(at) {
		return nil
	}
	old := was.Values[index].Value
	if was.Kind == btf.KindEnum {
		old = uint64(int64(int32(old)))
	}
	if v := values[index].Value; v != old {
		return &[2]uint32{uint32(v), uint32(v >> 32)}
	}
	return nil
}

// need records that the load needs a capability, once.
func (p *planner) need(capability, subject, why string) {
	if !slices.ContainsFunc(p.t.Needs, func(n Need) bool { return n.Capability == capability }) {
		p.t.Needs = append(p.t.Needs, Need{Capability: capability, Why: subject + ": " + why})
	}
}
