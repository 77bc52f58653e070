package btf

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/golden"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/need"
)

func readTypes(t testing.TB) []byte {
	t.Helper()
	raw, err := os.ReadFile("testdata/types.btf")
	assert.NilError(t, err)
	return raw
}

func parseTypes(t testing.TB) *Spec {
	t.Helper()
	s, err := Parse(readTypes(t))
	assert.NilError(t, err)
	return s
}

func dump(s *Spec) string {
	var b strings.Builder
	for id := range s.All() {
		t, err := s.Type(id)
		if err != nil {
			fmt.Fprintf(&b, "[%d] %v\n", id, err)
			continue
		}
		fmt.Fprintf(&b, "[%d] %+v\n    %s\n", id, *t, s.Render(id))
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	golden.Assert(t, dump(parseTypes(t)), "types.golden")
}

func TestRender(t *testing.T) {
	s := parseTypes(t)
	node := first(t, s, "node", KindStruct)
	text := s.Render(node)
	for _, want := range []string{
		"struct node { node_t *next; /* 0 */ struct fwd *fwd; /* 8 */ union fwdu *fwdu; /* 16 */ ",
		"const volatile u32 words[2][3]; /* 24 */ ",
		"int (*callback)(struct node *, const char *restrict, ...); ",
		"int (*table[4])(void); ",
		"unsigned int bits:3; ", "unsigned int more:5; /* 88:3 */ ",
		"struct { short x; /* 0 */ union { long l; /* 0 */ char c; /* 0 */ } /* 8 bytes */; /* 8 */ } /* 16 bytes */ inner; ",
		"enum small s; ", "enum big b; ",
		`int (*array_ptr)[5]; `, "char *const volatile cv; ",
	} {
		assert.Assert(t, strings.Contains(strings.ReplaceAll(text, "volatile const", "const volatile"), want), "%q is not in\n%s", want, text)
	}
	assert.Equal(t, s.Render(0), "void")
	assert.Equal(t, s.Render(99999), "<type 99999?>")
	assert.Equal(t, s.Render(first(t, s, "small", KindEnum)), "enum small { A = 0, B = 7, C = -1, } /* 4 bytes */")
	assert.Equal(t, s.Render(first(t, s, "big", KindEnum64)), "enum big { HUGE = 4294967296, TINY = 1, } /* 8 bytes */")
	assert.Equal(t, s.Render(first(t, s, "u32", KindTypedef)), "typedef unsigned int /* unsigned, 32 bits of 4 bytes */ u32")
	assert.Equal(t, s.Render(first(t, s, "fn_global", KindFunc)), "global int fn_global(struct node *n, int b)")
}

// TestRenderIgnoresIDs: types with other ids render the same.
func TestRenderIgnoresIDs(t *testing.T) {
	a := parseTypes(t)
	b := shifted(t, a)
	for id := range a.All() {
		assert.Equal(t, b.Render(id+1), a.Render(id))
	}
}

// shifted returns a blob with an unused INT added as its first type.
func shifted(t *testing.T, s *Spec) *Spec {
	b := newBlob(s.strs)
	b.add("", makeInfo(KindInt, 0, false), 4, 32)
	for id := range s.All() {
		typ, err := s.Type(id)
		assert.NilError(t, err)
		end := s.typeOff + s.typeLen
		if int(id) < s.NumTypes()-1 {
			end = s.offsets[id]
		}
		raw := slices.Clone(s.raw[s.offsets[id-1]:end])
		shiftRefs(raw, typ)
		b.types = append(b.types, raw...)
	}
	out, err := Parse(b.bytes())
	assert.NilError(t, err)
	return out
}

func shiftRefs(raw []byte, t *Type) {
	inc := func(at int) {
		if v := le.Uint32(raw[at:]); v != 0 {
			le.PutUint32(raw[at:], v+1)
		}
	}
	if t.Kind.hasRef() {
		inc(8)
	}
	switch t.Kind {
	case KindArray:
		inc(12)
		inc(16)
	case KindStruct, KindUnion, KindFuncProto:
		step := int(layouts[t.Kind].elem)
		for i := range int(t.Vlen) {
			inc(typeHeader + i*step + 4)
		}
	case KindDatasec:
		for i := range int(t.Vlen) {
			inc(typeHeader + i*12)
		}
	}
}

func first(t testing.TB, s *Spec, name string, kinds ...Kind) TypeID {
	t.Helper()
	id, err := s.First(name, kinds...)
	assert.NilError(t, err)
	return id
}

func TestFind(t *testing.T) {
	s := parseTypes(t)
	for id := range s.All() {
		name := s.TypeName(id)
		if name == "" {
			continue
		}
		assert.DeepEqual(t, slices.Collect(s.FindByName(name)), slices.Collect(parseTypes(t).FindByName(name)))
		assert.Assert(t, slices.Contains(slices.Collect(s.FindByName(name)), id))
		assert.Assert(t, slices.Contains(slices.Collect(s.FindByName(name, s.KindOf(id))), id))
	}
	assert.Equal(t, len(slices.Collect(s.FindByName(""))), 0)
	assert.Equal(t, len(slices.Collect(s.FindByName("node", KindUnion))), 0)
	_, err := s.First("no such type", KindStruct)
	assert.ErrorIs(t, err, ErrNotFound)
	assert.ErrorContains(t, err, `struct "no such type"`)
}

// TestFindOrder: types of one name come in the order of ids.
func TestFindOrder(t *testing.T) {
	b := newBlob("\x00")
	for range 100 {
		b.add("same", makeInfo(KindInt, 0, false), 4, 32)
		b.add("other", makeInfo(KindFloat, 0, false), 4)
	}
	s, err := Parse(b.bytes())
	assert.NilError(t, err)
	for range 2 * maxSearches { // searched at first, then indexed
		ids := slices.Collect(s.FindByName("same"))
		assert.Equal(t, len(ids), 100)
		assert.Assert(t, slices.IsSorted(ids))
		assert.Equal(t, len(slices.Collect(s.FindByName("same", KindFloat))), 0)
		assert.Equal(t, len(slices.Collect(s.FindByName("ame"))), 0)
		assert.Equal(t, len(slices.Collect(s.FindByName("sam"))), 0)
		assert.Equal(t, len(slices.Collect(s.FindByName("same\x00other"))), 0)
	}
	assert.Assert(t, s.names.index.next != nil)
}

func TestSizeAndAlign(t *testing.T) {
	s := parseTypes(t)
	tests := []struct {
		name        string
		kind        Kind
		size, align uint32
	}{
		{"u32", KindTypedef, 4, 4}, {"node", KindStruct, 168, 8}, {"small", KindEnum, 4, 4}, {"big", KindEnum64, 8, 8},
		{"double", KindFloat, 8, 8}, {"global_node", KindVar, 168, 0},
	}
	for _, tt := range tests {
		id := first(t, s, tt.name, tt.kind)
		size, err := s.SizeOf(id)
		assert.NilError(t, err)
		assert.Equal(t, size, tt.size, tt.name)
		if tt.align == 0 {
			continue
		}
		align, err := s.AlignOf(id)
		assert.NilError(t, err)
		assert.Equal(t, align, tt.align, tt.name)
	}
	_, err := s.SizeOf(first(t, s, "fwd", KindFwd))
	assert.ErrorContains(t, err, "has no size")
	_, err = s.SizeOf(0)
	assert.ErrorIs(t, err, ErrNotFound)
}

func TestMalformed(t *testing.T) {
	good := readTypes(t)
	set32 := func(at int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { le.PutUint32(b[at:], v); return b }
	}
	tests := []struct {
		name string
		edit func([]byte) []byte
		text string
	}{
		{"empty", func([]byte) []byte { return nil }, "0 bytes"},
		{"short header", func(b []byte) []byte { return b[:23] }, "23 bytes"},
		{"magic", func(b []byte) []byte { b[0] = 1; return b }, "magic"},
		{"version", func(b []byte) []byte { b[2] = 9; return b }, "version 9"},
		{"header too long", set32(4, 1<<30), "header length"},
		{"header too short", set32(4, 8), "header length"},
		{"types misaligned", set32(8, 2), "misaligned"},
		{"types overlap strings", set32(12, le.Uint32(good[12:])+4), "run into the strings"},
		{"strings too long", set32(20, 1<<31), "strings"},
		{"no strings", set32(20, 0), "string section"},
		{"strings without end", func(b []byte) []byte { b[len(b)-1] = 'x'; return b }, "NUL"},
		{"strings without empty one", func(b []byte) []byte { b[24+le.Uint32(b[16:])] = 'x'; return b }, "empty string"},
		{"unknown kind", set32(24+4, 20<<24), "unknown kind 20"},
		{"kind 0", set32(24+4, 0), "unknown void"},
		{"vlen too large", set32(24+4, uint32(KindStruct)<<24|0xffffff), "cut off"},
		{"name out of range", set32(24, 0x7fffffff), "no string"},
		{"reference out of range", set32(24+8, 0x7fffffff), "refers to type"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(tt.edit(slices.Clone(good)))
			assert.ErrorIs(t, err, ErrMalformed)
			assert.ErrorContains(t, err, tt.text)
		})
	}
	swapped := slices.Clone(good)
	swapped[0], swapped[1] = swapped[1], swapped[0]
	_, err := Parse(swapped)
	assert.ErrorIs(t, err, ErrBigEndian)
}

