package trace_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"
	"gotest.tools/v3/golden"

	"github.com/bpfreplay/bpfreplay/internal/emit"
	"github.com/bpfreplay/bpfreplay/internal/insn"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/trace"
)

const (
	coreObjects   = "../../selftests/bpf"
	objectObjects = "../object/testdata"
	loaderObjects = "../../loader/testdata"
)

func open(t testing.TB, path ...string) *object.Object {
	t.Helper()
	obj, err := object.Open(filepath.Join(path...))
	assert.NilError(t, err)
	return obj
}

func plan(t testing.TB, obj *object.Object, opts trace.Options) *trace.Trace {
	t.Helper()
	tr, err := trace.Plan(obj, opts)
	assert.NilError(t, err)
	return tr
}

func text(t testing.TB, tr *trace.Trace) string {
	t.Helper()
	var b bytes.Buffer
	n, err := tr.WriteTo(&b)
	assert.NilError(t, err)
	assert.Equal(t, int(n), b.Len())
	return b.String()
}

// off returns options that leave out programs that no load accepts.
func off(names ...string) trace.Options {
	o := trace.Options{Autoload: make(map[string]bool)}
	for _, n := range names {
		o.Autoload[n] = false
	}
	return o
}

// TestGolden compares printed traces with golden files.
func TestGolden(t *testing.T) {
	for _, c := range []struct {
		dir, object string
		opts        trace.Options
	}{
		{coreObjects, "maps_many.bpf.o", trace.Options{}},
		{coreObjects, "maps_perf_event_array.bpf.o", trace.Options{}},
		{coreObjects, "maps_queue_typed.bpf.o", trace.Options{}},
		{coreObjects, "data_sections.bpf.o", trace.Options{}},
		{coreObjects, "kfunc_module.bpf.o", trace.Options{}},
		{coreObjects, "kfunc_weak_guarded.bpf.o", trace.Options{}},
		{coreObjects, "core_subprogs.bpf.o", trace.Options{}},
		{coreObjects, "core_enums.bpf.o", trace.Options{}},
		{coreObjects, "subprogs_nested.bpf.o", trace.Options{}},
		{coreObjects, "kconfig_version.bpf.o", trace.Options{}},
		{coreObjects, "ksym_typed_weak.bpf.o", trace.Options{}},
		{coreObjects, "ksym_typeless.bpf.o", trace.Options{}},
		{coreObjects, "prog_fentry.bpf.o", trace.Options{}},
		{coreObjects, "btf_none.bpf.o", trace.Options{}},
		{objectObjects, "maps.o", trace.Options{}},
		{objectObjects, "arena.o", trace.Options{}},
		{objectObjects, "structops.o", trace.Options{}},
		{objectObjects, "calls.o", trace.Options{Autoload: map[string]bool{"throws": true}}},
		{objectObjects, "sections.o", off("fe_notarget", "no_such_section", "ns", "fem")},
		{loaderObjects, "steps.o", trace.Options{}},
		{loaderObjects, "freplace.o", trace.Options{}},
	} {
		name, _, _ := strings.Cut(c.object, ".")
		t.Run(name, func(t *testing.T) {
			golden.Assert(t, text(t, plan(t, open(t, c.dir, c.object), c.opts)), name+".golden")
		})
	}
}

// allObjects returns the objects that can be opened and planned.
func allObjects(t testing.TB) []string {
	t.Helper()
	var out []string
	for _, dir := range []string{coreObjects, objectObjects, loaderObjects} {
		files, err := filepath.Glob(filepath.Join(dir, "*.o"))
		assert.NilError(t, err)
		for _, f := range files {
			if !strings.HasPrefix(filepath.Base(f), "bad_") {
				out = append(out, f)
			}
		}
	}
	assert.Assert(t, len(out) > 120)
	return out
}

