package compare

import (
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/state"
)

func TestFollowing(t *testing.T) {
	found := []Difference{
		{Field: "map first contents", ExplainedBy: RuleIDs{"struct-ops-filled"}},
		{Field: "map second contents", ExplainedBy: RuleIDs{"struct-ops-mixed"}},
		{Field: "program run tag"},
	}
	assert.Equal(t, Following("map second ran init", found).String(), "struct-ops-mixed")
	assert.Equal(t, Following("map second contents after trigger", found).String(), "struct-ops-mixed")
	for _, effect := range []string{"map second register", "map second trigger", "map first ran init", "map secondary ran init", "program run ran", "map"} {
		assert.Equal(t, Following(effect, found).String(), "", effect)
	}
}

// Two maps of a type that implement a member by a program each, and each is filled
// with the other's.
func TestStructOpsSwapped(t *testing.T) {
	filled := func(ref string) (mixed, plain bool) {
		facts := &Facts{StructOps: map[string]StructOpsFacts{
			"ops":   {Type: "control", Members: map[string]string{"init": "run"}},
			"other": {Type: "control", Members: map[string]string{"init": "left"}},
		}}
		ops := state.Map{Name: "ops", Contents: state.Contents{Entries: []state.Entry{{Key: make([]byte, 4), Ref: ref}}}}
		left, right := side{m: &ops}, side{m: &state.Map{Name: "ops"}}
		left.Object, right.Object = facts, facts
		return isStructOpsFilled(left, right, true), isStructOpsFilled(left, right, false)
	}
	mixed, plain := filled("READY init=left")
	assert.Check(t, mixed && !plain)
	mixed, plain = filled("READY init=run")
	assert.Check(t, !mixed && plain)
	mixed, plain = filled("READY init=right")
	assert.Check(t, !mixed && !plain)
}
