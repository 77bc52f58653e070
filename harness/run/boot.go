package run

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/vm"
	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// liveGuest is a guest whose agent has said hello.
type liveGuest interface {
	// Ask has the agent run a case. After an error the guest cannot be used any more. The error is
	// a [*vm.Ending] if the guest ended, or was ended because it sent no valid answer. The reply is
	// never nil; without an answer its Answer is nil.
	Ask(ctx context.Context, req *wire.CaseRequest) (*guest.Reply, error)
	// Leaks asks for what the cases left behind whose leak checks were deferred, otherwise like Ask.
	Leaks(ctx context.Context, limit time.Duration) (*guest.Reply, error)
	// Copied reports whether the guest was restored from a saved one.
	Copied() bool
	// End ends the guest and returns its kernel's complaints since the last reply.
	End() []vm.Splat
}

// boot starts a guest and waits for its agent. If cold is set the guest is booted, not restored; so
// is one with more memory than others have, because saved guests have the memory of those.
func (r *runner) boot(ctx context.Context, number, memoryMiB int, cold bool) (liveGuest, error) {
	start := r.source.Start
	if cold || memoryMiB != r.MemoryMiB {
		start = r.source.Boot
	}
	m, hello, err := start(ctx, r.config(number, memoryMiB))
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

// config returns the machine of guest number.
func (r *runner) config(number, memoryMiB int) vm.Config {
	console := "console.log"
	if number > 1 {
		console = fmt.Sprintf("console-%d.log", number)
	}
	c := r.VM(memoryMiB, guest.GuestCPUs)
	c.ConsolePath = filepath.Join(r.Out, console)
	// Each engine has a clock of its own. The silence clock is longer, so that the same one always
	// expires first.
	c.SilenceTimeout = vm.Endless
	if r.EngineTimeout < vm.Endless/2 {
		c.SilenceTimeout = 2 * r.EngineTimeout
	}
	return c
}
