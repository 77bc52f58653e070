package compare

import (
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/effects"
	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/field"
	"github.com/bpfreplay/bpfreplay/harness/state"
)

// outputOf returns the Output of two loads of which cilium/ebpf's knows struct task as 2, and the
// other as 40 (0x28).
func outputOf(a, b string) *Output {
	s := scenario{left: sample(), right: sample(), facts: sampleFacts()}
	typeIDs(&s)
	context := func(engine string) Context { return Context{Engine: engine, Release: release, Object: s.facts} }
	if a == enginename.Direct {
		return NewOutput(s.left, s.right, context(a), context(b))
	}
	return NewOutput(s.right, s.left, context(a), context(b))
}

// TestOutputOfTypeIDs: ids of local types may differ in what programs put out, and nothing else.
func TestOutputOfTypeIDs(t *testing.T) {
	data, contents, returns := field.Program("run", "run tcp4 data"), field.Map("counts", "contents after trigger"), field.Program("run", "run tcp4 returns")
	for name, test := range map[string]struct {
		field field.Field
		pairs []effects.Pair
		want  bool
	}{
		"a packet":                 {data, []effects.Pair{{A: "0200000008004500", B: "2800000008004500"}}, true},
		"in network order":         {data, []effects.Pair{{A: "0102000000020800", B: "0102000000280800"}}, true},
		"twice":                    {data, []effects.Pair{{A: "0200000002000000", B: "2800000028000000"}}, true},
		"and another byte":         {data, []effects.Pair{{A: "0200000008004500", B: "2800000008004600"}}, false},
		"and another id":           {data, []effects.Pair{{A: "0200000002000000", B: "2800000003000000"}}, false},
		"part of a number":         {data, []effects.Pair{{A: "0200ff0008004500", B: "2800ff0008004500"}}, false},
		"a shorter packet":         {data, []effects.Pair{{A: "02000000", B: "2800000000"}}, false},
		"the other way round":      {data, []effects.Pair{{A: "28000000", B: "02000000"}}, false},
		"no packet":                {data, []effects.Pair{{A: "", B: "28000000"}}, false},
		"a word of a map":          {contents, []effects.Pair{{A: "02 00 00 00 00 00 00 00", B: "28 00 00 00 00 00 00 00"}}, true},
		"upper half of a word":     {contents, []effects.Pair{{A: "07 00 00 00 02 00 00 00", B: "07 00 00 00 28 00 00 00"}}, true},
		"two words":                {contents, []effects.Pair{{A: "02 00 00 00 00 00 00 00", B: "28 00 00 00 00 00 00 00"}, {A: "05", B: "06"}}, false},
		"a sum with an id":         {contents, []effects.Pair{{A: "03 00 00 00 00 00 00 00", B: "29 00 00 00 00 00 00 00"}}, false},
		"gone":                     {contents, []effects.Pair{{A: "gone", B: "28 00 00 00 00 00 00 00"}}, false},
		"a map of no such program": {field.Map(".bss", contents.Attribute), []effects.Pair{{A: "02 00 00 00", B: "28 00 00 00"}}, false},
		"returns":                  {returns, []effects.Pair{{A: "2", B: "40"}}, true},
		"returns something else":   {returns, []effects.Pair{{A: "2", B: "41"}}, false},
		"one of several samples":   {returns, []effects.Pair{{A: "2", B: "40"}, {A: "2", B: "39"}}, false},
		"returns of another":       {field.Program("other", returns.Attribute), []effects.Pair{{A: "2", B: "40"}}, false},
		"runs as often":            {field.Program("run", "ran"), []effects.Pair{{A: "2", B: "40"}}, false},
		"nothing":                  {data, nil, false},
	} {
		d := effects.Difference{Field: test.field, Pairs: test.pairs}
		assert.Equal(t, outputOf(enginename.Direct, enginename.Replay).Effect(&d) != nil, test.want, name)
		for i := range d.Pairs {
			d.Pairs[i].A, d.Pairs[i].B = d.Pairs[i].B, d.Pairs[i].A
		}
		assert.Equal(t, outputOf(enginename.Libbpf, enginename.Direct).Effect(&d) != nil, test.want, name)
		assert.Assert(t, outputOf(enginename.Replay, enginename.Trace).Effect(&d) == nil, "no rule is for ours: %s", name)
	}
}

// TestOutputOfRuns: the same for the test runs of a case.
func TestOutputOfRuns(t *testing.T) {
	o, run := outputOf(enginename.Direct, enginename.Replay), field.Program("run", "run returns")
	assert.Assert(t, o.Returns(run, []uint32{7, 2}, []uint32{7, 40}) != nil)
	assert.Assert(t, o.Returns(run, []uint32{7, 2}, []uint32{8, 40}) == nil)
	assert.Assert(t, o.Returns(run, []uint32{2}, []uint32{40, 40}) == nil)
	assert.Assert(t, o.Data(run, []byte{9, 2, 0, 0, 0}, []byte{9, 40, 0, 0, 0}) != nil)
	assert.Assert(t, o.Data(run, []byte{9, 2, 0, 0, 0}, []byte{8, 40, 0, 0, 0}) == nil)

	after := func(key byte, value ...byte) *state.State {
		s := sample()
		s.FindMap("counts").Contents.Entries = []state.Entry{{Key: []byte{key, 0, 0, 0}, Value: value}}
		return s
	}
	counts := field.Map("counts", "contents")
	assert.Assert(t, o.Contents(counts, after(1, 2), after(1, 40)) != nil, "zeros at the end are missing")
	assert.Assert(t, o.Contents(counts, after(1, 2, 0, 0, 0, 5), after(1, 40, 0, 0, 0, 5)) != nil)
	assert.Assert(t, o.Contents(counts, after(1, 2, 0, 0, 0, 5), after(1, 40, 0, 0, 0, 6)) == nil)
	assert.Assert(t, o.Contents(counts, after(1, 2), after(2, 40)) == nil, "another key")
	assert.Assert(t, o.Contents(counts, after(1, 2), sample()) == nil, "an element more")
	assert.Assert(t, o.Contents(field.Map("nothing", ""), after(1, 2), after(1, 40)) == nil)
}
