package run

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/harness/vm"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// fakeGuest answers by calling answer, without any kernel: with nil when it is asked for leaks.
type fakeGuest struct {
	answer func(req *wire.CaseRequest, ran int) (*guest.Reply, error)
	ran    int
	ended  func()
	copy   bool
}

func (f *fakeGuest) Ask(_ context.Context, req *wire.CaseRequest) (*guest.Reply, error) {
	f.ran++
	return f.answer(req, f.ran-1)
}

func (f *fakeGuest) Leaks(context.Context, time.Duration) (*guest.Reply, error) {
	return f.answer(nil, f.ran)
}

func (f *fakeGuest) Copied() bool { return f.copy }

func (f *fakeGuest) End() []vm.Splat {
	f.ended()
	return nil
}

// fine returns the reply to a request whose loads succeed and agree.
func fine(req *wire.CaseRequest) *guest.Reply {
	a := &wire.Answer{Name: req.Name}
	for _, e := range req.Engines {
		a.Loads = append(a.Loads, wire.Load{Engine: e, Result: wire.OK, State: &state.State{CPUs: 1}})
	}
	return &guest.Reply{Answer: a}
}

// differing returns a reply in which the last engine left another state.
func differing(req *wire.CaseRequest) *guest.Reply {
	r := fine(req)
	r.Answer.Loads[len(r.Answer.Loads)-1].State = &state.State{CPUs: 1, Maps: []state.Map{{Name: "surplus"}}}
	return r
}

func died(why string) (*guest.Reply, error) {
	return &guest.Reply{}, &vm.Ending{Reason: vm.Panicked, Cause: why, Console: []string{"the last words"}}
}

// fakes counts fake guests.
type fakes struct {
	mu                sync.Mutex
	running, most, in int
	cold              int   // guests that had to be booted
	memory            []int // of each guest, in MiB
}

// fakeRun runs cases c0, c1, … in fake guests.
func fakeRun(t *testing.T, n int, o Options, answer func(req *wire.CaseRequest, ran int) (*guest.Reply, error)) (*result.Report, *fakes, error) {
	t.Helper()
	s := &suite.Suite{Name: "fake", Partial: true}
	for i := range n {
		s.Cases = append(s.Cases, suite.Case{Name: fmt.Sprintf("c%d", i), Object: coreObject(t), Expect: suite.Expect{Result: wire.OK}})
	}
	return fakeRunOf(t, s, o, answer)
}

// fakeRunOf runs a suite in fake guests.
func fakeRunOf(t *testing.T, s *suite.Suite, o Options, answer func(req *wire.CaseRequest, ran int) (*guest.Reply, error)) (*result.Report, *fakes, error) {
	t.Helper()
	o.Kernel, o.Engines = &vmimage.Kernel{Name: "6.12"}, []string{"trace", "replay"}
	f := &fakes{}
	r := newRunner(s, o)
	if o.Out != "" {
		var err error
		r.evidence, err = newEvidence(r)
		assert.NilError(t, err)
	}
	r.start = func(_ context.Context, _, memoryMiB int, cold bool) (liveGuest, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if cold {
			f.cold++
		}
		f.in++
		f.memory = append(f.memory, memoryMiB)
		f.running++
		f.most = max(f.most, f.running)
		return &fakeGuest{answer: answer, copy: !o.Cold && !cold, ended: func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.running--
		}}, nil
	}
	err := r.runAll(t.Context())
	assert.Equal(t, f.running, 0, "guests that were not ended")
	r.report.Summarise()
	return r.report, f, err
}

func coreObject(t *testing.T) string {
	t.Helper()
	suite, err := suite.Read("../../selftests/cases.yaml")
	assert.NilError(t, err)
	return suite.Path(&suite.Cases[0])
}

// A case that kills its guest does not affect other cases.
func TestEveryGuestDies(t *testing.T) {
	for _, jobs := range []int{1, 4} {
		var order []string
		o := Options{Jobs: jobs, Done: func(c *result.CaseReport) { order = append(order, c.Name) }}
		r, f, err := fakeRun(t, 100, o, func(req *wire.CaseRequest, _ int) (*guest.Reply, error) {
			if strings.HasSuffix(req.Name, "3") || strings.HasSuffix(req.Name, "7") || len(req.Name) == 3 && req.Name < "c40" {
				return died("it was " + req.Name)
			}
			return fine(req), nil
		})
		assert.NilError(t, err)
		assert.Equal(t, len(order), 100)
		broken := 0
		for i, c := range r.Cases {
			assert.Equal(t, c.Name, fmt.Sprintf("c%d", i), "the suite's order")
			if c.Verdict() != result.Broken {
				assert.Assert(t, c.OK() && c.First == nil, "%+v", c)
				continue
			}
			broken++
			assert.Equal(t, c.Verdicts[0].Reason, "guest panicked: it was "+c.Name)
			assert.DeepEqual(t, c.Console, []string{"the last words"})
			assert.Assert(t, c.First != nil)
		}
		assert.Equal(t, broken, 44)
		assert.Assert(t, f.in >= 2*broken, f.in)
		assert.Assert(t, f.most <= jobs, f.most)
	}
}

