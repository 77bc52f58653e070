package compare

import (
	"bytes"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/internal/insn"
	"github.com/bpfreplay/bpfreplay/internal/kversion"
)

// slot is one instruction slot in which the listings of a function differ.
type slot struct {
	left, right side
	i           int
	x, y        insn.Insns // all instructions of the two functions
	refX, refY  *state.Ref // the reference in slot i, or nil
}

// explainInsns explains each slot in which two functions differ. It returns the rules that were
// needed, which are none if the functions are equal. It returns false if a slot is not explained,
// or if the functions have different lengths and withoutTests does not make them equal.
func explainInsns(a, b side, fa, fb *state.Function) ([]string, bool) {
	if sameInsns(fa, fb) {
		return nil, true
	}
	var ids []string
	if len(fa.Insns) != len(fb.Insns) {
		fa, fb = withoutTests(a, b, fa, fb)
		if len(fa.Insns) != len(fb.Insns) {
			return nil, false
		}
		ids = append(ids, ruleKfuncTest)
	}
	for _, s := range differentSlots(fa, fb) {
		id := explainSlot(a, b, s)
		if id == "" {
			return nil, false
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, true
}

// differentSlots returns the slots in which two functions of the same length differ. x and refX
// belong to fa, y and refY to fb.
func differentSlots(fa, fb *state.Function) []slot {
	var out []slot
	refsA, refsB := refsOf(fa), refsOf(fb)
	for i := range len(fa.Insns) / insn.Size {
		ra, rb := refsA[uint32(i)], refsB[uint32(i)]
		if !bytes.Equal(fa.Insns[i*insn.Size:][:insn.Size], fb.Insns[i*insn.Size:][:insn.Size]) || !sameRef(ra, rb) {
			out = append(out, slot{i: i, x: fa.Insns, y: fb.Insns, refX: ra, refY: rb})
		}
	}
	return out
}

// explainSlot returns the first rule that explains a slot, or "". In s, x and refX belong to a, y
// and refY to b.
func explainSlot(a, b side, s slot) string {
	for i := range rules {
		r := &rules[i]
		left, right, ok := r.sides(a, b)
		if !ok || r.slot == nil {
			continue
		}
		t := s
		t.left, t.right = left, right
		if left.Engine != a.Engine {
			t.x, t.y, t.refX, t.refY = s.y, s.x, s.refY, s.refX
		}
		if r.slot(&t) {
			return r.ID
		}
	}
	return ""
}

func refsOf(f *state.Function) map[uint32]*state.Ref {
	refs := make(map[uint32]*state.Ref, len(f.Refs))
	for i := range f.Refs {
		refs[f.Refs[i].At] = &f.Refs[i]
	}
	return refs
}

func sameRef(a, b *state.Ref) bool {
	if a == nil || b == nil {
		return a == b
	}
	x, y := *a, *b
	x.Index, y.Index = 0, 0
	return x == y
}

// isLocalTypeID reports whether both sides move a constant: on the right the id of a local type in
// the object's BTF, put there by a CO-RE relocation, on the left the id of a type of the same kind
// and name in the program's BTF.
func isLocalTypeID(s *slot) bool {
	types := s.left.state.FindBTF(s.left.p.BTF)
	if types == nil || !s.onlyImmediate() || !constant(s.x, s.i) || !constant(s.y, s.i) {
		return false
	}
	want, ok := facts(s.right).LocalTypeIDs[uint32(s.y.Imm(s.i))]
	id := s.x.Imm(s.i)
	return ok && id > 0 && int(id) < len(types.Names) && types.Names[id] == want
}

// onlyImmediate reports whether the slots differ only in the immediate.
func (s *slot) onlyImmediate() bool {
	at := s.i * insn.Size
	return s.refX == nil && s.refY == nil && bytes.Equal(s.x[at:at+4], s.y[at:at+4])
}

// constant reports whether instruction i moves a constant into a register.
func constant(p insn.Insns, i int) bool {
	return p.Op(i) == 0xb7 || p.Op(i) == 0xb4 || p.IsLdImm64(i) && p.Src(i) == 0
}

// isKfuncAddress reports whether the right side loads the address of a kfunc that the program
// declares, and the left side a small constant, which is a BTF id.
func isKfuncAddress(s *slot) bool {
	const mostTypes = 1 << 24
	at := s.i * insn.Size
	if s.refX != nil || !s.x.IsLdImm64(s.i) || s.x.Src(s.i) != 0 || !bytes.Equal(s.x[at:at+4], s.y[at:at+4]) {
		return false
	}
	id := s.x.Imm(s.i)
	return id > 0 && id < mostTypes && s.x.Imm(s.i+1) == 0 && isAddressOf(s.refY, facts(s.right).KfuncAddresses)
}

// ruleKfuncTest explains branches on the existence of a kfunc that only one side has.
const ruleKfuncTest = "kfunc-address-test"

// withoutTests removes the tests of kfuncs' addresses from the function of the other engine if one
// engine is cilium/ebpf. cilium/ebpf loads a constant instead of the address, and a verifier that
// folds branches on constants (7.2.13; 6.18 does not) has removed its tests.
func withoutTests(a, b side, fa, fb *state.Function) (*state.Function, *state.Function) {
	switch {
	case enginename.IsCilium(a.Engine) && !enginename.IsCilium(b.Engine):
		return fa, cutTests(fb, facts(b).KfuncAddresses)
	case enginename.IsCilium(b.Engine) && !enginename.IsCilium(a.Engine):
		return cutTests(fa, facts(a).KfuncAddresses), fb
	}
	return fa, fb
}

// cutTests returns the function without each "if rX == 0" that follows the load of the address of
// one of the kfuncs into rX.
func cutTests(f *state.Function, kfuncs []string) *state.Function {
	const jumpIfZero = 0x15 // BPF_JMP | BPF_JEQ | BPF_K
	p, refs := insn.Insns(f.Insns), refsOf(f)
	at := make([]int, p.Len()+1) // old index to new index
	kept := insn.Insns(nil)
	for i := range p.Len() {
		at[i] = kept.Len()
		if i >= 2 && p.Op(i) == jumpIfZero && p.Imm(i) == 0 && p.Dst(i) == p.Dst(i-2) && isAddressOf(refs[uint32(i-2)], kfuncs) {
			continue
		}
		kept = append(kept, p[i*insn.Size:(i+1)*insn.Size]...)
	}
	at[p.Len()] = kept.Len()
	out := *f
	out.Insns = kept
	for i := range p.Len() {
		to, ok := jumpTarget(p, i)
		if ok && to >= 0 && to <= p.Len() && at[i+1] > at[i] {
			kept.SetOff(at[i], int16(at[to]-at[i]-1))
		}
	}
	out.Refs, out.Lines = slices.Clone(f.Refs), slices.Clone(f.Lines)
	for i := range out.Refs {
		out.Refs[i].At = uint32(at[min(int(out.Refs[i].At), p.Len())])
	}
	for i := range out.Lines {
		out.Lines[i][0] = uint32(at[min(int(out.Lines[i][0]), p.Len())])
	}
	return &out
}

func isAddressOf(r *state.Ref, names []string) bool {
	if r == nil || r.Kind != state.RefAddr || r.Offset != 0 || !strings.HasSuffix(r.To, "]") {
		return false
	}
	name, _, _ := strings.Cut(r.To, " [")
	return slices.Contains(names, name)
}

// jumpTarget returns where instruction i jumps to by its 16-bit offset, and false if it does not.
func jumpTarget(p insn.Insns, i int) (int, bool) {
	op := p.Op(i)
	if class := op & 7; class != 5 && class != 6 || op == insn.Call || op == insn.Exit || op == 0x06 {
		return 0, false
	}
	return i + 1 + int(p.Off(i)), true
}

// isSameKconfigVariable reports whether both sides load the address of the same .kconfig variable,
// at different offsets.
func isSameKconfigVariable(s *slot) bool {
	a, b := s.refX, s.refY
	if a == nil || b == nil || a.Kind != state.RefValue || b.Kind != state.RefValue || a.To != kconfig || b.To != kconfig || !s.onlyRefs() {
		return false
	}
	left, right := layout(s.left.state.FindMap(kconfig)), layout(s.right.state.FindMap(kconfig))
	if !sameVariables(left, right) {
		return false
	}
	for name, l := range left {
		if l.off == a.Offset {
			return right[name].off == b.Offset
		}
	}
	return false
}

// onlyRefs reports whether the slots differ only in what they refer to.
func (s *slot) onlyRefs() bool {
	at := s.i * insn.Size
	return bytes.Equal(s.x[at:at+insn.Size], s.y[at:at+insn.Size])
}

// place is the position of a variable in a data section, in bytes.
type place struct{ off, size uint32 }

var variable = regexp.MustCompile(`([^;{}]+); /\* (\d+), (\d+) bytes \*/`)

// layout parses the variables of a data section from its rendered type. The keys are declarations:
// "global int CONFIG_HZ".
func layout(m *state.Map) map[string]place {
	if m == nil {
		return nil
	}
	places := make(map[string]place)
	for _, v := range variable.FindAllStringSubmatch(m.Value, -1) {
		off, errOff := strconv.ParseUint(v[2], 10, 32)
		size, errSize := strconv.ParseUint(v[3], 10, 32)
		if errOff != nil || errSize != nil {
			return nil
		}
		places[strings.TrimSpace(v[1])] = place{uint32(off), uint32(size)}
	}
	return places
}

// sameVariables reports whether two layouts have the same variables of the same sizes.
func sameVariables(a, b map[string]place) bool {
	return len(a) > 0 && maps.EqualFunc(a, b, func(p, q place) bool { return p.size == q.size })
}

// sameBut reports whether the types of two data sections differ only in the offsets of variables
// and the total size.
func sameBut(a, b *state.Map) bool {
	rest := func(m *state.Map) []string {
		lines := strings.Split(total.ReplaceAllString(variable.ReplaceAllString(m.Value, ""), "}"), "\n")
		slices.Sort(lines) // the variables' types follow the order of variables
		return lines
	}
	return sameVariables(layout(a), layout(b)) && slices.Equal(rest(a), rest(b))
}

// holdsLayout reports whether the value of a data section's map is as large as its type.
func holdsLayout(m *state.Map) bool {
	end := total.FindStringSubmatch(m.Value)
	return end != nil && end[1] == strconv.Itoa(int(m.ValueSize))
}

var total = regexp.MustCompile(`\} /\* (\d+) bytes \*/`)

// sameValue is the usual comparison for sameValues.
func sameValue(_ string, x, y []byte) bool { return bytes.Equal(x, y) }

// sameValues reports whether each variable has the same value in two data sections, and all other
// bytes are zero. Values have no trailing zeros.
func sameValues(a, b *state.Map, same func(variable string, x, y []byte) bool) bool {
	left, right := layout(a), layout(b)
	if !holdsOnly(a, left) || !holdsOnly(b, right) {
		return false
	}
	for name, p := range left {
		x, okX := at(a, p)
		y, okY := at(b, right[name])
		if !okX || !okY || !same(name, x, y) {
			return false
		}
	}
	return a.Contents.NotRead == "" && b.Contents.NotRead == ""
}

// lacksPatchLevel reports whether version is what KERNEL_VERSION makes of a release such as
// "6.1.0-57-amd64", and full the same with a patch level. Values are little-endian.
func lacksPatchLevel(release string, version, full []byte) bool {
	v, ok := kversion.Parse(release)
	return ok && v[2] == 0 && len(full) == 3 && full[0] != 0 &&
		bytes.Equal(version, []byte{0, byte(v[1]), byte(v[0])}) && bytes.Equal(full[1:], version[1:])
}

// holdsOnly reports whether all bytes of a data section outside these places are zero.
func holdsOnly(m *state.Map, places map[string]place) bool {
	entries := m.Contents.Entries
	if len(entries) == 0 {
		return true
	}
	e := &entries[0]
	if len(entries) > 1 || e.Ref != "" || !bytes.Equal(e.Key, make([]byte, m.KeySize)) {
		return false
	}
	rest := bytes.Clone(e.Value)
	for _, p := range places {
		last := uint64(len(rest))
		clear(rest[min(uint64(p.off), last):min(uint64(p.off)+uint64(p.size), last)])
	}
	return len(state.TrimZeros(rest)) == 0
}

// at returns the value of a variable in a data section, without trailing zeros.
func at(m *state.Map, p place) ([]byte, bool) {
	end := uint64(p.off) + uint64(p.size)
	if end > uint64(m.ValueSize) {
		return nil, false
	}
	if len(m.Contents.Entries) == 0 {
		return nil, true // all zero
	}
	value := m.Contents.Entries[0].Value
	last := uint64(len(value))
	return state.TrimZeros(value[min(uint64(p.off), last):min(end, last)]), true
}

// isKconfigKey reports whether a type is the one that cilium/ebpf invents for the keys of .kconfig.
func isKconfigKey(rendered string) bool {
	return strings.HasSuffix(rendered, "/* unsigned, 32 bits of 4 bytes */")
}

// isReferenced reports whether the instructions of any program refer to a map.
func isReferenced(s *state.State, mapName string) bool {
	return slices.ContainsFunc(s.Programs, func(p state.Program) bool { return slices.Contains(p.Maps, mapName) })
}
