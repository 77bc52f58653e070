package core_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/loader/btf"
	"github.com/bpfreplay/bpfreplay/loader/core"
	"github.com/bpfreplay/bpfreplay/loader/insn"
)

// pair is a local BTF and that of a target, and what came of a record.
type pair struct {
	local, target *builder
	modules       func() ([]core.Module, error)
}

func newPair() *pair { return &pair{local: newBuilder(), target: newBuilder()} }

func (p *pair) record(kind core.Kind, root btf.TypeID, access string) core.Record {
	return core.Record{TypeID: root, AccessStr: p.local.str(access), Kind: kind}
}

func (p *pair) resolver(t testing.TB) *core.Resolver {
	t.Helper()
	return core.New(p.local.spec(t), core.NewTarget(p.target.spec(t), p.modules))
}

func (p *pair) resolve(t testing.TB, kind core.Kind, root btf.TypeID, access string) (core.Fix, error) {
	t.Helper()
	rec := p.record(kind, root, access)
	return p.resolver(t).Resolve(rec)
}

// want checks the value that a record puts in its instruction.
func (p *pair) want(t testing.TB, kind core.Kind, root btf.TypeID, access string, from, to uint64) {
	t.Helper()
	fix, err := p.resolve(t, kind, root, access)
	assert.NilError(t, err)
	assert.Check(t, !fix.Poison, "%v %s is poisoned", kind, access)
	assert.Check(t, is.Equal(int64(fix.Old), int64(from)), "%v %s, local", kind, access)
	assert.Check(t, is.Equal(int64(fix.New), int64(to)), "%v %s, target", kind, access)
}

func (p *pair) wantPoison(t testing.TB, kind core.Kind, root btf.TypeID, access string) {
	t.Helper()
	fix, err := p.resolve(t, kind, root, access)
	assert.NilError(t, err)
	assert.Check(t, fix.Poison, "%v %s gives %d", kind, access, fix.New)
}

func (p *pair) wantError(t testing.TB, kind core.Kind, root btf.TypeID, access string, target error, text string) {
	t.Helper()
	_, err := p.resolve(t, kind, root, access)
	assert.ErrorIs(t, err, target)
	assert.ErrorContains(t, err, text)
	var named *core.Error
	assert.Assert(t, errors.As(err, &named))
}

func TestFields(t *testing.T) {
	p := newPair()
	u32, s16 := p.local.integer("u32", 4, unsigned), p.local.integer("s16", 2, signed)
	inner := p.local.structure("", 8, member{"a", u32, 0, 0}, member{"b", s16, 32, 0})
	root := p.local.structure("thing___mine", 28,
		member{"x", u32, 0, 0},
		member{"in", inner, 32, 0},
		member{"gone", u32, 96, 0},
		member{"list", p.local.array(u32, u32, 2), 128, 0},
		member{"list2", p.local.array(u32, u32, 2), 192, 0},
		member{"flex", p.local.array(s16, u32, 0), 224, 0})

	// In the target, in sits in an anonymous union in an anonymous struct, and b
	// has become 8 bytes.
	tu32, ts64 := p.target.integer("unsigned int", 4, unsigned), p.target.integer("s64", 8, signed)
	tin := p.target.structure("in", 16, member{"b", p.target.typedef("b_t", ts64), 0, 0}, member{"a", tu32, 64, 0})
	tunion := p.target.union("", 16, member{"other", tu32, 0, 0}, member{"in", tin, 0, 0})
	tanon := p.target.structure("", 24, member{"pad", ts64, 0, 0}, member{"", tunion, 64, 0})
	p.target.structure("thing", 48,
		member{"", tanon, 64, 0},
		member{"x", tu32, 256, 0},
		member{"list", p.target.array(tu32, tu32, 4), 288, 0},
		member{"list2", p.target.array(tu32, tu32, 1), 416, 0},
		member{"flex", p.target.array(ts64, tu32, 0), 448, 0})

	p.want(t, core.FieldByteOffset, root, "0:0", 0, 32)
	p.want(t, core.FieldByteOffset, root, "1:0", 28, 48+32) // p[1].x
	p.want(t, core.FieldByteOffset, root, "0:1:1", 8, 16)
	p.want(t, core.FieldByteOffset, root, "0:1:0", 4, 24)
	p.want(t, core.FieldByteSize, root, "0:1:1", 2, 8)
	p.want(t, core.FieldByteSize, root, "0", 28, 48)
	p.want(t, core.FieldExists, root, "0:1:1", 1, 1)
	p.want(t, core.FieldExists, root, "0:2", 1, 0)
	p.wantPoison(t, core.FieldByteOffset, root, "0:2")
	p.want(t, core.FieldSigned, root, "0:1:1", 1, 1)
	p.want(t, core.FieldSigned, root, "0:0", 0, 0)
	p.want(t, core.FieldLshiftU64, root, "0:1:1", 48, 0)
	p.want(t, core.FieldRshiftU64, root, "0:1:1", 48, 0)
	p.want(t, core.FieldByteOffset, root, "0:3:1", 20, 40)
	p.want(t, core.FieldByteSize, root, "0:3:1", 4, 4)
	p.wantPoison(t, core.FieldByteOffset, root, "0:4:1")           // beyond the target's array
	p.want(t, core.FieldByteOffset, root, "0:5:3", 28+3*2, 56+3*8) // flexible
	p.wantError(t, core.FieldSigned, root, "0:3:1", core.ErrUnsupported, "signed of an array element")
}

