package object

import (
	"crypto/sha256"
	"fmt"
	"strings"
)

// dump returns an object as text, which the golden files hold.
func dump(o *Object) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	p("object %s license %q version %#x\n", o.Name, o.License, o.KernelVersion)
	if o.BTF != nil {
		p("btf %d bytes %s\n", len(o.BTF.Raw()), digest(o.BTF.Raw()))
		for id := range o.BTF.All() {
			p("  %d %s\n", id, o.BTF.Render(id))
		}
	}
	for i := range o.Maps {
		dumpMap(p, o, i, &o.Maps[i], "")
	}
	for i := range o.Functions {
		dumpFunction(p, o, i, &o.Functions[i])
	}
	for i, e := range o.Externs {
		p("extern %d %+v\n", i, e)
	}
	for _, w := range o.Warnings {
		p("warning %s\n", w)
	}
	return b.String()
}

func dumpMap(p func(string, ...any), o *Object, i int, m *Map, indent string) {
	p("%smap %d %q kind %d section %s type %d key %d value %d entries %d flags %#x numa %d extra %#x pinning %d frozen %v\n", indent,
		i, m.Name, m.Kind, m.Section, m.Type, m.KeySize, m.ValueSize, m.MaxEntries, m.Flags, m.NUMANode, m.Extra, m.Pinning, m.Frozen)
	if m.KeyType != 0 || m.ValueType != 0 {
		p("%s  btf %d %d\n", indent, m.KeyType, m.ValueType)
	}
	if m.Data != nil {
		value := m.Data
		if m.DataSize < 1<<24 { // fuzzing makes it larger
			value = m.Value()
		}
		p("%s  data %d bytes %s\n", indent, m.DataSize, digest(value))
	}
	for _, v := range m.Variables {
		p("%s  variable %+v\n", indent, v)
	}
	for _, s := range m.Slots {
		p("%s  slot %+v\n", indent, s)
	}
	if so := m.StructOps; so != nil {
		p("%s  struct_ops %s type %d link %v optional %v data %x\n", indent, so.Type, so.TypeID, so.Link, so.Optional, so.Data)
		for _, member := range so.Members {
			p("%s    %s at %d: %s\n", indent, member.Name, member.Offset, o.Functions[member.Function].Name)
		}
	}
	if m.JumpTable != nil {
		p("%s  jump table %+v\n", indent, *m.JumpTable)
	}
	if m.Inner != nil {
		dumpMap(p, o, -1, m.Inner, indent+"  ")
	}
}

func dumpFunction(p func(string, ...any), o *Object, i int, f *Function) {
	p("function %d %s section %s offset %d insns %d %s type %d\n", i, f.Name, f.Section, f.Offset, len(f.Insns)/8, digest(f.Insns), f.TypeID)
	exception := "none"
	if f.ExceptionCallback != nil {
		exception = o.Functions[*f.ExceptionCallback].Name
	}
	p("  subprog %v static %v weak %v hidden %v autoload %v exception %s\n", f.Subprog, f.Static, f.Weak, f.Hidden, f.Autoload, exception)
	p("  %+v\n", f.Program)
	for _, r := range f.Relocations {
		p("  insn %d: kind %d target %d offset %d (%s)\n", r.Insn, r.Kind, r.Target, r.Offset, targetName(o, r))
	}
	for _, c := range f.CORE {
		p("  core %+v %q\n", c, o.BTF.Name(c.AccessStrOff))
	}
	p("  func_info %d %s line_info %d %s\n", f.FuncInfoRecSize, digest(f.FuncInfo), f.LineInfoRecSize, digest(f.LineInfo))
	if f.Err != nil {
		p("  error %v\n", f.Err)
	}
}

func targetName(o *Object, r Relocation) string {
	switch r.Kind {
	case RelocMap, RelocMapValue, RelocJumpTable:
		return o.Maps[r.Target].Name
	case RelocCall, RelocFunc:
		return o.Functions[r.Target].Name
	}
	return o.Externs[r.Target].Name
}

func digest(b []byte) string {
	if len(b) == 0 {
		return "-"
	}
	return fmt.Sprintf("%d:%x", len(b), sha256.Sum256(b))[:14]
}
