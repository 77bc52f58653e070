package run

import (
	"context"
	"fmt"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// runCase runs case i of the suite and reports it.
func (w *worker) runCase(ctx context.Context, i int) error {
	c := &w.suite.Cases[i]
	req, err := w.request(c)
	if err != nil {
		return err
	}
	last, first, err := w.attempts(ctx, c, req)
	if err != nil {
		return err
	}
	if w.evidence != nil {
		w.evidence.keep(i, last, first)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.report.Cases[i] = *last.report
	w.Done(last.report)
	return nil
}

// attempts runs a case. If it fails, it is run once more in a new guest, because earlier cases in
// the guest or a busy machine may be the cause. attempts returns the attempt to report as last, and
// the first one if there were two. If a copy of a saved guest hangs, the case is run once more
// whatever the options say, in a guest that is booted.
func (w *worker) attempts(ctx context.Context, c *suite.Case, req *wire.CaseRequest) (last, first *attempt, err error) {
	if w.Isolate {
		w.drop()
	}
	fault, once := strings.CutSuffix(w.Faults[c.Name], FaultOnce)
	req.Fault = fault
	last, err = w.attempt(ctx, c, req)
	never := w.NoRetry || w.Mutate != "" || w.Repeat > 1
	if err != nil || last.report.OK() || w.known(last.report) || never && !last.hung {
		return last, nil, err
	}
	first = last
	w.cold = first.hung
	defer func() { w.cold = false }()
	if err := w.retire(ctx); err != nil {
		return nil, nil, err
	}
	if once {
		req.Fault = ""
	}
	last, err = w.attempt(ctx, c, req)
	if err != nil {
		return nil, nil, err
	}
	if err := w.retire(ctx); err != nil {
		return nil, nil, err
	}
	last.report.First = first.report
	last.report.Notes = append(last.report.Notes, first.describe(last))
	return last, first, nil
}

// known reports whether a case failed alike in the baseline.
func (r *runner) known(c *result.CaseReport) bool { return r.baseline != nil && r.baseline.Known(c) }

// describe returns how the first attempt ended, for the report of the second.
func (a *attempt) describe(second *attempt) string {
	where := "in a new guest"
	if a.hung {
		where = "in a copy of a saved guest"
	}
	switch {
	case a.ran == 1:
		where = "in a guest that had run case " + a.last
	case a.ran > 1:
		where = fmt.Sprintf("in a guest that had run %d cases, the last of them %s", a.ran, a.last)
	}
	first, again := a.report.Trouble(), second.report.Trouble()
	switch {
	case again == "":
		return fmt.Sprintf("failed %s (%s); passed alone in a new one", where, first)
	case first == again:
		return fmt.Sprintf("failed alike %s, and once more alone in a new one", where)
	}
	return fmt.Sprintf("failed otherwise %s: %s", where, first)
}
