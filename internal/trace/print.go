package trace

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/insn"
	"github.com/bpfreplay/bpfreplay/internal/visible"
)

// Line is one step of a trace as text.
type Line struct {
	Command string   `json:"command"` // "PROG_LOAD", "lookup of func vfs_read"
	Subject string   `json:"subject"` // "program handle_exec"
	Text    string   `json:"text"`    // the whole command, as WriteTo prints it
	Details []string `json:"details,omitempty"`
}

// Lines returns the steps of the trace as text, in the style of strace: fds by name, flags and
// types decoded, and below a PROG_LOAD what is filled into its instructions.
func (t *Trace) Lines() []Line {
	lines := make([]Line, len(t.Commands))
	for i, c := range t.Commands {
		var b bytes.Buffer
		t.print(&b, c)
		text := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		lines[i] = Line{Command: What(c), Subject: c.Subject(), Text: text[0]}
		for _, d := range text[1:] {
			lines[i].Details = append(lines[i].Details, strings.TrimSpace(d))
		}
	}
	return lines
}

// WriteTo prints the trace, one command a line.
func (t *Trace) WriteTo(w io.Writer) (int64, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# object %s, license %q: %d maps, %d programs\n", visible.Name(t.Object), t.License, len(t.Maps), len(t.Programs))
	for _, c := range t.Commands {
		t.print(&b, c)
	}
	for _, m := range t.Maps {
		if m.Arena {
			fmt.Fprintf(&b, "# arena %s is made and mapped in user space before the trace is issued\n", visible.Name(m.Name))
		}
	}
	for _, n := range t.Needs {
		fmt.Fprintf(&b, "# needs %s for %s\n", n.Capability, visible.Line(n.Why))
	}
	fmt.Fprintf(&b, "# left open: %s\n", t.fdList(t.Outputs()))
	return b.WriteTo(w)
}

func (t *Trace) fdList(n int) string {
	names := make([]string, n)
	for i := range n {
		names[i] = t.fd(FD(1 + i))
	}
	return strings.Join(names, " ")
}

// fd returns the printed form of an fd: <map counts>.
func (t *Trace) fd(fd FD) string {
	if fd <= NoFD || int(fd) >= len(t.FDs) {
		return "-1"
	}
	return "<" + t.FDs[fd] + ">"
}

// fields collects the fields of an attribute that are set.
type fields struct{ list []string }

func (f *fields) add(name, value string) { f.list = append(f.list, name+"="+value) }

func (f *fields) num(name string, v uint32) {
	if v != 0 {
		f.add(name, strconv.FormatUint(uint64(v), 10))
	}
}

func (f *fields) String() string { return "{" + strings.Join(f.list, ", ") + "}" }

func (t *Trace) print(b *bytes.Buffer, c Command) {
	switch c := c.(type) {
	case *LoadBTF:
		t.printTypes(b, c)
	case *CreateMap:
		fmt.Fprintf(b, "MAP_CREATE(%s) = %s\n", t.mapFields(c), t.fd(c.Out))
	case *UpdateElem:
		t.printUpdate(b, c)
	case *FillArray:
		fmt.Fprintf(b, "MAP_UPDATE_ELEM({map_fd=%s, key=0…%d, value=%s})\n", t.fd(c.Map), c.Count-1, quoteBytes(c.Values))
	case *ChooseEnum:
		fmt.Fprintf(b, "btf_find_by_name_kind(%q, %s) # if only that is found, %d CO-RE records mean a twin of that kind\n",
			c.Name, strings.ToUpper(btfKindName(c.Other)), len(c.Edits))
	case *AskContext:
		fmt.Fprintf(b, "PROG_LOAD(<probe for arg:ctx>) # if refused, %d functions get types that the kernel knows for a context\n", len(c.Edits))
	case *Freeze:
		fmt.Fprintf(b, "MAP_FREEZE({map_fd=%s})\n", t.fd(c.Map))
	case *Lookup:
		t.printLookup(b, c)
	case *LoadProgram:
		t.printProgram(b, c)
	case *Attach:
		if cmd, _ := c.Cmd(); cmd == bpfsys.LinkCreate {
			fmt.Fprintf(b, "%s({prog_fd=%s, attach_type=%s}) = %s\n", cmd, t.fd(c.Program), c.AttachType, t.fd(c.Out))
		} else {
			fmt.Fprintf(b, "%s({prog_fd=%s}) = %s\n", cmd, t.fd(c.Program), t.fd(c.Out))
		}
	case *Close:
		fmt.Fprintf(b, "close(%s)\n", t.fd(c.FD))
	}
}

