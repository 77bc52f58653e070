package harness

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/bpfreplay/bpfreplay/harness/agent"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/harness/vm"
)

// worker runs cases one after the other, in one guest as long as it lives. The
// next case then gets a new one.
type worker struct {
	*runner
	guest   guest  // nil if none runs
	release func() // gives the guest's part of the budget back
	ran     int    // cases that the guest has been given
}

// need starts a guest unless one runs.
func (w *worker) need(ctx context.Context) error {
	if w.guest != nil {
		return nil
	}
	release, err := w.Budget.take(ctx, guestCPUs, guestMemory)
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.guests++
	number := w.guests
	w.mu.Unlock()
	g, err := w.start(ctx, number)
	if err != nil {
		release()
		return err
	}
	w.guest, w.release, w.ran = g, release, 0
	return nil
}

// drop ends the guest, if one runs, and keeps what its kernel complained of.
func (w *worker) drop() {
	if w.guest == nil {
		return
	}
	splats := w.guest.end()
	w.release()
	w.guest = nil
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range splats {
		w.report.Splats = append(w.report.Splats, s.Kind+": "+s.Line)
	}
}

// runCase runs the case of this index in the suite and reports it.
func (w *worker) runCase(ctx context.Context, i int) error {
	c := &w.suite.Cases[i]
	req, err := w.request(c)
	if err != nil {
		return err
	}
	if w.Isolate {
		w.drop()
	}
	out, err := w.runRequest(ctx, c, req)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.report.Cases[i] = *out
	w.Done(out)
	return nil
}

// runRequest runs a case and judges it.
func (w *worker) runRequest(ctx context.Context, c *Case, req *agent.Request) (*CaseReport, error) {
	out := CaseReport{Name: c.Name, Object: c.Object, SHA256: fmt.Sprintf("%x", sha256.Sum256(req.Object)), Loads: []LoadReport{}, Verdicts: []PairReport{}}
	err := w.need(ctx)
	start := time.Now()
	var answer *agent.Answer
	if err == nil {
		answer, err = w.ask(ctx, req)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var ending *vm.Ending
	switch {
	case errors.As(err, &ending):
		w.broken(&out, ending)
	case err != nil:
		return nil, err
	default:
		for i := range answer.Loads {
			out.Loads = append(out.Loads, loadReport(&answer.Loads[i]))
			w.version(&answer.Loads[i])
		}
		j := w.judgeOf(req.File, req.Object)
		out.Verdicts, out.Failures = j.judgeCase(c, answer.Loads)
		out.Notes = j.notes
		w.explained(j)
	}
	out.Seconds = time.Since(start).Seconds()
	return &out, nil
}

// ask sends a request to the guest, which is started if there is none. One that
// breaks is dropped.
func (w *worker) ask(ctx context.Context, req *agent.Request) (*agent.Answer, error) {
	if err := w.need(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, w.CaseTimeout)
	defer cancel()
	req.Behave = !w.Still && req.Repeat <= 1 // what is timed is only loaded
	w.ran++
	answer, err := w.guest.ask(ctx, req)
	if err != nil {
		w.drop()
		return nil, err
	}
	return answer, nil
}

// explained notes which rules explained something.
func (w *worker) explained(j *judge) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range j.used {
		w.used[id] = true
	}
}

// broken reports a guest that did not survive a case.
func (w *worker) broken(out *CaseReport, ending *vm.Ending) {
	out.Console = ending.Console
	for i, e := range w.Engines {
		out.Loads = append(out.Loads, LoadReport{Engine: e, Result: agent.Broken, Detail: ending.Error()})
		if i > 0 {
			out.Verdicts = append(out.Verdicts, PairReport{
				A: w.Engines[0], B: e, Verdict: Broken, Reason: ending.Error(), Differences: []state.Difference{},
			})
		}
	}
	if len(w.Engines) == 1 {
		out.Failures = append(out.Failures, ending.Error())
	}
}
