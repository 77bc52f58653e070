package run

import (
	"context"
	"path/filepath"

	"github.com/bpfreplay/bpfreplay/harness/judge"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// Guests runs cases one after the other, in one guest for as long as it lives.
type Guests struct{ worker *worker }

// NewGuests prepares guests for the cases of a suite; the first case boots one. The caller must
// call Close.
func NewGuests(ctx context.Context, s *suite.Suite, o Options) (*Guests, error) {
	r := newRunner(s, o)
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	return &Guests{&worker{runner: r}}, nil
}

// Run runs a case with the given object in place of the file [Case.Object], of which only the name
// is used. The caller has to check the results of the loads: a case does not fail because all
// engines refuse the object alike. An error means that the harness failed; a guest that breaks is a
// verdict.
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

// Request returns the request that makes a guest run a case.
func (g *Guests) Request(c *suite.Case) (*wire.CaseRequest, error) { return g.worker.request(c) }

// Ask sends a request to the guest, and starts one if there is none. The error is a [*vm.Ending] if
// the guest ended; the next request gets a new guest.
func (g *Guests) Ask(ctx context.Context, req *wire.CaseRequest) (*wire.Answer, error) {
	return g.worker.ask(ctx, req)
}

// Judge returns the judge of a case's loads.
func (g *Guests) Judge(c *suite.Case) *judge.Judge {
	data, _ := g.worker.suite.Read(c) // the object was read when the request was made
	return g.worker.judge(filepath.Base(c.Object), data)
}

// Close ends the guest and returns what is known about it: its kernel, the accelerator, the time of
// its boot and its kernel's complaints.
func (g *Guests) Close() *result.Report {
	g.worker.drop()
	return g.worker.report
}
