package run

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bpfreplay/bpfreplay/harness/compare"
	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/judge"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/harness/vm"
	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// worker runs cases one after the other, in one guest for as long as it is usable. Then the next
// case gets a new guest.
type worker struct {
	*runner
	guest   liveGuest // nil if none runs
	release func()    // returns the guest's part of the budget
	memory  int       // MiB of the guest
	ran     int       // number of cases that ran in the guest
	last    string    // name of the last one
	cold    bool      // the next guest is booted
}

// memoryFor returns the memory of the guest for a request, in MiB.
func (r *runner) memoryFor(req *wire.CaseRequest) int { return max(r.MemoryMiB, req.MemoryMiB) }

// need starts a guest for a request unless one with its memory runs. The error is a [*vm.Ending] if
// only this case is to fail.
func (w *worker) need(ctx context.Context, req *wire.CaseRequest) error {
	memory := w.memoryFor(req)
	if w.guest != nil && w.memory != memory {
		if err := w.retire(ctx); err != nil {
			return err
		}
	}
	if w.guest != nil {
		return nil
	}
	release, err := w.Budget.Take(ctx, guest.GuestCPUs, memory)
	if err != nil && memory > w.MemoryMiB && ctx.Err() == nil {
		return &vm.Ending{Reason: vm.Failed, Cause: err.Error()} // other cases need less
	}
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		g, err := w.start(ctx, w.nextGuest(), memory, w.cold)
		var ending *vm.Ending
		if err != nil && w.wasAlive() && ctx.Err() == nil && !errors.As(err, &ending) {
			err = &vm.Ending{Reason: vm.Failed, Cause: err.Error()} // the host is at fault, perhaps only for now
		}
		if err == nil {
			w.booted()
			w.guest, w.release, w.memory, w.ran, w.last = g, release, memory, 0, ""
			return nil
		}
		if err, again := w.startAgain(ctx, err); !again || try == maxFailedStarts {
			release()
			return err
		}
	}
}

// drop ends the guest, if one runs, and records its kernel's complaints.
func (w *worker) drop() {
	if w.guest == nil {
		return
	}
	w.recordSplats(w.guest.End())
	w.release()
	w.guest = nil
}

// recordSplats records complaints that cannot be attributed to a case.
func (w *worker) recordSplats(splats []vm.Splat) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range splats {
		line := s.Kind + ": " + s.Line
		if w.last != "" {
			line += " (after case " + w.last + ")"
		}
		if !slices.Contains(w.report.Splats, line) { // copies of a saved guest share the log of its boot
			w.report.Splats = append(w.report.Splats, line)
		}
	}
}

// ask sends a request to the guest, and starts one if there is none.
func (w *worker) ask(ctx context.Context, req *wire.CaseRequest) (*wire.Answer, error) {
	rep, err := w.exchange(ctx, req)
	if err != nil {
		return nil, err
	}
	return rep.Answer, nil
}

// exchange is like ask, but returns all that is known of the reply, even after an error. It drops
// the guest if the request changed it in unexpected ways.
func (w *worker) exchange(ctx context.Context, req *wire.CaseRequest) (*guest.Reply, error) {
	if err := w.need(ctx, req); err != nil {
		return &guest.Reply{}, err
	}
	req.Exercise = w.exercises() && req.Repeat <= 1 && !req.Attach
	req.Patience = w.EngineTimeout
	rep, err := w.guest.Ask(ctx, req)
	w.recordSplats(rep.Late)
	w.ran, w.last = w.ran+1, req.Name
	switch {
	case err != nil:
		w.drop()
	case len(rep.Splats) > 0 || slices.ContainsFunc(rep.Answer.Loads, isBroken):
		if err := w.retire(ctx); err != nil {
			return rep, err
		}
	}
	return rep, err
}

func isBroken(l wire.Load) bool { return l.Result == wire.Broken }

// attempt is the result of running a case once.
type attempt struct {
	report *result.CaseReport
	req    *wire.CaseRequest
	reply  *guest.Reply
	ran    int    // number of cases that the guest had run before
	last   string // name of the last one
	// hung means that the guest, a copy of a saved one, hung; QEMU may be at fault.
	hung bool
}

