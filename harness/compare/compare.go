package compare

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/field"
	"github.com/bpfreplay/bpfreplay/harness/state"
)

// Context describes where a state comes from.
type Context struct {
	Engine  string // "direct", "trace", "replay", "libbpf", "libbpf-light" …
	Version string // "libbpf v1.8", "" if unknown
	Release string // of the kernel: "6.12.107+deb12-cloud-amd64"
	Object  *Facts // facts about the object; nil if unknown
}

// Difference is one field in which two states differ.
type Difference struct {
	Field field.Field `json:"field"` // "map .rodata frozen", "program handle_exec insns"
	A     string      `json:"a"`     // short and printable
	B     string      `json:"b"`
	// ExplainedBy are the IDs of the rules that predict the difference. It is empty if no rule
	// does. Differences between instruction listings may need several rules.
	ExplainedBy RuleIDs `json:"explained_by"`
	// Detail is a unified diff of listings, types or long values. It may be empty.
	Detail string `json:"detail,omitempty"`
}

// absent is shown for a field that the kernel does not have, and for an object that only the other
// side has. unknown is shown for a field that cannot be read from what the engine leaves.
const (
	absent  = "absent"
	unknown = "unknown"
)

// States returns all differences between two normalised states: maps first, then programs, then
// links, each sorted by name. ExplainedBy is set for those that a rule predicts.
func States(a, b *state.State, ca, cb Context) []Difference {
	c := &comparer{a: side{state: a, Context: ca}, b: side{state: b, Context: cb}}
	if a.CPUs != b.CPUs {
		c.add(field.Field{Aspect: field.Aspect{Kind: field.KindCPUs}}, strconv.Itoa(a.CPUs), strconv.Itoa(b.CPUs))
	}
	c.maps()
	c.programs()
	c.links()
	return c.found
}

// side is one of the two states, with the map, program and function that are being compared.
type side struct {
	Context
	state *state.State
	m     *state.Map
	p     *state.Program
	f     *state.Function
}

type comparer struct {
	a, b  side
	found []Difference
}

// exact reports whether names of data maps and the object's whole BTF are compared. They are not if
// one engine is cilium/ebpf. It names data maps after the section alone, and loads for each map and
// program only the types that it refers to. The kernel gives no meaning to either.
func (c *comparer) exact() bool {
	return !enginename.IsCilium(c.a.Engine) && !enginename.IsCilium(c.b.Engine)
}

// add records a difference.
func (c *comparer) add(f field.Field, a, b string, detail ...string) {
	d := Difference{Field: f, A: short(a), B: short(b), Detail: strings.Join(detail, "")}
	if d.Detail == "" && (d.A != a || d.B != b) {
		d.Detail = c.diff(strings.Split(a, "\n"), strings.Split(b, "\n"))
	}
	d.ExplainedBy = explain(f.Aspect, c.a, c.b)
	c.found = append(c.found, d)
}

// addLines records a difference between two lists of lines.
func (c *comparer) addLines(f field.Field, a, b []string) {
	c.add(f, firstOnly(a, b), firstOnly(b, a), c.diff(a, b))
}

// diff returns a unified diff of lines.
func (c *comparer) diff(a, b []string) string {
	return unifiedDiff(cmp.Or(c.a.Engine, "a"), cmp.Or(c.b.Engine, "b"), a, b)
}

// short shortens a value to one line of a table.
func short(s string) string {
	const limit = 100
	s, _, more := strings.Cut(s, "\n")
	if len(s) > limit {
		s, more = s[:limit], true
	}
	if more {
		s = strings.ToValidUTF8(s, "") + "…"
	}
	return s
}