func TestTruncated(t *testing.T) {
	good := readTypes(t)
	for n := range good {
		_, err := Parse(good[:n:n])
		assert.ErrorIs(t, err, ErrMalformed, "%d bytes", n)
	}
}

func TestInvalidTypes(t *testing.T) {
	tests := []struct {
		name string
		add  func(*blob)
		text string
	}{
		{"typedef of itself", func(b *blob) { b.add("t", makeInfo(KindTypedef, 0, false), 1) }, "contains itself"},
		{"two typedefs", func(b *blob) {
			b.add("a", makeInfo(KindTypedef, 0, false), 2)
			b.add("b", makeInfo(KindTypedef, 0, false), 1)
		}, "contains itself"},
		{"array of itself", func(b *blob) { b.add("", makeInfo(KindArray, 0, false), 0, 1, 1, 4) }, "contains itself"},
		{"struct in itself", func(b *blob) {
			b.add("s", makeInfo(KindStruct, 1, false), 4, 0, 2, 0)
			b.add("", makeInfo(KindConst, 0, false), 1)
		}, "contains itself"},
		{"func of an int", func(b *blob) {
			b.add("i", makeInfo(KindInt, 0, false), 4, 32)
			b.add("f", makeInfo(KindFunc, 1, false), 1)
		}, "not func_proto"},
		{"func linkage", func(b *blob) {
			b.add("", makeInfo(KindFuncProto, 0, false), 0)
			b.add("f", makeInfo(KindFunc, 3, false), 1)
		}, "linkage 3"},
		{"var linkage", func(b *blob) { b.add("v", makeInfo(KindVar, 0, false), 0, 3) }, "linkage 3"},
		{"datasec of an int", func(b *blob) {
			b.add("i", makeInfo(KindInt, 0, false), 4, 32)
			b.add(".data", makeInfo(KindDatasec, 1, false), 4, 1, 0, 4)
		}, "not var or func"},
		{"decl tag component", func(b *blob) { b.add("t", makeInfo(KindDeclTag, 0, false), 1, 0xfffffffe) }, "component -2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBlob("\x00")
			tt.add(b)
			_, err := Parse(b.bytes())
			assert.ErrorIs(t, err, ErrMalformed)
			assert.ErrorContains(t, err, tt.text)

			// A kernel's BTF is not validated as a whole, so walks must end on their own.
			s, err := ParseKernel(b.bytes())
			assert.NilError(t, err)
			walk(s)
		})
	}
}

