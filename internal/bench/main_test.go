package main

import (
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/result"
)

func TestCompare(t *testing.T) {
	loads := func(direct, replay int64, became string) result.CaseReport {
		return result.CaseReport{Loads: []result.LoadReport{
			{Engine: "direct", Result: "ok", Nanoseconds: direct},
			{Engine: "replay", Result: became, Nanoseconds: replay},
		}}
	}
	report := &result.Report{Cases: []result.CaseReport{
		loads(100, 10, "ok"),
		loads(100, 1, "refused"),
		loads(100, 50, "ok"),
		loads(100, 30, "ok"),
	}}
	ratios := compare(report, "replay", "direct")
	assert.DeepEqual(t, ratios, []float64{0.1, 0.5, 0.3})
	assert.Equal(t, median(ratios), 0.3)
	assert.Equal(t, len(compare(report, "replay", "trace")), 0)
}
