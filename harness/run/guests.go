package run

import (
	"context"
	"path/filepath"

	"github.com/bpfreplay/bpfreplay/harness/judge"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// Guests runs cases one after the other, in one guest as long as it lives.
type Guests struct{ worker *worker }

// NewGuests prepares guests for the cases of a suite; the first case boots one. The caller closes
// them.
func NewGuests(ctx context.Context, s *suite.Suite, o Options) (*Guests, error) {
	r := newRunner(s, o)
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	return &Guests{&worker{runner: r}}, nil
}

// Run runs a case with the given object, the file of which is named by
// [Case.Object]. What is expected of a load is for the caller to say, by the
// verdicts: a case is not failed because all engines refuse the object alike.
// An error means that the harness failed; a guest that breaks is a verdict.
func (g *Guests) Run(ctx context.Context, c suite.Case, object []byte) (*result.CaseReport, error) {
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

// Request is what a guest is asked for to run a case.
func (g *Guests) Request(c *suite.Case) (*wire.Request, error) { return g.worker.request(c) }

// Ask runs a request, in a guest that is started if there is none. The error is a [*vm.Ending] if
// the guest came to its end; the next request gets another one.
func (g *Guests) Ask(ctx context.Context, req *wire.Request) (*wire.Answer, error) {
	return g.worker.ask(ctx, req)
}

// Judge judges what becomes of a case.
func (g *Guests) Judge(c *suite.Case) *judge.Judge {
	data, _ := g.worker.suite.Read(c) // there was an object when the request was made
	return g.worker.judge(filepath.Base(c.Object), data)
}

// Close ends the guest and returns what is known of it: its kernel, the
// accelerator, the time of its boot and what its kernel complained of.
func (g *Guests) Close() *result.Report {
	g.worker.drop()
	return g.worker.report
}
