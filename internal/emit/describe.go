package emit

import (
	"slices"

	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

var mapKinds = map[object.MapKind]string{
	object.MapUser: "user", object.MapData: "data", object.MapBSS: "bss", object.MapRodata: "rodata",
	object.MapKconfig: "kconfig", object.MapStructOps: "struct_ops", object.MapPercpu: "percpu",
}

var kconfigTypes = map[object.KconfigType]string{
	object.KconfigBool: "bool", object.KconfigChar: "char", object.KconfigInt: "int",
	object.KconfigTristate: "tristate", object.KconfigCharArray: "char_array",
}

var settingKinds = map[trace.SettingKind]string{
	trace.SettingCPUs: "cpus", trace.SettingKconfig: "kconfig", trace.SettingUSDT: "usdt",
	trace.SettingMember: "member", trace.SettingValueSize: "value_size", trace.SettingMismatch: "mismatch",
}

// Describe returns an artefact with everything that it records about a trace except for offsets.
// Its blob holds only the maps' data.
func Describe(t *trace.Trace) *artefact.Artefact {
	a := describe(t)
	put := func(data []byte) artefact.Range {
		a.Blob = append(a.Blob, data...)
		return artefact.Range{Off: len(a.Blob) - len(data), Size: len(data)}
	}
	for i, m := range t.Maps {
		if m.Arena {
			a.Maps[i].Data = put(m.Data)
		}
	}
	for _, c := range t.Commands {
		if c, ok := c.(*trace.UpdateElem); ok && c.Initial != nil {
			a.Maps[slices.Index(t.Maps, c.Initial)].Value = put(c.Value)
		}
	}
	return a
}

// describe returns the part of a manifest that does not depend on offsets.
func describe(t *trace.Trace) *artefact.Artefact {
	a := &artefact.Artefact{Object: t.Object, License: t.License}
	for _, m := range t.Maps {
		out := artefact.Map{
			Name: m.Name, Kind: mapKinds[m.Kind], Type: m.Type.String(), KeySize: m.KeySize, ValueSize: m.ValueSize,
			MaxEntries: m.Entries, Flags: m.Flags, Extra: m.Extra, Mmapable: m.Mmapable, ReadOnly: m.ReadOnly, Pinned: m.Pinned, Arena: m.Arena,
		}
		for _, v := range m.Variables {
			out.Variables = append(out.Variables, artefact.Variable{Name: v.Name, Offset: v.Offset, Size: v.Size})
		}
		a.Maps = append(a.Maps, out)
	}
	for _, p := range t.Programs {
		a.Programs = append(a.Programs, artefact.Program{
			Name: p.Name, Section: p.Section, Type: p.Type.String(), AttachType: p.AttachType.String(),
			Module: p.Module, Replaces: p.Replaces,
		})
	}
	for _, s := range t.Settings {
		out := artefact.Setting{Kind: settingKinds[s.Kind], Size: s.Size, Member: s.Member, Function: s.Symbol, Prototype: uint32(s.Type)}
		for _, x := range s.Externs {
			out.Kconfig = append(out.Kconfig, artefact.Kconfig{
				Name: x.Name, Offset: x.KconfigOffset, Size: x.KconfigSize, Type: kconfigTypes[x.KconfigType], Signed: x.KconfigSigned, Weak: x.Weak,
			})
		}
		if s.StructOps != nil {
			out.StructOps = structOps(t, s.StructOps)
		}
		a.Settings = append(a.Settings, out)
	}
	for _, n := range t.Needs {
		a.Needs = append(a.Needs, artefact.Need{Capability: n.Capability, Why: n.Why})
	}
	return a
}

// structOps describes the members in the object's layout. A member counts as set if it is not zero,
// or if a program implements it.
func structOps(t *trace.Trace, so *object.StructOps) *artefact.StructOps {
	out := &artefact.StructOps{Type: so.Type}
	local, err := t.Types.Type(so.TypeID)
	if err != nil {
		return out // cannot fail: Open has read it
	}
	for _, m := range local.Members {
		member := artefact.Member{Name: m.Name}
		if underlying, err := t.Types.Underlying(m.Type); err == nil {
			member.Kind = underlying.Kind.String()
		}
		member.Size, _ = t.Types.SizeOf(m.Type)
		if m.BitOffset%8 != 0 || m.BitSize != 0 {
			member.Kind = "bitfield"
		}
		from := int(m.BitOffset / 8)
		if to := from + int(member.Size); to <= len(so.Data) {
			member.Set = slices.ContainsFunc(so.Data[from:to], func(b byte) bool { return b != 0 })
		}
		member.Set = member.Set || slices.ContainsFunc(t.Settings, func(s *trace.Setting) bool {
			return s.Kind == trace.SettingMember && s.StructOps.Type == so.Type && s.Member == m.Name
		})
		out.Members = append(out.Members, member)
	}
	return out
}
