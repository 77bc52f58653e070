package judge

import (
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// TestStrictPairs: engine signed is compared with every other engine, and no rule applies to signed
// and replay.
func TestStrictPairs(t *testing.T) {
	entries := func(n uint32) *state.State {
		return &state.State{Maps: []state.Map{{Name: "m", Copies: 1, MaxEntries: n}}}
	}
	load := func(engine string, s *state.State) wire.Load {
		return wire.Load{Engine: engine, Result: wire.OK, State: s}
	}
	j := &Judge{Release: "6.18", must: func(string) bool { return false }, Used: make(map[string]bool)}
	c := &suite.Case{Expect: suite.Expect{Result: wire.OK}}
	pairsOf := func(loads ...wire.Load) (out []string) {
		pairs, failures := j.Case(c, loads)
		assert.Check(t, is.Len(failures, 0))
		for _, p := range pairs {
			out = append(out, p.A+"/"+p.B+" "+string(p.Verdict))
		}
		return out
	}
	same := entries(1)
	assert.DeepEqual(t, pairsOf(load("direct", same), load("replay", same), load("signed", same)),
		[]string{"direct/replay equal", "direct/signed equal", "replay/signed equal"})
	assert.DeepEqual(t, pairsOf(load("direct", same), load("replay", same), load("signed", entries(2))),
		[]string{"direct/replay equal", "direct/signed different", "replay/signed different"})
	assert.DeepEqual(t, pairsOf(load("direct", same), load("signed", same)), []string{"direct/signed equal"})
	assert.DeepEqual(t, pairsOf(load("signed", same), load("replay", same)), []string{"signed/replay equal"})

	// An unsupported engine does not affect the verdict on the others.
	none := wire.Load{Engine: "replay", Result: wire.Unsupported, Detail: "syscall_prog: no"}
	assert.DeepEqual(t, pairsOf(load("direct", same), none, load("signed", same)), []string{"direct/replay unsupported", "direct/signed equal", "replay/signed unsupported"})
}
