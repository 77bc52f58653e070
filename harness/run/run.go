package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bpfreplay/bpfreplay/harness/baseline"
	"github.com/bpfreplay/bpfreplay/harness/compare"
	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/judge"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/harness/vm"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/vmimage/digest"
)

// Suite runs a suite in guests. An error means that the harness or its input failed. A failing case
// is not an error, nor is a guest that breaks.
func Suite(ctx context.Context, suite *suite.Suite, o Options) (*result.Report, error) {
	start := time.Now()
	r := newRunner(suite, o)
	if err := r.checkResume(); err != nil {
		return nil, err
	}
	if err := r.readBaseline(); err != nil {
		return nil, err
	}
	var err error
	if r.First != nil {
		if r.first, err = r.First(ctx, r.Store, r.Kernel, r.Note); err != nil {
			return nil, err
		}
	}
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	if r.evidence, err = newEvidence(r); err != nil {
		return nil, err
	}
	if err := r.runAll(ctx); err != nil && (ctx.Err() == nil || !r.omitNotRun()) {
		return nil, err
	}
	r.finish(start)
	return r.report, nil
}

// omitNotRun removes the cases that did not run from the report of an interrupted run. It reports
// whether any is left.
func (r *runner) omitNotRun() bool {
	var ran []result.CaseReport
	for i := range r.report.Cases {
		if c := &r.report.Cases[i]; c.Name != "" {
			ran = append(ran, *c)
		} else {
			r.report.NotRun = append(r.report.NotRun, r.suite.Cases[i].Name)
		}
	}
	r.report.Cases = ran
	return len(ran) > 0
}

// resumed returns the interrupted run's report of a case, nil if the case has to run.
func (r *runner) resumed(c *suite.Case) *result.CaseReport {
	if r.Resume == nil {
		return nil
	}
	i := slices.IndexFunc(r.Resume.Cases, func(known result.CaseReport) bool { return known.Name == c.Name })
	if i < 0 {
		return nil
	}
	sum, err := digest.OfFile(r.suite.Path(c))
	if err != nil || sum != r.Resume.Cases[i].SHA256 {
		return nil
	}
	return &r.Resume.Cases[i]
}

// checkResume refuses to resume a run with other options.
func (r *runner) checkResume() error {
	was := r.Resume
	if was == nil {
		return nil
	}
	for _, differs := range []struct {
		what, was, is string
	}{
		{"suite", was.Suite, r.suite.Name}, {"source", was.Source, r.suite.Source}, {"kernel", was.Kernel.SHA256, r.Kernel.SHA256},
		{"engines", strings.Join(was.Engines, ","), strings.Join(r.Engines, ",")}, {"mutation", was.Mutation, r.Mutate},
	} {
		if differs.was != differs.is {
			return fmt.Errorf("the interrupted run in %s cannot be resumed: its %s was %q, and is now %q", r.Out, differs.what, differs.was, differs.is)
		}
	}
	return nil
}

// runAll starts the workers, which take the cases from a queue.
func (r *runner) runAll(ctx context.Context) error {
	r.report.Cases = make([]result.CaseReport, len(r.suite.Cases))
	queue := make(chan int, len(r.suite.Cases))
	for _, i := range r.suite.Order(r.durations()) {
		if known := r.resumed(&r.suite.Cases[i]); known != nil {
			r.report.Cases[i] = *known
			continue
		}
		queue <- i
	}
	close(queue)
	workers, ctx := errgroup.WithContext(ctx)
	for range min(r.Jobs, len(queue)) {
		workers.Go(func() error {
			w := &worker{runner: r}
			defer w.drop()
			for i := range queue {
				if err := w.runCase(ctx, i); err != nil {
					return err
				}
			}
			return w.retire(ctx)
		})
	}
	return workers.Wait()
}

// readBaseline reads the baseline of the kernel.
func (r *runner) readBaseline() (err error) {
	if r.Baselines == "" {
		return nil
	}
	file := baseline.File(r.Baselines, r.Kernel.Name)
	r.baseline, err = baseline.Read(file)
	if err == nil && r.baseline == nil {
		r.Note(fmt.Sprintf("there is no baseline %s: the run fails on every difference; --update-baseline writes one", file))
	}
	return err
}

// durations returns how many seconds each case took in the previous run, nil if the cases run one
// after the other anyway.
func (r *runner) durations() map[string]float64 {
	if r.Jobs == 1 || r.Before == nil {
		return nil
	}
	took := make(map[string]float64)
	for i := range r.Before.Cases {
		took[r.Before.Cases[i].Name] = r.Before.Cases[i].Seconds
	}
	return took
}

// runner is the state that the workers of a run share.
type runner struct {
	Options
	suite  *suite.Suite
	source guest.Source
	tool   string // path of bpftool in the guest
	first  guest.Preloaded
	// evidence is nil if no artifacts are kept.
	evidence *evidence
	// baseline is nil if there is none.
	baseline *baseline.Baseline
	// start starts guest number, which counts from 1, with this much memory. If cold is set the guest
	// is booted, not restored.
	start func(ctx context.Context, number, memoryMiB int, cold bool) (liveGuest, error)

	mu           sync.Mutex // guards what follows
	report       *result.Report
	used         map[string]bool     // rules that explained something
	leaks        map[string][]string // by case: leaks that were found after the case was reported
	guests       int                 // how many were started
	alive        bool                // whether one ever said hello
	failedStarts int                 // how many did not say hello
}