func TestBitfields(t *testing.T) {
	p := newPair()
	u32, u8 := p.local.integer("u32", 4, unsigned), p.local.integer("u8", 1, unsigned)
	root := p.local.structure("bits", 8, member{"a", u32, 3, 5}, member{"b", u8, 30, 4}, member{"c", u32, 32, 32})
	s64, tu8 := p.target.integer("s64", 8, signed), p.target.integer("u8", 1, unsigned)
	p.target.structure("bits", 24, member{"a", s64, 64 + 10, 20}, member{"b", tu8, 5, 7}, member{"c", s64, 128, 0})

	p.want(t, core.FieldByteOffset, root, "0:0", 0, 8)
	p.want(t, core.FieldByteSize, root, "0:0", 4, 8)
	p.want(t, core.FieldLshiftU64, root, "0:0", 64-8, 64-30)
	p.want(t, core.FieldRshiftU64, root, "0:0", 64-5, 64-20)
	p.want(t, core.FieldSigned, root, "0:0", 0, 1)
	// Packed: b crosses a byte boundary here and there, so that the load doubles.
	p.want(t, core.FieldByteOffset, root, "0:1", 0, 0)
	p.want(t, core.FieldByteSize, root, "0:1", 8, 2)
	p.want(t, core.FieldLshiftU64, root, "0:1", 64-34, 64-12)
	// A bitfield here, a whole member there.
	p.want(t, core.FieldByteOffset, root, "0:2", 4, 16)
	p.want(t, core.FieldRshiftU64, root, "0:2", 32, 0)

	// What the compiler did for a bitfield is not checked, except for its sign and width.
	for kind, validate := range map[core.Kind]bool{
		core.FieldByteOffset: false, core.FieldByteSize: false, core.FieldLshiftU64: false,
		core.FieldRshiftU64: true, core.FieldSigned: true, core.FieldExists: true,
	} {
		fix, err := p.resolve(t, kind, root, "0:0")
		assert.NilError(t, err)
		assert.Check(t, is.Equal(fix.Validate, validate), "%v", kind)
	}
}

func TestBitfieldBeyond64Bits(t *testing.T) {
	p := newPair()
	root := p.local.structure("bits", 16, member{"a", p.local.integer("u64", 8, unsigned), 60, 10})
	p.wantError(t, core.FieldByteOffset, root, "0:0", core.ErrUnsupported, `bitfield "a" does not fit in a load of 64 bits`)
}

func TestFieldCompatibility(t *testing.T) {
	tests := []struct {
		name          string
		local, target func(*builder) btf.TypeID
		exists        uint64
	}{
		{"integers of all sorts", ints("a", 1, signed), ints("b", 8, boolean), 1},
		{"integer and pointer", ints("a", 8, 0), func(b *builder) btf.TypeID { return b.ptr(0) }, 0},
		{"integer with an offset", ints("a", 4, 0), ints("a", 4, 3<<16), 0},
		{"struct and union", func(b *builder) btf.TypeID { return b.structure("a", 0) },
			func(b *builder) btf.TypeID { return b.union("b", 0) }, 1},
		{"pointers to different things", func(b *builder) btf.TypeID { return b.ptr(0) },
			func(b *builder) btf.TypeID { return b.ptr(b.integer("int", 4, signed)) }, 1},
		{"behind typedefs and qualifiers", func(b *builder) btf.TypeID { return b.typedef("t", b.ref(btf.KindConst, "", b.integer("int", 4, 0))) },
			func(b *builder) btf.TypeID { return b.ref(btf.KindVolatile, "", b.integer("int", 4, 0)) }, 1},
		{"enum and enum64 of one name", func(b *builder) btf.TypeID { return b.enum("e___x", 4, false, enumerator{"A", 1}) },
			func(b *builder) btf.TypeID { return b.enum64("e", false, enumerator{"B", 1}) }, 1},
		{"enums of two names", func(b *builder) btf.TypeID { return b.enum("e", 4, false, enumerator{"A", 1}) },
			func(b *builder) btf.TypeID { return b.enum("f", 4, false, enumerator{"A", 1}) }, 0},
		{"an anonymous enum", func(b *builder) btf.TypeID { return b.enum("e", 4, false, enumerator{"A", 1}) },
			func(b *builder) btf.TypeID { return b.enum("", 4, false, enumerator{"A", 1}) }, 1},
		{"arrays by element", arrays(ints("a", 4, 0), 2), arrays(ints("a", 8, 0), 9), 1},
		{"arrays of something else", arrays(ints("a", 4, 0), 2), arrays(func(b *builder) btf.TypeID { return b.ptr(0) }, 2), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPair()
			root := p.local.structure("s", 64, member{"m", tt.local(p.local), 0, 0})
			p.target.structure("s", 64, member{"m", tt.target(p.target), 0, 0})
			p.want(t, core.FieldExists, root, "0:0", 1, tt.exists)
		})
	}
}

