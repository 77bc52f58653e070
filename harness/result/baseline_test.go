package result

import (
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"
)

// Merging parts of a run keeps all of their changes.
func TestBaselineOfParts(t *testing.T) {
	part := func(change Change, name string) *BaselineReport {
		return &BaselineReport{File: "6.12.txt", Changes: []Change{change}, Reasons: map[string]string{name: "why"}}
	}
	a, b := part(Change{Case: "a", Worse: false}, "a"), part(Change{Case: "b", Worse: true}, "b")
	both := a.with(b)
	assert.Check(t, is.Len(both.Changes, 2))
	assert.Check(t, is.Equal(both.Worse(), 1))
	assert.Check(t, is.Len(both.Reasons, 2))
	assert.Check(t, is.Len(a.Reasons, 1))
	var none *BaselineReport
	assert.Check(t, none.with(nil) == nil)
	assert.Check(t, none.with(a) == a && a.with(nil) == a)
}

// followed returns a report that another may follow.
func followed() *Report {
	return &Report{
		Suite: "kernel", Source: "linux-source-7.2 1", Kernel: KernelReport{Name: "6.12"}, Engines: []string{"direct", "trace"},
		Cases: []CaseReport{{Name: "a"}, {Name: "b"}},
	}
}

// Follow records the times of the previous run only if it ran the same cases.
func TestFollow(t *testing.T) {
	before := followed()
	before.Seconds = Seconds{Total: 300, Saving: 9}
	for name, test := range map[string]struct {
		change func(r *Report)
		told   bool
	}{
		"the same":       {func(*Report) {}, true},
		"another kernel": {func(r *Report) { r.Kernel.SHA256 = "00" }, false},
		"another source": {func(r *Report) { r.Source = "~/linux" }, false},
		"fewer engines":  {func(r *Report) { r.Engines = r.Engines[1:] }, false},
		"fewer cases":    {func(r *Report) { r.Cases = r.Cases[1:] }, false},
	} {
		r := followed()
		test.change(r)
		r.Follow(before)
		assert.Check(t, is.Equal(r.Before != nil, test.told), name)
	}
	r := followed()
	r.Follow(nil)
	assert.Check(t, r.Before == nil)
	r.Follow(before)
	assert.Check(t, is.DeepEqual(r.Before.Seconds, before.Seconds))
}
