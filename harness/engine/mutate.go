package engine

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/bpfreplay/bpfreplay/loader/trace"
)

// mutations change a trace so that its loader program does not what a direct
// load does. A harness that does not notice is worth nothing.
var mutations = map[string]func(*trace.Trace) bool{
	"drop-freeze": func(t *trace.Trace) bool {
		return drop(t, func(c trace.Command) bool { _, ok := c.(*trace.Freeze); return ok })
	},
	"drop-value": func(t *trace.Trace) bool {
		return drop(t, func(c trace.Command) bool {
			u, ok := c.(*trace.UpdateElem)
			return ok && u.MapIndex >= 0 && !u.OnlyGiven
		})
	},
}

// drop removes the first command that is, and says whether there was one.
func drop(t *trace.Trace, is func(trace.Command) bool) bool {
	i := slices.IndexFunc(t.Commands, is)
	if i < 0 {
		return false
	}
	t.Commands = slices.Delete(t.Commands, i, i+1)
	return true
}

// Mutations are the names of all mutations.
func Mutations() []string {
	var names []string
	for n := range mutations {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// Mutate applies a mutation. One that finds nothing to change leaves the trace
// as it is.
func Mutate(name string, t *trace.Trace) error {
	m, ok := mutations[name]
	if !ok {
		return fmt.Errorf("no mutation %q: there are %s", name, strings.Join(Mutations(), ", "))
	}
	m(t)
	return nil
}
