package suite

import (
	"slices"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/probe"
	"github.com/bpfreplay/bpfreplay/internal/object"
)

// The core suite declares all needs that are found in its objects. People write the declarations,
// case by case.
func TestUses(t *testing.T) {
	suite, err := Read("../../selftests/cases.yaml")
	assert.NilError(t, err)
	found := make(map[string]bool)
	for i := range suite.Cases {
		c := &suite.Cases[i]
		o, err := object.Open(suite.Path(c))
		if err != nil {
			continue // meant to be refused
		}
		for _, use := range Uses(o) {
			assert.Assert(t, probe.Known(use), "%s: no probe for %s", c.Name, use)
			found[use] = true
			if !slices.Contains(c.Needs, use) && !slices.Contains(without[use], c.Name) {
				t.Errorf("case %s uses %s and does not need it", c.Name, use)
			}
		}
	}
	for _, use := range []string{"ringbuf", "user_ringbuf", "arena", "atomics", "cpuv4", "fentry", "lsm", "iter", "bpf_loop", "sk_lookup", "xdp_frags"} {
		assert.Assert(t, found[use], "no object is seen to use %s", use)
	}
}

// without has cases that do not need what they use, by capability.
var without = map[string][]string{
	"lsm_sleepable": {"prog_lsm"},           // sleepable programs are older; 5.11 brought the list of hooks
	"ksym_percpu":   {"ksym_typed_missing"}, // refused everywhere
	"fentry":        {"fail_attach_target"}, // likewise
}

func TestNewCheck(t *testing.T) {
	last := func(a, b string) int { return -1 }
	s := NewCheck([]string{"../../selftests/bpf/maps_user_ringbuf.bpf.o", "../../selftests/bpf/maps_hash.bpf.o", "../../selftests/bpf/maps_hash.bpf.o", "none.o", "a/twin.bpf.o", "./b//twin.o"}, last)
	var names []string
	for _, c := range s.Cases {
		names = append(names, c.Name)
	}
	assert.DeepEqual(t, names, []string{"maps_user_ringbuf", "../../selftests/bpf/maps_hash", "../../selftests/bpf/maps_hash-2", "none", "a/twin", "b/twin", "maps_user_ringbuf (what it uses)"})
}
