package guest

import (
	"context"
	"errors"
	"testing"
	"time"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// The engine that takes too long is named, with what it was doing.
func TestClockNamesTheEngine(t *testing.T) {
	c := newClock(t.Context(), time.Hour)
	defer c.stop()
	c.begin(wire.Step{Engine: "direct", Phase: wire.PhaseLoad})
	c.begin(wire.Step{Engine: "replay", Phase: wire.PhaseOpen})
	assert.NilError(t, c.ctx.Err())
	c.spent["replay"] = time.Hour
	c.begin(wire.Step{Engine: "replay", Phase: wire.PhaseLoad})
	<-c.ctx.Done()
	err := context.Cause(c.ctx)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	var late *LateError
	assert.Assert(t, errors.As(err, &late))
	assert.Equal(t, late.Step, wire.Step{Engine: "replay", Phase: wire.PhaseLoad})
	assert.Error(t, err, "engine replay, phase load: more than 1h0m0s")
}

// What one engine took is not taken from another.
func TestClockIsPerEngine(t *testing.T) {
	c := newClock(t.Context(), time.Hour)
	defer c.stop()
	for _, e := range []string{"direct", "trace", "replay"} {
		c.spent[e] = 40 * time.Minute
	}
	c.begin(wire.Step{Engine: "replay", Phase: wire.PhaseRepeat})
	c.begin(wire.Step{Phase: wire.PhaseFree})
	assert.NilError(t, c.ctx.Err())
}

func TestClockWithoutSteps(t *testing.T) {
	c := newClock(t.Context(), time.Millisecond)
	defer c.stop()
	<-c.ctx.Done()
	assert.Error(t, context.Cause(c.ctx), "no answer within 1ms")
}

func TestClockWithoutLimit(t *testing.T) {
	c := newClock(t.Context(), 0)
	c.begin(wire.Step{Engine: "replay", Phase: wire.PhaseLoad})
	assert.NilError(t, c.ctx.Err())
	c.stop()
}
