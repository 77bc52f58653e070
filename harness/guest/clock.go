package guest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// clock bounds what each engine may take of a request, in all of its steps together. What
// is done for no engine may take as long.
type clock struct {
	ctx    context.Context // cancelled with a [*LateError]
	cancel context.CancelCauseFunc
	limit  time.Duration // for each engine
	timer  *time.Timer   // nil without a limit

	mu    sync.Mutex
	step  wire.Step
	since time.Time                // when the step began
	spent map[string]time.Duration // in the steps before, by engine
}

// newClock starts a clock; without a limit it is only ctx's.
func newClock(ctx context.Context, limit time.Duration) *clock {
	c := &clock{limit: limit, since: time.Now(), spent: make(map[string]time.Duration)}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	if limit > 0 {
		c.timer = time.AfterFunc(limit, func() { c.cancel(&LateError{c.at(), limit}) })
	}
	return c
}

// begin notes that the agent has begun a step.
func (c *clock) begin(s wire.Step) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.spent[c.step.Engine] += now.Sub(c.since)
	c.step, c.since = s, now
	if c.timer != nil {
		c.timer.Reset(c.limit - c.spent[s.Engine])
	}
}

// at is the last step that began.
func (c *clock) at() wire.Step {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.step
}

// stop stops the clock.
func (c *clock) stop() {
	if c.timer != nil {
		c.timer.Stop()
	}
	c.cancel(context.Canceled)
}

// LateError means that an engine took longer than it may. It is a
// [context.DeadlineExceeded].
type LateError struct {
	Step  wire.Step
	Limit time.Duration
}

func (e *LateError) Error() string {
	if e.Step == (wire.Step{}) {
		return fmt.Sprintf("no answer within %s", e.Limit)
	}
	return fmt.Sprintf("%s: more than %s", e.Step, e.Limit)
}

func (e *LateError) Is(err error) bool { return err == context.DeadlineExceeded }
