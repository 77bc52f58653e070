// Package doctor finds out what this machine can do: whether guests can be
// started and how fast, where kernels come from, and which tools are there. Each
// finding has the line that mends it.
//
// It changes nothing but for a probe of KVM, whose answer is remembered, and asks the
// sources of kernels only whether they are there.
package doctor

import (
	"context"
	"sync"
)

// Status is how good a finding is.
type Status string

const (
	OK Status = "ok"
	// Note is worth knowing: something is slower or cannot be done.
	Note Status = "note"
	// Missing is for what is not there.
	Missing Status = "missing"
)

// Check is one finding.
type Check struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	// Needed means that no guest can be tested without it.
	Needed bool   `json:"needed,omitempty"`
	Detail string `json:"detail"`
	// Mend is the line that mends it, if there is one.
	Mend string `json:"mend,omitempty"`
}

// Report is all that was found.
type Report struct {
	Schema int `json:"schema"` // 1
	// OK means that nothing needed is missing, so that `make vmtest` can run.
	OK     bool    `json:"ok"`
	Kernel string  `json:"kernel"` // the one that has to be there
	Checks []Check `json:"checks"`
}

// Options say what to look at.
type Options struct {
	// Kernel is what guests have to boot: names and tiers of kernels.yaml, and paths.
	Kernel string
	// Archs are the architectures of kernels that are named without one; none is this machine's.
	Archs []string
	// QEMU is the emulator to run; "" for that of each architecture.
	QEMU string
	// Config is the kernels.yaml, "" for the nearest one.
	Config string
	// Suite is the path of the suite to run.
	Suite string
	// StateDir is where what is known of this host is remembered.
	StateDir string
	// Offline asks nothing over a network.
	Offline bool
	// FreeMiB is the memory that guests may take together, in MiB; 0 if it is not known.
	FreeMiB int
}

// Examine looks at everything, at the same time where that takes a while.
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

// Lacks are the names of what is needed and missing.
func (r *Report) Lacks() []string {
	var out []string
	for _, c := range r.Checks {
		if c.Needed && c.Status == Missing {
			out = append(out, c.Name)
		}
	}
	return out
}