func ints(name string, size, encoding uint32) func(*builder) btf.TypeID {
	return func(b *builder) btf.TypeID { return b.integer(name, size, encoding) }
}

func arrays(elem func(*builder) btf.TypeID, n uint32) func(*builder) btf.TypeID {
	return func(b *builder) btf.TypeID { return b.array(elem(b), b.integer("index", 4, 0), n) }
}

func TestTypes(t *testing.T) {
	p := newPair()
	i := p.local.integer("int", 4, signed)
	there := p.local.structure("there___flavour", 4, member{"x", i, 0, 0})
	gone := p.local.structure("gone", 4, member{"x", i, 0, 0})
	callback := p.local.typedef("callback", p.local.ptr(p.local.proto(i, i, p.local.ptr(0))))
	number := p.local.typedef("number", i)
	union := p.local.union("there_too", 4, member{"x", i, 0, 0})

	ti := p.target.integer("int", 4, signed)
	id := p.target.structure("there", 16, member{"y", ti, 0, 0})
	tcallback := p.target.typedef("callback", p.target.ptr(p.target.proto(ti, p.target.integer("long", 8, signed), p.target.ptr(0))))
	p.target.typedef("number", p.target.ptr(ti))
	p.target.structure("there_too", 4)

	p.want(t, core.TypeIDLocal, gone, "0", uint64(gone), uint64(gone))
	p.want(t, core.TypeExists, there, "0", 1, 1)
	p.want(t, core.TypeSize, there, "0", 4, 16)
	p.want(t, core.TypeIDTarget, there, "0", uint64(there), uint64(id))
	p.want(t, core.TypeExists, gone, "0", 1, 0)
	p.want(t, core.TypeSize, gone, "0", 4, 0)
	p.want(t, core.TypeIDTarget, gone, "0", uint64(gone), 0)
	p.want(t, core.TypeMatches, gone, "0", 1, 0)
	p.want(t, core.TypeExists, callback, "0", 1, 1)
	p.want(t, core.TypeIDTarget, callback, "0", uint64(callback), uint64(tcallback))
	p.want(t, core.TypeExists, number, "0", 1, 0) // an integer is not a pointer
	p.want(t, core.TypeExists, union, "0", 1, 0)  // a union is not a struct

	fix, err := p.resolve(t, core.TypeIDTarget, there, "0")
	assert.NilError(t, err)
	assert.Check(t, !fix.Validate, "a linker may have moved the id")
}

func TestTypeMatches(t *testing.T) {
	p := newPair()
	i := p.local.integer("int", 4, signed)
	inner := p.local.structure("inner", 4, member{"x", i, 0, 0})
	ops := p.local.ptr(p.local.proto(0, p.local.ptr(p.local.fwd("inner", false))))
	good := p.local.structure("all", 24, member{"ops", ops, 0, 0}, member{"in", inner, 64, 0},
		member{"next", p.local.ptr(p.local.structure("all___self", 0)), 128, 0})
	unsignedInt := p.local.structure("all___unsigned", 4, member{"n", p.local.integer("int", 4, unsigned), 0, 0})
	missing := p.local.structure("all___missing", 4, member{"missing", i, 0, 0})
	many := p.local.enum("e___many", 4, false, enumerator{"A___1", 9}, enumerator{"B", 9}, enumerator{"C", 9})
	few := p.local.enum("e___few", 4, false, enumerator{"B___1", 9})
	wide := p.local.enum64("e___wide", false, enumerator{"B", 9})

	ti := p.target.integer("int", 4, signed)
	tinner := p.target.structure("inner", 8, member{"y", ti, 0, 0}, member{"x", ti, 32, 0})
	tops := p.target.ptr(p.target.proto(0, p.target.ptr(tinner)))
	p.target.structure("all", 40, member{"n", ti, 0, 0}, member{"in", tinner, 32, 0}, member{"ops", tops, 128, 0},
		member{"next", p.target.ptr(p.target.fwd("all", false)), 192, 0})
	p.target.enum("e", 4, false, enumerator{"B", 1}, enumerator{"A", 2})

	p.want(t, core.TypeMatches, good, "0", 1, 1)
	p.want(t, core.TypeMatches, unsignedInt, "0", 1, 0)
	p.want(t, core.TypeMatches, missing, "0", 1, 0)
	p.want(t, core.TypeMatches, many, "0", 1, 0)
	p.want(t, core.TypeMatches, few, "0", 1, 1)
	p.want(t, core.TypeMatches, wide, "0", 1, 0)
}