func (t *Trace) printTypes(b *bytes.Buffer, c *LoadBTF) {
	fmt.Fprintf(b, "BTF_LOAD({btf=%d bytes}) = %s\n", len(c.Data), t.fd(c.Out))
	if c.Extended != nil {
		fmt.Fprintf(b, "    with %d bytes if an answer above asks for them\n", len(c.Extended))
	}
	for _, f := range c.Fallbacks {
		fmt.Fprintf(b, "    if refused: without %s\n", f.Kind)
	}
	if c.Optional {
		b.WriteString("    if refused: the load goes on without types\n")
	}
}

func (t *Trace) mapFields(c *CreateMap) *fields {
	f := &fields{}
	f.add("map_type", c.Attr.Type.String())
	f.num("key_size", c.Attr.KeySize)
	if c.Value == nil {
		f.num("value_size", c.Attr.ValueSize)
	} else {
		f.add("value_size", c.ValueSize.String())
		f.add("btf_vmlinux_value_type_id", c.Value.String())
	}
	switch {
	case c.CPUs != nil:
		f.add("max_entries", c.CPUs.String())
	case len(c.Sizes) > 0:
		f.add("max_entries", strings.ReplaceAll(strings.Trim(fmt.Sprint(append([]uint32{c.Attr.MaxEntries}, c.Sizes...)), "[]"), " ", " or "))
	default:
		f.num("max_entries", c.Attr.MaxEntries)
	}
	if c.Attr.Flags != 0 {
		f.add("map_flags", flagNames(c.Attr.Flags, mapFlags))
	}
	if c.Inner != NoFD {
		f.add("inner_map_fd", t.fd(c.Inner))
	}
	f.num("numa_node", c.Attr.NUMANode)
	f.add("map_name", strconv.Quote(c.Attr.Name))
	if c.Attr.BTF != NoFD {
		f.add("btf_fd", t.fd(c.Attr.BTF))
	}
	if c.Attr.KeyType != 0 || c.Attr.ValueType != 0 {
		f.add("btf_key_type_id", t.typeName(c.Attr.KeyType))
		f.add("btf_value_type_id", t.typeName(c.Attr.ValueType))
	}
	if c.Attr.Extra != 0 {
		f.add("map_extra", fmt.Sprintf("%#x", c.Attr.Extra))
	}
	return f
}

// typeName returns a type id followed by the type's name.
func (t *Trace) typeName(id uint32) string {
	if id == 0 || t.Types == nil {
		return strconv.FormatUint(uint64(id), 10)
	}
	typ, err := t.Types.Type(btf.TypeID(id))
	if err != nil {
		return fmt.Sprintf("%d /* ? */", id)
	}
	return fmt.Sprintf("%d /* %s */", id, strings.TrimSpace(typ.Kind.String()+" "+visible.Name(typ.Name)))
}

// shown is the number of bytes of a value that are printed.
const shown = 32

func quoteBytes(v []byte) string {
	if len(v) <= shown {
		return fmt.Sprintf("%x", v)
	}
	return fmt.Sprintf("%x… %d bytes", v[:shown], len(v))
}

func (t *Trace) printUpdate(b *bytes.Buffer, c *UpdateElem) {
	value := quoteBytes(c.Value)
	switch {
	case c.FD != NoFD:
		value = t.fd(c.FD)
	case c.Setting != nil:
		value = c.Setting.String()
	}
	fmt.Fprintf(b, "MAP_UPDATE_ELEM({map_fd=%s, key=%x, value=%s", t.fd(c.Map), c.Key, value)
	if c.Flags != 0 {
		fmt.Fprintf(b, ", flags=%d", c.Flags)
	}
	b.WriteString("})\n")
}

func (t *Trace) printLookup(b *bytes.Buffer, c *Lookup) {
	s := c.Symbol
	weak := ""
	if s.Weak {
		weak = " # weak"
	}
	if s.Mismatch != nil {
		weak += ", and missing if its prototype differs"
	}
	if s.Kind == SymbolAddress {
		fmt.Fprintf(b, "kallsyms_lookup_name(%q) = %s%s\n", s.Name, s, weak)
		return
	}
	fmt.Fprintf(b, "btf_find_by_name_kind(%q, %s) = %s, %s%s\n", s.Name, strings.ToUpper(btfKindName(s.BTFKind)), s, t.fd(s.BTF), weak)
}

