package mutate

import (
	"path/filepath"
	"reflect"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/harness/compare"
	"github.com/bpfreplay/bpfreplay/harness/field"
	"github.com/bpfreplay/bpfreplay/internal/insn"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/trace"
)

const objects = "../../selftests/bpf/"

// open reads an object of the core suite by the name of its case.
func open(t *testing.T, name string) *object.Object {
	t.Helper()
	o, err := object.Open(objects + name + ".bpf.o")
	assert.NilError(t, err)
	return o
}

// TestTable: each mutation changes the loader program of its case, deterministically, and has a
// description and a declaration.
func TestTable(t *testing.T) {
	assert.Assert(t, len(table) >= 80)
	seen := make(map[string]bool)
	kinds := make(map[Kind]int)
	for i := range table {
		m := &table[i]
		assert.Assert(t, !seen[m.Name], "%s is there twice", m.Name)
		seen[m.Name] = true
		kinds[m.Kind()]++
		assert.Check(t, m.Name != "" && m.About != "" && m.Want.String() != "", "%+v", m)
		assert.Check(t, m.do != nil, m.Name)

		o := open(t, m.Case)
		p, bites, err := m.Generate(o)
		assert.NilError(t, err, m.Name)
		assert.Check(t, bites, "%s changes nothing in %s", m.Name, m.Case)
		again, _, err := m.Generate(open(t, m.Case))
		assert.NilError(t, err, m.Name)
		assert.Check(t, !differ(p, again), "%s is another one the second time", m.Name)
		plain, err := generate(o)
		assert.NilError(t, err)
		fresh, err := generate(open(t, m.Case))
		assert.NilError(t, err)
		assert.Check(t, !differ(plain, fresh), "%s changes the object", m.Name)
	}
	t.Logf("%d mutations: %v", len(table), kinds)
}

func differ(a, b *Program) bool { return !reflect.DeepEqual(a.Artefact, b.Artefact) }

// TestAnyObject: a mutation applied to an object it was not made for may change it or not, but does
// not panic.
func TestAnyObject(t *testing.T) {
	files, err := filepath.Glob(objects + "*.bpf.o")
	assert.NilError(t, err)
	for _, file := range files {
		o, err := object.Open(file)
		if err != nil {
			continue
		}
		if _, err := generate(o); err != nil {
			continue
		}
		for i := range table {
			p, _, err := table[i].Generate(o)
			assert.Check(t, err == nil && p != nil, "%s: %s: %v", file, table[i].Name, err)
		}
	}
}

func TestFind(t *testing.T) {
	m, err := Find("drop-freeze")
	assert.NilError(t, err)
	assert.Equal(t, m.Kind(), OfTrace)
	_, err = Find("drop-tables")
	assert.ErrorContains(t, err, `no mutation "drop-tables": there are `)
	assert.ErrorContains(t, err, "drop-freeze")
	assert.Equal(t, len(Names()), len(All()))
}

func TestMatch(t *testing.T) {
	for _, test := range []struct {
		pattern, text string
		want          bool
	}{
		{"map a flags", "map a flags", true},
		{"map a flags", "map a flag", false},
		{"map * flags", "map a flags", true},
		{"map * flags", "map flags", false},
		{"map * flags", "map a flags after", false},
		{"program run *insns", "program run insns", true},
		{"program run *insns", "program run function left insns", true},
		{"program run *insns", "program ran insns", false},
		{"*", "", true},
		{"a*b*c", "a b c", true},
		{"a*b*c", "a c b c", true},
		{"a*b*c", "a c", false},
		{"aa*aa", "aaa", false},
		{"", "", true},
		{"", "a", false},
	} {
		assert.Check(t, is.Equal(match(test.pattern, test.text), test.want), "%q %q", test.pattern, test.text)
	}
}