// attempt runs a case and judges it.
func (w *worker) attempt(ctx context.Context, c *suite.Case, req *wire.CaseRequest) (*attempt, error) {
	out := &result.CaseReport{Name: c.Name, Object: c.Object, SHA256: fmt.Sprintf("%x", sha256.Sum256(req.Object)), Loads: []result.LoadReport{}, Verdicts: []result.PairReport{}}
	a := &attempt{report: out, req: req, reply: &guest.Reply{}}
	err := w.need(ctx, req)
	a.ran, a.last = w.ran, w.last
	copied := w.guest != nil && w.guest.Copied()
	start := time.Now() // the time of a boot is not the case's
	if err == nil {
		a.reply, err = w.exchange(ctx, req)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var ending *vm.Ending
	switch {
	case errors.As(err, &ending):
		a.hung = copied && ending.Reason.Hang()
		w.broken(out, ending, a.reply)
	case err != nil:
		return nil, err
	default:
		loads := a.reply.Answer.Loads
		for i := range loads {
			out.Loads = append(out.Loads, LoadReport(&loads[i]))
			w.version(&loads[i])
		}
		j := w.judge(req.File, req.Object)
		out.Verdicts, out.Failures = j.Case(c, loads)
		out.Notes = j.Notes
		w.explained(j, a.reply.Answer)
		w.complaints(out, c, a.reply)
	}
	if text := w.lacksMemory(req, a.reply, ending); text != "" {
		out.Notes = append(out.Notes, text)
	}
	out.Seconds = time.Since(start).Seconds()
	return a, nil
}

// complaints fails a case for complaints of the guest's kernel, unless the suite allows them.
func (w *worker) complaints(out *result.CaseReport, c *suite.Case, rep *guest.Reply) {
	for _, s := range rep.Splats {
		if reason, ok := c.Allows(s.Line); ok {
			out.Notes = append(out.Notes, fmt.Sprintf("the guest's kernel complained (%s): %s; this is known: %s", s.Kind, s.Line, reason))
			continue
		}
		out.Failures = append(out.Failures, fmt.Sprintf("the guest's kernel complained (%s): %s", s.Kind, s.Line))
		if out.Console == nil {
			out.Console = guest.LastLines(rep.Console)
		}
	}
}

// retire drops the guest. If the leak checks are deferred, it first asks the guest what its cases
// left behind.
func (w *worker) retire(ctx context.Context) error {
	defer w.drop()
	if w.guest == nil || !w.defersLeaks() {
		return nil
	}
	rep, err := w.guest.Leaks(ctx, w.EngineTimeout)
	w.recordSplats(rep.Late)
	w.recordSplats(rep.Splats)
	var ending *vm.Ending
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case errors.As(err, &ending):
		w.Note(fmt.Sprintf("what the cases before %s left behind is not known: %v", w.last, ending))
		return nil
	case err != nil:
		return err
	}
	for _, leak := range rep.Answer.Late {
		text := fmt.Sprintf("%s left behind %s", leak.Engine, leak.What)
		w.Note(fmt.Sprintf("%s: %s", leak.Case, text))
		w.leaks[leak.Case] = append(w.leaks[leak.Case], text)
	}
	return nil
}

// defersLeaks reports whether leaks are checked only at the end of a guest: otherwise a suite of a
// thousand cases would spend half of its time waiting for freed ids.
func (r *runner) defersLeaks() bool { return r.suite.External && !r.Isolate }

// explained records which rules explained something, and the times of the phases.
func (w *worker) explained(j *judge.Judge, a *wire.Answer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	spend(&w.report.Seconds, a)
	for id := range j.Used {
		w.used[id] = true
	}
}

// agentSays is the start of the line in which the agent prints why it exits.
const agentSays = "bpfreplay: agent: "

// lastOf returns the rest of the last line that contains mark.
func lastOf(text []byte, mark string) string {
	i := bytes.LastIndex(text, []byte(mark))
	if i < 0 {
		return ""
	}
	line, _, _ := bytes.Cut(text[i+len(mark):], []byte("\n"))
	return strings.TrimSpace(string(line))
}

// longer tells how to give an engine more time.
const longer = "--engine-timeout sets the limit"

// broken reports that the guest did not survive a case.
func (w *worker) broken(out *result.CaseReport, ending *vm.Ending, rep *guest.Reply) {
	out.Console = ending.Console
	why := ending.Error()
	switch {
	case ending.Reason == vm.Overdue:
		why += "; " + longer
	case rep.Step != (wire.Step{}):
		why += fmt.Sprintf(" (%s)", rep.Step)
	}
	// Before a panic the kernel often prints its cause. The panic itself tells nothing: it is
	// either the ending, or was provoked to find out where the guest hangs.
	if i := slices.IndexFunc(rep.Splats, func(s vm.Splat) bool { return s.Kind != "panic" }); i >= 0 {
		why += fmt.Sprintf("; its kernel complained (%s): %s", rep.Splats[i].Kind, rep.Splats[i].Line)
	}
	if said := lastOf(rep.Console, agentSays); said != "" {
		why += "; the agent said: " + said
	}
	for _, e := range w.Engines {
		detail := why
		if at := rep.Step.Engine; at != "" && at != e {
			detail = "not known: the guest was lost with engine " + at
		}
		out.Loads = append(out.Loads, result.LoadReport{Engine: e, Result: wire.Broken, Detail: detail})
	}
	for _, p := range result.PairsOf(w.Engines) {
		out.Verdicts = append(out.Verdicts, result.PairReport{A: p[0], B: p[1], Verdict: result.Broken, Reason: why, Differences: []compare.Difference{}})
	}
	if len(w.Engines) == 1 {
		out.Failures = append(out.Failures, why)
	}
}
