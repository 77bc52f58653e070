package core_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/loader/btf"
	"github.com/bpfreplay/bpfreplay/loader/core"
	"github.com/bpfreplay/bpfreplay/loader/insn"
)

// sampler makes local types out of those of the kernel: fewer members, in
// another order, of other sizes, under flavoured names.
type sampler struct {
	*builder
	kernel *btf.Spec
	rng    *rand.Rand
	size   map[btf.TypeID]uint32 // of the local types
	int    btf.TypeID
}

func newSampler(kernel *btf.Spec, seed uint64) *sampler {
	s := &sampler{builder: newBuilder(), kernel: kernel, rng: rand.New(rand.NewPCG(seed, 0)), size: make(map[btf.TypeID]uint32)}
	s.int = s.sized(4, s.integer("int", 4, signed))
	return s
}

func (s *sampler) chance(percent int) bool { return s.rng.IntN(100) < percent }

func (s *sampler) sized(size uint32, id btf.TypeID) btf.TypeID {
	s.size[id] = size
	return id
}

func (s *sampler) flavoured(name string) string {
	if name != "" && s.chance(30) {
		return name + "___mine"
	}
	return name
}

// copy makes a local type out of one of the kernel's; 0 if it is left out.
func (s *sampler) copy(id btf.TypeID, depth int) btf.TypeID {
	t, err := s.kernel.Type(id)
	if err != nil || id == 0 {
		return 0
	}
	switch t.Kind {
	case btf.KindInt:
		size, sign := t.Size, uint32(0)
		if t.Int.Signed {
			sign = signed
		}
		if s.chance(20) {
			size, sign = 1<<s.rng.IntN(4), uint32(s.rng.IntN(2))<<24
		}
		return s.sized(size, s.integer(t.Name, size, sign))
	case btf.KindPtr:
		to := btf.TypeID(0)
		if s.chance(50) && depth > 0 {
			to = s.copy(t.Ref, depth-1)
		}
		return s.sized(8, s.ptr(to))
	case btf.KindArray:
		elem, n := s.copy(t.Array.Elem, depth), t.Array.Len
		if elem == 0 {
			return 0
		}
		if s.chance(20) {
			n = uint32(s.rng.IntN(20))
		}
		return s.sized(s.size[elem]*n, s.array(elem, s.int, n))
	case btf.KindStruct, btf.KindUnion:
		if depth <= 0 {
			return 0
		}
		return s.copyComposite(t, depth-1)
	case btf.KindEnum, btf.KindEnum64:
		return s.copyEnum(t)
	case btf.KindFwd:
		return s.fwd(t.Name, t.Flag != s.chance(5))
	case btf.KindTypedef:
		to := s.copy(t.Ref, depth)
		if to == 0 || s.chance(30) {
			return to
		}
		return s.sized(s.size[to], s.typedef(t.Name, to))
	case btf.KindFuncProto:
		if depth <= 0 {
			return 0
		}
		return s.copyProto(t, depth-1)
	case btf.KindConst, btf.KindVolatile, btf.KindRestrict, btf.KindTypeTag:
		to := s.copy(t.Ref, depth)
		if to != 0 && s.chance(10) {
			return s.sized(s.size[to], s.ref(btf.KindConst, "", to))
		}
		return to
	}
	return 0
}

func (s *sampler) copyComposite(t *btf.Type, depth int) btf.TypeID {
	keep := 100
	if len(t.Members) > 6 {
		keep = 600 / len(t.Members)
	}
	var members []member
	var end, widest uint32
	for _, i := range s.rng.Perm(len(t.Members)) {
		m := t.Members[i]
		if !s.chance(keep) {
			continue
		}
		id := s.copy(m.Type, depth)
		if id == 0 {
			continue
		}
		name := m.Name
		if s.chance(5) {
			name += "_gone"
		}
		at, width := end*8, m.BitSize
		if t.Kind == btf.KindUnion {
			at = 0
		}
		if m.BitSize > 0 {
			if width > s.size[id]*8 {
				width = s.size[id] * 8
			}
			if room := s.size[id]*8 - width; room > 0 {
				at += s.rng.Uint32N(room + 1)
			}
		}
		members = append(members, member{name, id, at, width})
		end += s.size[id]
		widest = max(widest, s.size[id])
	}
	size := end
	if t.Kind == btf.KindUnion {
		size = widest
	}
	return s.sized(size, s.composite(t.Kind, s.flavoured(t.Name), size, members...))
}