// walk calls every method that takes a type id.
func walk(s *Spec) {
	for id := range s.All() {
		s.Type(id)
		s.SizeOf(id)
		s.AlignOf(id)
		s.SkipModifiers(id)
		s.Underlying(id)
		s.Render(id)
		s.First(s.TypeName(id))
	}
}

// TestWalksEnd: types for which a full walk would be endless or astronomically long.
func TestWalksEnd(t *testing.T) {
	b := newBlob("\x00")
	// Each anonymous struct has four members of the next: 4^40 in full.
	for i := range uint32(40) {
		next := i + 2
		b.add("", makeInfo(KindStruct, 4, false), 4, 0, next, 0, 0, next, 0, 0, next, 0, 0, next, 0)
	}
	b.add("leaf", makeInfo(KindFloat, 0, false), 4)
	b.add("", makeInfo(KindPtr, 0, false), 43)
	b.add("", makeInfo(KindStruct, 1, false), 8, 0, 42, 0)
	s, err := Parse(b.bytes())
	assert.NilError(t, err)
	assert.Assert(t, len(s.Render(1)) < 2*maxRender)
	assert.Assert(t, len(s.Render(43)) < 2*maxRender)
	_, err = s.AlignOf(1)
	assert.ErrorContains(t, err, "too deeply")
}

