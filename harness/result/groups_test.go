package result

import (
	"bytes"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/compare"
	"github.com/bpfreplay/bpfreplay/harness/field"
)

// TestNamesWithSpaces: a program's function and a program of that name are different things.
func TestNamesWithSpaces(t *testing.T) {
	c := CaseReport{Verdicts: []PairReport{{A: "trace", B: "replay", Verdict: Different, Differences: []compare.Difference{
		{Field: field.Function("a", "b", "insns"), A: "1", B: "2"}, {Field: field.Function("a function b", "", "insns"), A: "3", B: "4"},
	}}}}
	var got []string
	for _, d := range c.Differences() {
		got = append(got, d.String())
	}
	assert.DeepEqual(t, got, []string{"program a function b insns: trace: 1; replay: 2", "program a function b insns: trace: 3; replay: 4"})
}

// TestDifferencesAreToldOnce: engines with the same value form a group.
func TestDifferencesAreToldOnce(t *testing.T) {
	differ := func(a, b, x, y, rule string) PairReport {
		p := PairReport{A: a, B: b, Verdict: Different, Differences: []compare.Difference{{Field: field.Map("m", "flags"), A: x, B: y, ExplainedBy: compare.RuleIDs{rule}}}}
		if rule != "" {
			p.Verdict = Explained
		}
		return p
	}
	equal := func(a, b string) PairReport { return PairReport{A: a, B: b, Verdict: Equal} }
	for name, test := range map[string]struct {
		pairs []PairReport
		line  string
		open  int
	}{
		"one apart": {[]PairReport{differ("direct", "trace", "1", "2", ""), differ("direct", "replay", "1", "2", ""), equal("trace", "replay")},
			"map m flags: direct: 1; trace, replay: 2", 2},
		"explained": {[]PairReport{differ("direct", "trace", "1", "2", "r"), differ("direct", "replay", "1", "2", "r"), equal("trace", "replay")},
			"map m flags: direct: 1; trace, replay: 2", 0},
		"two and two": {[]PairReport{
			differ("direct", "trace", "1", "2", "r"), differ("direct", "replay", "1", "2", "r"), equal("direct", "libbpf"),
			equal("trace", "replay"), differ("trace", "libbpf", "2", "1", ""), differ("replay", "libbpf", "2", "1", "")},
			"map m flags: direct, libbpf: 1; trace, replay: 2", 2},
		"all apart": {[]PairReport{differ("direct", "trace", "1", "2", ""), differ("direct", "replay", "1", "3", ""), differ("trace", "replay", "2", "3", "")},
			"map m flags: direct: 1; trace: 2; replay: 3", 3},
		"one is not there": {[]PairReport{differ("direct", "trace", "1", "2", ""), {A: "direct", B: "replay", Verdict: Unsupported}, {A: "trace", B: "replay", Verdict: Unsupported}},
			"map m flags: direct: 1; trace: 2", 1},
	} {
		c := CaseReport{Verdicts: test.pairs}
		list := c.Differences()
		assert.Equal(t, len(list), 1, name)
		assert.Equal(t, list[0].String(), test.line, name)
		assert.Equal(t, len(list[0].Open), test.open, name)
	}
	c := CaseReport{Verdicts: []PairReport{differ("a", "b", "1", "2", "r"), differ("a", "c", "1", "2", ""), equal("b", "c")}}
	var b bytes.Buffer
	c.Differences()[0].Write(&b)
	assert.Equal(t, b.String(), "\nmap m flags\n    a: 1\n    b, c: 2\n    explained by r, but not between a/c\n")
}
