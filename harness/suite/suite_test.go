package suite

import (
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"
)

// core returns the core suite.
func core(t *testing.T) *Suite {
	t.Helper()
	s, err := Read("../../selftests/cases.yaml")
	assert.NilError(t, err)
	return s
}

func TestSelect(t *testing.T) {
	suite := &Suite{Cases: []Case{{Name: "a1"}, {Name: "a2"}, {Name: "b1"}}}
	for _, test := range []struct{ patterns, want []string }{
		{nil, []string{"a1", "a2", "b1"}},
		{[]string{"b*", "a1"}, []string{"a1", "b1"}},
		{[]string{"!a1"}, []string{"a2", "b1"}},
		{[]string{"a*", "!a1"}, []string{"a2"}},
		{[]string{"!a*", "a1"}, []string{"a1", "b1"}},
	} {
		got, err := suite.Select(test.patterns)
		assert.NilError(t, err)
		var names []string
		for _, c := range got.Cases {
			names = append(names, c.Name)
		}
		assert.Check(t, is.DeepEqual(names, test.want))
	}
	_, err := suite.Select([]string{"a1", "!c"})
	assert.Error(t, err, `no case matches "c"`)
}

func TestSplit(t *testing.T) {
	one, err := core(t).Select([]string{"prog_autoload"})
	assert.NilError(t, err)
	suite := NewForeign("kernel", []string{one.Path(&one.Cases[0]), "no such file"}).Split()
	var names []string
	for _, c := range suite.Cases {
		names = append(names, c.Name+" "+c.Only)
	}
	assert.Check(t, is.Contains(names, "no such file "))
	assert.Check(t, len(names) > 2, names)
	some, err := suite.Select([]string{"prog_autoload:*"})
	assert.NilError(t, err)
	assert.Check(t, is.Len(some.Cases, len(names)-1))
	assert.Check(t, some.External)
}

// The cases that took longest come first, and those that need modules last.
func TestOrder(t *testing.T) {
	s := &Suite{Cases: []Case{{Name: "a"}, {Name: "m", Modules: []string{"x"}}, {Name: "b"}, {Name: "n", Modules: []string{"x"}}, {Name: "c"}}}
	took := map[string]float64{"b": 3, "c": 3, "n": 100, "gone": 7}
	assert.DeepEqual(t, s.Order(nil), []int{0, 2, 4, 1, 3})
	assert.DeepEqual(t, s.Order(took), []int{2, 4, 0, 3, 1})
}

func TestIdleNeedsAReason(t *testing.T) {
	c := Case{Name: "x", Object: "x.bpf.o", Skip: map[string]string{"run": ""}}
	assert.ErrorContains(t, c.Check(false), "skip: run: why?")
	c.Skip["run"] = "it reads the clock"
	assert.NilError(t, c.Check(false))
}