func TestEnums(t *testing.T) {
	p := newPair()
	narrow := p.local.enum("narrow___x", 4, false, enumerator{"A___x", 1}, enumerator{"B", 2}, enumerator{"GONE", 3})
	wide := p.local.enum64("wide", true, enumerator{"W", -1})
	anon := p.local.typedef("narrow_t", p.local.enum("", 4, false, enumerator{"T", 7}))
	notThere := p.local.enum("not_there", 4, false, enumerator{"N", 1})
	p.target.enum64("narrow", false, enumerator{"B", 1 << 40}, enumerator{"A___y", 5})
	p.target.enum("wide", 4, false, enumerator{"W", 0xfffffffe})
	p.target.typedef("narrow_t", p.target.enum("other", 4, false, enumerator{"T", 8}))

	p.want(t, core.EnumvalExists, narrow, "0", 1, 1)
	p.want(t, core.EnumvalValue, narrow, "0", 1, 5)
	p.want(t, core.EnumvalValue, narrow, "1", 2, 1<<40)
	p.want(t, core.EnumvalExists, narrow, "2", 1, 0)
	p.wantPoison(t, core.EnumvalValue, narrow, "2")
	// A 32-bit enum is sign-extended, whether it is signed or not.
	p.want(t, core.EnumvalValue, wide, "0", ^uint64(0), ^uint64(1))
	p.want(t, core.EnumvalValue, anon, "0", 7, 8)
	p.want(t, core.EnumvalExists, notThere, "0", 1, 0)
	p.want(t, core.TypeExists, narrow, "0", 1, 1)
}

func TestAmbiguous(t *testing.T) {
	p := newPair()
	i := p.local.integer("int", 4, signed)
	root := p.local.structure("twice", 8, member{"same", i, 0, 0}, member{"moved", i, 32, 0}, member{"once", i, 32, 0})
	ti := p.target.integer("int", 4, signed)
	p.target.structure("twice", 12, member{"same", ti, 32, 0}, member{"moved", ti, 0, 0})
	p.target.structure("twice___2", 12, member{"same", ti, 32, 0}, member{"moved", ti, 64, 0}, member{"once", ti, 0, 0})

	p.want(t, core.FieldByteOffset, root, "0:0", 0, 4)
	p.wantError(t, core.FieldByteOffset, root, "0:1", core.ErrAmbiguous,
		"vmlinux's struct twice [2] gives 0 @ offset 0, vmlinux's struct twice___2 [3] gives 8 @ offset 8")
	p.wantError(t, core.FieldExists, root, "0:1", core.ErrAmbiguous, "gives 1 @ offset 0")
	p.wantError(t, core.TypeIDTarget, root, "0", core.ErrAmbiguous, "gives 2 @ offset 0")

	// Once a record ruled a candidate out, it is out for the rest of the object.
	once, moved := p.record(core.FieldExists, root, "0:2"), p.record(core.FieldByteOffset, root, "0:1")
	r := p.resolver(t)
	_, err := r.Resolve(once)
	assert.NilError(t, err)
	fix, err := r.Resolve(moved)
	assert.NilError(t, err)
	assert.Equal(t, fix.New, uint64(8))
}

func TestModules(t *testing.T) {
	p := newPair()
	i := p.local.integer("int", 4, signed)
	inKernel := p.local.structure("in_kernel", 4, member{"x", i, 0, 0})
	inModule := p.local.structure("in_module___x", 4, member{"x", i, 0, 0})
	p.target.structure("in_kernel", 4, member{"x", p.target.integer("int", 4, signed), 0, 0})

	base := p.target.spec(t)
	calls := 0
	var fail error
	p.modules = func() ([]core.Module, error) {
		calls++
		return []core.Module{{Name: "empty", BTF: module(t, base)}, {Name: "mod", BTF: module(t, base, "in_module")}}, fail
	}
	p.want(t, core.FieldByteOffset, inKernel, "0:0", 0, 0)
	assert.Equal(t, calls, 0)
	p.want(t, core.FieldByteOffset, inModule, "0:0", 0, 8)
	assert.Equal(t, calls, 1)

	fail = errors.New("no access")
	p.wantError(t, core.FieldExists, inModule, "0:0", fail, "search struct in_module___x in the kernel's modules: no access")
}

