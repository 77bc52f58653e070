package result

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bpfreplay/bpfreplay/harness/compare"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// Verdict is the result of comparing two engines in a case.
type Verdict string

// Verdicts, from good to bad.
const (
	Equal       Verdict = "equal"       // the states agree in every field
	Explained   Verdict = "explained"   // all differences are predicted by rules
	Unsupported Verdict = "unsupported" // a probe on this kernel reported that it is unsupported
	Different   Verdict = "different"
	Broken      Verdict = "broken" // the harness itself failed
)

// Report is the result of a run: out/<kernel>/report.json.
type Report struct {
	Schema int    `json:"schema"` // 1
	Suite  string `json:"suite"`
	// Source describes where the objects of an external suite come from.
	Source      string       `json:"source,omitempty"`
	Shard       *suite.Shard `json:"shard,omitempty"` // the part of a matrix that this belongs to
	Kernel      KernelReport `json:"kernel"`
	Accelerator string       `json:"accelerator"`
	Engines     []string     `json:"engines"`
	// Versions are the versions of cilium/ebpf and libbpf, by engine.
	Versions map[string]string `json:"versions,omitempty"`
	Started  time.Time         `json:"started"`
	// Restored: the first guest was restored from a saved one, not booted.
	Restored bool            `json:"restored,omitempty"`
	Seconds  Seconds         `json:"seconds"`
	Cases    []CaseReport    `json:"cases"`
	Summary  map[Verdict]int `json:"summary"` // verdicts, by pair of engines and case
	// Failures counts failed expectations other than verdicts.
	Failures int `json:"failures"`
	// UnusedRules are rules for explained differences between these engines that explained nothing;
	// only set if the whole suite ran.
	UnusedRules []string `json:"unused_rules,omitempty"`
	// Baseline is the comparison with the baseline, if there is one: a case that is unchanged then
	// does not fail the run.
	Baseline *BaselineReport `json:"baseline,omitempty"`
	// Splats are complaints of guests' kernels during the boot or between cases. A complaint during
	// a case fails the case, unless the suite allows it.
	Splats []string `json:"splats,omitempty"`
	// Before is the previous run in the same directory, if it ran the same cases.
	Before *Before `json:"before,omitempty"`
	// Command is the command line that made the report.
	Command string `json:"command,omitempty"`
	// Mutation and Faults are the injected faults: in all loads, and in cases by name.
	Mutation string            `json:"mutation,omitempty"`
	Faults   map[string]string `json:"faults,omitempty"`
	// Agreement: the only expectation was that engines agree.
	Agreement bool `json:"agreement,omitempty"`
	// NotRun are the names of the cases that did not run because the run was interrupted.
	NotRun []string `json:"not_run,omitempty"`
}

// Retried returns the cases that failed and passed when they were run once more.
func (r *Report) Retried() []*CaseReport {
	var out []*CaseReport
	for i := range r.Cases {
		if c := &r.Cases[i]; c.First != nil && c.OK() {
			out = append(out, c)
		}
	}
	return out
}

// Broken describes the injected faults in a few words, "" if there are none.
func (r *Report) Broken() string {
	var parts []string
	if r.Mutation != "" {
		parts = append(parts, "mutation "+r.Mutation)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Faults)) {
		parts = append(parts, fmt.Sprintf("fault %s in case %s", r.Faults[name], name))
	}
	return strings.Join(parts, ", ")
}

// FirstTrouble returns the first problem of the first run of a case that was run once more.
func (c *CaseReport) FirstTrouble() string {
	if c.First == nil {
		return ""
	}
	return c.First.Trouble()
}

// Before has the times of the previous run.
type Before struct {
	Started time.Time `json:"started"`
	Seconds Seconds   `json:"seconds"`
}

// Follow records the previous run, if it ran the same cases with the same engines on the same
// kernel: otherwise its times say nothing. before may be nil.
func (r *Report) Follow(before *Report) {
	name := func(a, b CaseReport) bool { return a.Name == b.Name }
	if before == nil || before.Suite != r.Suite || before.Source != r.Source || before.Kernel.SHA256 != r.Kernel.SHA256 ||
		!slices.Equal(before.Engines, r.Engines) || !slices.EqualFunc(before.Cases, r.Cases, name) {
		return
	}
	r.Before = &Before{Started: before.Started, Seconds: before.Seconds}
}

// KernelReport describes the kernel of a run.
type KernelReport struct {
	Name    string `json:"name"`    // as the user typed it
	Release string `json:"release"` // uname -r in the guest
	SHA256  string `json:"sha256"`  // of the image
	Origin  string `json:"origin"`
}

// Seconds are the times of a run, in seconds.
type Seconds struct {
	Boot float64 `json:"boot"` // from QEMU's start to the agent's first byte, for the first guest
	// Saving is the time to boot and save the guest that others are restored from; 0 if an earlier
	// run did that.
	Saving float64 `json:"saving,omitempty"`
	Suite  float64 `json:"suite"` // all cases
	Total  float64 `json:"total"`
	// Phases are the total times of all cases by phase, for "load" also by engine: "capture", "load
	// direct".
	Phases map[string]float64 `json:"phases,omitempty"`
}

// Guest describes how the first guest was started, and how long that took.
func (r *Report) Guest() string {
	switch {
	case !r.Restored:
		return fmt.Sprintf("boot %.1f s", r.Seconds.Boot)
	case r.Seconds.Saving > 0:
		return fmt.Sprintf("guest saved in %.1f s, restored in %.2f s", r.Seconds.Saving, r.Seconds.Boot)
	default:
		return fmt.Sprintf("saved guest restored in %.2f s", r.Seconds.Boot)
	}
}

