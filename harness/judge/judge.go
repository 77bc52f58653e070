package judge

import (
	"fmt"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/compare"
	"github.com/bpfreplay/bpfreplay/harness/effects"
	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/field"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/internal/object"
)

// Judge compares the loads of one object on one kernel.
type Judge struct {
	Release string                       // of the kernel: "6.12.107+deb12-cloud-amd64"
	must    func(capability string) bool // reports whether the kernel must have a capability
	facts   *compare.Facts               // nil if the object cannot be read
	Used    map[string]bool              // IDs of rules that explained a difference
	Notes   []string                     // see result.CaseReport
}

// New returns a Judge for the object with this file name and contents, on a kernel of this release.
// must reports whether the kernel has to have a capability.
func New(release string, must func(capability string) bool, file string, data []byte) *Judge {
	j := &Judge{Release: release, must: must, Used: make(map[string]bool)}
	if o, err := object.OpenBytes(data, file); err == nil {
		j.facts = compare.FactsOf(o)
	}
	return j
}

// Case judges one case. It returns the verdict on each pair of engines, and the expectations that
// the loads did not meet. It normalises the states of loads in place.
func (j *Judge) Case(c *suite.Case, loads []wire.Load) ([]result.PairReport, []string) {
	j.Normalise(loads)
	failures := j.Expectations(c, loads)
	var pairs []result.PairReport
	for i := range loads {
		for k := i + 1; k < len(loads); k++ {
			pairs = append(pairs, j.Pair(c, &loads[i], &loads[k]))
		}
	}
	return pairs, failures
}

// Normalise replaces values in states that differ at every load and can only be recognised with the
// object: see [compare.Normalise].
func (j *Judge) Normalise(loads []wire.Load) {
	for i := range loads {
		for _, s := range []*state.State{loads[i].State, loads[i].After} {
			if s != nil {
				compare.Normalise(s, j.facts)
			}
		}
	}
}

// Context returns the context in which the state of a load is compared.
func (j *Judge) Context(l *wire.Load) compare.Context {
	return compare.Context{Engine: l.Engine, Version: l.Version, Release: j.Release, Object: j.facts}
}

// Expectations checks each load by itself and returns the failures. It does not check error
// messages of libbpf's loader programs, which return only an errno.
func (j *Judge) Expectations(c *suite.Case, loads []wire.Load) []string {
	var failures []string
	fail := func(format string, args ...any) { failures = append(failures, fmt.Sprintf(format, args...)) }
	for i := range loads {
		l := &loads[i]
		for _, leak := range l.Leaks {
			if why := knownLeak(l, leak); why != "" {
				j.Notes = append(j.Notes, fmt.Sprintf("%s left behind %s: %s", l.Engine, leak, why))
				continue
			}
			fail("%s left behind %s", l.Engine, leak)
		}
		reason, known := c.Known[l.Engine]
		excuse := j.excuse(c, l, loads)
		switch {
		case l.Result == wire.Unsupported:
			if j.must(l.Missing) {
				fail("%s: this kernel must support %s, and its probe says no", l.Engine, l.Detail)
			}
		case l.Result == wire.Broken:
			// Pair reports it.
		case known && l.Result == wire.OK && l.Version != "" && !strings.HasPrefix(reason, l.Version+" "):
			j.Notes = append(j.Notes, fmt.Sprintf("%s (%s) loads the object, which another version is known not to: %s", l.Engine, l.Version, reason))
		case known && l.Result == wire.OK:
			fail("%s loads the object although it is known not to: %q is out of date", l.Engine, reason)
		case known:
		case c.Expect.Result == suite.AnyResult && l.Result != wire.OK:
		case excuse != "":
			j.Notes = append(j.Notes, fmt.Sprintf("%s refuses the object: %s", l.Engine, excuse))
		case c.Expect.Result != suite.AnyResult && l.Result != c.Expect.Result:
			fail("%s: expected %s, was %s", l.Engine, c.Expect.Result, Outcome(l))
		case l.Result == wire.Refused:
			if c.Expect.Errno != "" && l.Errno != c.Expect.Errno {
				fail("%s: expected %s, was %s", l.Engine, c.Expect.Errno, Outcome(l))
			}
			if l.Engine != enginename.LibbpfLight && !strings.Contains(l.Detail, c.Expect.Message) {
				fail("%s: expected %q in the error, which was %q", l.Engine, c.Expect.Message, l.Detail)
			}
		default:
			j.returns(c, l, fail)
		}
	}
	return failures
}

