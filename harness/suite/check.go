package suite

import (
	"slices"

	"github.com/bpfreplay/bpfreplay/internal/object"
)

// UsesSuffix marks the case that tells which capability a kernel lacks.
const UsesSuffix = " (what it uses)"

// NewCheck makes a suite that finds out where objects load: for each its loads, and,
// if it visibly uses what some kernels lack, a case that probes for it. newest puts
// capabilities in order, the one that came last first.
func NewCheck(paths []string, newest func(a, b string) int) *Suite {
	s := New(paths)
	s.Name = "check"
	var probes []Case
	for i := range s.Cases {
		c := &s.Cases[i]
		o, err := object.Open(c.Object)
		if err != nil {
			continue // the engines say so
		}
		if uses := Uses(o); len(uses) > 0 {
			slices.SortStableFunc(uses, newest)
			probes = append(probes, Case{Name: c.Name + UsesSuffix, Object: c.Object, Needs: uses, Expect: c.Expect})
		}
	}
	s.Cases = append(s.Cases, probes...)
	return s
}