// CaseReport is the result of one case.
type CaseReport struct {
	Name     string       `json:"name"`
	Object   string       `json:"object"`
	SHA256   string       `json:"sha256,omitempty"` // of the object
	Seconds  float64      `json:"seconds"`
	Loads    []LoadReport `json:"loads"`
	Verdicts []PairReport `json:"verdicts"`
	Failures []string     `json:"failures,omitempty"`
	Notes    []string     `json:"notes,omitempty"`   // for information, not failures
	Console  []string     `json:"console,omitempty"` // last lines, if the guest ended or its kernel complained
	// First is the first run of a case that failed. The other fields then describe the second run,
	// alone in a new guest.
	First *CaseReport `json:"first,omitempty"`
	// Folder is the directory of the case's artifacts, if any were kept.
	Folder string `json:"folder,omitempty"`
}

// LoadReport is the result of one engine's load.
type LoadReport struct {
	Engine      string `json:"engine"`
	Result      string `json:"result"`
	Errno       string `json:"errno"`
	Nanoseconds int64  `json:"nanoseconds"` // the shortest, if the load was repeated
	Opened      int64  `json:"opened"`      // nanoseconds to read the object and make a loader program
	Detail      string `json:"detail"`
	Missing     string `json:"missing,omitempty"` // the capability that the kernel lacks
	Log         string `json:"log,omitempty"`
	// Effects are what programs did when they were run and attached (package exercise), in the
	// first sample. Samples is the number of samples, and Noise what varies between them.
	Effects map[string]string `json:"effects,omitempty"`
	Samples int               `json:"samples,omitempty"`
	Noise   []string          `json:"noise,omitempty"`
	Leaks   []string          `json:"leaks,omitempty"`
}

// PairReport is the verdict for two engines.
type PairReport struct {
	A           string               `json:"a"`
	B           string               `json:"b"`
	Verdict     Verdict              `json:"verdict"`
	Reason      string               `json:"reason,omitempty"` // why it is unsupported or broken
	Differences []compare.Difference `json:"differences"`
}

// Worse reports whether a verdict is worse than another.
func (v Verdict) Worse(than Verdict) bool { return rank[v] > rank[than] }

// rank orders verdicts from good to bad.
var rank = map[Verdict]int{Equal: 0, Explained: 1, Unsupported: 2, Different: 3, Broken: 4}

// Verdict returns the worst verdict of the case.
func (c *CaseReport) Verdict() Verdict {
	worst := Equal
	for _, p := range c.Verdicts {
		if p.Verdict.Worse(worst) {
			worst = p.Verdict
		}
	}
	return worst
}

// OK reports whether the case passed.
func (c *CaseReport) OK() bool {
	v := c.Verdict()
	return v != Different && v != Broken && len(c.Failures) == 0
}

// OK reports whether the run passed.
func (r *Report) OK() bool {
	if len(r.NotRun) > 0 {
		return false
	}
	if r.Baseline != nil {
		return r.Baseline.Worse() == 0
	}
	return r.Failures == 0 && r.Summary[Different] == 0 && r.Summary[Broken] == 0
}

// Different reports whether there is a difference or a failed expectation or, if there is a
// baseline, anything that became worse.
func (r *Report) Different() bool {
	if r.Baseline != nil {
		return r.Baseline.Worse() > 0
	}
	return r.Failures > 0 || r.Summary[Different] > 0
}

// Failed returns the names of the cases that failed or, if there is a baseline, became worse.
func (r *Report) Failed() []string {
	var names []string
	if r.Baseline != nil {
		for _, c := range r.Baseline.Changes {
			if c.Worse && !slices.Contains(names, c.Case) {
				names = append(names, c.Case)
			}
		}
		return names
	}
	for i := range r.Cases {
		if !r.Cases[i].OK() {
			names = append(names, r.Cases[i].Name)
		}
	}
	return names
}

// Summarise counts verdicts and failures.
func (r *Report) Summarise() {
	r.Summary = map[Verdict]int{Equal: 0, Explained: 0, Different: 0, Unsupported: 0, Broken: 0}
	r.Failures = 0
	for _, c := range r.Cases {
		for _, p := range c.Verdicts {
			r.Summary[p.Verdict]++
		}
		r.Failures += len(c.Failures)
	}
}

// Trouble returns the first problem of a case, "" if there is none.
func (c *CaseReport) Trouble() string {
	for _, p := range c.Verdicts {
		switch p.Verdict {
		case Broken:
			return p.Reason
		case Different:
			return c.Differences()[0].String()
		}
	}
	if len(c.Failures) > 0 {
		return strings.SplitN(c.Failures[0], "\n", 2)[0]
	}
	return ""
}

// Outcome returns the verdict as one word.
func (c *CaseReport) Outcome() string {
	if len(c.Failures) > 0 && c.Verdict() != Different && c.Verdict() != Broken {
		return "failed"
	}
	return string(c.Verdict())
}

// Loaded reports whether an engine loaded the object.
func (l *LoadReport) Loaded() bool { return l.Result == wire.OK }

// Took is how long an engine took to read the object and to load it, or to be refused.
func (l *LoadReport) Took() time.Duration { return time.Duration(l.Opened + l.Nanoseconds) }

// Applies reports whether the load was possible at all. It is false if a probe found that the
// kernel has no loader programs.
func (l *LoadReport) Applies() bool { return l.Result != wire.Unsupported }

// Broken reports whether the harness failed.
func (l *LoadReport) Broken() bool { return l.Result == wire.Broken }

// PairsOf returns all pairs of engines, in order.
func PairsOf(engines []string) (pairs [][2]string) {
	for i, a := range engines {
		for _, b := range engines[i+1:] {
			pairs = append(pairs, [2]string{a, b})
		}
	}
	return pairs
}