// Only with several guests do the longest cases run first.
func TestDurations(t *testing.T) {
	r := &runner{Options: Options{Jobs: 2, Before: &result.Report{Cases: []result.CaseReport{{Name: "a", Seconds: 2}}}}}
	assert.DeepEqual(t, r.durations(), map[string]float64{"a": 2})
	r.Jobs = 1
	assert.Assert(t, r.durations() == nil, "in the suite's order, one after the other")
}

// A case that fails is run once more, alone, and the report has both outcomes.
func TestFailedOnce(t *testing.T) {
	later := func(req *wire.CaseRequest, ran int) (*guest.Reply, error) {
		if req.Name == "c2" && ran > 0 {
			return differing(req), nil
		}
		return fine(req), nil
	}
	r, f, err := fakeRun(t, 4, Options{}, later)
	assert.NilError(t, err)
	assert.Equal(t, f.in, 3)
	c := r.Cases[2]
	assert.Assert(t, c.OK())
	assert.Equal(t, c.First.Verdict(), result.Different)
	assert.DeepEqual(t, c.Notes, []string{"failed in a guest that had run 2 cases, the last of them c1 (map surplus: trace: absent; replay: present); passed alone in a new one"})
	assert.Assert(t, r.OK())

	r, f, err = fakeRun(t, 4, Options{NoRetry: true}, later)
	assert.NilError(t, err)
	assert.Equal(t, f.in, 1)
	assert.Equal(t, r.Cases[2].Verdict(), result.Different)
	assert.Assert(t, r.Cases[2].First == nil)

	for _, o := range []Options{{Mutate: "drop-freeze"}, {Repeat: 2}} {
		r, _, err = fakeRun(t, 4, o, later)
		assert.NilError(t, err)
		assert.Assert(t, r.Cases[2].First == nil && !r.OK())
	}

	r, f, err = fakeRun(t, 4, Options{Isolate: true}, later)
	assert.NilError(t, err)
	assert.Equal(t, f.in, 4)
	assert.Assert(t, r.OK())
}

// If a copy of a saved guest hangs, that says nothing about the case: it is run once more in a
// guest that is booted, even with NoRetry.
func TestCopyHangs(t *testing.T) {
	hangs := 0
	answer := func(req *wire.CaseRequest, ran int) (*guest.Reply, error) {
		if req.Name == "c1" && hangs > 0 {
			hangs--
			return &guest.Reply{}, &vm.Ending{Reason: vm.Overdue, Cause: "no answer by the deadline"}
		}
		return fine(req), nil
	}
	for _, o := range []Options{{}, {NoRetry: true}} {
		hangs = 1
		r, f, err := fakeRun(t, 3, o, answer)
		assert.NilError(t, err)
		assert.Assert(t, r.OK())
		assert.Equal(t, f.cold, 1)
		assert.DeepEqual(t, r.Cases[1].Notes, []string{"failed in a guest that had run case c0 (guest did not answer in time: no answer by the deadline; --engine-timeout sets the limit); passed alone in a new one"})
		hangs = 2
		r, f, err = fakeRun(t, 3, o, answer)
		assert.NilError(t, err)
		assert.Equal(t, r.Cases[1].Verdict(), result.Broken)
		assert.Equal(t, f.cold, 1)
	}
	hangs = 1
	r, f, err := fakeRun(t, 3, Options{Config: guest.Config{Cold: true}, NoRetry: true}, answer)
	assert.NilError(t, err)
	assert.Equal(t, r.Cases[1].Verdict(), result.Broken)
	assert.Equal(t, f.cold, 0)
}

func TestFailedAgain(t *testing.T) {
	r, f, err := fakeRun(t, 3, Options{}, func(req *wire.CaseRequest, ran int) (*guest.Reply, error) {
		switch {
		case req.Name == "c1" && ran > 0:
			return died("of something else")
		case req.Name != "c0":
			return differing(req), nil
		}
		return fine(req), nil
	})
	assert.NilError(t, err)
	assert.Equal(t, f.in, 4)
	assert.Equal(t, r.Cases[1].Verdict(), result.Different)
	assert.DeepEqual(t, r.Cases[1].Notes, []string{"failed otherwise in a guest that had run case c0: guest panicked: of something else"})
	assert.DeepEqual(t, r.Cases[2].Notes, []string{"failed alike in a new guest, and once more alone in a new one"})
	assert.Equal(t, r.Summary[result.Different], 2)
}

