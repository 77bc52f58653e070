package run

import (
	"context"
	"time"

	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// Options configures a run.
type Options struct {
	guest.Config
	Engines []string // by name, in the order in which they run
	// Bpftool is the path of the bpftool for libbpf's engines, followed by the programs that it
	// runs in turn. If empty, this machine's is used.
	Bpftool []string

	MemoryMiB     int           // of a guest; 0 for guest.GuestMemoryMiB
	EngineTimeout time.Duration // for each engine with one case; without limit if there is a debugger

	// Out is the directory for the initramfs, the console's log and artifacts, see [Claim]. Files
	// of a former run are overwritten.
	Out string

	Mutate string // a mutation of the loader programs (mutate.Names)
	// Certs are certificates (X.509, DER) that the engine signed trusts, for files that were signed
	// before.
	Certs  [][]byte
	Repeat int  // how often each engine loads each object
	Fresh  bool // repetitions are timed in a new process each
	// LoadOnly: only run programs as the suite says, do not attach them. For programs that may break
	// the guest.
	LoadOnly bool

	// Jobs is the number of guests that run cases at the same time, 1 if 0. A guest runs one case
	// after the other for as long as it lives; with Isolate each case gets its own guest.
	Jobs    int
	Isolate bool
	// Keep selects the cases that leave a folder with artifacts in Out: "" for those that fail, or
	// KeepAll.
	Keep string
	// Again returns the lines of a shell script that repeats a case on a kernel like this run. dir
	// is the folder with the artifacts, where the script is.
	Again func(kernel, name, dir string) []string
	// Faults maps the name of a case to a fault to inject (agent.Faults): in every run of the case,
	// or only in the first one with the suffix FaultOnce.
	Faults map[string]string
	// NoRetry: do not run a failing case once more in a new guest. Mutated and repeated loads are
	// never run once more.
	NoRetry bool
	// Baselines is a directory with a file KERNEL.txt for each kernel. A case that fails as
	// recorded there is not run once more. "" and a missing file mean no baseline.
	Baselines string
	// First returns the modules that guests load before the first case. It is called once for each
	// kernel. nil means none.
	First func(ctx context.Context, s *vmimage.Store, k *vmimage.Kernel, note func(string)) (guest.Preloaded, error)
	// Budget bounds what the guests use of this machine, together with those of other runs.
	Budget *guest.Budget
	// Before is the report of a previous run, or nil. With several guests the cases that took
	// longest then run first, so that none of them runs alone at the end.
	Before *result.Report
	// Resume is the report of an interrupted run with the same options, or nil. Its cases are
	// copied and not run again.
	Resume *result.Report
	// Command is the command line, for the report.
	Command string

	// Done is called for each case once it is judged, one at a time.
	Done func(c *result.CaseReport)
}

// FaultOnce is the suffix of a fault that is injected only in the first run of a case.
const FaultOnce = ":once"

// DefaultEngineTimeout is the limit for each engine with one case. Under TCG on a busy machine all
// engines together take up to 2 s.
const DefaultEngineTimeout = 60 * time.Second