// TestDeterministic: the same object gives the same text and the same bytes.
func TestDeterministic(t *testing.T) {
	planned := 0
	for _, file := range allObjects(t) {
		var texts []string
		var files [][]byte
		for range 3 {
			tr, err := trace.Plan(open(t, file), trace.Options{})
			if err != nil {
				break // refusals are tested elsewhere
			}
			a, err := emit.Emit(tr)
			assert.NilError(t, err, file)
			raw, err := a.MarshalBinary()
			assert.NilError(t, err, file)
			texts, files = append(texts, text(t, tr)), append(files, raw)
		}
		if len(texts) == 0 {
			continue
		}
		planned++
		for i := range texts {
			assert.Equal(t, texts[i], texts[0], file)
			assert.Assert(t, bytes.Equal(files[i], files[0]), file)
		}
	}
	assert.Assert(t, planned > 120, "%d objects", planned)
}

// TestPlanKeepsObject: planning does not change the object, so it can be planned again with other
// options.
func TestPlanKeepsObject(t *testing.T) {
	for _, file := range allObjects(t) {
		obj := open(t, file)
		first, err := trace.Plan(obj, trace.Options{})
		if err != nil {
			continue
		}
		// Overwrite what the first plan returned.
		for _, c := range first.Commands {
			if c, ok := c.(*trace.LoadProgram); ok {
				clear(c.Insns)
				clear(c.FuncInfo)
				clear(c.LineInfo)
				clear(c.CORE)
			}
		}
		assert.Equal(t, text(t, plan(t, obj, trace.Options{})), text(t, plan(t, open(t, file), trace.Options{})), file)
	}
}

// fn builds a function whose calls are to other functions, by index.
func fn(name string, subprog bool, calls ...int) object.Function {
	f := object.Function{Name: name, Section: "tc", Subprog: subprog, Autoload: !subprog}
	if !subprog {
		f.Program.Type = 3
	}
	for i, to := range calls {
		f.Insns = append(f.Insns, insn.Call, 0x10, 0, 0, 0xff, 0xff, 0xff, 0xff)
		f.Relocations = append(f.Relocations, object.Relocation{Insn: i, Kind: object.RelocCall, Target: to})
	}
	// Each function returns its own number, which makes the order visible.
	number := byte(name[len(name)-1])
	f.Insns = append(f.Insns, 0xb7, 0, 0, 0, number, 0, 0, 0, insn.Exit, 0, 0, 0, 0, 0, 0, 0)
	return f
}

func programs(tr *trace.Trace) []*trace.LoadProgram {
	var out []*trace.LoadProgram
	for _, c := range tr.Commands {
		if c, ok := c.(*trace.LoadProgram); ok {
			out = append(out, c)
		}
	}
	return out
}

// order returns the order of functions of fn in a linked program.
func order(p *trace.LoadProgram) string {
	var b strings.Builder
	in := insn.Insns(p.Insns)
	for i := range in.Len() {
		if in.Op(i) == 0xb7 {
			b.WriteByte(byte(in.Imm(i)))
		}
	}
	return b.String()
}

// TestLinkOrder: subprograms follow in the order of a depth-first walk along the calls, each once,
// as in libbpf.
func TestLinkOrder(t *testing.T) {
	for _, c := range []struct {
		name  string
		calls [][]int // of program M, then of subprograms A, B, C, …
		want  string
	}{
		{"no calls", [][]int{{}, {}}, "M"},
		{"one", [][]int{{1}, {}}, "MA"},
		{"twice", [][]int{{1, 1}, {}}, "MA"},
		{"in order of calls", [][]int{{2, 1}, {}, {}}, "MBA"},
		{"depth first", [][]int{{1, 2}, {3}, {}, {}}, "MACB"},
		{"diamond", [][]int{{1, 2}, {3}, {3}, {}}, "MACB"},
		{"chain", [][]int{{3}, {}, {1}, {2}}, "MCBA"},
		{"recursion", [][]int{{1}, {2}, {1, 2}}, "MAB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			obj := &object.Object{License: "GPL"}
			for i, calls := range c.calls {
				obj.Functions = append(obj.Functions, fn(string("MABCDEF"[i]), i > 0, calls...))
			}
			tr := plan(t, obj, trace.Options{})
			p := programs(tr)[0]
			assert.Equal(t, order(p), c.want)
			checkCalls(t, obj, p)
		})
	}
}