// A complaint of the kernel fails the case, and the guest is not used again.
func TestSplatFails(t *testing.T) {
	splat := vm.Splat{Kind: "KASAN", Line: "BUG: KASAN: use-after-free in bpf_x+0x1/0x2"}
	complain := func(req *wire.CaseRequest, _ int) (*guest.Reply, error) {
		rep := fine(req)
		switch req.Name {
		case "c1":
			rep.Splats, rep.Console = []vm.Splat{splat}, []byte(splat.Line+"\r\nmore\r\n")
		case "c2":
			rep.Late = []vm.Splat{splat}
		}
		return rep, nil
	}
	r, f, err := fakeRun(t, 4, Options{NoRetry: true}, complain)
	assert.NilError(t, err)
	assert.Equal(t, f.in, 2)
	assert.DeepEqual(t, r.Cases[1].Failures, []string{"the guest's kernel complained (KASAN): " + splat.Line})
	assert.DeepEqual(t, r.Cases[1].Console, []string{splat.Line, "more"})
	assert.Equal(t, r.Failures, 1)
	assert.Assert(t, r.Cases[2].OK(), "it came before the case")
	assert.DeepEqual(t, r.Splats, []string{"KASAN: " + splat.Line})

	c := suite.Case{Splats: map[string]string{"use-after-free in bpf_x": "6.99 does that"}}
	out := &result.CaseReport{}
	(&worker{}).complaints(out, &c, &guest.Reply{Splats: []vm.Splat{splat}})
	assert.Equal(t, len(out.Failures), 0)
	assert.Assert(t, is.Contains(out.Notes[0], "6.99 does that"))
}

// If no guest ever boots, the run fails. If one did and later ones do not, the cases fail.
func TestNoGuestBoots(t *testing.T) {
	unborn := &vm.Ending{Reason: vm.NoBoot, Cause: "nothing", Console: []string{"Decompressing Linux..."}}
	for name, test := range map[string]struct {
		boots func(number int) error
		err   string
		fail  []int
	}{
		"never":         {func(int) error { return unborn }, "no guest with kernel 6.12 boots, tried 2 times: guest did not boot in time: nothing\nDecompressing Linux...", nil},
		"at once":       {func(int) error { return fmt.Errorf("no QEMU") }, "no QEMU", nil},
		"not the first": {func(n int) error { return only(n == 1, unborn) }, "", nil},
		"later":         {func(n int) error { return only(n == 2 || n == 3, unborn) }, "", nil},
		"much later":    {func(n int) error { return only(n > 1 && n < 6, unborn) }, "", []int{1}},
	} {
		s := &suite.Suite{Name: "fake", Partial: true}
		for i := range 3 {
			s.Cases = append(s.Cases, suite.Case{Name: fmt.Sprintf("c%d", i), Object: coreObject(t), Expect: suite.Expect{Result: wire.OK}})
		}
		r := newRunner(s, Options{Config: guest.Config{Kernel: &vmimage.Kernel{Name: "6.12"}}, Engines: []string{"trace", "replay"}, Isolate: true})
		r.start = func(_ context.Context, number, _ int, _ bool) (liveGuest, error) {
			if err := test.boots(number); err != nil {
				return nil, err
			}
			return &fakeGuest{answer: func(req *wire.CaseRequest, _ int) (*guest.Reply, error) { return fine(req), nil }, ended: func() {}}, nil
		}
		err := r.runAll(t.Context())
		if test.err != "" {
			assert.ErrorContains(t, err, test.err, name)
			continue
		}
		assert.NilError(t, err, name)
		for i, c := range r.report.Cases {
			assert.Equal(t, c.OK(), !slices.Contains(test.fail, i), "%s: %s", name, c.Name)
		}
	}
}

func only(fail bool, err error) error {
	if fail {
		return err
	}
	return nil
}

// Of a guest that was lost with one engine, the others say so.
func TestLostWithOneEngine(t *testing.T) {
	r, _, err := fakeRun(t, 1, Options{NoRetry: true, Config: guest.Config{Cold: true}}, func(*wire.CaseRequest, int) (*guest.Reply, error) {
		at := wire.Step{Engine: "replay", Phase: wire.PhaseLoad}
		return &guest.Reply{Step: at}, &vm.Ending{Reason: vm.Overdue, Cause: (&guest.LateError{Step: at, Limit: time.Minute}).Error()}
	})
	assert.NilError(t, err)
	why := "guest did not answer in time: engine replay, phase load: more than 1m0s; --engine-timeout sets the limit"
	assert.Equal(t, r.Cases[0].Verdicts[0].Reason, why)
	assert.Equal(t, r.Cases[0].Loads[0].Detail, "not known: the guest was lost with engine replay")
	assert.Equal(t, r.Cases[0].Loads[1].Detail, why)
}

func TestDiedInAnEngine(t *testing.T) {
	r, _, err := fakeRun(t, 1, Options{NoRetry: true}, func(*wire.CaseRequest, int) (*guest.Reply, error) {
		return &guest.Reply{Step: wire.Step{Engine: "trace", Phase: wire.PhaseExercise}}, &vm.Ending{Reason: vm.Panicked, Cause: "oops"}
	})
	assert.NilError(t, err)
	assert.Equal(t, r.Cases[0].Trouble(), "guest panicked: oops (engine trace, phase exercise)")
}

// A bpftool that was given up is broken, and says what to do about it.
func TestToolOverdue(t *testing.T) {
	l := LoadReport(&wire.Load{Engine: "libbpf", Result: wire.Broken, Detail: "bpftool takes longer than 45s for loading", Overdue: true})
	assert.Equal(t, l.Detail, "bpftool takes longer than 45s for loading; --engine-timeout sets the limit")
}
