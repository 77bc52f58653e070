package compare

import (
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/field"
	"github.com/bpfreplay/bpfreplay/harness/state"
)

func TestFollowing(t *testing.T) {
	found := []Difference{
		{Field: field.Map("first", "contents"), ExplainedBy: RuleIDs{"struct-ops-filled"}},
		{Field: field.Map("second", "contents"), ExplainedBy: RuleIDs{"struct-ops-mixed"}},
		{Field: field.Program("run", "tag")},
	}
	ran := func(name string) field.Field {
		f := field.Map(name, "ran")
		f.Function = "init"
		return f
	}
	assert.Equal(t, Following(ran("second"), found).String(), "struct-ops-mixed")
	assert.Equal(t, Following(field.Map("second", "contents after trigger"), found).String(), "struct-ops-mixed")
	for _, effect := range []field.Field{
		field.Map("second", "register"), field.Map("second", "trigger"), ran("first"), ran("secondary"), ran("second ran"),
		field.Program("run", "ran"), field.Program("second", "ran"), {},
	} {
		assert.Equal(t, Following(effect, found).String(), "", effect)
	}
}

// TestStructOpsSwapped: two maps of one type implement a member with one program each. Each map is
// filled with the other's program.
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
