package core_test

import (
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/loader/btf"
	"github.com/bpfreplay/bpfreplay/loader/core"
	"github.com/bpfreplay/bpfreplay/loader/insn"
	"github.com/bpfreplay/bpfreplay/loader/object"
)

// FuzzApply makes types, records and instructions out of what the fuzzer says.
// Nothing may panic or hang, and the same input must give the same output.
func FuzzApply(f *testing.F) {
	// int a; struct s { int a; int b; }; enum e { a, b }
	local := []byte{1, 3, 0, 4, 0x84, 1, 2, 8, 1<<3 | 3, 0, 1<<3 | 4, 32, 6, 5, 2, 4, 3, 0, 4, 0}
	// int b; union { int b; }; struct s___x { union; int a; }; enum e___y { b }
	target := []byte{1, 4, 0, 4, 0x85, 0, 1, 4, 1<<3 | 4, 0, 0x84, 2, 2, 8, 2 << 3, 0, 1<<3 | 3, 32, 6, 6, 1, 4, 4, 0}
	questions := []byte{0, 2, 2, 0, 1, 2, 1, 2, 2, 3, 0, 10, 2, 2, 0, 12}
	f.Add(local, target, questions, []byte(append(append(movImm(4), movImm(1)...), movImm(1)...)))
	f.Add(target, local, questions, []byte(append(append(movImm(0), movImm(1)...), movImm(1)...)))
	f.Fuzz(func(t *testing.T, localTypes, targetTypes, questions, insns []byte) {
		b := typesFrom(localTypes)
		accesses := []uint32{b.str("0"), b.str("0:0"), b.str("0:1"), b.str("0:1:0"), b.str("1"), b.str("0:0:0:2"), b.str("0:2:1:0:0"), b.str("x")}
		var records []core.Record
		for ; len(questions) >= 4 && len(records) < 64; questions = questions[4:] {
			records = append(records, core.Record{
				InsnOff: uint32(questions[0]) * 8, TypeID: btf.TypeID(questions[1]),
				AccessStr: accesses[questions[2]%8], Kind: core.Kind(questions[3] % 14),
			})
		}
		local, err := btf.Parse(b.bytes())
		if err != nil {
			t.Skip("not valid BTF")
		}
		// Not validated: what the fuzzer says may contain itself.
		target, err := btf.ParseKernel(typesFrom(targetTypes).bytes())
		if err != nil {
			t.Skip("not BTF")
		}
		applyTwice(t, local, target, insns, records)
	})
}

// typesFrom reads types, four bytes each and one more per member.
func typesFrom(data []byte) *builder {
	b := newBuilder()
	names := []string{"", "s", "s___x", "a", "b", "e", "e___y", "c"}
	next := func() uint32 {
		if len(data) == 0 {
			return 0
		}
		v := data[0]
		data = data[1:]
		return uint32(v)
	}
	for len(data) > 0 {
		kind, name, vlen, third := next(), names[next()%8], int(next()%5), next()
		var members []member
		var values []enumerator
		for range vlen {
			v := next()
			members = append(members, member{names[v%8], btf.TypeID(v >> 3), next(), v & 0x1f})
			values = append(values, enumerator{names[v%8], int64(int8(v))})
		}
		if kind&0x80 != 0 {
			for i := range members {
				members[i].width, members[i].bits = 0, members[i].bits&^7
			}
		}
		ref := btf.TypeID(third)
		switch kind := btf.Kind(kind & 0x1f); kind {
		case btf.KindInt, btf.KindFloat:
			b.add(name, btf.KindInt, 0, false, third, third<<24|32)
		case btf.KindArray:
			b.array(ref, ref, uint32(vlen))
		case btf.KindStruct, btf.KindUnion:
			b.composite(kind, name, third, members...)
		case btf.KindEnum:
			b.enum(name, third, vlen&1 == 0, values...)
		case btf.KindEnum64:
			b.enum64(name, vlen&1 == 0, values...)
		case btf.KindFuncProto:
			var params []btf.TypeID
			for _, m := range members {
				params = append(params, m.typ)
			}
			b.proto(ref, params...)
		case btf.KindFwd:
			b.fwd(name, vlen&1 == 0)
		case btf.KindPtr, btf.KindTypedef, btf.KindConst, btf.KindVolatile, btf.KindTypeTag:
			b.ref(kind, name, ref)
		}
	}
	return b
}

// FuzzApplyBytes flips bytes of real objects' BTF, instructions and records.
func FuzzApplyBytes(f *testing.F) {
	for _, file := range []string{"core_bitfields", "core_enums", "core_field", "core_flavours", "core_matches", "core_types"} {
		o, err := object.Open(suite + "/" + file + ".bpf.o")
		assert.NilError(f, err)
		for _, fn := range o.Functions {
			var records []byte
			for _, rec := range recordsOf(fn) {
				records = rec.Append(records)
			}
			f.Add(o.BTF.Raw(), o.BTF.Raw(), []byte(fn.Insns), records)
		}
	}
	f.Fuzz(func(t *testing.T, rawLocal, rawTarget, insns, rawRecords []byte) {
		local, err := btf.Parse(rawLocal)
		if err != nil {
			t.Skip("not BTF")
		}
		target, err := btf.ParseKernel(rawTarget)
		if err != nil {
			t.Skip("not BTF")
		}
		records, err := core.ParseRecords(rawRecords[:len(rawRecords)/core.RecordSize*core.RecordSize])
		assert.NilError(t, err)
		applyTwice(t, local, target, insns, records[:min(len(records), 64)])
	})
}

func applyTwice(t *testing.T, local, target *btf.Spec, insns []byte, records []core.Record) {
	core.Divergences(local, core.Program{Insns: insns, Records: records})
	results := [2]insn.Insns{}
	errs := [2]string{}
	for i := range results {
		results[i] = append(insn.Insns{}, insns...)
		r := core.New(local, core.NewTarget(target, nil))
		if err := r.Apply(results[i], records); err != nil {
			errs[i] = err.Error()
		}
		for _, rec := range records {
			_, _ = r.Resolve(rec) // goes on where Apply stopped
		}
	}
	assert.DeepEqual(t, results[0], results[1])
	assert.Equal(t, errs[0], errs[1])
}
