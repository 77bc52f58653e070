package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/fuzz"
)

// FuzzSummary prints the results of loading random objects. again returns the command that loads
// one object again.
func (t *Text) FuzzSummary(r *fuzz.Report, again func(index uint64) string) {
	p := func(format string, args ...any) { fmt.Fprintf(t.W, format+"\n", args...) }
	p("objects with           number  loaded by all")
	for _, name := range slices.Sorted(maps.Keys(r.Features)) {
		s := r.Features[name]
		p("  %-24s %4d %8d", name, s.Objects, s.Loaded)
	}
	refusals := slices.Sorted(maps.Keys(r.Refusals))
	slices.SortStableFunc(refusals, func(a, b string) int { return len(r.Refusals[b]) - len(r.Refusals[a]) })
	if len(refusals) > 0 {
		p("refused by all engines alike:")
	}
	for _, text := range refusals {
		list := r.Refusals[text]
		p("  %4d× %s: %d", len(list), text, list[:min(len(list), 5)])
	}
	for _, f := range r.Findings {
		if f.Like != nil {
			p("object %d: %s; like object %d", f.Index, f.What, *f.Like)
			continue
		}
		p("object %d: %s", f.Index, f.What)
		for _, v := range f.Case.Verdicts {
			for _, d := range v.Differences {
				if len(d.ExplainedBy) == 0 {
					p("    %s: %s %s, %s %s", d.Field, v.A, d.A, v.B, d.B)
				}
			}
		}
		p("    made smaller from %d parts to %d: %s", f.Parts, f.Left, f.Dir)
		p("    again: %s", again(f.Index))
	}
	t.lines("", complaints(r.Splats))
	p("kernel %s (%s), %s, engines %s, seed %d", r.Kernel.Name, r.Kernel.Release, r.Accelerator, strings.Join(r.Engines, ", "), r.Seed)
	p("%d objects in %.0f s (boot %.1f s): %d loaded by all engines, %d refused by all alike; %s",
		r.Objects, r.Seconds.Total, r.Seconds.Boot, r.Loaded, r.Refused, tally(r.Summary))
	if !r.LoadsEnough() {
		p("too few objects load: the generator is wrong about this kernel")
	}
	if r.Interrupted {
		p("interrupted")
		return
	}
	p("%s", passOrFail(r.OK()))
}