// checkCalls checks that each call reaches the intended function.
func checkCalls(t *testing.T, obj *object.Object, p *trace.LoadProgram) {
	t.Helper()
	in := insn.Insns(p.Insns)
	start := make(map[string]int)
	at := 0
	for _, name := range order(p) {
		i := slices.IndexFunc(obj.Functions, func(f object.Function) bool { return f.Name == string(name) })
		start[string(name)] = at
		at += len(obj.Functions[i].Insns) / insn.Size
	}
	for name, s := range start {
		i := slices.IndexFunc(obj.Functions, func(f object.Function) bool { return f.Name == name })
		for _, r := range obj.Functions[i].Relocations {
			call := s + r.Insn
			assert.Assert(t, in.IsCallTo(call, insn.PseudoCall))
			assert.Equal(t, call+1+int(in.Imm(call)), start[obj.Functions[r.Target].Name])
		}
	}
}

func TestSharedSubprograms(t *testing.T) {
	obj := &object.Object{License: "GPL", Functions: []object.Function{fn("M", false, 2), fn("N", false, 2), fn("A", true, 3), fn("B", true)}}
	ps := programs(plan(t, obj, trace.Options{}))
	assert.Equal(t, order(ps[0]), "MAB")
	assert.Equal(t, order(ps[1]), "NAB")
}

// TestDeepCalls: a chain of calls of the maximum length needs little stack and time.
func TestDeepCalls(t *testing.T) {
	obj := &object.Object{License: "GPL"}
	const depth = 300_000
	for i := range depth {
		if i < depth-1 {
			obj.Functions = append(obj.Functions, fn("F", i > 0, i+1))
		} else {
			obj.Functions = append(obj.Functions, fn("F", true))
		}
	}
	p := programs(plan(t, obj, trace.Options{}))[0]
	assert.Equal(t, len(p.Insns), (3*depth-1)*insn.Size)
}

// TestTooMuchCode: many programs that each include a large subprogram are refused before they fill
// the memory.
func TestTooMuchCode(t *testing.T) {
	large := fn("L", true)
	large.Insns = append(bytes.Repeat([]byte{0xb7, 0, 0, 0, 0, 0, 0, 0}, 900_000), large.Insns...)
	obj := &object.Object{License: "GPL", Functions: []object.Function{large}}
	for range 2000 {
		obj.Functions = append(obj.Functions, fn("M", false, 0))
	}
	_, err := trace.Plan(obj, trace.Options{})
	assert.ErrorIs(t, err, unix.E2BIG)

	more := fn("L", true)
	more.Insns = bytes.Repeat([]byte{0xb7, 0, 0, 0, 0, 0, 0, 0}, 1_000_001)
	_, err = trace.Plan(&object.Object{Functions: []object.Function{more, fn("M", false, 0)}}, trace.Options{})
	assert.ErrorIs(t, err, unix.E2BIG)
	assert.ErrorContains(t, err, "program M")
}

// withInfo gives a function records of func_info and line_info. The line offsets are from the
// function's start.
func withInfo(f object.Function, funcs bool, lines ...uint32) object.Function {
	f.FuncInfoRecSize, f.LineInfoRecSize = 8, 16
	if funcs {
		f.FuncInfo = make([]byte, 8)
		f.FuncInfo[4] = f.Name[0]
	}
	for _, l := range lines {
		f.LineInfo = binary.LittleEndian.AppendUint32(f.LineInfo, l)
		f.LineInfo = append(f.LineInfo, make([]byte, 12)...)
	}
	return f
}

