package result

import (
	"slices"
	"time"

	"github.com/bpfreplay/bpfreplay/harness/suite"
)

// Matrix is the result of a suite on several kernels: out/matrix.json.
type Matrix struct {
	Schema int    `json:"schema"` // 1
	Suite  string `json:"suite"`
	// Shard is the part of the kernels and cases that ran, nil if all did.
	Shard   *suite.Shard `json:"shard,omitempty"`
	Started time.Time    `json:"started"`
	Seconds float64      `json:"seconds"` // from the first kernel's start to the last one's end
	Kernels []KernelRun  `json:"kernels"` // in the order of the command line
	// Summary counts the verdicts of all kernels, by pair of engines and case.
	Summary  map[Verdict]int `json:"summary"`
	Failures int             `json:"failures"` // failed expectations
	// Missing are the shards without a report.
	Missing []string `json:"missing,omitempty"`
}

// KernelRun is the row of one kernel.
type KernelRun struct {
	Kernel string    `json:"kernel"` // as the user typed it
	State  RunState  `json:"state"`
	Reason string    `json:"reason,omitempty"` // why there is no report
	Cases  int       `json:"cases"`            // number of cases to run
	Report *Report   `json:"report,omitempty"`
	Dir    string    `json:"-"` // directory of the console and the report
	Began  time.Time `json:"-"` // zero before it runs
}

// Seconds is how long the kernel has been running, or ran.
func (k *KernelRun) Seconds() float64 {
	switch {
	case k.Report != nil:
		return k.Report.Seconds.Total
	case k.Began.IsZero() || k.State.ended():
		return 0
	}
	return time.Since(k.Began).Seconds()
}

// RunState is the progress of a kernel's run.
type RunState string

// States of a run. The last four are final.
const (
	Waiting     RunState = "waiting"     // for room on this machine
	Fetching    RunState = "fetching"    // the kernel
	Running     RunState = "running"     // in a guest that boots or has booted
	Done        RunState = "done"        // there is a report
	Unavailable RunState = "unavailable" // the kernel cannot be fetched
	Failed      RunState = "failed"      // the harness failed, or the kernel does not boot
	LeftOut     RunState = "left out"    // another kernel failed before, see MatrixOptions.FailFast of package run
)

func (s RunState) ended() bool { return s != Waiting && s != Fetching && s != Running }

// OK reports whether every kernel's run passed.
func (m *Matrix) OK() bool {
	return !m.Different() && len(m.Missing) == 0 &&
		!slices.ContainsFunc(m.Kernels, func(k KernelRun) bool { return k.State != Done || !k.Report.OK() })
}

// Different reports whether a kernel has a difference or a failed expectation. If not, and the
// matrix is not OK, the harness or its input failed.
func (m *Matrix) Different() bool {
	return slices.ContainsFunc(m.Kernels, func(k KernelRun) bool { return k.Report != nil && k.Report.Different() })
}

// Summarise counts the verdicts of all kernels.
func (m *Matrix) Summarise() {
	m.Summary = map[Verdict]int{Equal: 0, Explained: 0, Different: 0, Unsupported: 0, Broken: 0}
	m.Failures = 0
	for i := range m.Kernels {
		if r := m.Kernels[i].Report; r != nil {
			for v, n := range r.Summary {
				m.Summary[v] += n
			}
			m.Failures += r.Failures
		}
	}
}
