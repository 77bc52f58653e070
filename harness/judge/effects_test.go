package judge

import (
	"fmt"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/compare"
	"github.com/bpfreplay/bpfreplay/harness/effects"
	"github.com/bpfreplay/bpfreplay/harness/field"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/harness/wire"
)

func loadWith(engine string, contents string, samples ...effects.Sample) wire.Load {
	s := &state.State{CPUs: 1, Maps: []state.Map{{Name: "ops", Type: 26}}}
	if contents != "" {
		s.Maps[0].Contents.Entries = []state.Entry{{Key: make([]byte, 4), Ref: contents}}
	}
	return wire.Load{Engine: engine, Result: wire.OK, State: s, Samples: samples}
}

func (j *Judge) only(t *testing.T, a, b wire.Load) result.PairReport {
	t.Helper()
	pairs, failures := j.Case(&suite.Case{Expect: suite.Expect{Result: wire.OK}}, []wire.Load{a, b})
	assert.Equal(t, len(failures), 0)
	assert.Equal(t, len(pairs), 1)
	return pairs[0]
}

func TestEffectsAreJudged(t *testing.T) {
	j := &Judge{Release: "6.12.1", Used: make(map[string]bool)}
	ran, not := effects.Sample{{Field: field.Program("run", "attached")}: "ok", {Field: field.Program("run", "ran")}: "1"}, effects.Sample{{Field: field.Program("run", "attached")}: "ok"}
	assert.Equal(t, j.only(t, loadWith("trace", "", ran), loadWith("replay", "", ran)).Verdict, result.Equal)

	p := j.only(t, loadWith("trace", "", ran), loadWith("replay", "", not))
	assert.Equal(t, p.Verdict, result.Different)
	assert.DeepEqual(t, p.Differences, []compare.Difference{{Field: field.Program("run", "ran"), A: "1", B: "nothing"}})

	// A load without samples (its engine is unsupported on the kernel) is not compared.
	assert.Equal(t, j.only(t, loadWith("trace", ""), loadWith("replay", "")).Verdict, result.Equal)
}

// TestEffectsOfExplainedDifferences: a different effect is explained if it follows from an
// explained difference of states.
func TestEffectsOfExplainedDifferences(t *testing.T) {
	j := &Judge{Release: "6.12.1", Used: make(map[string]bool), facts: &compare.Facts{StructOps: map[string]compare.StructOpsFacts{
		"ops":   {Type: "control", Members: map[string]string{"init": "first"}},
		"other": {Type: "control", Members: map[string]string{"init": "first", "release": "second"}},
	}}}
	ran, not := effects.Sample{{Field: field.Map("ops", "register")}: "ok", {Field: field.Field{Aspect: field.Aspect{Kind: field.KindMap, Attribute: "ran"}, Name: "ops", Function: "second"}}: "1"}, effects.Sample{{Field: field.Map("ops", "register")}: "ok"}
	p := j.only(t, loadWith("direct", "READY init=first release=second", ran), loadWith("trace", "", not))
	assert.Equal(t, p.Verdict, result.Explained)
	assert.Equal(t, len(p.Differences), 2)

	p = j.only(t, loadWith("direct", "READY init=first", ran), loadWith("trace", "", not))
	assert.Equal(t, p.Verdict, result.Different, "the map is as it should be, so why did it run?")
}

// writesTypeID returns a load whose program holds a type's id, the given one, and has returned this
// value, left this packet and left the map "out" like this.
func writesTypeID(engine string, id byte, returned uint32, packet ...byte) wire.Load {
	l := loadWith(engine, "", effects.Sample{
		{Field: field.Program("run", "run tcp4 data")}: fmt.Sprintf("%x", packet), {Field: field.Map("out", "contents after trigger"), Place: "[0]+0"}: fmt.Sprintf("% x", packet),
	})
	out := state.Map{Name: "out", Type: 2, KeySize: 4, ValueSize: 8}
	l.State.Maps = append(l.State.Maps, out)
	l.State.BTF = []state.BTF{{Hash: "b0", Names: []string{"void ", "int int", "struct task"}}}
	l.State.Programs = []state.Program{{Name: "run", BTF: "b0", Maps: []string{"out"}, Functions: []state.Function{
		{Name: "run", Insns: []byte{0xb7, 0, 0, 0, id, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0}},
	}}}
	l.Runs = []wire.Ran{{Program: "run", Returns: []uint32{returned}, Out: packet}}
	out.Contents.Entries = []state.Entry{{Key: make([]byte, 4), Value: state.TrimZeros(packet)}}
	l.After = &state.State{Maps: []state.Map{out}}
	return l
}

// TestTypeIDsInOutput: cilium/ebpf numbers types anew, so a program puts out other ids.
func TestTypeIDsInOutput(t *testing.T) {
	j := &Judge{Release: "6.12.1", Used: make(map[string]bool), facts: &compare.Facts{Programs: map[string]compare.ProgramFacts{
		"run": {LocalTypeIDs: map[uint32]string{40: "struct task"}},
	}}}
	pair := func(a, b wire.Load) result.PairReport { return j.Pair(&suite.Case{}, &a, &b) }
	different := func(p result.PairReport) (fields []string) {
		for _, d := range p.Differences {
			if len(d.ExplainedBy) == 0 {
				fields = append(fields, d.Field.String())
			}
		}
		return fields
	}
	direct := writesTypeID("direct", 2, 2, 2, 0, 0, 0, 9)
	p := pair(direct, writesTypeID("trace", 40, 40, 40, 0, 0, 0, 9))
	assert.Equal(t, p.Verdict, result.Explained, "%v", p.Differences)
	assert.Equal(t, len(p.Differences), 6, "instructions, return value, packet and map; packet and map of the exercise")

	p = pair(direct, writesTypeID("trace", 40, 40, 40, 0, 0, 0, 8))
	assert.DeepEqual(t, different(p), []string{
		"program run run data", "map out contents after runs", "map out contents after trigger", "program run run tcp4 data",
	})
	p = pair(direct, writesTypeID("trace", 40, 41, 40, 0, 0, 0, 9))
	assert.DeepEqual(t, different(p), []string{"program run run returns"})
	p = pair(direct, writesTypeID("trace", 2, 40, 40, 0, 0, 0, 9))
	assert.Equal(t, len(different(p)), 5, "the instructions hold the same id")
}