// names returns the names of everything in either list, sorted and without duplicates.
func names[T any](a, b []T, name func(*T) string) []string {
	var all []string
	for _, list := range [][]T{a, b} {
		for i := range list {
			all = append(all, name(&list[i]))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// attribute is a field of a map or program. since is the first kernel that reports it. Two values
// are equal if show returns the same text.
type attribute[T any] struct {
	name  string
	since string
	show  func(*T) string
}

func number(v uint32) string { return strconv.FormatUint(uint64(v), 10) }

// orNone returns "none" for an empty value.
func orNone(s string) string { return cmp.Or(s, "none") }

// orAbsent formats a value that older kernels do not report.
func orAbsent[T any](v *T) string {
	if v == nil {
		return absent
	}
	return fmt.Sprint(*v)
}

func netns(dev, ino uint64) string {
	if dev == 0 && ino == 0 {
		return "none"
	}
	return fmt.Sprintf("%d:%d", dev, ino)
}

// mapFields are the compared fields of maps, except types and contents. They come from fdinfo and
// bpf_map_info.
var mapFields = []attribute[state.Map]{
	{"copies", "4.13", func(m *state.Map) string { return strconv.Itoa(m.Copies) }},
	{"type", "4.13", func(m *state.Map) string { return m.Type.String() }},
	{"key_size", "4.13", func(m *state.Map) string { return number(m.KeySize) }},
	{"value_size", "4.13", func(m *state.Map) string { return number(m.ValueSize) }},
	{"max_entries", "4.13", func(m *state.Map) string { return number(m.MaxEntries) }},
	{"flags", "4.13", func(m *state.Map) string { return fmt.Sprintf("%#x", m.Flags) }},
	{"name", "4.15", func(m *state.Map) string { return m.KernelName }},
	{"ifindex", "4.16", func(m *state.Map) string { return number(m.IfIndex) }},
	{"netns", "4.16", func(m *state.Map) string { return netns(m.NetnsDev, m.NetnsIno) }},
	{"owner", "4.16", func(m *state.Map) string { return orNone(m.Owner) }},
	{"vmlinux_value", "5.6", func(m *state.Map) string { return orNone(m.VmlinuxValue) }},
	{"map_extra", "5.16", func(m *state.Map) string {
		if m.Extra == nil {
			return absent
		}
		return fmt.Sprintf("%#x", *m.Extra)
	}},
	{"frozen", "5.2", func(m *state.Map) string { return orAbsent(m.Frozen) }},
	{"numa_node", "5.14", func(m *state.Map) string { return orAbsent(m.NUMANode) }},
	{"inner", "5.14", func(m *state.Map) string { return orNone(m.Inner) }},
	{"access", "4.15", func(m *state.Map) string { return cmp.Or(m.Access, unknown) }},
	{"key_type", "4.18", func(m *state.Map) string { return orNone(m.Key) }},
	{"value_type", "4.18", func(m *state.Map) string { return orNone(m.Value) }},
}

// Aspect is a property that [States] compares.
type Aspect struct {
	field.Aspect
	Since string // first kernel that reports it, "4.15"
}

// Shorthands for aspects in rules.

func ofMap(attribute string) field.Aspect      { return field.Map("", attribute).Aspect }
func ofProgram(attribute string) field.Aspect  { return field.Program("", attribute).Aspect }
func ofFunction(attribute string) field.Aspect { return field.Function("", "", attribute).Aspect }

// Aspects returns all properties of maps, programs and functions that [States] compares.
func Aspects() []Aspect {
	all := []Aspect{
		{ofMap("contents"), "4.13"}, {ofMap("btf"), "4.18"}, {ofMap("types"), "4.18"}, {ofProgram("btf"), "5.0"}, {ofProgram("types"), "5.0"},
		{ofProgram("function_order"), "5.0"},
		{ofFunction("insns"), "4.13"}, {ofFunction("prototype"), "5.0"}, {ofFunction("line_info"), "5.0"},
		{ofFunction("function_tag"), "5.1"}, {ofFunction("linkage"), "5.6"}, {ofFunction("kfunc_index"), "5.16"},
	}
	for _, f := range mapFields {
		all = append(all, Aspect{ofMap(f.name), f.since})
	}
	for _, f := range programFields {
		all = append(all, Aspect{ofProgram(f.name), f.since})
	}
	return all
}

func (c *comparer) maps() {
	for _, name := range names(c.a.state.Maps, c.b.state.Maps, func(m *state.Map) string { return m.Name }) {
		c.a.m, c.b.m = c.a.state.FindMap(name), c.b.state.FindMap(name)
		c.oneMap(field.Map(name, ""))
	}
	c.a.m, c.b.m = nil, nil
}

func presence[T any](v *T, what string) string {
	if v == nil {
		return absent
	}
	return what
}

func (c *comparer) oneMap(of field.Field) {
	a, b := c.a.m, c.b.m
	if a == nil || b == nil {
		c.add(of, presence(a, "present"), presence(b, "present"))
		return
	}
	for _, f := range mapFields {
		va, vb := f.show(a), f.show(b)
		if f.name == "name" && !c.exact() {
			va, vb = sectionOf(a), sectionOf(b)
		}
		if va != vb && va != unknown && vb != unknown {
			c.add(of.With(f.name), va, vb)
		}
	}
	c.types(of, a.BTF, b.BTF, a.Types, b.Types)
	c.contents(of.With("contents"), a, b)
}

// sectionOf returns the kernel's name of a map, without the object's name in front of a section's
// name.
func sectionOf(m *state.Map) string {
	if section := state.FoundName(m.KernelName); strings.HasPrefix(m.Name, ".") && strings.HasPrefix(m.Name, section) {
		return m.Name
	}
	return m.KernelName
}

// types compares the BTF of a map or program. It compares the types that the map or program refers
// to, and the object's whole BTF if both engines load that.
func (c *comparer) types(of field.Field, a, b string, typesA, typesB []uint32) {
	one := (a == "") != (b == "")
	if c.exact() && a != b || one {
		c.add(of.With("btf"), showBTF(c.a.state, a), showBTF(c.b.state, b))
	}
	if one {
		return
	}
	if x, y := c.a.state.TypeTexts(typesA), c.b.state.TypeTexts(typesB); !slices.Equal(x, y) {
		c.addLines(of.With("types"), x, y)
	}
}

// showBTF describes the BTF with this hash.
func showBTF(s *state.State, hash string) string {
	if hash == "" {
		return "none"
	}
	if b := s.FindBTF(hash); b != nil {
		return fmt.Sprintf("%d types, hash %s", b.Types, b.Hash)
	}
	return "hash " + hash
}

func (c *comparer) contents(f field.Field, a, b *state.Map) {
	if sameContents(a.Contents, b.Contents) {
		return
	}
	if a.Contents.NotRead != b.Contents.NotRead {
		c.add(f, readOrNot(a), readOrNot(b))
		return
	}
	c.addLines(f, dump(a, b), dump(b, a))
}

func sameContents(a, b state.Contents) bool {
	return a.NotRead == b.NotRead && slices.EqualFunc(a.Entries, b.Entries, func(x, y state.Entry) bool {
		return x.Ref == y.Ref && bytes.Equal(x.Key, y.Key) && bytes.Equal(x.Value, y.Value)
	})
}

func readOrNot(m *state.Map) string {
	if m.Contents.NotRead != "" {
		return "not read: " + m.Contents.NotRead
	}
	return fmt.Sprintf("%d elements that are not zero", len(m.Contents.Entries))
}

// firstOnly returns the first line that the other side lacks.
func firstOnly(lines, other []string) string {
	for _, l := range lines {
		if !slices.Contains(other, l) {
			return l
		}
	}
	return "nothing of the kind"
}

// dump formats the elements of a map that differ from the other map's, 16 bytes a line, without
// lines of zeros.
func dump(m *state.Map, other *state.Map) []string {
	theirs := make(map[string]state.Entry, len(other.Contents.Entries))
	for _, e := range other.Contents.Entries {
		theirs[string(e.Key)] = e
	}
	var lines []string
	for _, e := range m.Contents.Entries {
		if o, ok := theirs[string(e.Key)]; ok && o.Ref == e.Ref && bytes.Equal(o.Value, e.Value) {
			continue
		}
		key := "[" + state.FormatKey(e.Key) + "]"
		if e.Ref != "" {
			lines = append(lines, key+" "+e.Ref)
		}
		if e.Ref == "" || len(e.Value) > 0 {
			lines = append(lines, dumpValue(key, e.Value)...)
		}
	}
	return lines
}

func dumpValue(key string, value []byte) []string {
	if len(value) == 0 {
		return []string{key + " zero"}
	}
	var lines []string
	for off := 0; off < len(value); off += 16 {
		row := value[off:min(off+16, len(value))]
		if len(state.TrimZeros(row)) > 0 {
			full := append(bytes.Clone(row), make([]byte, 16-len(row))...)
			lines = append(lines, fmt.Sprintf("%s+%#x: %s", key, off, hex.EncodeToString(full)))
		}
	}
	return lines
}

// programFields are the compared fields of programs that are not compared function by function.
var programFields = []attribute[state.Program]{
	{"type", "4.13", func(p *state.Program) string { return number(uint32(p.Type)) }},
	{"tag", "4.13", func(p *state.Program) string { return p.Tag }},
	{"name", "4.15", func(p *state.Program) string { return p.KernelName }},
	{"uid", "4.15", func(p *state.Program) string { return number(p.UID) }},
	{"ifindex", "4.16", func(p *state.Program) string { return number(p.IfIndex) }},
	{"netns", "4.16", func(p *state.Program) string { return netns(p.NetnsDev, p.NetnsIno) }},
	{"gpl", "4.18", func(p *state.Program) string { return strconv.FormatBool(p.GPL) }},
	{"maps", "4.13", func(p *state.Program) string { return list(p.Maps) }},
	{"bound", "5.10", func(p *state.Program) string { return list(p.Bound) }},
	{"func_info", "5.0", func(p *state.Program) string { return strconv.FormatBool(p.FuncInfo) }},
	{"attach", "6.0", func(p *state.Program) string {
		if p.Attach == nil {
			return absent
		}
		return orNone(*p.Attach)
	}},
	{"verified_insns", "5.16", func(p *state.Program) string { return orAbsent(p.VerifiedInsns) }},
	{"attach_type", "5.14", func(p *state.Program) string { return orAbsent(p.AttachType) }},
	{"sleepable", "5.14", func(p *state.Program) string { return orAbsent(p.Sleepable) }},
	{"frags", "5.18", func(p *state.Program) string { return orAbsent(p.Frags) }},
	{"jited_functions", "4.18", func(p *state.Program) string { return strconv.Itoa(len(p.JitedLens)) }},
	{"tags", "5.1", func(p *state.Program) string { return list(p.Tags) }},
	{"dump", "4.13", func(p *state.Program) string {
		switch {
		case p.Unread:
			return "withheld"
		case p.Hidden:
			return "without call targets"
		}
		return "complete"
	}},
}

func list(names []string) string { return orNone(strings.Join(names, ", ")) }

func (c *comparer) programs() {
	for _, name := range names(c.a.state.Programs, c.b.state.Programs, func(p *state.Program) string { return p.Name }) {
		c.a.p, c.b.p = c.a.state.FindProgram(name), c.b.state.FindProgram(name)
		c.program(field.Program(name, ""))
	}
	c.a.p, c.b.p = nil, nil
}

func (c *comparer) program(of field.Field) {
	a, b := c.a.p, c.b.p
	if a == nil || b == nil {
		c.add(of, presence(a, "loaded"), presence(b, "loaded"))
		return
	}
	for _, f := range programFields {
		if va, vb := f.show(a), f.show(b); va != vb {
			c.add(of.With(f.name), va, vb)
		}
	}
	c.types(of, a.BTF, b.BTF, a.Types, b.Types)
	if orderA, orderB := orderOf(a, b), orderOf(b, a); !slices.Equal(orderA, orderB) {
		c.add(of.With("function_order"), list(orderA), list(orderB))
	}
	for _, name := range names(a.Functions, b.Functions, func(f *state.Function) string { return f.Name }) {
		c.a.f, c.b.f = a.FindFunction(name), b.FindFunction(name)
		if name == mainOf(a) && name == mainOf(b) {
			name = ""
		}
		c.function(field.Function(of.Name, name, ""))
	}
	c.a.f, c.b.f = nil, nil
}

// orderOf returns the names of the program's functions that the other program has, too, in order.
func orderOf(p *state.Program, other *state.Program) []string {
	var names []string
	for i := range p.Functions {
		if name := p.Functions[i].Name; other.FindFunction(name) != nil {
			names = append(names, name)
		}
	}
	return names
}

// mainOf returns the name of the program's first function.
func mainOf(p *state.Program) string {
	if len(p.Functions) == 0 {
		return ""
	}
	return p.Functions[0].Name
}

func (c *comparer) function(of field.Field) {
	a, b := c.a.f, c.b.f
	if a == nil || b == nil {
		c.add(of, presence(a, "present"), presence(b, "present"))
		return
	}
	if a.Linkage != b.Linkage {
		c.add(of.With("linkage"), orNone(a.Linkage), orNone(b.Linkage))
	}
	if a.Proto != b.Proto {
		c.add(of.With("prototype"), orNone(a.Proto), orNone(b.Proto))
	}
	c.functionTag(of.With("function_tag"))
	c.insns(of.With("insns"))
	c.kfuncIndex(of.With("kfunc_index"))
	c.lineInfo(of.With("line_info"))
}

// onlyFunction reports whether the function being compared is the program's only one.
func onlyFunction(a, b side) bool {
	return a.f != nil && b.f != nil && len(a.p.Functions) == 1 && len(b.p.Functions) == 1
}

// functionTag compares the tags of a function. It skips the only function of a program, because its
// tag is the program's.
func (c *comparer) functionTag(f field.Field) {
	a, b := c.a.f.Tag, c.b.f.Tag
	if a == b || onlyFunction(c.a, c.b) && a == c.a.p.Tag && b == c.b.p.Tag {
		return
	}
	c.add(f, orNone(a), orNone(b))
}

// sameInsns reports whether two functions have the same instructions and references. It ignores the
// index of a kfunc's module in fd_array.
func sameInsns(a, b *state.Function) bool {
	return bytes.Equal(a.Insns, b.Insns) && slices.EqualFunc(a.Refs, b.Refs, func(x, y state.Ref) bool { return sameRef(&x, &y) })
}

func (c *comparer) insns(f field.Field) {
	if sameInsns(c.a.f, c.b.f) {
		return
	}
	listA, listB := listing(c.a.state, c.a.f), listing(c.b.state, c.b.f)
	firstA, firstB := firstDifferent(listA, listB)
	c.add(f, firstA, firstB, c.diff(lines(listA), lines(listB)))
}

// firstDifferent returns the first instruction that differs, from each listing, with its number.
func firstDifferent(a, b []listed) (string, string) {
	i := 0
	for i < len(a) && i < len(b) && a[i].text == b[i].text {
		i++
	}
	at := func(list []listed) string {
		if i >= len(list) {
			return "no more instructions"
		}
		return fmt.Sprintf("%d: %s", list[i].slot, list[i].text)
	}
	return at(a), at(b)
}

// kfuncIndex compares the indexes in fd_array at which the load passed the BTF of kfuncs' modules.
func (c *comparer) kfuncIndex(f field.Field) {
	var a, b []string
	for _, pair := range kfuncPairs(c.a.f, c.b.f) {
		if pair[0].Index != pair[1].Index {
			a = append(a, fmt.Sprintf("%s: %d", pair[0].To, pair[0].Index))
			b = append(b, fmt.Sprintf("%s: %d", pair[1].To, pair[1].Index))
		}
	}
	if len(a) > 0 {
		c.add(f, list(slices.Compact(a)), list(slices.Compact(b)))
	}
}

// kfuncPairs pairs the kfunc calls of two functions. It returns nil if the functions do not call
// the same kfuncs in the same order; the difference between their listings tells more.
func kfuncPairs(a, b *state.Function) [][2]state.Ref {
	other := func(r state.Ref) bool { return r.Kind != state.RefKfunc }
	ra, rb := slices.DeleteFunc(slices.Clone(a.Refs), other), slices.DeleteFunc(slices.Clone(b.Refs), other)
	if !slices.EqualFunc(ra, rb, func(x, y state.Ref) bool { return x.To == y.To }) {
		return nil
	}
	pairs := make([][2]state.Ref, len(ra))
	for i := range ra {
		pairs[i] = [2]state.Ref{ra[i], rb[i]}
	}
	return pairs
}

func (c *comparer) lineInfo(f field.Field) {
	a, b := lineTable(c.a.state, c.a.f), lineTable(c.b.state, c.b.f)
	if !slices.Equal(a, b) {
		c.addLines(f, a, b)
	}
}

// lineTable formats the line_info of a function.
func lineTable(s *state.State, f *state.Function) []string {
	lines := make([]string, len(f.Lines))
	for i, l := range f.Lines {
		lines[i] = fmt.Sprintf("%d: %s", l[0], lineText(s, l[1]))
	}
	return lines
}

func (c *comparer) links() {
	for _, name := range names(c.a.state.Links, c.b.state.Links, func(l *state.Link) string { return l.Name }) {
		a, b := c.a.state.FindLink(name), c.b.state.FindLink(name)
		if x, y := shownLink(a), shownLink(b); x != y {
			c.add(field.Field{Aspect: field.Aspect{Kind: field.KindLink}, Name: name}, x, y)
		}
	}
}

func shownLink(l *state.Link) string {
	if l == nil {
		return "not attached"
	}
	return l.String()
}
