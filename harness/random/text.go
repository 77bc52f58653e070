package random

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// String describes the object for a person.
func (o *Object) String() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("object %s: seed %d, index %d, licence %q, all lines %t, sections left to the loader %t", o.Name(), o.Seed, o.Index, o.License, o.Lines, o.Compiled)
	for _, m := range o.Maps {
		p("map %s", m.String())
	}
	for _, v := range o.Vars {
		static := "global"
		if v.Static {
			static = "static"
		}
		p("%s variable %s: %d bytes in %s", static, v.Name, v.Size, v.Section)
	}
	for _, e := range o.Externs {
		weak := ""
		if e.Weak {
			weak = "weak "
		}
		p("%s%s %s", weak, e.Kind, e.Name)
	}
	for _, f := range o.Functions {
		static := "static"
		if f.Global {
			static = "global"
		}
		if f.Hidden {
			static = "hidden"
		}
		p("%s %s %s in %s: %d instructions", static, f.Role, f.Name, f.Section, slotsIn(f.place()))
		describe(f.Blocks, "    ", p)
	}
	return b.String()
}

func describe(blocks []Block, indent string, p func(string, ...any)) {
	for _, b := range blocks {
		p("%s%s %s", indent, b.ID, b.What)
		describe(b.Body, indent+"    ", p)
	}
}

func (m *Map) String() string {
	s := fmt.Sprintf("%s: %s, key %d %s, value %d %s, %d entries", m.Name, m.Type, m.KeySize, m.Key, m.ValueSize, m.Value, m.MaxEntries)
	if m.Flags != 0 {
		s += fmt.Sprintf(", flags %#x", m.Flags)
	}
	if m.Extra != 0 {
		s += fmt.Sprintf(", extra %d", m.Extra)
	}
	if m.Inner != nil {
		s += " of [" + m.Inner.String() + "]"
	}
	for _, slot := range m.Slots {
		s += fmt.Sprintf(", slot %d %s", slot.Index, slot.To)
	}
	return s
}

// Features returns the features of the object that matter to loaders, sorted.
func (o *Object) Features() []string {
	found := make(map[string]bool)
	has := func(feature string, ok bool) {
		if ok {
			found[feature] = true
		}
	}
	has("maps", len(o.Maps) > 0)
	for _, m := range o.Maps {
		has("map-in-map", m.Inner != nil)
		has("static slots", len(m.Slots) > 0)
		has("spin locks, timers", m.Value.special())
		has("maps with types", m.Value != Type{})
	}
	for _, v := range o.Vars {
		custom := strings.Count(v.Section, ".") > 1
		has("custom data sections", custom)
		has(v.Section, !custom)
		has("static variables", v.Static)
	}
	for _, e := range o.Externs {
		has(string(e.Kind), true)
		has("weak externs", e.Weak)
	}
	has("lines of blocks", o.Lines)
	for _, f := range o.Functions {
		switch f.Role {
		case Subprogram:
			has("subprograms", true)
			has("hidden subprograms", f.Hidden)
			has("global subprograms", f.Global)
		case Program:
			has("autoload off", strings.HasPrefix(f.Section, "?"))
			has("sleepable programs", sleepable(f.Section) || f.Section == "syscall")
			has("programs run", f.Runs)
			has("programs with BTF targets", attachesToBTF(f.Section))
		default:
			has("callbacks", true)
		}
		walk(f.Blocks, func(b *Block) {
			has("CO-RE", slices.ContainsFunc(b.insns(), func(in Insn) bool { return in.Core != nil }))
			has("tail calls", strings.HasPrefix(b.What, "tail call"))
			has("loops", b.What == "loop")
		})
	}
	return slices.Sorted(maps.Keys(found))
}

func attachesToBTF(section string) bool {
	head, _, _ := strings.Cut(strings.TrimPrefix(section, "?"), "/")
	return slices.Contains([]string{"fentry", "fexit", "tp_btf", "lsm", "iter"}, strings.TrimSuffix(head, ".s"))
}