func TestVlenOf24Bits(t *testing.T) {
	const n = 70_000
	b := newBlob("\x00")
	words := make([]uint32, 2*n)
	b.add("e", append([]uint32{makeInfo(KindEnum, n, false), 4}, words...)...)
	s, err := Parse(b.bytes())
	assert.NilError(t, err)
	e, err := s.Type(1)
	assert.NilError(t, err)
	assert.Equal(t, len(e.Values), n)
}

// TestLayout: the layout section of 7.1 lets the parser step over unknown kinds.
func TestLayout(t *testing.T) {
	b := newBlob("\x00")
	b.add("i", makeInfo(KindInt, 0, false), 4, 32)
	b.add("new", makeInfo(25, 2, false), 0, 7, 1, 2, 3, 4) // one word, then 2 elements of 2 words
	b.add("j", makeInfo(KindInt, 0, false), 4, 32)
	b.layout = make([]byte, 26*4)
	b.layout[25*4], b.layout[25*4+1] = 4, 8
	s, err := Parse(b.bytes())
	assert.NilError(t, err)
	assert.Equal(t, s.NumTypes(), 4)
	assert.Equal(t, first(t, s, "j"), TypeID(3))
	assert.Equal(t, s.KindOf(2), Kind(25))

	id := s.AppendVar("v", 1, Global)
	again, err := Parse(s.Raw())
	assert.NilError(t, err)
	assert.Equal(t, first(t, again, "v", KindVar), id)
	assert.Equal(t, first(t, again, "new"), TypeID(2))

	raw := b.bytes()
	le.PutUint32(raw[24:], 0x7fffff00) // an offset without a length
	le.PutUint32(raw[28:], 0)
	_, err = Parse(raw)
	assert.ErrorContains(t, err, "unknown kind 25")
}

func TestSplit(t *testing.T) {
	base := parseTypes(t)
	b := newBlob("module\x00")
	node := first(t, base, "node", KindStruct)
	firstStr := uint32(len(base.strs))
	b.types = le.AppendUint32(b.types, firstStr) // "module"
	b.words(makeInfo(KindTypedef, 0, false), uint32(node))
	b.types = le.AppendUint32(b.types, nameOff(t, base, node)) // a name from the base
	b.words(makeInfo(KindPtr, 0, false), uint32(base.NumTypes()))
	s, err := ParseSplit(b.bytes(), base)
	assert.NilError(t, err)
	id := TypeID(base.NumTypes())
	assert.Equal(t, s.FirstID(), id)
	assert.Equal(t, s.NumTypes(), base.NumTypes()+2)
	assert.Equal(t, s.TypeName(id), "module")
	assert.Equal(t, s.TypeName(id+1), "node")
	assert.Equal(t, first(t, s, "module"), id)
	assert.DeepEqual(t, slices.Collect(s.FindByName("node")), append(slices.Collect(base.FindByName("node")), id+1))
	size, err := s.SizeOf(id)
	assert.NilError(t, err)
	assert.Equal(t, size, uint32(168))
	assert.ErrorIs(t, s.SetVarType(1, 1), ErrNotFound)

	_, err = ParseSplit(b.bytes(), nil)
	assert.ErrorContains(t, err, "needs the BTF")
	_, err = Parse(b.bytes())
	assert.ErrorIs(t, err, ErrMalformed)
}