func (s *sampler) copyEnum(t *btf.Type) btf.TypeID {
	var values []enumerator
	for _, v := range t.Values {
		if s.chance(max(5, 600/len(t.Values))) {
			values = append(values, enumerator{s.flavoured(v.Name), int64(v.Value) + int64(s.rng.IntN(2))})
		}
	}
	if len(values) == 0 {
		values = []enumerator{{"NONE_OF_THEM", 1}}
	}
	name := s.flavoured(t.Name)
	if t.Kind == btf.KindEnum64 != s.chance(10) {
		return s.sized(8, s.enum64(name, t.Flag, values...))
	}
	return s.sized(4, s.enum(name, 4, t.Flag, values...))
}

func (s *sampler) copyProto(t *btf.Type, depth int) btf.TypeID {
	params := make([]btf.TypeID, 0, len(t.Params))
	for _, p := range t.Params {
		id := s.copy(p.Type, depth)
		if id == 0 {
			id = s.int
		}
		params = append(params, id)
	}
	return s.proto(s.copy(t.Ref, depth), params...)
}

// path walks at random into a type and returns the access string.
func (s *sampler) path(local *btf.Spec, id btf.TypeID) string {
	path := "0"
	for {
		t, err := local.Underlying(id)
		if err != nil {
			return path
		}
		switch {
		case (t.Kind == btf.KindStruct || t.Kind == btf.KindUnion) && len(t.Members) > 0:
			i := s.rng.IntN(len(t.Members))
			path, id = fmt.Sprintf("%s:%d", path, i), t.Members[i].Type
			if t.Members[i].Name != "" && s.chance(30) {
				return path
			}
		case t.Kind == btf.KindArray && s.chance(60):
			i := 0
			if t.Array.Len > 0 {
				i = s.rng.IntN(int(t.Array.Len))
			}
			path, id = fmt.Sprintf("%s:%d", path, i), t.Array.Elem
		default:
			return path
		}
	}
}

