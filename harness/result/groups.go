package result

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/field"
)

// FieldDifference is a field in which engines differ. It groups the engines by value.
type FieldDifference struct {
	Field  field.Field
	Groups []Group // in the order of the engines
	// Rules are those that explain the difference between any two engines. Open are the pairs whose
	// difference no rule explains; it is empty if the difference is fully explained.
	Rules  []string
	Open   []string
	Detail string // of an unexplained difference, or of a known refusal
}

// RuleKnown is the rule for known refusals of an engine.
const RuleKnown = "known-refusal"

// Fields of loads, which are compared even without a state.
var (
	FieldLoad  = field.Load("")
	FieldErrno = field.Load("errno")
	FieldLog   = field.Load("log")
)

// Group is a set of engines with the same value.
type Group struct {
	Engines []string
	Value   string
}

// String returns the difference on one line.
func (d *FieldDifference) String() string {
	var groups []string
	for _, g := range d.Groups {
		groups = append(groups, strings.Join(g.Engines, ", ")+": "+g.Value)
	}
	return d.Field.String() + ": " + strings.Join(groups, "; ")
}

// Write writes the difference with all details.
func (d *FieldDifference) Write(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n", d.Field)
	for _, g := range d.Groups {
		fmt.Fprintf(w, "    %s: %s\n", strings.Join(g.Engines, ", "), g.Value)
	}
	if len(d.Rules) > 0 {
		fmt.Fprintf(w, "    explained by %s", strings.Join(d.Rules, ", "))
		if len(d.Open) > 0 {
			fmt.Fprintf(w, ", but not between %s", strings.Join(d.Open, ", "))
		}
		fmt.Fprintln(w)
	}
	if d.Detail != "" {
		fmt.Fprintln(w, d.Detail)
	}
}

// Differences returns the differences between the pairs of a case, by field, unexplained ones
// first.
func (c *CaseReport) Differences() []FieldDifference {
	var out []FieldDifference
	for i := range c.Verdicts {
		for _, difference := range c.Verdicts[i].Differences {
			f := difference.Field
			if !slices.ContainsFunc(out, func(d FieldDifference) bool { return d.Field == f }) {
				out = append(out, c.difference(f))
			}
		}
	}
	slices.SortStableFunc(out, func(a, b FieldDifference) int { return cmp.Compare(min(len(b.Open), 1), min(len(a.Open), 1)) })
	return out
}

func (c *CaseReport) difference(f field.Field) FieldDifference {
	d := FieldDifference{Field: f}
	value, apart := make(map[string]string), make(map[[2]string]bool)
	var engines []string
	for _, p := range c.Verdicts {
		for _, e := range []string{p.A, p.B} {
			if p.Verdict != Unsupported && p.Verdict != Broken && !slices.Contains(engines, e) {
				engines = append(engines, e)
			}
		}
		for _, diff := range p.Differences {
			if diff.Field != f {
				continue
			}
			apart[[2]string{p.A, p.B}] = true
			value[p.A], value[p.B] = cmp.Or(value[p.A], diff.A), cmp.Or(value[p.B], diff.B)
			by := diff.ExplainedBy.String()
			if by == "" {
				d.Open = append(d.Open, p.A+"/"+p.B)
			} else if !slices.Contains(d.Rules, by) {
				d.Rules = append(d.Rules, by)
			}
			if d.Detail == "" && (by == "" || by == RuleKnown) {
				d.Detail = diff.Detail
			}
		}
	}
	for _, e := range engines {
		if value[e] == "" {
			continue // the field is not compared with this engine
		}
		i := slices.IndexFunc(d.Groups, func(g Group) bool {
			return !slices.ContainsFunc(g.Engines, func(other string) bool { return apart[[2]string{other, e}] })
		})
		if i < 0 {
			d.Groups = append(d.Groups, Group{Value: value[e]})
			i = len(d.Groups) - 1
		}
		d.Groups[i].Engines = append(d.Groups[i].Engines, e)
	}
	return d
}