func nameOff(t *testing.T, s *Spec, id TypeID) uint32 {
	typ, err := s.Type(id)
	assert.NilError(t, err)
	return typ.NameOff
}

func TestPatch(t *testing.T) {
	orig := parseTypes(t)
	s := orig.Clone()
	fn, v, sec := first(t, s, "fn_global", KindFunc), first(t, s, "global_node", KindVar), first(t, s, ".data", KindDatasec)
	assert.NilError(t, s.SetLinkage(fn, Static))
	assert.NilError(t, s.SetLinkage(v, Extern))
	i := first(t, s, "int", KindInt)
	assert.NilError(t, s.SetVarType(v, i))
	data, err := s.Type(sec)
	assert.NilError(t, err)
	data.Vars[0].Offset = 16
	assert.NilError(t, s.SetDatasec(sec, 400, data.Vars))
	callback := s.KindOf(0)
	assert.Equal(t, callback, KindVoid)

	again, err := Parse(s.Raw())
	assert.NilError(t, err)
	get := func(id TypeID) *Type {
		typ, err := again.Type(id)
		assert.NilError(t, err)
		return typ
	}
	assert.Equal(t, get(fn).Linkage, Static)
	assert.Equal(t, get(v).Linkage, Extern)
	assert.Equal(t, get(v).Ref, i)
	assert.Equal(t, get(sec).Size, uint32(400))
	assert.Equal(t, get(sec).Vars[0].Offset, uint32(16))
	assert.DeepEqual(t, orig.Raw(), readTypes(t))

	assert.ErrorContains(t, s.SetLinkage(i, Static), "of kind int, not var")
	assert.ErrorContains(t, s.SetDatasec(sec, 1, nil), "not 0")
	assert.ErrorIs(t, s.SetVarType(v, 1<<30), ErrNotFound)
	assert.ErrorIs(t, s.SetLinkage(0, Static), ErrNotFound)
	assert.ErrorIs(t, s.SetLinkage(1<<30, Static), ErrNotFound)
}

func TestNameParams(t *testing.T) {
	b := newBlob("\x00name\x00")
	b.add("i", makeInfo(KindInt, 0, false), 4, 32)
	b.add("", makeInfo(KindFuncProto, 2, false), 0, 0, 1, 0, 0)
	s, err := Parse(b.bytes())
	assert.NilError(t, err)
	assert.NilError(t, s.NameParams(2, 1))
	p, err := s.Type(2)
	assert.NilError(t, err)
	assert.Equal(t, p.Params[0].Name, "name")
	assert.Equal(t, p.Params[1].Name, "", "the end of a variadic list stays without a name")
}

func TestAppend(t *testing.T) {
	orig := parseTypes(t)
	s := orig.Clone()
	i := s.AppendInt("my_int", 2, true)
	v := s.AppendVar("my_var", i, Global)
	assert.Equal(t, int(i), orig.NumTypes())
	again, err := Parse(s.Raw())
	assert.NilError(t, err)
	assert.Equal(t, again.Render(v), "global my_int /* signed, 16 bits of 2 bytes */ my_var")
	assert.Equal(t, first(t, s, "my_var"), v)
	for id := range orig.All() {
		a, err := orig.Type(id)
		assert.NilError(t, err)
		b, err := again.Type(id)
		assert.NilError(t, err)
		assert.DeepEqual(t, a, b)
	}
}

// apply applies a fallback.
func apply(raw []byte, f Fallback) []byte {
	raw = slices.Clone(raw)
	for _, w := range f.Words {
		le.PutUint32(raw[w.Off:], w.Value)
	}
	return raw
}