func newRunner(suite *suite.Suite, o Options) *runner {
	r := &runner{Options: o, suite: suite, used: make(map[string]bool), leaks: make(map[string][]string)}
	r.defaults()
	r.start = r.boot
	r.report = &result.Report{
		Schema: 1, Suite: suite.Name, Source: suite.Source, Agreement: suite.External, Engines: r.Engines, Started: time.Now().UTC(), Cases: []result.CaseReport{},
		Command: o.Command, Mutation: o.Mutate, Faults: o.Faults,
		Kernel: result.KernelReport{Name: o.Kernel.Name, Release: o.Kernel.Release, SHA256: o.Kernel.SHA256, Origin: o.Kernel.Origin},
	}
	return r
}

// nextGuest returns the number of the next guest, from 1 on.
func (r *runner) nextGuest() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.guests++
	return r.guests
}

func (r *runner) booted() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.alive = true
}

func (r *runner) wasAlive() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.alive
}

// maxFailedStarts is how many guests may fail to start before the kernel, or the case, is given up.
const maxFailedStarts = 2

// startAgain reports whether to start another guest in place of one that did not say hello. If none
// ever did, the run fails; otherwise only the case does.
func (r *runner) startAgain(ctx context.Context, err error) (_ error, again bool) {
	var ending *vm.Ending
	if ctx.Err() != nil || !errors.As(err, &ending) {
		return err, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failedStarts++
	if r.alive || r.failedStarts < maxFailedStarts {
		return err, true
	}
	return fmt.Errorf("no guest with kernel %s boots, tried %d times: %v\n%s", r.Kernel.Name, r.failedStarts, ending, strings.Join(ending.Console, "\n")), false
}

func (r *runner) defaults() {
	if r.Jobs == 0 {
		r.Jobs = 1
	}
	r.Config.Defaults()
	if r.MemoryMiB == 0 {
		r.MemoryMiB = guest.GuestMemoryMiB
	}
	if r.EngineTimeout == 0 {
		r.EngineTimeout = DefaultEngineTimeout
	}
	if r.Debugger != nil {
		r.EngineTimeout = vm.Endless
	}
	if r.Done == nil {
		r.Done = func(*result.CaseReport) {}
	}
}

// version records the version of an engine.
func (r *runner) version(l *wire.Load) {
	if l.Version == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.report.Versions == nil {
		r.report.Versions = make(map[string]string)
	}
	r.report.Versions[l.Engine] = l.Version
}

// request returns the request that makes a guest run a case.
func (r *runner) request(c *suite.Case) (*wire.CaseRequest, error) {
	data, err := r.suite.Read(c)
	if err != nil {
		return nil, err
	}
	return r.requestFor(c, data)
}

// requestFor is request with the object given.
func (r *runner) requestFor(c *suite.Case, data []byte) (*wire.CaseRequest, error) {
	req, err := r.suite.Request(c, data)
	if err != nil {
		return nil, err
	}
	req.Engines, req.Mutate, req.Repeat, req.Fresh = r.Engines, r.Mutate, r.Repeat, r.Fresh
	req.Certs, req.Bpftool, req.DeferLeaks = r.Certs, r.tool, r.defersLeaks()
	return req, nil
}

// judge returns the judge of the loads of an object, which is given with its file name.
func (r *runner) judge(file string, data []byte) *judge.Judge {
	r.mu.Lock()
	defer r.mu.Unlock()
	return judge.New(r.report.Kernel.Release, r.Kernel.Must, file, data)
}

func (r *runner) finish(start time.Time) {
	for i := range r.report.Cases {
		c := &r.report.Cases[i]
		r.report.Seconds.Suite += c.Seconds
		c.Failures = append(c.Failures, r.leaks[c.Name]...)
	}
	r.report.Seconds.Saving = r.source.Saving().Seconds()
	r.report.Seconds.Total = time.Since(start).Seconds()
	if r.Resume != nil {
		r.report.Seconds.Total += r.Resume.Seconds.Total
	}
	r.report.Summarise()
	r.report.Follow(r.Before)
	if r.baseline != nil {
		r.report.Baseline = r.baseline.Compare(r.report, !r.suite.Partial && len(r.report.NotRun) == 0)
		r.report.Baseline.Explain(r.suite.Absent)
	}
	if r.suite.Partial || r.suite.External || len(r.report.NotRun) > 0 {
		return // other cases may need the rules that these do not
	}
	var used []string
	for id := range r.used {
		used = append(used, id)
	}
	for _, rule := range compare.UnusedRules(used, r.Engines) {
		r.report.UnusedRules = append(r.report.UnusedRules, rule.ID)
	}
}