// module is split BTF with structs whose member x, an int of the base, is at byte 8.
func module(t *testing.T, base *btf.Spec, structs ...string) *btf.Spec {
	t.Helper()
	b := newBuilder()
	for _, name := range structs {
		b.structure(name, 12, member{"x", 1, 64, 0})
	}
	raw := b.bytes()
	// The strings of split BTF go on after those of the base, its empty one included.
	shift := uint32(len(base.Raw())) - 24 - binary.LittleEndian.Uint32(base.Raw()[12:])
	types := raw[24 : 24+len(b.types)]
	for off := 0; off < len(types); off += 24 {
		binary.LittleEndian.PutUint32(types[off:], binary.LittleEndian.Uint32(types[off:])+shift)
		binary.LittleEndian.PutUint32(types[off+12:], binary.LittleEndian.Uint32(types[off+12:])+shift)
	}
	spec, err := btf.ParseSplit(raw, base)
	assert.NilError(t, err)
	return spec
}

func TestMalformedRecords(t *testing.T) {
	p := newPair()
	i := p.local.integer("int", 4, signed)
	root := p.local.structure("s", 8, member{"x", i, 0, 0}, member{"list", p.local.array(i, i, 1), 32, 0})
	fwd := p.local.fwd("opaque", false)
	anon := p.local.structure("", 4, member{"x", i, 0, 0})
	p.target.integer("int", 4, signed)

	tests := []struct {
		kind   core.Kind
		root   btf.TypeID
		access string
		is     error
		text   string
	}{
		{core.FieldExists, root, "", core.ErrMalformed, "no access string"},
		{core.FieldExists, root, ":0", core.ErrMalformed, `access string ":0"`},
		{core.FieldExists, root, "0:-1", core.ErrMalformed, `access string "0:-1"`},
		{core.FieldExists, root, "0:x", core.ErrMalformed, `access string "0:x"`},
		{core.FieldExists, root, "0:2", core.ErrMalformed, `struct "s" has no member 2`},
		{core.FieldExists, root, "0:0:0", core.ErrMalformed, `cannot step into int "int"`},
		{core.FieldExists, root, "0:1:1", core.ErrMalformed, "array of 1 has no element 1"},
		{core.FieldExists, root, "2147483647:0", core.ErrMalformed, "beyond 512 MiB"},
		{core.FieldExists, fwd, "0", core.ErrMalformed, "no size"},
		{core.FieldExists, 99, "0:0", core.ErrMalformed, "type id 99"},
		{core.FieldExists, anon, "0:0", core.ErrUnsupported, "anonymous struct"},
		{core.TypeExists, root, "1", core.ErrMalformed, `access string of a type is "1"`},
		{core.TypeSize, fwd, "0", core.ErrUnsupported, "no size"},
		{core.EnumvalExists, root, "0", core.ErrMalformed, `not an enumerator of struct "s"`},
		{13, root, "0", core.ErrUnsupported, "kind 13 is unknown"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%v %d %s", tt.kind, tt.root, tt.access), func(t *testing.T) {
			p.wantError(t, tt.kind, tt.root, tt.access, tt.is, tt.text)
		})
	}
}

func TestRecordString(t *testing.T) {
	p := newPair()
	i := p.local.integer("int", 4, signed)
	anon := p.local.union("", 8, member{"a", i, 0, 0}, member{"list", p.local.array(i, i, 2), 0, 0})
	root := p.local.structure("s___f", 16, member{"x", i, 0, 0}, member{"", anon, 32, 0})
	bits := p.local.structure("bits", 4, member{"b", i, 3, 2})
	enum := p.local.enum("e", 4, true, enumerator{"A", -5})
	typedef := p.local.typedef("s_t", root)
	tests := []struct {
		rec  core.Record
		want string
	}{
		{p.record(core.FieldByteOffset, root, "0:1:1:1"), "byte_off struct s___f.list[1] (0:1:1:1 @ offset 8)"},
		{p.record(core.FieldExists, root, "2:0"), "field_exists struct s___f[2].x (2:0 @ offset 32)"},
		{p.record(core.FieldLshiftU64, bits, "0:0"), "lshift_u64 struct bits.b (0:0 @ offset 0.3)"},
		{p.record(core.EnumvalValue, enum, "0"), "enumval_value enum e::A = -5"},
		{p.record(core.TypeSize, typedef, "0"), "type_size typedef s_t"},
		{p.record(core.TypeExists, anon, "0"), "type_exists union <anon>"},
		{p.record(core.TypeMatches, 77, "1:1"), `type_matches type id 77 access "1:1"`},
		{p.record(99, root, "0"), fmt.Sprintf(`kind 99 type id %d access "0"`, root)},
	}
	local := p.local.spec(t)
	for _, tt := range tests {
		assert.Check(t, is.Equal(tt.rec.String(local), tt.want))
	}
}

func TestParseRecords(t *testing.T) {
	want := []core.Record{{InsnOff: 8, TypeID: 1, AccessStr: 2, Kind: core.TypeSize}, {InsnOff: 16, TypeID: 3, AccessStr: 4}}
	got, err := core.ParseRecords(want[1].Append(want[0].Append(nil)))
	assert.NilError(t, err)
	assert.DeepEqual(t, got, want)
	_, err = core.ParseRecords(make([]byte, 17))
	assert.ErrorIs(t, err, core.ErrMalformed)
}