// String returns the printed form of the symbol's value.
func (s *Symbol) String() string {
	switch s.Kind {
	case SymbolAddress:
		return "&" + visible.Name(s.Name)
	case SymbolAttach:
		return "<target " + visible.Name(s.Name) + ">"
	}
	return "<" + visible.Name(s.Name) + ">"
}

func (t *Trace) printProgram(b *bytes.Buffer, c *LoadProgram) {
	f := &fields{}
	f.add("prog_type", c.Type.String())
	f.num("insn_cnt", uint32(insn.Insns(c.Insns).Len()))
	f.add("license", strconv.Quote(c.License))
	if c.Flags != 0 {
		f.add("prog_flags", flagNames(c.Flags, progFlags))
	}
	f.add("prog_name", strconv.Quote(kernelName(c.Name)))
	switch {
	case c.Expected != nil:
		f.add("expected_attach_type", c.Expected.String())
	case c.AttachType != 0:
		f.add("expected_attach_type", c.AttachType.String())
	}
	if c.BTF != NoFD {
		f.add("prog_btf_fd", t.fd(c.BTF))
		f.num("func_info_cnt", uint32(len(c.FuncInfo))/max(c.FuncInfoRecSize, 1))
		f.num("line_info_cnt", uint32(len(c.LineInfo))/max(c.LineInfoRecSize, 1))
	}
	switch {
	case c.Program.Replaces != "":
		f.add("attach_btf_id, attach_prog_fd", fmt.Sprintf("<function %s of a program given at load>", visible.Name(c.Program.Replaces)))
	case c.Attach != nil:
		f.add("attach_btf_id", c.Attach.String())
		f.add("attach_btf_obj_fd", t.fd(c.Attach.BTF))
	}
	if c.CallsKfunc() {
		f.add("fd_array", "[all fds]")
	}
	f.num("core_relo_cnt", uint32(len(c.CORE)))
	fmt.Fprintf(b, "PROG_LOAD(%s) = %s\n", f, t.fd(c.Out))
	for _, x := range c.Fixups {
		t.printFixup(b, c, x)
	}
	for _, r := range c.CORE {
		fmt.Fprintf(b, "    insn %d: CO-RE %s\n", r.InsnOff/insn.Size, visible.Line(r.String(t.Types)))
	}
}

func (t *Trace) printFixup(b *bytes.Buffer, c *LoadProgram, x Fixup) {
	p := insn.Insns(c.Insns)
	fmt.Fprintf(b, "    insn %d: ", x.Insn)
	switch x.Kind {
	case FixupMap:
		fmt.Fprintf(b, "r%d = %s", p.Dst(x.Insn), t.fd(x.FD))
		if p.Src(x.Insn) == insn.PseudoMapValue {
			fmt.Fprintf(b, " value + %d", uint32(p.Imm(x.Insn+1)))
		}
	case FixupCall:
		fmt.Fprintf(b, "call %s", x.Symbol)
	default:
		fmt.Fprintf(b, "r%d = %s", p.Dst(x.Insn), x.Symbol)
	}
	b.WriteByte('\n')
}

// String describes what a value depends on.
func (s *Setting) String() string {
	switch s.Kind {
	case SettingCPUs:
		return "<number of possible CPUs>"
	case SettingUSDT:
		return "<TRACE_UPROBE_MULTI where the target has such links>"
	case SettingMember:
		return fmt.Sprintf("<index of %s in the target's struct %s>", visible.Name(s.Member), visible.Name(s.StructOps.Type))
	case SettingValueSize:
		return fmt.Sprintf("<size of the target's struct bpf_struct_ops_%s>", visible.Name(s.StructOps.Type))
	case SettingMismatch:
		return fmt.Sprintf("<whether the target's %s has another prototype>", visible.Name(s.Symbol))
	}
	var names []string
	for _, e := range s.Externs {
		names = append(names, visible.Name(e.Name))
	}
	return "<kconfig of the target: " + strings.Join(names, " ") + ">"
}
