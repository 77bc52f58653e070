package run

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/vm"
	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// liveGuest is a guest whose agent has said hello.
type liveGuest interface {
	// Ask has the agent run a request. After an error the guest is of no more use;
	// the error is a [*vm.Ending] if it came to its end, or was brought to it because
	// it sent no valid answer. The reply is there in any case, without an answer then.
	Ask(ctx context.Context, req *wire.Request) (*guest.Reply, error)
	// Copied: the guest was restored from a saved one.
	Copied() bool
	// End ends it and returns what its kernel complained of since the last reply.
	End() []vm.Splat
}

// boot starts a guest and waits for its agent. With cold it is booted, not restored.
func (r *runner) boot(ctx context.Context, number int, cold bool) (liveGuest, error) {
	start := r.source.Start
	if cold {
		start = r.source.Boot
	}
	m, hello, err := start(ctx, r.config(number))
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Kernel.Release = hello.Release
	if r.report.Accelerator == "" {
		for _, lack := range hello.Lacks {
			r.Note("the guest does without " + lack)
		}
		choice := m.VM.Accelerator()
		r.report.Accelerator = string(choice.Accelerator)
		r.report.Restored = m.Restored
		r.report.Seconds.Boot = m.VM.BootTime().Seconds()
		r.Note(fmt.Sprintf("%s: %s", choice.Accelerator, choice.Reason))
	}
	return m, nil
}

// config is the machine of the guest of this number.
func (r *runner) config(number int) vm.Config {
	console := "console.log"
	if number > 1 {
		console = fmt.Sprintf("console-%d.log", number)
	}
	c := r.VM(guest.GuestMemoryMiB, guest.GuestCPUs)
	c.ConsolePath = filepath.Join(r.Out, console)
	// A case has a clock of its own; which of the two it is that ends it must not be chance.
	c.SilenceTimeout = 2 * r.CaseTimeout
	return c
}