func TestEssentialName(t *testing.T) {
	for name, want := range map[string]string{
		"": "", "a": "a", "task_struct": "task_struct", "task_struct___old": "task_struct",
		"a___b___c": "a___b", "a____b": "a____b", "___a": "___a", "a___": "a___", "a___b": "a", "a_____b___c": "a_____b",
	} {
		assert.Check(t, is.Equal(core.EssentialName(name), want))
	}
}

func code(words ...uint32) insn.Insns {
	var p insn.Insns
	for _, w := range words {
		p = binary.LittleEndian.AppendUint32(p, w)
	}
	return p
}

func TestPatch(t *testing.T) {
	tests := []struct {
		name    string
		fix     core.Fix
		in, out insn.Insns
		err     string
	}{
		{name: "mov64", fix: core.Fix{Old: 4, New: 1 << 31, Validate: true}, in: code(0x1b7, 4), out: code(0x1b7, 1<<31)},
		{name: "add32", fix: core.Fix{Old: ^uint64(0), New: 8, Validate: true}, in: code(0x104, 0xffffffff), out: code(0x104, 8)},
		{name: "another value", fix: core.Fix{Old: 4, New: 8, Validate: true}, in: code(0x1b7, 5), err: "it holds 5, not 4 (the target has 8)"},
		{name: "another value, unchecked", fix: core.Fix{Old: 4, New: 8}, in: code(0x1b7, 5), out: code(0x1b7, 8)},
		{name: "register operand", fix: core.Fix{}, in: code(0x1bf, 0), err: "opcode 0xbf has no immediate"},
		{name: "jump", fix: core.Fix{}, in: code(0x05, 0), err: "opcode 0x5 has nothing to relocate"},
		{name: "load", fix: core.Fix{Old: 4, New: 32767, Validate: true}, in: code(0x00040161, 0), out: code(0x7fff0161, 0)},
		{name: "load beyond 16 bits", fix: core.Fix{Old: 4, New: 32768, Validate: true}, in: code(0x00040161, 0), err: "offset 32768 does not fit in 16 bits"},
		{name: "wider load", fix: core.Fix{Old: 4, New: 8, Validate: true, OldSize: 4, NewSize: 8, Resizable: true}, in: code(0x00040161, 0), out: code(0x00080179, 0)},
		{name: "narrower signed load", fix: core.Fix{Old: 4, New: 8, Validate: true, OldSize: 4, NewSize: 1, Resizable: true}, in: code(0x00040181, 0), out: code(0x00080191, 0)},
		{name: "narrower store", fix: core.Fix{Old: 4, New: 8, Validate: true, OldSize: 8, NewSize: 2, Resizable: true}, in: code(0x0004017b, 0), out: code(0x0008016b, 0)},
		{name: "wider store of a constant", fix: core.Fix{Old: 4, New: 8, Validate: true, OldSize: 1, NewSize: 4, Resizable: true}, in: code(0x00040172, 7), out: code(0x00080162, 7)},
		{name: "another width", fix: core.Fix{OldSize: 2, NewSize: 8, Resizable: true}, in: code(0x161, 0), err: "it accesses 4 bytes, not 2"},
		{name: "width of a struct", fix: core.Fix{OldSize: 4, NewSize: 24, Resizable: true}, in: code(0x161, 0), err: "24 bytes cannot be accessed at once"},
		{name: "width that must stay", fix: core.Fix{OldSize: 4, NewSize: 8}, in: code(0x161, 0), out: code(0x85, core.Poison)},
		{name: "width does not matter to ALU", fix: core.Fix{OldSize: 4, NewSize: 8, New: 3}, in: code(0x1b7, 0), out: code(0x1b7, 3)},
		{name: "ld_imm64", fix: core.Fix{Old: 5<<32 | 1, New: 6<<32 | 0xffffffff, Validate: true}, in: code(0x118, 1, 0, 5), out: code(0x118, 0xffffffff, 0, 6)},
		{name: "ld_imm64 of a map", fix: core.Fix{}, in: code(0x1118, 0, 0, 0), err: "refers to something else"},
		{name: "ld_imm64 cut off", fix: core.Fix{}, in: code(0x118, 0), err: "not an ld_imm64 of two slots"},
		{name: "legacy load", fix: core.Fix{}, in: code(0x30, 0), err: "opcode 0x30 is not an ld_imm64"},
		{name: "poison", fix: core.Fix{Poison: true}, in: code(0x12340161, 9), out: code(0x85, core.Poison)},
		{name: "poison ld_imm64", fix: core.Fix{Poison: true}, in: code(0x118, 1, 0, 5), out: code(0x85, core.Poison, 0x85, core.Poison)},
		{name: "poison half an ld_imm64", fix: core.Fix{Poison: true}, in: code(0x118, 1), out: code(0x85, core.Poison)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := append(insn.Insns{}, tt.in...)
			err := tt.fix.Patch(got, 0)
			if tt.err != "" {
				assert.ErrorIs(t, err, core.ErrInstruction)
				assert.ErrorContains(t, err, tt.err)
				assert.DeepEqual(t, got, tt.in)
				return
			}
			assert.NilError(t, err)
			assert.DeepEqual(t, got, tt.out)
			assert.Equal(t, core.IsPoisoned(got, 0), tt.out.Imm(0) == core.Poison)
		})
	}
}

