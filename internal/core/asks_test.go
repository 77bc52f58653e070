package core_test

import (
	"slices"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/core"
	"github.com/bpfreplay/bpfreplay/internal/insn"
)

// record returns a record about a type that build makes.
func record(t *testing.T, kind core.Kind, access string, build func(b *builder) btf.TypeID) (*btf.Spec, core.Record) {
	t.Helper()
	b := newBuilder()
	rec := core.Record{TypeID: build(b), AccessStr: b.str(access), Kind: kind}
	return b.spec(t), rec
}

// callbacks makes pointers to prototypes, each in a parameter of another.
func callbacks(depth int) func(b *builder) btf.TypeID {
	return func(b *builder) btf.TypeID {
		id := b.integer("int", 4, signed)
		for range depth {
			id = b.ptr(b.proto(0, id))
		}
		return b.typedef("callback", id)
	}
}

// nested makes structs, one in another.
func nested(depth int) func(b *builder) btf.TypeID {
	return func(b *builder) btf.TypeID {
		id := b.integer("int", 4, signed)
		for i := range depth {
			id = b.structure("s"+strings.Repeat("s", i), 4, member{"m", id, 0, 0})
		}
		return id
	}
}

func fieldOf(typ func(b *builder) btf.TypeID) func(b *builder) btf.TypeID {
	return func(b *builder) btf.TypeID { return b.structure("s", 8, member{"m", typ(b), 0, 0}) }
}

func integer(b *builder) btf.TypeID { return b.integer("int", 4, signed) }
func anEnum(b *builder) btf.TypeID  { return b.enum("e", 4, true, enumerator{"A", -1}) }

func TestAsks(t *testing.T) {
	for _, c := range []struct {
		name   string
		kind   core.Kind
		access string
		build  func(b *builder) btf.TypeID
		want   core.Asked
	}{
		{"offset of a field", core.FieldByteOffset, "0:0", fieldOf(integer), core.AsksNothing},
		{"sign of an integer", core.FieldSigned, "0:0", fieldOf(integer), core.AsksNothing},
		{"sign of an enum", core.FieldSigned, "0:0", fieldOf(anEnum), core.AsksEnumSign},
		{"sign of an enum64", core.FieldSigned, "0:0", fieldOf(func(b *builder) btf.TypeID { return b.enum64("e", false, enumerator{"A", 1}) }), core.AsksEnumSign},
		{"sign of an enum behind a typedef", core.FieldSigned, "0:0", fieldOf(func(b *builder) btf.TypeID { return b.typedef("t", anEnum(b)) }), core.AsksEnumSign},
		{"sign of an element", core.FieldSigned, "0:0:1", fieldOf(func(b *builder) btf.TypeID { return b.array(anEnum(b), integer(b), 2) }), core.AsksEnumSign},
		{"size of an enum", core.FieldByteSize, "0:0", fieldOf(anEnum), core.AsksNothing},
		{"value of an enumerator", core.EnumvalValue, "0", anEnum, core.AsksNothing},
		{"existence of an enum", core.TypeExists, "0", anEnum, core.AsksNothing},
		{"a type that matches", core.TypeMatches, "0", nested(1), core.AsksMatch},
		{"a struct in a struct", core.TypeMatches, "0", nested(2), core.AsksMatch},
		{"a struct behind a pointer", core.TypeMatches, "0", func(b *builder) btf.TypeID {
			return b.structure("s", 8, member{"p", b.ptr(nested(4)(b)), 0, 0})
		}, core.AsksMatch},
		{"existence of structs in structs", core.TypeExists, "0", nested(5), core.AsksNothing},
		{"existence of a callback", core.TypeExists, "0", callbacks(1), core.AsksNothing},
		{"existence of a callback's callback", core.TypeExists, "0", callbacks(2), core.AsksNothing},
		{"id in the object", core.TypeIDLocal, "0", callbacks(4), core.AsksNothing},
		{"an access string that is none", core.FieldSigned, "0:9", fieldOf(anEnum), core.AsksNothing},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec, rec := record(t, c.kind, c.access, c.build)
			assert.Equal(t, core.Asks(spec, rec), c.want)
		})
	}
	// Recursive types end.
	b := newBuilder()
	self := b.structure("self", 8, member{"next", 2, 0, 0})
	b.ptr(self)
	spec := b.spec(t)
	for kind := core.FieldByteOffset; kind <= core.TypeMatches; kind++ {
		core.Asks(spec, core.Record{TypeID: self, Kind: kind})
	}
}

