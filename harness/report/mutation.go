package report

import (
	"fmt"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/mutate"
	"github.com/bpfreplay/bpfreplay/harness/mutation"
)

// Mutations lists mutations of loads, and how each must be detected.
func (t *Text) Mutations(list []mutate.Mutation) {
	for i := range list {
		m := &list[i]
		fmt.Fprintf(t.W, "%-6s  %-26s  %-24s  %s\n%42s%s\n", m.Kind(), m.Name, m.Case, m.About, "", m.Want.String())
	}
}

// Mutation writes the line of one mutation, and problems below it.
func (t *Text) Mutation(m *mutation.Result) {
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

// MutationSummary writes the results of a whole run of mutations.
func (t *Text) MutationSummary(r *mutation.Report) {
	fmt.Fprintf(t.W, "\nkernel %s (%s), %s, compared with %s\n", r.Kernel.Name, r.Kernel.Release, r.Accelerator, strings.Join(r.Engines, ", "))
	t.ruleUses(r.Rules)
	if len(r.Pairs) > 0 {
		fmt.Fprintf(t.W, "%-26s  %8s  %8s  %8s  %11s\n", "changes of states, between", "changes", "caught", "apart", "cannot tell")
	}
	for _, p := range r.Pairs {
		strict := ""
		if p.Strict {
			strict = "  strict"
			if p.First != "" {
				strict += ": " + p.First
			}
		}
		fmt.Fprintf(t.W, "  %-24s  %8d  %8d  %8d  %11d%s\n", p.A+"/"+p.B, p.Changes, p.Caught, p.Apart, p.CannotTell, strict)
	}
	t.lines("  ", complaints(r.Splats))
	fmt.Fprintf(t.W, "%d mutations in %.1f s (boot %.1f s):", len(r.Mutations), r.Seconds.Total, r.Seconds.Boot)
	for _, o := range []mutate.Outcome{
		mutate.Caught, mutate.Unsupported, mutate.Hidden, mutate.Misnamed, mutate.Missed, mutate.Idle, mutate.Broken,
	} {
		fmt.Fprintf(t.W, " %d %s", r.Summary[o], o)
	}
	fmt.Fprintln(t.W)
	fmt.Fprintln(t.W, passOrFail(r.OK()))
}

// ruleUses lists the rules, how often each explained something, and the results of the changes
// aimed at it.
func (t *Text) ruleUses(rules []mutation.RuleUse) {
	if len(rules) > 0 {
		fmt.Fprintf(t.W, "%-30s  %6s  %6s  %6s  %-24s\n", "rule", "fired", "aimed", "caught", "first in")
	}
	for i := range rules {
		u := &rules[i]
		note := ""
		if len(u.Hidden) > 0 {
			note = "  cannot tell: " + strings.Join(u.Hidden, ", ")
		}
		switch {
		case u.Idle != "":
			note += "  FAILED: it explains nothing in " + u.Idle + ", which is there for it"
		case u.Caught == 0:
			note += "  FAILED: no change aimed at it was caught"
		case !u.OK():
			note += "  FAILED: it hides more than one change"
		}
		fmt.Fprintf(t.W, "%-30s  %5d×  %6d  %6d  %-24s%s\n", u.Rule, u.Fired, u.Aimed, u.Caught, u.Case, note)
	}
}