func TestApply(t *testing.T) {
	p := newPair()
	u32, u8 := p.local.integer("u32", 4, unsigned), p.local.integer("s8", 1, signed)
	root := p.local.structure("s", 16, member{"x", u32, 0, 0}, member{"y", p.local.ptr(0), 64, 0},
		member{"chars", p.local.array(u8, u32, 4), 32, 0}, member{"signed", u8, 32, 0})
	tu64, tu8 := p.target.integer("u64", 8, unsigned), p.target.integer("s8", 1, signed)
	p.target.structure("s", 48, member{"pad", tu64, 0, 0}, member{"x", tu64, 64, 0},
		member{"y", p.target.ptr(tu64), 128, 0}, member{"chars", p.target.array(tu8, tu8, 16), 192, 0}, member{"signed", tu64, 320, 0})

	at := func(insn uint32, rec core.Record) core.Record { rec.InsnOff = insn * 8; return rec }
	records := []core.Record{
		at(0, p.record(core.FieldByteOffset, root, "0:0")),
		at(1, p.record(core.FieldByteOffset, root, "0:1")),
		at(2, p.record(core.FieldByteOffset, root, "0:2")),
		at(3, p.record(core.FieldByteOffset, root, "0:3")),
		at(4, p.record(core.TypeSize, root, "0")),
	}
	insns := append(code(0x00000161, 0, 0x00080179, 0, 0x00040171, 0, 0x00040171, 0, 0x118, 16, 0, 0), exit...)
	assert.NilError(t, p.resolver(t).Apply(insns, records))
	// x is wider; y is as wide; of the array only the elements count; a signed
	// field cannot change its width.
	assert.DeepEqual(t, insns, append(code(0x00080179, 0, 0x00100179, 0, 0x00180171, 0, 0x85, core.Poison, 0x118, 48, 0, 0), exit...))

	err := p.resolver(t).Apply(insns, records[:1])
	assert.Error(t, err, "CO-RE: insn 0: byte_off struct s.x (0:0 @ offset 0): instruction does not fit its CO-RE record: it holds 8, not 0 (the target has 8)")

	for _, off := range []uint32{4, uint32(len(insns)), 0xfffffff8} {
		rec := records[0]
		rec.InsnOff = off
		assert.ErrorIs(t, p.resolver(t).Apply(insns, []core.Record{rec}), core.ErrMalformed)
	}
}

// TestHostileTypes: comparing these types would take for ever.
func TestHostileTypes(t *testing.T) {
	diamond := func(b *builder, anonymous bool) btf.TypeID {
		id := b.integer("int", 4, signed)
		for range 30 {
			names := [2]string{"a", "b"}
			if anonymous {
				names = [2]string{}
			}
			id = b.structure("", 4, member{names[0], id, 0, 0}, member{names[1], id, 0, 0})
		}
		return id
	}
	t.Run("anonymous members", func(t *testing.T) {
		p := newPair()
		root := p.local.structure("s", 4, member{"nowhere", p.local.integer("int", 4, signed), 0, 0})
		p.target.structure("s", 4, member{"", diamond(p.target, true), 0, 0})
		p.wantError(t, core.FieldExists, root, "0:0", core.ErrTooComplex, "steps")
	})
	t.Run("matching types", func(t *testing.T) {
		p := newPair()
		root := p.local.structure("s", 4, member{"m", diamond(p.local, false), 0, 0})
		p.target.structure("s", 4, member{"m", diamond(p.target, false), 0, 0})
		p.wantError(t, core.TypeMatches, root, "0", core.ErrTooComplex, "steps")
	})
	t.Run("deep prototypes", func(t *testing.T) {
		p := newPair()
		root := p.local.typedef("f", deepProto(p.local, 40))
		p.target.typedef("f", deepProto(p.target, 40))
		p.wantError(t, core.TypeExists, root, "0", core.ErrTooComplex, "nested too deeply")
	})
	t.Run("many pointers", func(t *testing.T) {
		p := newPair()
		pointers := func(b *builder) (id btf.TypeID) {
			for range 40 {
				id = b.ptr(id)
			}
			return id
		}
		root := p.local.typedef("f", pointers(p.local))
		p.target.typedef("f", pointers(p.target))
		p.wantError(t, core.TypeExists, root, "0", core.ErrTooComplex, "nested too deeply")
		p.wantError(t, core.TypeMatches, root, "0", core.ErrTooComplex, "nested too deeply")
	})
}