func TestJudge(t *testing.T) {
	differs := func(fields ...field.Field) []compare.Difference {
		var list []compare.Difference
		for _, f := range fields {
			list = append(list, compare.Difference{Field: f, A: "1", B: "2"})
		}
		return list
	}
	explained := func(fields ...field.Field) []compare.Difference {
		list := differs(fields...)
		for i := range list {
			list[i].ExplainedBy = compare.RuleIDs{"some-rule"}
		}
		return list
	}
	flags := Want{Field: field.Map("a", "flags"), Also: []field.Field{field.Map("a", "btf")}}
	either := Want{Field: field.Map("a", "flags"), Refused: "map a: MAP_CREATE: E*"}
	leak := Want{Failure: "replay left behind * file descriptors"}
	both := Want{Refused: "loaded, but: *", Failure: leak.Failure}
	left := []string{"replay left behind 1 file descriptors"}
	for name, test := range map[string]struct {
		want  Want
		found Found
		out   Outcome
		text  string
	}{
		"the field":             {flags, Found{Differences: differs(field.Map("a", "flags")), Strict: true}, Caught, "map a flags: 2, not 1"},
		"with a consequence":    {flags, Found{Differences: differs(field.Map("a", "btf"), field.Map("a", "flags"), field.Program("p", "tag")), Strict: true}, Caught, "map a flags: 2, not 1"},
		"only a consequence":    {flags, Found{Differences: differs(field.Map("a", "btf"))}, Misnamed, "map a btf: 2, not 1"},
		"another field too":     {flags, Found{Differences: differs(field.Map("a", "flags"), field.Map("b", "flags")), Strict: true}, Misnamed, "map b flags: 2, not 1"},
		"another where it may":  {flags, Found{Differences: differs(field.Map("a", "flags"), field.Map("b", "flags"))}, Caught, "map a flags: 2, not 1"},
		"another field":         {flags, Found{Differences: differs(field.Map("b", "flags"))}, Misnamed, "map b flags: 2, not 1"},
		"nothing":               {flags, Found{}, Missed, "loaded, and nothing differs"},
		"explained":             {flags, Found{Differences: explained(field.Map("a", "flags"))}, Hidden, "map a flags is explained by some-rule"},
		"another explained":     {flags, Found{Differences: explained(field.Map("b", "flags"))}, Missed, "loaded, and nothing differs"},
		"refused":               {flags, Found{Refused: "map a: MAP_CREATE: EINVAL"}, Misnamed, "refused: map a: MAP_CREATE: EINVAL"},
		"refused as wanted":     {either, Found{Refused: "map a: MAP_CREATE: EINVAL", Differences: differs(field.Load(""))}, Caught, "refused: map a: MAP_CREATE: EINVAL"},
		"refused otherwise":     {either, Found{Refused: "map b: MAP_CREATE: EINVAL"}, Misnamed, "refused: map b: MAP_CREATE: EINVAL"},
		"loaded as wanted":      {either, Found{Differences: differs(field.Map("a", "flags"))}, Caught, "map a flags: 2, not 1"},
		"not refused":           {Want{Refused: "*"}, Found{}, Missed, "loaded, and nothing differs"},
		"not refused, differs":  {Want{Refused: "*"}, Found{Differences: differs(field.Map("a", "flags"))}, Misnamed, "map a flags: 2, not 1"},
		"left behind":           {leak, Found{Failures: left, Strict: true}, Caught, left[0]},
		"left behind, differs":  {leak, Found{Failures: left, Differences: differs(field.Map("a", "flags")), Strict: true}, Misnamed, "map a flags: 2, not 1"},
		"nothing left behind":   {leak, Found{Failures: []string{"another"}}, Missed, "not noticed: " + leak.Failure},
		"left behind, unwanted": {flags, Found{Failures: left, Differences: differs(field.Map("a", "flags"))}, Misnamed, left[0]},
		"both":                  {both, Found{Failures: left, Refused: "loaded, but: no"}, Caught, "refused: loaded, but: no"},
		"one of both":           {both, Found{Refused: "loaded, but: no"}, Missed, "not noticed: " + leak.Failure},
		"the other of both":     {both, Found{Failures: left}, Missed, "loaded, and nothing differs"},
	} {
		out, text := test.want.Judge(&test.found)
		assert.Check(t, is.Equal(out, test.out), name)
		assert.Check(t, is.Equal(text, test.text), name)
	}
	assert.Equal(t, either.String(), "map a flags or refused: map a: MAP_CREATE: E*")
}

// TestReorder: functions that are swapped twice are back in their places, with all references to
// them.
func TestReorder(t *testing.T) {
	tr := planned(t, "subprogs_nested")
	want := planned(t, "subprogs_nested")
	order := []int{0, 4, 2, 3, 1}
	reorder("one", order...)(tr)
	_, changed := command(tr, programNamed("one"))
	_, plain := command(want, programNamed("one"))
	assert.Check(t, string(changed.Insns) != string(plain.Insns))
	reorder("one", order...)(tr) // this order is its own inverse
	assert.Check(t, is.DeepEqual(changed.Insns, plain.Insns))
	assert.Check(t, is.DeepEqual(changed.FuncInfo, plain.FuncInfo))
	assert.Check(t, is.DeepEqual(changed.LineInfo, plain.LineInfo))
	assert.Check(t, is.DeepEqual(changed.Fixups, plain.Fixups))
}

func planned(t *testing.T, name string) *trace.Trace {
	t.Helper()
	tr, err := trace.Plan(open(t, name), trace.Options{})
	assert.NilError(t, err)
	return tr
}

// TestInsert: jumps over an inserted instruction still reach their targets.
func TestInsert(t *testing.T) {
	p, err := generate(open(t, "ksym_typeless_weak"))
	assert.NilError(t, err)
	before := targets(p.Insns)
	const at = 20
	insert(p, at, opAddImm, r0, 0, 0, 8)
	after := targets(p.Insns)
	assert.Assert(t, len(before) > 0)
	assert.Equal(t, len(after), len(before))
	moved := func(i int) int {
		if i >= at {
			return i + 1
		}
		return i
	}
	for from, to := range before {
		assert.Check(t, is.Equal(after[moved(from)], moved(to)), "jump at %d", from)
	}
}

// targets returns the targets of jumps, by the index of the jump.
func targets(code insn.Insns) map[int]int {
	to := make(map[int]int)
	for i := range code.Len() {
		if class := code.Op(i) & 7; class == 5 && code.Op(i) != insn.Call && code.Op(i) != insn.Exit {
			to[i] = i + 1 + int(code.Off(i))
		}
	}
	return to
}