// notSupported is the errno of PROG_TEST_RUN for a program type that cannot be run. The kernel
// returns ENOTSUPP, which has no name in user space.
const notSupported = ""

func (j *Judge) returns(c *suite.Case, l *wire.Load, fail func(string, ...any)) {
	for i, r := range l.Runs {
		want := c.Run[i].Retval
		if want == nil {
			continue
		}
		if len(r.Returns) == 0 {
			if r.Errno != notSupported {
				fail("%s: program %s: PROG_TEST_RUN: %s", l.Engine, r.Program, r.Errno)
			}
			continue
		}
		if got := r.Returns[len(r.Returns)-1]; got != *want {
			fail("%s: program %s returned %d, not %d", l.Engine, r.Program, got, *want)
		}
	}
}

// Outcome returns how a load ended, as one line: "ok", "refused EINVAL: DETAIL".
func Outcome(l *wire.Load) string {
	if l.Result != wire.Refused {
		return l.Result
	}
	return strings.TrimSpace("refused "+l.Errno) + ": " + l.Detail
}

// Pair compares two loads of a case. The result is a verdict and the differences.
func (j *Judge) Pair(c *suite.Case, a, b *wire.Load) result.PairReport {
	p := result.PairReport{A: a.Engine, B: b.Engine, Differences: []compare.Difference{}}
	for _, l := range []*wire.Load{a, b} {
		switch l.Result {
		case wire.Broken:
			p.Verdict, p.Reason = result.Broken, l.Engine+": "+l.Detail
			return p
		case wire.Unsupported:
			if p.Verdict != result.Unsupported {
				p.Verdict, p.Reason = result.Unsupported, l.Detail
			}
		}
	}
	if p.Verdict != "" {
		return p
	}
	if a.Result != b.Result || a.Result == wire.Refused {
		p.Differences = j.refusals(c, a, b)
	} else {
		p.Differences = append(p.Differences, j.states(a, b)...)
	}
	p.Verdict = result.Equal
	for i := range p.Differences {
		d := &p.Differences[i]
		if len(d.ExplainedBy) == 0 {
			p.Verdict = result.Different
			return p
		}
		p.Verdict = result.Explained
	}
	return p
}

// states compares the states after two loads, the results of the same test runs, and the effects.
func (j *Judge) states(a, b *wire.Load) []compare.Difference {
	ca, cb := j.Context(a), j.Context(b)
	out := compare.States(a.State, b.State, ca, cb)
	output := compare.NewOutput(a.State, b.State, ca, cb)
	for i := range min(len(a.Runs), len(b.Runs)) {
		ra, rb := a.Runs[i], b.Runs[i]
		if x, y := fmt.Sprint(ra.Errno, ra.Returns), fmt.Sprint(rb.Errno, rb.Returns); x != y {
			d := compare.Difference{Field: field.Program(ra.Program, "run returns"), A: x, B: y}
			if ra.Errno == rb.Errno {
				d.ExplainedBy = output.Returns(d.Field, ra.Returns, rb.Returns)
			}
			out = append(out, d)
		}
		if x, y := fmt.Sprintf("%x", ra.Out), fmt.Sprintf("%x", rb.Out); x != y {
			d := compare.Difference{Field: field.Program(ra.Program, "run data"), A: x, B: y}
			d.ExplainedBy = output.Data(d.Field, ra.Out, rb.Out)
			out = append(out, d)
		}
	}
	if a.After != nil && b.After != nil {
		for _, d := range compare.States(a.After, b.After, ca, cb) {
			if d.Field.Attribute == "contents" {
				d.Field.Attribute = "contents after runs"
				if d.ExplainedBy == nil {
					d.ExplainedBy = output.Contents(d.Field, a.After, b.After)
				}
				out = append(out, d)
			}
		}
	}
	found := out
	for _, d := range effects.Compare(a.Samples, b.Samples) {
		by := compare.Following(d.Field, found)
		if by == nil {
			by = output.Effect(&d)
		}
		out = append(out, compare.Difference{Field: d.Field, A: d.A, B: d.B, Detail: d.Detail, ExplainedBy: by})
	}
	for _, d := range out {
		for _, id := range d.ExplainedBy {
			j.Used[id] = true
		}
	}
	return out
}