// deepProto is a function that takes a function that takes a function ...
func deepProto(b *builder, depth int) btf.TypeID {
	id := b.integer("int", 4, signed)
	for range depth {
		id = b.ptr(b.proto(0, id))
	}
	return id
}

func TestDivergences(t *testing.T) {
	p := newPair()
	b := p.local
	i := b.integer("int", 4, signed)
	flat := b.structure("flat", 24, member{"x", i, 0, 0}, member{"p", b.ptr(i), 64, 0}, member{"list", b.array(i, i, 2), 128, 0})
	nested := b.structure("nested", 24, member{"flat", flat, 0, 0})
	callbacks := b.structure("callbacks", 8, member{"f", b.ptr(b.proto(0, i)), 0, 0})
	behind := b.structure("behind", 8, member{"p", b.ptr(nested), 0, 0})
	enum := b.enum("e", 4, false, enumerator{"A", 1})
	typedef := b.typedef("anon_t", b.structure("", 4, member{"x", i, 0, 0}))
	asStruct := b.structure("clash___1", 4, member{"x", i, 0, 0})
	asUnion := b.union("clash___2", 4, member{"x", i, 0, 0})

	load, add := code(0x161, 0), code(0x107, 0)
	tests := []struct {
		insns insn.Insns
		rec   core.Record
		want  string
	}{
		{add, p.record(core.FieldByteOffset, flat, "0:0"), ""},
		{add, p.record(core.FieldSigned, flat, "0:0"), ""},
		{add, p.record(core.FieldSigned, flat, "0:1"), "kernels before 6.0 call every enum signed"},
		{add, p.record(core.FieldByteOffset, flat, "0:2"), ""},
		{load, p.record(core.FieldByteOffset, flat, "0:2"), "size of the whole array"},
		{load, p.record(core.FieldByteOffset, flat, "0:2:1"), ""},
		{add, p.record(core.TypeMatches, flat, "0"), "kernels before 6.0 do not know type_matches"},
		{add, p.record(core.TypeMatches, behind, "0"), "kernels before 6.0 do not know type_matches"},
		{add, p.record(core.TypeMatches, nested, "0"), "only 2 levels"},
		{add, p.record(core.TypeMatches, callbacks, "0"), "only 2 levels"},
		{add, p.record(core.TypeExists, nested, "0"), ""},
		{add, p.record(core.EnumvalExists, enum, "0"), "same width only"},
		{add, p.record(core.TypeSize, enum, "0"), "same width only"},
		{add, p.record(core.FieldExists, typedef, "0:0"), "knows names only"},
		{add, p.record(core.TypeIDLocal, typedef, "0"), ""},
		{add, p.record(core.FieldExists, asStruct, "0:0"), ""},
		{add, p.record(core.FieldExists, asUnion, "0:0"), ""},
		{add, p.record(core.FieldExists, asUnion, "0:7"), ""}, // an error everywhere
	}
	local := b.spec(t)
	var all []core.Program
	for _, tt := range tests {
		all = append(all, core.Program{Insns: tt.insns, Records: []core.Record{tt.rec}})
		found := core.Divergences(local, all[len(all)-1])
		if tt.want == "" {
			assert.Check(t, is.Len(found, 0), tt.rec.String(local))
			continue
		}
		assert.Assert(t, is.Len(found, 1), tt.rec.String(local))
		assert.Check(t, is.Contains(found[0].Reason, tt.want))
	}
	// The two clashing types harm each other only in one object.
	clashes := 0
	for _, d := range core.Divergences(local, all...) {
		if tests[d.Program].want == "" {
			assert.Check(t, is.Contains(d.Reason, "types of two kinds"))
			clashes++
		}
	}
	assert.Equal(t, clashes, 3)
}

// TestSharedTarget wants a Target to serve several objects at once; the race
// detector is what can fail it, and an index that is half built.
func TestSharedTarget(t *testing.T) {
	p := newPair()
	root := p.local.structure("s", 4, member{"x", p.local.integer("int", 4, signed), 0, 0})
	p.target.structure("s", 8, member{"x", p.target.integer("int", 4, signed), 32, 0})
	rec := p.record(core.FieldByteOffset, root, "0:0")
	local, target := p.local.spec(t), core.NewTarget(p.target.spec(t), nil)
	fixes := make(chan core.Fix)
	for range 8 {
		go func() {
			fix, _ := core.New(local, target).Resolve(rec)
			fixes <- fix
		}()
	}
	for range 8 {
		assert.Equal(t, (<-fixes).New, uint64(4))
	}
}
