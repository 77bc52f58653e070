package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness"
	"github.com/bpfreplay/bpfreplay/harness/mutate"
)

// Mutations lists mutations of loads, and how each has to be noticed.
func (t *Text) Mutations(list []mutate.Mutation) {
	for i := range list {
		m := &list[i]
		fmt.Fprintf(t.W, "%-6s  %-26s  %-24s  %s\n%42s%s\n", m.Kind(), m.Name, m.Case, m.About, "", m.Want.String())
	}
}

// Mutation writes the line of one mutation, and below it what is wrong.
func (t *Text) Mutation(m *harness.MutationResult) {
	fmt.Fprintf(t.W, "%-11s  %-6s  %-26s  %-24s  %s\n", m.Outcome, m.Kind, m.Name, m.Case, cut(m.Text, 160))
	if m.Outcome == mutate.Caught || m.Outcome == mutate.Unsupported {
		return
	}
	fmt.Fprintf(t.W, "    %s; it has to show as: %s\n", m.About, m.Want)
	for _, a := range m.Against {
		if a.Outcome != mutate.Caught {
			fmt.Fprintf(t.W, "    with %s: %s: %s\n", a.Engine, a.Outcome, a.Text)
		}
	}
}

// MutationSummary writes what a whole run of mutations found.
func (t *Text) MutationSummary(r *harness.MutationReport) {
	fmt.Fprintf(t.W, "\nkernel %s (%s), %s, compared with %s\n", r.Kernel.Name, r.Kernel.Release, r.Accelerator, strings.Join(r.Engines, ", "))
	for _, rule := range slices.Sorted(maps.Keys(r.Hiding)) {
		fmt.Fprintf(t.W, "  rule %s hides a change of: %s\n", rule, strings.Join(r.Hiding[rule], ", "))
	}
	for _, s := range r.Splats {
		fmt.Fprintf(t.W, "  the guest's kernel complained: %s\n", s)
	}
	fmt.Fprintf(t.W, "%d mutations in %.1f s (boot %.1f s):", len(r.Mutations), r.Seconds.Total, r.Seconds.Boot)
	for _, o := range []mutate.Outcome{
		mutate.Caught, mutate.Unsupported, mutate.Hidden, mutate.Misnamed, mutate.Missed, mutate.Idle, mutate.Broken,
	} {
		fmt.Fprintf(t.W, " %d %s", r.Summary[o], o)
	}
	fmt.Fprintln(t.W)
	if r.OK() {
		fmt.Fprintln(t.W, "PASS")
	} else {
		fmt.Fprintln(t.W, "FAIL")
	}
}
