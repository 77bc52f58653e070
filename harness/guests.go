package harness

import (
	"context"
	"fmt"

	"github.com/bpfreplay/bpfreplay/harness/agent"
	"github.com/bpfreplay/bpfreplay/harness/engine"
	"github.com/bpfreplay/bpfreplay/harness/suite"
)

// Guests runs cases one after the other that are made while they run, in one
// guest as long as it lives.
type Guests struct{ worker *worker }

// NewGuests prepares guests; the first case boots one. The caller closes them.
func NewGuests(o Options) (*Guests, error) {
	if s := engine.Skeletons(o.Engines); len(s) > 0 {
		return nil, fmt.Errorf("engine %s: skeletons are compiled before the guest boots, and these objects are made later: leave it out", s[0])
	}
	r := newRunner(&suite.Suite{Name: "objects", Partial: true}, o)
	if err := r.prepare(context.Background()); err != nil {
		return nil, err
	}
	return &Guests{&worker{runner: r}}, nil
}

// Run runs a case with the given object, the file of which is named by
// [Case.Object]. What is expected of a load is for the caller to say, by the
// verdicts: a case is not failed because all engines refuse the object alike.
// An error means that the harness failed; a guest that breaks is a verdict.
func (g *Guests) Run(ctx context.Context, c suite.Case, object []byte) (*CaseReport, error) {
	if err := c.Check(false); err != nil {
		return nil, err
	}
	req, err := g.worker.requestFor(&c, object)
	if err != nil {
		return nil, err
	}
	a, err := g.worker.attempt(ctx, &c, req)
	if err != nil {
		return nil, err
	}
	return a.report, nil
}

// Close ends the guest and returns what is known of it: its kernel, the
// accelerator, the time of its boot and what its kernel complained of.
func (g *Guests) Close() *Report {
	g.worker.drop()
	return g.worker.report
}

// Loaded says whether an engine loaded the object.
func (l *LoadReport) Loaded() bool { return l.Result == agent.OK }
