package judge

import (
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
