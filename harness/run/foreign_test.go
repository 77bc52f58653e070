package run

import (
	"context"
	"sync"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/harness/baseline"
	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// foreignRun runs cases a, b, … of an external suite in fake guests.
func foreignRun(t *testing.T, names []string, o Options, base *baseline.Baseline, answer func(req *wire.CaseRequest, ran int) (*guest.Reply, error)) (*result.Report, int) {
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
	r.start = func(context.Context, int, int, bool) (liveGuest, error) {
		mu.Lock()
		defer mu.Unlock()
		guests++
		return &fakeGuest{answer: answer, ended: func() {}}, nil
	}
	assert.NilError(t, r.runAll(t.Context()))
	r.finish(time.Now())
	return r.report, guests
}

// What a case leaves behind is reported at the end of its guest, and fails the case.
func TestLateLeaks(t *testing.T) {
	settled := 0
	answer := func(req *wire.CaseRequest, _ int) (*guest.Reply, error) {
		if req == nil {
			settled++
			return &guest.Reply{Answer: &wire.Answer{Late: []wire.Leak{{Case: "b", Engine: "replay", What: "map ids [7]"}}}}, nil
		}
		assert.Check(t, req.DeferLeaks)
		return fine(req), nil
	}
	r, _ := foreignRun(t, []string{"a", "b", "c"}, Options{}, nil, answer)
	assert.Check(t, is.Equal(settled, 1))
	assert.Check(t, is.Equal(r.Failures, 1))
	assert.Check(t, is.DeepEqual(r.Cases[1].Failures, []string{"replay left behind map ids [7]"}))

	// The leaks of a guest that was dropped because a case broke it are unknown. Only the next
	// guest is asked.
	settled = 0
	r, guests := foreignRun(t, []string{"a", "x", "c"}, Options{NoRetry: true}, nil, func(req *wire.CaseRequest, ran int) (*guest.Reply, error) {
		if req != nil && req.Name == "x" {
			return died("a panic")
		}
		return answer(req, ran)
	})
	assert.Check(t, is.Equal(guests, 2))
	assert.Check(t, is.Equal(settled, 1))
	assert.Check(t, is.Equal(r.Summary[result.Broken], 1))
	assert.Check(t, is.Equal(r.Cases[1].Verdict(), result.Broken))

	// With a guest for each case the agent waits for freed ids in each case, as in other suites.
	foreignRun(t, []string{"a"}, Options{Isolate: true}, nil, func(req *wire.CaseRequest, _ int) (*guest.Reply, error) {
		assert.Assert(t, req != nil, "asked for leaks")
		assert.Check(t, !req.DeferLeaks)
		return fine(req), nil
	})
}

// A case that fails as in the baseline is not run again, and does not fail the run.
func TestBaselineRun(t *testing.T) {
	answer := func(req *wire.CaseRequest, _ int) (*guest.Reply, error) {
		switch {
		case req == nil:
			return &guest.Reply{Answer: &wire.Answer{}}, nil
		case req.Name == "bad":
			return differing(req), nil
		}
		return fine(req), nil
	}
	first, guests := foreignRun(t, []string{"a", "bad"}, Options{}, nil, answer)
	assert.Check(t, is.Equal(guests, 2)) // the failing case once more, alone
	assert.Check(t, !first.OK())
	base := baseline.New(first, nil)

	again, guests := foreignRun(t, []string{"a", "bad"}, Options{}, base, answer)
	assert.Check(t, is.Equal(guests, 1))
	assert.Check(t, again.OK())
	assert.Check(t, is.Len(again.Baseline.Changes, 0))

	worse, _ := foreignRun(t, []string{"bad", "a"}, Options{NoRetry: true}, base, func(req *wire.CaseRequest, ran int) (*guest.Reply, error) {
		rep, err := answer(req, ran)
		if req != nil && req.Name == "a" {
			rep.Answer.Loads[1] = wire.Load{Engine: "replay", Result: wire.Refused, Errno: "EPERM", State: &state.State{}}
		}
		return rep, err
	})
	assert.Check(t, !worse.OK())
	assert.Check(t, is.DeepEqual(worse.Failed(), []string{"a"}))
	assert.Check(t, is.DeepEqual(worse.Baseline.Changes, []result.Change{
		{Case: "a", What: "replay", Was: "ok", Is: "refused:EPERM", Worse: true}, {Case: "a", What: "trace/replay", Was: "equal", Is: "different:load", Worse: true},
	}))
}