func TestElementAccess(t *testing.T) {
	const load, store, storeImm, move = 0x61, 0x63, 0x62, 0xb7
	array := func(dims ...uint32) func(b *builder) btf.TypeID {
		return fieldOf(func(b *builder) btf.TypeID {
			i := integer(b)
			id := i
			for _, n := range dims {
				id = b.array(id, i, n)
			}
			return b.typedef("list", id)
		})
	}
	for _, c := range []struct {
		name   string
		op     uint8
		kind   core.Kind
		access string
		build  func(b *builder) btf.TypeID
		want   string // empty if there is none
	}{
		{"load of an array", load, core.FieldByteOffset, "0:0", array(4), "0:0:0"},
		{"store to an array", store, core.FieldByteOffset, "0:0", array(4), "0:0:0"},
		{"store of a constant", storeImm, core.FieldByteOffset, "0:0", array(4), "0:0:0"},
		{"two dimensions", load, core.FieldByteOffset, "0:0", array(4, 3), "0:0:0:0"},
		{"a row", load, core.FieldByteOffset, "0:0:2", array(4, 3), "0:0:2:0"},
		{"an element", load, core.FieldByteOffset, "0:0:2", array(4), ""},
		{"no array", load, core.FieldByteOffset, "0:0", fieldOf(integer), ""},
		{"offset as a number", move, core.FieldByteOffset, "0:0", array(4), ""},
		{"size of an array", load, core.FieldByteSize, "0:0", array(4), ""},
		{"an access string that is none", load, core.FieldByteOffset, "0:7", array(4), ""},
		{"as long as can be", load, core.FieldByteOffset, "0:0", array(slices.Repeat([]uint32{1}, 61)...), "0:0" + strings.Repeat(":0", 61)},
		{"longer than can be", load, core.FieldByteOffset, "0:0", array(slices.Repeat([]uint32{1}, 70)...), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec, rec := record(t, c.kind, c.access, c.build)
			rec.InsnOff = 8
			got, ok := core.ElementAccess(spec, insn.Insns{0xb7, 0, 0, 0, 0, 0, 0, 0, c.op, 0, 0, 0, 0, 0, 0, 0}, rec)
			assert.Equal(t, ok, c.want != "", got)
			if ok {
				assert.Equal(t, got, c.want)
			}
			rec.InsnOff = 16
			_, ok = core.ElementAccess(spec, make(insn.Insns, 16), rec)
			assert.Assert(t, !ok, "behind the program's end")
		})
	}
}

func TestKindClashes(t *testing.T) {
	b := newBuilder()
	i := integer(b)
	ids := map[string]btf.TypeID{
		"struct a": b.structure("a", 4, member{"m", i, 0, 0}), "a typedef": b.typedef("a___other", i), "struct a again": b.structure("a___2", 0),
		"enum e": b.enum("e", 4, false, enumerator{"A", 1}), "enum64 e": b.enum64("e", false, enumerator{"B", 1}), "union e": b.union("e___u", 0),
	}
	spec := b.spec(t)
	for _, c := range []struct {
		types []string
		want  string
	}{
		{[]string{"struct a"}, ""},
		{[]string{"struct a", "struct a again"}, ""},
		{[]string{"struct a", "a typedef"}, "a"},
		{[]string{"struct a", "enum e"}, ""},
		{[]string{"enum e", "enum64 e"}, ""},
		{[]string{"enum64 e", "union e", "struct a"}, "e"},
	} {
		for _, apart := range []bool{false, true} { // in one program, and in one each
			for _, kind := range []core.Kind{core.TypeExists, core.TypeIDLocal} {
				var programs [][]core.Record
				for _, name := range c.types {
					rec := core.Record{TypeID: ids[name], Kind: kind}
					if apart || len(programs) == 0 {
						programs = append(programs, nil)
					}
					programs[len(programs)-1] = append(programs[len(programs)-1], rec)
				}
				clashes := core.KindClashes(spec, programs)
				if c.want == "" || kind == core.TypeIDLocal { // no kernel looks it up
					assert.Equal(t, len(clashes), 0, "%v", c.types)
				} else {
					assert.DeepEqual(t, clashes, map[string]bool{c.want: true})
				}
			}
		}
	}
}

func TestEnumerator(t *testing.T) {
	b := newBuilder()
	e := b.enum("e", 4, false, enumerator{"A", 1}, enumerator{"B", 2})
	s := b.structure("s", 4, member{"e", e, 0, 0})
	first, second, third := b.str("0"), b.str("1"), b.str("2")
	spec := b.spec(t)
	for access, want := range map[uint32]int{first: 0, second: 1} {
		for _, kind := range []core.Kind{core.EnumvalExists, core.EnumvalValue} {
			i, ok := core.Enumerator(spec, core.Record{TypeID: e, AccessStr: access, Kind: kind})
			assert.Assert(t, ok)
			assert.Equal(t, i, want)
		}
	}
	for _, rec := range []core.Record{
		{TypeID: e, AccessStr: third, Kind: core.EnumvalValue}, {TypeID: s, AccessStr: first, Kind: core.EnumvalValue},
		{TypeID: e, AccessStr: first, Kind: core.TypeExists}, {TypeID: s, AccessStr: first, Kind: core.FieldExists},
	} {
		_, ok := core.Enumerator(spec, rec)
		assert.Assert(t, !ok, "%+v", rec)
	}
}