// TestInfo: a program has func_info only if all its functions have it, and line_info only if it
// begins at the start of each function. Offsets count from the program's start.
func TestInfo(t *testing.T) {
	types := open(t, coreObjects, "subprogs_static.bpf.o").BTF
	for _, c := range []struct {
		name         string
		a, b         object.Function
		funcs, lines []uint32
	}{
		{"all", withInfo(fn("M", false, 1), true, 0, 2), withInfo(fn("A", true), true, 0, 1), []uint32{0, 3}, []uint32{0, 2, 3, 4}},
		{"no line_info", withInfo(fn("M", false, 1), true), withInfo(fn("A", true), true), []uint32{0, 3}, nil},
		{"line_info of the program only", withInfo(fn("M", false, 1), true, 0), withInfo(fn("A", true), true), []uint32{0, 3}, nil},
		{"line_info of the subprogram only", withInfo(fn("M", false, 1), true), withInfo(fn("A", true), true, 0), []uint32{0, 3}, nil},
		{"line_info that begins late", withInfo(fn("M", false, 1), true, 0), withInfo(fn("A", true), true, 1), []uint32{0, 3}, nil},
		{"func_info missing", withInfo(fn("M", false, 1), true, 0), withInfo(fn("A", true), false, 0), nil, nil},
		{"func_info of the subprogram only", withInfo(fn("M", false, 1), false, 0), withInfo(fn("A", true), true, 0), nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			obj := &object.Object{License: "GPL", BTF: types, Functions: []object.Function{c.a, c.b}}
			p := programs(plan(t, obj, trace.Options{}))[0]
			assert.DeepEqual(t, offsets(p.FuncInfo, 8), c.funcs)
			assert.DeepEqual(t, offsets(p.LineInfo, 16), c.lines)
			assert.Equal(t, p.BTF == trace.NoFD, c.funcs == nil)
		})
	}
}

func offsets(records []byte, size int) []uint32 {
	var out []uint32
	for ; len(records) >= size; records = records[size:] {
		out = append(out, binary.LittleEndian.Uint32(records))
	}
	return out
}

// TestWeakKfunc: a call of a weak kfunc stays poisoned until the kfunc is found, so the verifier
// refuses it unless it is dead code.
func TestWeakKfunc(t *testing.T) {
	f := fn("M", false)
	f.Insns = append([]byte{
		insn.Call, 0x20, 7, 0, 0xff, 0xff, 0xff, 0xff,
		insn.LdImm64, 0x31, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0,
		insn.LdImm64, 0x32, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0,
	}, f.Insns...)
	f.Relocations = []object.Relocation{
		{Insn: 0, Kind: object.RelocKfunc, Target: 3},
		{Insn: 1, Kind: object.RelocKsym, Target: 1},
		{Insn: 3, Kind: object.RelocKsym, Target: 2},
	}
	for _, weak := range []bool{true, false} {
		obj := &object.Object{License: "GPL", Functions: []object.Function{f}, Externs: []object.Extern{
			{Name: "unused", Kind: object.ExternKconfig},
			{Name: "variable___flavour", Kind: object.ExternVar, Weak: weak},
			{Name: "address", Kind: object.ExternTypeless, Weak: weak},
			{Name: "function___v2", Kind: object.ExternFunc, Weak: weak, DeclType: 5},
		}}
		tr := plan(t, obj, trace.Options{})
		p := programs(tr)[0]
		in := insn.Insns(p.Insns)
		assert.Equal(t, in.Off(0), int16(0))
		var names []string
		for _, s := range tr.Symbols {
			names = append(names, s.Name)
			assert.Equal(t, s.Weak, weak)
			assert.Equal(t, s.Mismatch != nil, weak && s.Kind == trace.SymbolKfunc, "only a weak kfunc may have another prototype")
		}
		assert.DeepEqual(t, names, []string{"function", "variable", "address"})
		if weak {
			assert.Equal(t, in.Src(0), uint8(0))
			assert.Equal(t, in.Imm(0), int32(2002000002), "libbpf's POISON_CALL_KFUNC_BASE and the place of the extern in its order")
			assert.Equal(t, in.Src(1), uint8(0), "the constant 0")
		} else {
			assert.Equal(t, in.Src(0), uint8(insn.PseudoKfunc))
			assert.Equal(t, in.Imm(0), int32(0))
			assert.Equal(t, in.Src(1), uint8(insn.PseudoBTFID))
		}
		assert.Equal(t, in.Src(3), uint8(0))
		for _, i := range []int{1, 2, 3, 4} {
			assert.Equal(t, in.Imm(i), int32(0))
		}
	}
}

