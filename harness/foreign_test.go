package harness

import (
	"context"
	"sync"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/harness/agent"
	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// foreignRun runs cases a, b, … of a foreign suite in fake guests.
func foreignRun(t *testing.T, names []string, o Options, base *Baseline, answer func(req *agent.Request, ran int) (*guest.Reply, error)) (*Report, int) {
	t.Helper()
	s := suite.NewForeign("kernel", nil)
	for _, n := range names {
		s.Cases = append(s.Cases, suite.Case{Name: n, Object: coreObject(t), Expect: suite.Expect{Result: suite.AnyResult}})
	}
	o.Kernel, o.Engines = &vmimage.Kernel{Name: "6.12"}, []string{"trace", "replay"}
	r := newRunner(s, o)
	r.baseline = base
	guests := 0
	var mu sync.Mutex
	r.start = func(context.Context, int, bool) (liveGuest, error) {
		mu.Lock()
		defer mu.Unlock()
		guests++
		return &fakeGuest{answer: answer, ended: func() {}}, nil
	}
	assert.NilError(t, r.runAll(t.Context()))
	r.finish(time.Now())
	return r.report, guests
}

// What a case leaves behind is told at the end of its guest, and fails it.
func TestLateLeaks(t *testing.T) {
	settled := 0
	answer := func(req *agent.Request, _ int) (*guest.Reply, error) {
		if req.Settle {
			settled++
			return &guest.Reply{Answer: &agent.Answer{Name: req.Name, Late: []agent.Leak{{Case: "b", Engine: "replay", What: "map ids [7]"}}}}, nil
		}
		assert.Check(t, req.Lazy)
		return fine(req), nil
	}
	r, _ := foreignRun(t, []string{"a", "b", "c"}, Options{}, nil, answer)
	assert.Check(t, is.Equal(settled, 1))
	assert.Check(t, is.Equal(r.Failures, 1))
	assert.Check(t, is.DeepEqual(r.Cases[1].Failures, []string{"replay left behind map ids [7]"}))

	// Of a guest that is dropped because a case broke it, nothing can be known, and it
	// is the next that is asked.
	settled = 0
	r, guests := foreignRun(t, []string{"a", "x", "c"}, Options{NoRetry: true}, nil, func(req *agent.Request, ran int) (*guest.Reply, error) {
		if req.Name == "x" {
			return died("a panic")
		}
		return answer(req, ran)
	})
	assert.Check(t, is.Equal(guests, 2))
	assert.Check(t, is.Equal(settled, 1))
	assert.Check(t, is.Equal(r.Summary[Broken], 1))
	assert.Check(t, is.Equal(r.Cases[1].Verdict(), Broken))

	// With a guest for each case the answer waits, as in other suites.
	foreignRun(t, []string{"a"}, Options{Isolate: true}, nil, func(req *agent.Request, _ int) (*guest.Reply, error) {
		assert.Check(t, !req.Lazy && !req.Settle)
		return fine(req), nil
	})
}

// A case that fails as it did before is not run again, and does not fail the run.
func TestBaselineRun(t *testing.T) {
	answer := func(req *agent.Request, _ int) (*guest.Reply, error) {
		switch {
		case req.Settle:
			return &guest.Reply{Answer: &agent.Answer{Name: req.Name}}, nil
		case req.Name == "bad":
			return differing(req), nil
		}
		return fine(req), nil
	}
	first, guests := foreignRun(t, []string{"a", "bad"}, Options{}, nil, answer)
	assert.Check(t, is.Equal(guests, 2)) // once more alone
	assert.Check(t, !first.OK())
	base := NewBaseline(first, nil)

	again, guests := foreignRun(t, []string{"a", "bad"}, Options{}, base, answer)
	assert.Check(t, is.Equal(guests, 1))
	assert.Check(t, again.OK())
	assert.Check(t, is.Len(again.Baseline.Changes, 0))

	worse, _ := foreignRun(t, []string{"bad", "a"}, Options{NoRetry: true}, base, func(req *agent.Request, ran int) (*guest.Reply, error) {
		rep, err := answer(req, ran)
		if req.Name == "a" {
			rep.Answer.Loads[1] = agent.Load{Engine: "replay", Result: agent.Refused, Errno: "EPERM", State: &state.State{}}
		}
		return rep, err
	})
	assert.Check(t, !worse.OK())
	assert.Check(t, is.DeepEqual(worse.Failed(), []string{"a"}))
	assert.Check(t, is.DeepEqual(worse.Baseline.Changes, []Change{
		{"a", "replay", "ok", "refused:EPERM", true}, {"a", "trace/replay", "equal", "different:load", true},
	}))
}

func TestSelect(t *testing.T) {
	suite := &suite.Suite{Cases: []suite.Case{{Name: "a1"}, {Name: "a2"}, {Name: "b1"}}}
	for _, test := range []struct{ patterns, want []string }{
		{nil, []string{"a1", "a2", "b1"}},
		{[]string{"b*", "a1"}, []string{"a1", "b1"}},
		{[]string{"!a1"}, []string{"a2", "b1"}},
		{[]string{"a*", "!a1"}, []string{"a2"}},
		{[]string{"!a*", "a1"}, []string{"a1", "b1"}},
	} {
		got, err := suite.Select(test.patterns)
		assert.NilError(t, err)
		var names []string
		for _, c := range got.Cases {
			names = append(names, c.Name)
		}
		assert.Check(t, is.DeepEqual(names, test.want))
	}
	_, err := suite.Select([]string{"a1", "!c"})
	assert.Error(t, err, `no case matches "c"`)
}

func TestSplit(t *testing.T) {
	core := coreSuite(t)
	one, err := core.Select([]string{"prog_autoload"})
	assert.NilError(t, err)
	suite := suite.NewForeign("kernel", []string{one.Path(&one.Cases[0]), "no such file"}).Split()
	var names []string
	for _, c := range suite.Cases {
		names = append(names, c.Name+" "+c.Only)
	}
	assert.Check(t, is.Contains(names, "no such file "))
	assert.Check(t, len(names) > 2, names)
	some, err := suite.Select([]string{"prog_autoload:*"})
	assert.NilError(t, err)
	assert.Check(t, is.Len(some.Cases, len(names)-1))
	assert.Check(t, some.External)
}

// Times of the run before are told if it was of the same.
func TestFollow(t *testing.T) {
	before := someReport()
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
		r := someReport()
		test.change(r)
		r.Follow(before)
		assert.Check(t, is.Equal(r.Before != nil, test.told), name)
	}
	r := someReport()
	r.Follow(nil)
	assert.Check(t, r.Before == nil)
	r.Follow(before)
	assert.Check(t, is.DeepEqual(r.Before.Seconds, before.Seconds))
}

// What parts of a run changed is all there when they are joined.
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