// TestFallbacks: for a kernel before 5.12, types of the same size and ids replace all kinds that it
// does not know.
func TestFallbacks(t *testing.T) {
	orig := parseTypes(t)
	raw := orig.Raw()
	for _, f := range orig.Fallbacks() {
		raw = apply(raw, f)
	}
	assert.DeepEqual(t, orig.Raw(), readTypes(t))
	again, err := Parse(raw)
	assert.NilError(t, err)
	want := map[Kind]Kind{KindDeclTag: KindInt, KindFloat: KindStruct, KindTypeTag: KindConst, KindEnum64: KindUnion}
	for id := range orig.All() {
		from := orig.KindOf(id)
		to, ok := want[from]
		if !ok {
			to = from
		}
		assert.Equal(t, again.KindOf(id), to, "type %d", id)
		got, err := again.Type(id)
		assert.NilError(t, err)
		if from == KindEnum {
			assert.Assert(t, !got.Flag)
		}
		assert.Equal(t, orig.offsets[id-1], again.offsets[id-1], "type %d moved", id)
	}
	golden.Assert(t, dump(again), "fallbacks.golden")
}

// oldAndNew returns a blob with each kind that some kernels do not know.
func oldAndNew(t testing.TB) *Spec {
	t.Helper()
	b := newBlob("\x00")
	b.add("int", makeInfo(KindInt, 0, false), 4, 32)                       // 1
	b.add("long", makeInfo(KindInt, 0, false), 8, 64)                      // 2
	b.add("wide", makeInfo(KindEnum64, 1, false), 8, 1, 7, 1)              // 3: the name of its value is "int"
	b.add("minus", makeInfo(KindEnum, 1, true), 4, 5, ^uint32(0))          // 4: "long"
	b.add("user", makeInfo(KindTypeTag, 0, false), 1)                      // 5
	b.add("", makeInfo(KindPtr, 0, false), 5)                              // 6
	b.add("tagged", makeInfo(KindStruct, 2, false), 16, 1, 6, 0, 5, 9, 64) // 7
	b.add("declared", makeInfo(KindDeclTag, 0, false), 7, ^uint32(0))      // 8
	b.add("double", makeInfo(KindFloat, 0, false), 8)                      // 9
	b.add("v", makeInfo(KindVar, 0, false), 1, uint32(Global))             // 10
	b.add("?.struct_ops", makeInfo(KindDatasec, 1, false), 4, 10, 0, 4)    // 11
	b.add(".ksyms", makeInfo(KindDatasec, 0, false), 8)                    // 12: empty
	b.add("", makeInfo(KindFuncProto, 0, false), 0)                        // 13
	b.add("f", makeInfo(KindFunc, uint32(Static), false), 13)              // 14
	s, err := Parse(b.bytes())
	assert.NilError(t, err)
	return s
}

// TestEachFallback: a kernel that knows a kind also knows its replacement, and the sizes of all
// types stay.
func TestEachFallback(t *testing.T) {
	orig := oldAndNew(t)
	load := kernelTakes(t)
	assert.NilError(t, load(orig.Raw()), "as it is")
	raw, before := orig.Raw(), orig
	want := map[string]map[TypeID]string{
		"DATASEC ?":     {11: "datasec _.struct_ops"},
		"ENUM64":        {3: "union wide", 4: "enum minus"},
		"TYPE_TAG":      {5: "const "},
		"DECL_TAG":      {8: "int declared"},
		"FLOAT":         {9: "struct "},
		"empty DATASEC": {12: "const "},
	}
	fallbacks := orig.Fallbacks()
	assert.Equal(t, len(fallbacks), len(want))
	for _, f := range fallbacks {
		assert.Assert(t, len(f.Words) > 0, "%s is not replaced", f.Kind)
		raw = apply(raw, f)
		assert.Equal(t, len(raw), len(orig.Raw()), f.Kind)
		now, err := Parse(raw)
		assert.NilError(t, err, f.Kind)
		assert.NilError(t, load(raw), "without %s", f.Kind)
		for id := range orig.All() {
			was, err := before.Type(id)
			assert.NilError(t, err)
			is, err := now.Type(id)
			assert.NilError(t, err)
			if text, ok := want[f.Kind][id]; ok {
				assert.Equal(t, is.Kind.String()+" "+is.Name, text, "%s: type %d", f.Kind, id)
			} else {
				assert.DeepEqual(t, is, was)
			}
			if id <= 7 || id == 9 { // types with a size
				a, err := orig.SizeOf(id)
				assert.NilError(t, err)
				b, err := now.SizeOf(id)
				assert.NilError(t, err)
				assert.Equal(t, a, b, "%s: size of type %d", f.Kind, id)
			}
		}
		before = now
	}
	for _, f := range before.Fallbacks() {
		assert.Equal(t, len(f.Words), 0, "%s is left", f.Kind)
	}
}

