package run

import (
	"context"
	"time"

	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// Options say how to run a suite.
type Options struct {
	guest.Config
	Engines []string // by name, in the order in which they run
	// Bpftool is the bpftool for engines of libbpf, and behind it what it runs
	// in its turn, if anything. None is the one that this machine has.
	Bpftool []string

	CaseTimeout time.Duration // for one case, all engines; endless with a debugger

	// Out is the directory for the initramfs, the console's log and evidence, see
	// [Claim]. Files of a former run are overwritten.
	Out string

	Mutate string // a mutation of the loader programs (mutate.Names)
	// Certs are certificates (X.509, DER) that engine signed trusts for files that were
	// signed before.
	Certs  [][]byte
	Repeat int  // how often each engine loads each object
	Fresh  bool // repetitions are timed in a new process each
	// Still: programs are only run as the suite says, and not attached. They may
	// break the guest.
	Still bool

	// Jobs is how many guests run cases at the same time, 1 if 0. One guest runs
	// one case after the other as long as it lives; with Isolate each case gets a
	// guest of its own.
	Jobs    int
	Isolate bool
	// Keep is which cases leave a folder with evidence in Out: "" those that fail,
	// or KeepAll.
	Keep string
	// Again are the lines of a shell script which runs a case on a kernel once more, as
	// this run does; dir is the folder with its evidence, where the script is.
	Again func(kernel, name, dir string) []string
	// Faults are brought about on purpose (agent.Faults): by the name of a case, a
	// fault, in every run of the case, or with FaultOnce behind it in the first.
	Faults map[string]string
	// NoRetry: a case that fails is not run once more in a new guest. Cases are not
	// if loads are mutated or repeated, either.
	NoRetry bool
	// Baselines is a directory with a file KERNEL.txt for each kernel that runs are
	// compared with their like; "" if they are not, nor is one without a file. A case
	// that fails as it did then is not run once more.
	Baselines string
	// First returns the modules that guests have loaded before the first case. It is called
	// once for a kernel; nil for none.
	First func(ctx context.Context, s *vmimage.Store, k *vmimage.Kernel, note func(string)) (guest.Preloaded, error)
	// Budget bounds what the guests take of this machine, together with those of
	// other runs.
	Budget *guest.Budget
	// Before is the report of the run before, nil if there is none. Several guests
	// begin with what took longest then, so that none is left with it at the end.
	Before *result.Report
	// Resume is the report of a run of the same that was interrupted, or nil: the cases
	// that it has are taken from it and do not run.
	Resume *result.Report
	// Command is the command line, for the report.
	Command string

	// Done is called for each case as it is judged, one at a time.
	Done func(c *result.CaseReport)
}

// FaultOnce behind a fault injects it only in the first run of a case.
const FaultOnce = ":once"

// DefaultCaseTimeout is for one case. Under TCG on a busy machine it takes up to 2 s.
const DefaultCaseTimeout = 60 * time.Second