// instruction makes one that a record may be for, with the value that the
// compiler would have put there.
func (s *sampler) instruction(fix core.Fix, kind core.Kind) insn.Insns {
	old := fix.Old
	if s.chance(4) {
		old++
	}
	sizes := map[uint32]uint8{1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}
	mode, ok := sizes[fix.OldSize]
	if !ok || s.chance(5) {
		mode = uint8(s.rng.IntN(4)) << 3
	}
	var p insn.Insns
	switch n := s.rng.IntN(6); {
	case kind == core.FieldByteOffset && n == 0:
		p = insn.Insns{0x61 | mode, 0x10, 0, 0, 0, 0, 0, 0} // r0 = *(r1 + off)
		p.SetOff(0, int16(old))
	case kind == core.FieldByteOffset && n == 1:
		p = insn.Insns{0x62 | mode, 0x01, 0, 0, 7, 0, 0, 0} // *(r1 + off) = 7
		p.SetOff(0, int16(old))
	case kind == core.FieldByteOffset && n == 2:
		p = insn.Insns{0x63 | mode, 0x11, 0, 0, 0, 0, 0, 0} // *(r1 + off) = r1
		p.SetOff(0, int16(old))
	case kind == core.FieldByteOffset && n == 3:
		p = insn.Insns{0x81 | mode, 0x10, 0, 0, 0, 0, 0, 0} // r0 = *(signed)(r1 + off)
		p.SetOff(0, int16(old))
	case n <= 3:
		p = movImm(int32(old))
	case n == 4:
		p = movImm(int32(old))
		p[0] = 0xb4 // w0 = imm
	default:
		p = insn.Insns{insn.LdImm64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
		p.SetImm(0, int32(old))
		p.SetImm(1, int32(old>>32))
	}
	return append(p, exit...)
}

var (
	firstInsn     = regexp.MustCompile(`(?m)^0: \([0-9a-f]{2}\) (.*?)\s*(;.*)?$`)
	unknownOpcode = regexp.MustCompile(`(?m)^unknown opcode ([0-9a-f]{2})$`)
)

// roots are types that a program may name, none of whose names stands for two
// kinds of types: the kernel's cache of candidates would mix them up.
func roots(kernel *btf.Spec) []btf.TypeID {
	kinds := make(map[string]btf.Kind)
	named := func(id btf.TypeID) (string, btf.Kind, bool) {
		k := kernel.KindOf(id)
		switch k {
		case btf.KindStruct, btf.KindUnion, btf.KindEnum, btf.KindEnum64, btf.KindTypedef, btf.KindInt, btf.KindFwd, btf.KindFunc, btf.KindVar:
			return core.EssentialName(kernel.TypeName(id)), k, true
		}
		return "", k, false
	}
	for id := range kernel.All() {
		if name, k, ok := named(id); ok {
			if have, seen := kinds[name]; seen && have != k {
				k = btf.KindVoid
			}
			kinds[name] = k
		}
	}
	var ids []btf.TypeID
	for id := range kernel.All() {
		name, k, ok := named(id)
		if ok && name != "" && kinds[name] == k && k != btf.KindFunc && k != btf.KindVar {
			ids = append(ids, id)
		}
	}
	return ids
}

// TestAgainstKernel makes up local types and records, has each resolved by the
// kernel that runs and by this package, and wants the same instruction or a
// refusal by both. Where Divergences warns, the kernel may differ.
func TestAgainstKernel(t *testing.T) {
	kernel := vmlinux(t)
	needKernelCORE(t)
	target := core.NewTarget(kernel, nil)
	ids := roots(kernel)
	rounds, perRound := 60, 100
	if testing.Short() {
		rounds = 5
	}
	var tally tally
	for round := range rounds {
		tally.round(t, newSampler(kernel, uint64(round)), target, ids, perRound)
	}
	t.Logf("%+v", tally)
	assert.Assert(t, tally.Same > 0 && tally.Poisoned > 0 && tally.Refused > 0, "nothing was compared")
}

// tally counts how comparisons came out.
type tally struct{ Same, Poisoned, Refused, WarnedSame, WarnedDifferent int }

// records makes local types out of some of the kernel's, and records for them.
func (s *sampler) records(t *testing.T, ids []btf.TypeID, count int) []core.Record {
	var locals []btf.TypeID
	for len(locals) < count/4 {
		if id := s.copy(ids[s.rng.IntN(len(ids))], 4); id != 0 {
			locals = append(locals, id)
		}
	}
	types := s.spec(t)
	records := make([]core.Record, count)
	for i := range records {
		id := locals[s.rng.IntN(len(locals))]
		kind, access := s.question(t, types, id)
		records[i] = core.Record{TypeID: id, AccessStr: s.str(access), Kind: kind}
	}
	return records
}

func (s *sampler) question(t *testing.T, types *btf.Spec, id btf.TypeID) (core.Kind, string) {
	under, err := types.Underlying(id)
	assert.NilError(t, err)
	kind := core.Kind(s.rng.IntN(int(core.TypeMatches) + 1))
	if len(under.Values) > 0 && s.chance(60) {
		kind = core.EnumvalExists + core.Kind(s.rng.IntN(2))
	}
	switch {
	case kind <= core.FieldRshiftU64:
		return kind, s.path(types, id)
	case kind != core.EnumvalExists && kind != core.EnumvalValue:
		return kind, "0"
	case len(under.Values) == 0:
		return core.TypeExists, "0"
	}
	return kind, fmt.Sprint(s.rng.IntN(len(under.Values)))
}

func (n *tally) round(t *testing.T, s *sampler, target *core.Target, ids []btf.TypeID, count int) {
	fn := s.function("probe", s.int)
	records := s.records(t, ids, count)
	raw := s.bytes()
	local, err := btf.Parse(raw)
	assert.NilError(t, err)
	btfFD, err := loadBTF(raw)
	assert.NilError(t, err)
	defer closeFD(btfFD)
	for _, rec := range records {
		r := core.New(local, target)
		fix, _ := r.Resolve(rec)
		n.compare(t, btfFD, fn, local, r, s.instruction(fix, rec.Kind), rec)
	}
}

func (n *tally) compare(t *testing.T, btfFD int, fn btf.TypeID, local *btf.Spec, r *core.Resolver, insns insn.Insns, rec core.Record) {
	t.Helper()
	records := []core.Record{rec}
	theirs, kernelErr := kernelInsn(btfFD, fn, insns, records)
	warned := core.Divergences(local, core.Program{Insns: insns, Records: records})
	before := fmt.Sprintf("% x", insns[:insn.Size])
	ours, err := "refused", r.Apply(insns, records)
	if err == nil {
		ours, _ = kernelInsn(btfFD, fn, insns, nil)
	}
	switch {
	case ours != theirs && len(warned) > 0:
		n.WarnedDifferent++
	case ours != theirs:
		t.Errorf("%s in %s\n  ours: %s (%v)\nkernel: %s (%v)", rec.String(local), before, ours, err, theirs, kernelErr)
	case len(warned) > 0:
		n.WarnedSame++
	case ours == "refused":
		n.Refused++
	case core.IsPoisoned(insns, int(rec.InsnOff/insn.Size)):
		n.Poisoned++
	default:
		n.Same++
	}
}

// kernelInsn is the first instruction of a program as the verifier prints it
// after the records were resolved, or "refused" if it does not get that far.
func kernelInsn(btfFD int, fn btf.TypeID, insns insn.Insns, records []core.Record) (string, error) {
	log, err := kernelLog(btfFD, fn, insns, records)
	if m := firstInsn.FindStringSubmatch(log); m != nil {
		return m[1], err
	}
	// A signed load that became 64 bits wide is not an instruction.
	if m := unknownOpcode.FindStringSubmatch(log); m != nil {
		return "opcode " + m[1], err
	}
	return "refused", err
}
