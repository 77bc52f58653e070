// Package doctor examines what this machine can do: whether and how fast it can start guests, where
// kernels come from, and which tools are installed. Each finding has a command that fixes it. Begin
// with [Examine].
//
// The package changes nothing, except that it probes KVM and remembers the result. It asks the
// sources of kernels only whether they can be reached.
package doctor

import (
	"context"
	"sync"
)

// Status is the result of a check.
type Status string

const (
	OK Status = "ok"
	// Note means that something is slower or not possible.
	Note Status = "note"
	// Missing means that something is not there.
	Missing Status = "missing"
)

// Check is one finding.
type Check struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	// Needed means that no guest can be tested without it.
	Needed bool   `json:"needed,omitempty"`
	Detail string `json:"detail"`
	// Mend is the command that fixes it, or "" if there is none.
	Mend string `json:"mend,omitempty"`
}

// Report holds all findings.
type Report struct {
	Schema int `json:"schema"` // 1
	// OK means that nothing needed is missing, so that `make vmtest` can run.
	OK     bool    `json:"ok"`
	Kernel string  `json:"kernel"` // the kernel that is required
	Checks []Check `json:"checks"`
}

// Options selects what to examine.
type Options struct {
	// Kernel lists the kernels that guests must boot: names and tiers of kernels.yaml, or paths.
	Kernel string
	// Archs are the architectures for kernels that are named without one. If it is empty, this
	// machine's is used.
	Archs []string
	// QEMU is the emulator to run. "" means the emulator of each architecture.
	QEMU string
	// Config is the path of kernels.yaml. "" means the nearest one.
	Config string
	// Suite is the path of the suite to run.
	Suite string
	// StateDir is the directory that remembers facts about this host.
	StateDir string
	// Offline avoids the network.
	Offline bool
	// FreeMiB is the memory that all guests together may use, in MiB. 0 means unknown.
	FreeMiB int
}

// Examine runs all checks, concurrently.
func Examine(ctx context.Context, o Options) *Report {
	parts := []func() []Check{
		func() []Check { return o.emulators(ctx) },
		func() []Check { return o.accelerator(ctx) },
		func() []Check { return []Check{o.room()} },
		func() []Check { return o.kernels(ctx) },
		func() []Check { return []Check{o.suite()} },
		func() []Check { return []Check{hostBPF()} },
		func() []Check { return tools(ctx) },
	}
	found := make([][]Check, len(parts))
	var group sync.WaitGroup
	for i, part := range parts {
		group.Go(func() { found[i] = part() })
	}
	group.Wait()
	r := &Report{Schema: 1, OK: true, Kernel: o.Kernel}
	for _, checks := range found {
		r.Checks = append(r.Checks, checks...)
	}
	r.OK = len(r.Lacks()) == 0
	return r
}

// Lacks returns the names of what is needed and missing.
func (r *Report) Lacks() []string {
	var out []string
	for _, c := range r.Checks {
		if c.Needed && c.Status == Missing {
			out = append(out, c.Name)
		}
	}
	return out
}
