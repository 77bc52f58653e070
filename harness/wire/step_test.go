package wire

import (
	"testing"

	"gotest.tools/v3/assert"
)

func TestCheckMessage(t *testing.T) {
	req := &Request{Case: &CaseRequest{Name: "a", Engines: []string{"direct"}}}
	answer := &Answer{Name: "a", Loads: []Load{{Engine: "direct", Result: Refused}}}
	for _, m := range []Message{
		{Answer: answer}, {Step: &Step{Engine: "direct", Phase: PhaseLoad}}, {Step: &Step{Phase: PhaseFree}},
	} {
		assert.NilError(t, m.Check(req))
	}
	for name, m := range map[string]Message{
		"nothing":           {},
		"both":              {Step: &Step{Phase: PhaseFree}, Answer: answer},
		"another engine":    {Step: &Step{Engine: "trace", Phase: PhaseLoad}},
		"another phase":     {Step: &Step{Engine: "direct", Phase: "sleep"}},
		"another answer":    {Answer: &Answer{Name: "b"}},
		"a step of no kind": {Step: &Step{}},
	} {
		assert.ErrorIs(t, m.Check(req), ErrProtocol, name)
	}
}