// TestSymbolsOnce: a symbol is looked up once for all its uses.
func TestSymbolsOnce(t *testing.T) {
	tr := plan(t, open(t, coreObjects, "kfunc_many.bpf.o"), trace.Options{})
	seen := make(map[string]bool)
	uses := 0
	for i := range tr.Symbols {
		s := fmt.Sprintf("%d %s %s", tr.Symbols[i].Kind, tr.Symbols[i].Module, tr.Symbols[i].Name)
		assert.Assert(t, !seen[s], s)
		seen[s] = true
	}
	for _, p := range programs(tr) {
		for _, f := range p.Fixups {
			if f.Kind == trace.FixupCall {
				uses++
			}
		}
	}
	assert.Assert(t, uses > len(tr.Symbols), "%d uses of %d symbols", uses, len(tr.Symbols))
}

func names[T any](list []T, name func(T) string) []string {
	var out []string
	for _, x := range list {
		out = append(out, name(x))
	}
	return out
}

func mapNames(tr *trace.Trace) []string {
	return names(tr.Maps, func(m *trace.Map) string { return m.Name })
}

func programNames(tr *trace.Trace) []string {
	return names(tr.Programs, func(p *trace.Program) string { return p.Name })
}

func TestAutoload(t *testing.T) {
	obj := open(t, objectObjects, "calls.o")
	assert.DeepEqual(t, programNames(plan(t, obj, trace.Options{})), []string{"one", "two"})
	o := trace.Options{Autoload: map[string]bool{"one": false, "throws": true}}
	assert.DeepEqual(t, programNames(plan(t, obj, o)), []string{"two", "throws"})
	assert.Equal(t, len(programs(plan(t, obj, off("one", "two")))), 0)
	// A subprogram cannot be loaded by itself.
	o = trace.Options{Autoload: map[string]bool{"leaf": true}}
	assert.DeepEqual(t, programNames(plan(t, obj, o)), []string{"one", "two"})
}

func TestAutocreate(t *testing.T) {
	obj := open(t, objectObjects, "structops.o")
	tr := plan(t, obj, trace.Options{})
	assert.DeepEqual(t, mapNames(tr), []string{"plain", "linked"})
	assert.DeepEqual(t, programNames(tr), []string{"shared", "made_autoload"})

	tr = plan(t, obj, trace.Options{Autocreate: map[string]bool{"plain": false, "optional": true}})
	assert.DeepEqual(t, mapNames(tr), []string{"linked", "optional"})
	assert.DeepEqual(t, programNames(tr), []string{"only_optional", "made_autoload"})

	tr = plan(t, obj, trace.Options{Autocreate: map[string]bool{"plain": false, "linked": false}})
	assert.Equal(t, len(tr.Maps)+len(tr.Programs), 0)

	tr = plan(t, obj, trace.Options{Autocreate: map[string]bool{"plain": false}, Autoload: map[string]bool{"shared": true, "made_autoload": false}})
	assert.DeepEqual(t, programNames(tr), []string{"shared"})

	_, err := trace.Plan(open(t, coreObjects, "maps_array.bpf.o"), trace.Options{Autocreate: map[string]bool{
		mapNames(plan(t, open(t, coreObjects, "maps_array.bpf.o"), trace.Options{}))[0]: false,
	}})
	assert.ErrorContains(t, err, "which is not created")
	assert.ErrorIs(t, err, unix.EINVAL)
}

