package report

import (
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/harness/result"
)

// The summary of an external suite shows where the time went, and whether the baseline has objects
// from the same source.
func TestForeignSummary(t *testing.T) {
	r := &result.Report{
		Suite: "kernel", Source: "~/linux", Seconds: result.Seconds{Total: 312.4}, Summary: map[result.Verdict]int{result.Equal: 1000, result.Explained: 234},
		Before:   &result.Before{Seconds: result.Seconds{Total: 340, Saving: 9.04}},
		Baseline: &result.BaselineReport{File: "6.12.txt", Source: "linux-source-7.2 7.2.13-1"},
	}
	summary := func() string {
		var b strings.Builder
		(&Text{W: &b}).Summary(r)
		return b.String()
	}
	assert.Check(t, is.Contains(summary(), "\n1234 verdicts in 5m12s; the run before took 5m40s, 9.0s of which went into saving a guest\n"))
	other := "  note: the baseline is of another source; here the objects are of ~/linux, and what has changed may be they\n"
	assert.Check(t, is.Contains(summary(), "compared with 6.12.txt (linux-source-7.2 7.2.13-1): 0 changes, 0 for the worse\n"+other))
	r.Baseline.Source, r.Before, r.Seconds = r.Source, nil, result.Seconds{Total: 36.04, Saving: 5}
	assert.Check(t, is.Contains(summary(), "\n1234 verdicts in 36.0s, 5.0s of which went into saving a guest\n"))
	assert.Check(t, !strings.Contains(summary(), "note:"))
	r.Source = ""
	assert.Check(t, !strings.Contains(summary(), "1234 verdicts"))
}

// TestShares: the shares of a run are 100 % together, also if a case was run twice.
func TestShares(t *testing.T) {
	for line, suite := range map[string]float64{
		"host, messages 40 %, load direct 40 %, capture 20 %": 10,
		"load direct 67 %, capture 33 %":                      2, // of the last attempt alone
	} {
		r := &result.Report{Seconds: result.Seconds{Suite: suite, Phases: map[string]float64{"load direct": 4, "capture": 2}}}
		assert.Equal(t, sharesLine(r), line)
	}
}
