package suite

import (
	"slices"

	"github.com/bpfreplay/bpfreplay/internal/object"
)

// UsesSuffix is the suffix of cases that probe for the capability that a kernel lacks.
const UsesSuffix = " (what it uses)"

// NewCheck makes a suite that finds out where objects load. Each object has a case for its loads
// and, if it visibly uses features that some kernels lack, a case that probes for these. newest
// compares capabilities; the most recent one comes first.
func NewCheck(paths []string, newest func(a, b string) int) *Suite {
	s := New(paths)
	s.Name = "check"
	var probes []Case
	for i := range s.Cases {
		c := &s.Cases[i]
		o, err := object.Open(c.Object)
		if err != nil {
			continue // the engines report it
		}
		if uses := Uses(o); len(uses) > 0 {
			slices.SortStableFunc(uses, newest)
			probes = append(probes, Case{Name: c.Name + UsesSuffix, Object: c.Object, Needs: uses, Expect: c.Expect})
		}
	}
	s.Cases = append(s.Cases, probes...)
	return s
}