func TestRefusals(t *testing.T) {
	load := func() object.Function {
		f := fn("M", false)
		f.Insns = append([]byte{insn.LdImm64, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, f.Insns...)
		return f
	}
	at := func(i int, kind object.RelocationKind, f object.Function) object.Function {
		f.Relocations = []object.Relocation{{Insn: i, Kind: kind}}
		return f
	}
	jump := object.Map{Name: ".jumptables", Kind: object.MapJumpTable, JumpTable: &object.JumpTable{Function: 1, Targets: []uint32{0}}}
	for _, c := range []struct {
		name    string
		obj     object.Object
		subject string
		want    string
	}{
		{"unknown section", object.Object{Functions: []object.Function{{Name: "p", Section: "nope", Autoload: true}}}, "program p", `section "nope"`},
		{"no attach target", object.Object{Functions: []object.Function{
			{Name: "p", Section: "fentry", Autoload: true, Program: object.ProgramType{Type: 26, NeedsBTF: true}},
		}}, "program p", "names no attach target"},
		{"broken function", object.Object{Functions: []object.Function{
			{Name: "p", Autoload: true, Program: object.ProgramType{Type: 3}, Err: object.ErrMalformed},
		}}, "program p", object.ErrMalformed.Error()},
		{"map of maps without inner map", object.Object{Maps: []object.Map{{Name: "outer", Type: 12}}}, "map outer", "inner map"},
		{"slot of a program that is not loaded", object.Object{
			Maps:      []object.Map{{Name: "jumps", Type: 3, Slots: []object.Slot{{Index: 2}}}},
			Functions: []object.Function{{Name: "p"}},
		}, "map jumps", "slot 2 holds program p"},
		{"call relocation of another instruction", object.Object{Functions: []object.Function{at(0, object.RelocCall, load())}}, "program M", "not a call"},
		{"map relocation of another instruction", object.Object{Maps: []object.Map{{Name: "m"}}, Functions: []object.Function{at(2, object.RelocMap, load())}}, "program M", "not a 64-bit load"},
		{"relocation behind the end", object.Object{Functions: []object.Function{at(4, object.RelocCall, load())}}, "program M", "does not exist"},
		{"kconfig without its map", object.Object{Externs: []object.Extern{{Name: "CONFIG_X"}}, Functions: []object.Function{at(0, object.RelocKconfig, load())}}, "program M", ".kconfig"},
		{"jump table of another function", object.Object{Maps: []object.Map{jump}, Functions: []object.Function{at(0, object.RelocJumpTable, load()), fn("A", true)}}, "program M", "jump table of another function"},
		{"map that is a jump table", object.Object{Maps: []object.Map{jump}, Functions: []object.Function{at(0, object.RelocMap, load()), fn("A", true)}}, "program M", "not created"},
		{"pin outside of its directory", object.Object{Maps: []object.Map{{Name: "../m", Pinning: 1}}}, "map ../m", "no kernel takes this name"},
		{"program of two struct_ops types", structOpsTwice("a", "f", "b", "f"), "map second", "member f of struct b is program p, which is member f of struct a already"},
		{"program of two struct_ops members", structOpsTwice("a", "f", "a", "g"), "map second", "member g of struct a is program p"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := trace.Plan(&c.obj, trace.Options{})
			assert.Assert(t, is.ErrorContains(err, c.want))
			assert.Assert(t, is.ErrorContains(err, c.subject+": "))
			assert.ErrorIs(t, err, unix.EINVAL)
		})
	}
}

// structOpsTwice builds an object with a program that is a member in two maps.
func structOpsTwice(type1, member1, type2, member2 string) object.Object {
	ops := func(name, of, member string) object.Map {
		return object.Map{Name: name, Kind: object.MapStructOps, Type: 26, StructOps: &object.StructOps{
			Type: of, Members: []object.StructOpsMember{{Name: member, Function: 0}},
		}}
	}
	p := fn("p", false)
	p.Program.Type = 27
	return object.Object{Maps: []object.Map{ops("first", type1, member1), ops("second", type2, member2)}, Functions: []object.Function{p}}
}

