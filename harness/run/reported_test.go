package run

import (
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/effects"
	"github.com/bpfreplay/bpfreplay/harness/field"
	"github.com/bpfreplay/bpfreplay/harness/wire"
)

func TestLoadReportHasEffects(t *testing.T) {
	l := wire.Load{Engine: "trace", Samples: []effects.Sample{{{Field: field.Program("run", "ran")}: "1"}, {{Field: field.Program("run", "ran")}: "2"}}}
	r := LoadReport(&l)
	assert.Equal(t, r.Samples, 2)
	assert.DeepEqual(t, r.Effects, map[string]string{"program run ran": "1"})
	assert.DeepEqual(t, r.Noise, []string{"program run ran"})
}