// TestWithoutLayout: a kernel before 7.1 refuses a blob with a layout section.
func TestWithoutLayout(t *testing.T) {
	b := newBlob("\x00")
	b.add("i", makeInfo(KindInt, 0, false), 4, 32)
	plain, err := Parse(b.bytes())
	assert.NilError(t, err)
	assert.Assert(t, plain.WithoutLayout() == plain)
	b.layout = make([]byte, 20*4)
	s, err := Parse(b.bytes())
	assert.NilError(t, err)
	c, err := Parse(s.WithoutLayout().Raw())
	assert.NilError(t, err)
	assert.Assert(t, s.hasLayout() && !c.hasLayout())
	assert.Equal(t, len(c.Raw()), len(s.Raw())-20*4)
	assert.Equal(t, c.Render(1), s.Render(1))
	assert.NilError(t, kernelTakes(t)(c.Raw()))
}

// kernelTakes returns a function that issues BTF_LOAD.
func kernelTakes(t testing.TB) func(raw []byte) error {
	t.Helper()
	need.Root(t)
	need.BPF(t)
	return func(raw []byte) error {
		fd, err := bpfsys.LoadBTF(raw, nil)
		if err == nil {
			bpfsys.Close(fd)
		}
		return err
	}
}

func TestKernel(t *testing.T) {
	raw, err := os.ReadFile("/sys/kernel/btf/vmlinux")
	if err != nil {
		t.Skipf("no BTF of the running kernel: %v", err)
	}
	s, err := ParseKernel(raw)
	assert.NilError(t, err)
	id := first(t, s, "task_struct", KindStruct)
	assert.Assert(t, strings.HasPrefix(s.Render(id), "struct task_struct { "))
	full, err := Parse(raw)
	assert.NilError(t, err, "the kernel's own BTF is valid")
	assert.Equal(t, full.NumTypes(), s.NumTypes())
}

// blob builds BTF by hand.
type blob struct {
	types, layout []byte
	strs          string
}

func newBlob(strs string) *blob { return &blob{strs: strs} }

func (b *blob) words(w ...uint32) {
	for _, v := range w {
		b.types = le.AppendUint32(b.types, v)
	}
}

// add appends a type: name, info word and all words that follow.
func (b *blob) add(name string, w ...uint32) {
	off := uint32(0)
	if name != "" {
		off = uint32(len(b.strs))
		b.strs += name + "\x00"
	}
	b.words(off)
	b.words(w...)
}

func (b *blob) bytes() []byte {
	raw := le.AppendUint16(nil, magic)
	raw = append(raw, 1, 0)
	hdr := uint32(minHeader)
	if b.layout != nil {
		hdr = layoutHeader
	}
	strOff := uint32(len(b.types) + len(b.layout))
	for _, v := range []uint32{hdr, 0, uint32(len(b.types)), strOff, uint32(len(b.strs))} {
		raw = le.AppendUint32(raw, v)
	}
	if b.layout != nil {
		raw = le.AppendUint32(raw, uint32(len(b.types)))
		raw = le.AppendUint32(raw, uint32(len(b.layout)))
	}
	raw = append(raw, b.types...)
	raw = append(raw, b.layout...)
	return append(raw, b.strs...)
}

func BenchmarkParseKernel(b *testing.B) {
	raw, err := os.ReadFile("/sys/kernel/btf/vmlinux")
	if err != nil {
		b.Skipf("no BTF of the running kernel: %v", err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseKernel(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseFull(b *testing.B) {
	raw, err := os.ReadFile("/sys/kernel/btf/vmlinux")
	if err != nil {
		b.Skipf("no BTF of the running kernel: %v", err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFirstLookup(b *testing.B) {
	raw, err := os.ReadFile("/sys/kernel/btf/vmlinux")
	if err != nil {
		b.Skipf("no BTF of the running kernel: %v", err)
	}
	s, err := ParseKernel(raw)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Clone().First("task_struct", KindStruct); err != nil {
			b.Fatal(err)
		}
	}
}