// TestStructOpsMember: a map that is not created does not decide a program's member.
func TestStructOpsMember(t *testing.T) {
	member := func(obj object.Object, opts trace.Options) string {
		t.Helper()
		p := programs(plan(t, &obj, opts))[0]
		assert.Equal(t, p.Expected.Kind, trace.SettingMember)
		return p.Expected.StructOps.Type + "." + p.Expected.Member
	}
	assert.Equal(t, member(structOpsTwice("a", "f", "a", "f"), trace.Options{}), "a.f")
	without := trace.Options{Autocreate: map[string]bool{"first": false}}
	assert.Equal(t, member(structOpsTwice("a", "f", "b", "g"), without), "b.g")
	none := trace.Options{Autocreate: map[string]bool{"first": false, "second": false}, Autoload: map[string]bool{"p": true}}
	assert.Equal(t, member(structOpsTwice("a", "f", "b", "g"), none), "a.f")
}

// TestJumpTable: each program has its own table, whose instructions count from the program's start.
func TestJumpTable(t *testing.T) {
	sub := fn("S", true)
	sub.Insns = append([]byte{insn.LdImm64, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, sub.Insns...)
	sub.Relocations = []object.Relocation{{Insn: 0, Kind: object.RelocJumpTable, Target: 1, Offset: 8}}
	obj := &object.Object{
		License: "GPL",
		Maps: []object.Map{
			{Name: "user", Type: 2, KeySize: 4, ValueSize: 4, MaxEntries: 1},
			{Name: ".jumptables", Kind: object.MapJumpTable, JumpTable: &object.JumpTable{Function: 0, Targets: []uint32{2, 3}}},
		},
		Functions: []object.Function{sub, fn("M", false, 0), fn("N", false), fn("O", false, 0, 0)},
	}
	tr := plan(t, obj, trace.Options{})
	assert.DeepEqual(t, mapNames(tr), []string{"user"})
	golden.Assert(t, text(t, tr), "jump_table.golden")
	var starts []uint32
	for _, c := range tr.Commands {
		if c, ok := c.(*trace.FillArray); ok {
			assert.Equal(t, c.Count, 2)
			starts = append(starts, binary.LittleEndian.Uint32(c.Values), binary.LittleEndian.Uint32(c.Values[16:]))
		}
	}
	assert.DeepEqual(t, starts, []uint32{5, 6, 6, 7})
}

func TestStepErrorText(t *testing.T) {
	tr := plan(t, open(t, loaderObjects, "steps.o"), trace.Options{})
	for _, c := range tr.Commands {
		err := trace.Fail(c, unix.EINVAL, "line\n")
		assert.ErrorIs(t, err, unix.EINVAL)
		assert.Assert(t, is.Contains(err.Error(), c.Subject()+": "))
		assert.Assert(t, is.Contains(err.Error(), ": EINVAL: line"))
		assert.Assert(t, !strings.Contains(err.Error(), "*trace"), "%v", err)
	}
	assert.Equal(t, trace.Fail(tr.Commands[0], fmt.Errorf("more: %w", unix.ENOENT), "").Error(), "the object's BTF: BTF_LOAD: more: no such file or directory")
}

// TestHiddenCharacters: names of an object cannot control the terminal or forge a line of a trace.
func TestHiddenCharacters(t *testing.T) {
	const evil = "\x1b[31m\n"
	exit := []byte{0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0}
	call := []byte{0x85, 0x20, 0, 0, 0xff, 0xff, 0xff, 0xff}
	load := make([]byte, 16)
	load[0] = 0x18
	insns := slices.Concat(load, load, call, exit)
	obj := &object.Object{
		Name: "o" + evil, License: "l" + evil,
		Maps: []object.Map{
			{Name: "m", Section: ".data" + evil, Kind: object.MapData, Type: 2, KeySize: 4, ValueSize: 4, MaxEntries: 1, Pinning: 1},
			{Name: "s", Kind: object.MapStructOps, Type: 26, StructOps: &object.StructOps{Type: "t" + evil}},
			{Name: "a", Kind: object.MapUser, Type: 33},
			{Name: "outer", Kind: object.MapUser, Type: 12, KeySize: 4, ValueSize: 4, Inner: &object.Map{Name: "i" + evil, Type: 2}},
		},
		Externs: []object.Extern{{Name: "k" + evil, Kind: object.ExternFunc}, {Name: "y" + evil, Kind: object.ExternTypeless}},
		Functions: []object.Function{{
			Name: "p", Section: "fentry/" + evil, Autoload: true, Insns: insns,
			Program: object.ProgramType{Type: 26, AttachType: 24, NeedsBTF: true, Attach: "mod" + evil + ":f" + evil},
			Relocations: []object.Relocation{
				{Insn: 0, Kind: object.RelocMap}, {Insn: 2, Kind: object.RelocKsym, Target: 1}, {Insn: 4, Kind: object.RelocKfunc},
			},
		}},
	}
	tr := plan(t, obj, trace.Options{})
	var b strings.Builder
	_, err := tr.WriteTo(&b)
	assert.NilError(t, err)
	text := b.String()
	for _, c := range tr.Commands {
		text += c.Subject() + trace.What(c) + "\n"
	}
	assert.Check(t, !strings.ContainsRune(text, 0x1b), "%q", text)
	assert.Equal(t, strings.Count(b.String(), "\n"), len(tr.Lines())+4+3, "%s", b.String()) // 4 comments, 3 fixups
	assert.Check(t, is.Contains(text, `<map ".data\x1b[31m\n">`))

	obj.Functions[0].Err = errors.New(evil)
	_, err = trace.Plan(obj, trace.Options{})
	assert.Check(t, err != nil && !strings.ContainsRune(err.Error(), 0x1b), "%q", err)
}

// TestNames: planning refuses names that the kernel's bpf_obj_name_cpy refuses.
func TestNames(t *testing.T) {
	exit := []byte{0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0}
	for name, ok := range map[string]bool{
		"plain_1.x": true, "größe": false, "a b": false, "a\x1b": false, "a-b": false, "\xc3": true, "\xd7": false,
		"fifteen_letters-": true, // the kernel gets the first fifteen
	} {
		for subject, obj := range map[string]*object.Object{
			"map ":     {Maps: []object.Map{{Name: name, Type: 2, KeySize: 4, ValueSize: 4, MaxEntries: 1}}},
			"program ": {Functions: []object.Function{{Name: name, Autoload: true, Program: object.ProgramType{Type: 1}, Insns: exit}}},
		} {
			_, err := trace.Plan(obj, trace.Options{})
			if ok {
				assert.NilError(t, err, name)
				continue
			}
			assert.ErrorIs(t, err, unix.EINVAL)
			assert.ErrorContains(t, err, subject)
			assert.ErrorContains(t, err, "no kernel takes this name")
		}
	}
	_, err := trace.Plan(open(t, objectObjects, "reported", "utf8.o"), trace.Options{})
	assert.Error(t, err, "map größe: invalid argument: no kernel takes this name: names of maps and programs have ASCII letters, digits, '_' and '.'; rename it")
}

// TestUnknownSection: the error about a program without a type suggests a section.
func TestUnknownSection(t *testing.T) {
	for section, want := range map[string]string{
		"tc_ingress":     `section "tc_ingress" is of no known program type; libbpf knows "tc/ingress"; for libbpf before 1.0 and for cilium/ebpf it is "tc" (--sections cilium, or loader.OpenOptions.SectionRules)`,
		"kprobes/f":      `section "kprobes/f" is of no known program type; libbpf knows "kprobe/f"`,
		"of_my_own_kind": `section "of_my_own_kind" is of no known program type`,
	} {
		_, err := trace.Plan(&object.Object{Functions: []object.Function{{Name: "f", Section: section, Autoload: true}}}, trace.Options{})
		assert.Error(t, err, "program f: invalid argument: "+want)
	}
	_, err := trace.Plan(&object.Object{Maps: []object.Map{{Name: "m", Type: 12}}}, trace.Options{})
	assert.ErrorContains(t, err, "map m: invalid argument: a map of maps needs a definition of its inner maps: declare __array(values,")
}
