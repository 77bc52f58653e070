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

// Verdict is what is said of a case and a pair of engines.
type Verdict string

// Verdicts, from good to bad.
const (
	Equal       Verdict = "equal"       // the states agree in every field
	Explained   Verdict = "explained"   // all differences are predicted by rules
	Unsupported Verdict = "unsupported" // a probe on this kernel said so
	Different   Verdict = "different"
	Broken      Verdict = "broken" // the harness itself failed
)

// Report is what a run found: out/<kernel>/report.json.
type Report struct {
	Schema int    `json:"schema"` // 1
	Suite  string `json:"suite"`
	// Source describes in words where the objects of a suite of others come from.
	Source      string       `json:"source,omitempty"`
	Shard       *suite.Shard `json:"shard,omitempty"` // the part of a matrix that this belongs to
	Kernel      KernelReport `json:"kernel"`
	Accelerator string       `json:"accelerator"`
	Engines     []string     `json:"engines"`
	// Versions say which cilium/ebpf and which libbpf engines are, by engine.
	Versions map[string]string `json:"versions,omitempty"`
	Started  time.Time         `json:"started"`
	// Restored: the first guest was a copy of a saved one, and not booted.
	Restored bool            `json:"restored,omitempty"`
	Seconds  Seconds         `json:"seconds"`
	Cases    []CaseReport    `json:"cases"`
	Summary  map[Verdict]int `json:"summary"` // verdicts, by pair of engines and case
	// Failures are expectations that were not met, other than by a verdict.
	Failures int `json:"failures"`
	// UnusedRules are rules for explained differences between the engines
	// that ran which explained nothing; only known if the whole suite ran.
	UnusedRules []string `json:"unused_rules,omitempty"`
	// Baseline is how the run compares with a former one, if it was compared: what is
	// as it was then does not fail it.
	Baseline *BaselineReport `json:"baseline,omitempty"`
	// Splats are complaints of guests' kernels while they booted, or between cases.
	// One that comes while a case runs fails the case, unless the suite allows it.
	Splats []string `json:"splats,omitempty"`
	// Before is the run before this one in the same directory, if it was of the same.
	Before *Before `json:"before,omitempty"`
	// Command is the command line that made the report.
	Command string `json:"command,omitempty"`
	// Mutation and Faults say what was broken on purpose: all loads, and cases by name.
	Mutation string            `json:"mutation,omitempty"`
	Faults   map[string]string `json:"faults,omitempty"`
	// Agreement: nothing was expected but that engines agree.
	Agreement bool `json:"agreement,omitempty"`
	// NotRun are the names of the cases that did not run because the run was
	// interrupted.
	NotRun []string `json:"not_run,omitempty"`
}

// Retried are the cases that failed and passed when they were run once more.
func (r *Report) Retried() []*CaseReport {
	var out []*CaseReport
	for i := range r.Cases {
		if c := &r.Cases[i]; c.First != nil && c.OK() {
			out = append(out, c)
		}
	}
	return out
}

// Broken says in a few words what was broken on purpose, "" if nothing was.
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

// FirstTrouble is the first thing that was wrong with the first run of a case that
// was run once more.
func (c *CaseReport) FirstTrouble() string {
	if c.First == nil {
		return ""
	}
	return c.First.Trouble()
}

// Before is what is told of the run before: how long it took.
type Before struct {
	Started time.Time `json:"started"`
	Seconds Seconds   `json:"seconds"`
}

// Follow notes the run before, if it ran the same cases with the same engines on the
// same kernel: of another one the times say nothing. It may be nil.
func (r *Report) Follow(before *Report) {
	name := func(a, b CaseReport) bool { return a.Name == b.Name }
	if before == nil || before.Suite != r.Suite || before.Source != r.Source || before.Kernel.SHA256 != r.Kernel.SHA256 ||
		!slices.Equal(before.Engines, r.Engines) || !slices.EqualFunc(before.Cases, r.Cases, name) {
		return
	}
	r.Before = &Before{Started: before.Started, Seconds: before.Seconds}
}

// KernelReport is the kernel that ran.
type KernelReport struct {
	Name    string `json:"name"`    // as the user typed it
	Release string `json:"release"` // uname -r in the guest
	SHA256  string `json:"sha256"`  // of the image
	Origin  string `json:"origin"`
}

// Seconds are times of a run.
type Seconds struct {
	Boot float64 `json:"boot"` // from QEMU's start to the agent's first byte, for the first guest
	// Saving is what it took to boot the guest that others are copies of, and to save
	// it; 0 if an earlier run did it.
	Saving float64 `json:"saving,omitempty"`
	Suite  float64 `json:"suite"` // all cases
	Total  float64 `json:"total"`
	// Phases are what all cases took, by phase, "load" by engine: "capture", "load direct".
	Phases map[string]float64 `json:"phases,omitempty"`
}

// Guest reports how the first guest came to be, and in what time.
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

// CaseReport is what was found for one case.
type CaseReport struct {
	Name     string       `json:"name"`
	Object   string       `json:"object"`
	SHA256   string       `json:"sha256,omitempty"` // of the object
	Seconds  float64      `json:"seconds"`
	Loads    []LoadReport `json:"loads"`
	Verdicts []PairReport `json:"verdicts"`
	Failures []string     `json:"failures,omitempty"`
	Notes    []string     `json:"notes,omitempty"`   // what is no failure, and should be known
	Console  []string     `json:"console,omitempty"` // last lines, if the guest did not survive or its kernel complained
	// First is the first run of a case that failed then; the rest tells how it went
	// once more, alone in a new guest.
	First *CaseReport `json:"first,omitempty"`
	// Folder is where there is evidence, if any was kept.
	Folder string `json:"folder,omitempty"`
}

// LoadReport is what became of one engine's load.
type LoadReport struct {
	Engine      string `json:"engine"`
	Result      string `json:"result"`
	Errno       string `json:"errno"`
	Nanoseconds int64  `json:"nanoseconds"` // the shortest, if the load was repeated
	Opened      int64  `json:"opened"`      // nanoseconds that it took to read the object, and to make a loader program
	Detail      string `json:"detail"`
	Missing     string `json:"missing,omitempty"` // the capability that the kernel lacks for it
	Log         string `json:"log,omitempty"`
	// Effects are what programs did when they were run and attached (package
	// behave), in the first sample, Samples is how many were taken, and Noise
	// what varies between them.
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
	Reason      string               `json:"reason,omitempty"` // unsupported, broken: why
	Differences []compare.Difference `json:"differences"`
}

// Worse reports whether a verdict is worse than another.
func (v Verdict) Worse(than Verdict) bool { return rank[v] > rank[than] }

// rank orders verdicts.
var rank = map[Verdict]int{Equal: 0, Explained: 1, Unsupported: 2, Different: 3, Broken: 4}

// Verdict is the worst verdict of the case.
func (c *CaseReport) Verdict() Verdict {
	worst := Equal
	for _, p := range c.Verdicts {
		if p.Verdict.Worse(worst) {
			worst = p.Verdict
		}
	}
	return worst
}

// OK reports whether all is as it should be.
func (c *CaseReport) OK() bool {
	v := c.Verdict()
	return v != Different && v != Broken && len(c.Failures) == 0
}

// OK reports whether all is as it should be.
func (r *Report) OK() bool {
	if len(r.NotRun) > 0 {
		return false
	}
	if r.Baseline != nil {
		return r.Baseline.Worse() == 0
	}
	return r.Failures == 0 && r.Summary[Different] == 0 && r.Summary[Broken] == 0
}

// Different reports whether there is a difference or a failed expectation or, if the run was
// compared with a former one, anything worse than it was.
func (r *Report) Different() bool {
	if r.Baseline != nil {
		return r.Baseline.Worse() > 0
	}
	return r.Failures > 0 || r.Summary[Different] > 0
}

// Failed are the names of the cases that are not as they should be, or, if the run
// was compared with a former one, worse than they were.
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

// Trouble is the first thing that is wrong with a case, "" if nothing is.
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

// Outcome is the verdict in a word.
func (c *CaseReport) Outcome() string {
	if len(c.Failures) > 0 && c.Verdict() != Different && c.Verdict() != Broken {
		return "failed"
	}
	return string(c.Verdict())
}

// Loaded reports whether an engine loaded the object.
func (l *LoadReport) Loaded() bool { return l.Result == wire.OK }

// Applies reports whether a load could be asked of the kernel at all: one by loader
// program cannot where a probe finds that there are none.
func (l *LoadReport) Applies() bool { return l.Result != wire.Unsupported }

// Broken reports whether the harness failed.
func (l *LoadReport) Broken() bool { return l.Result == wire.Broken }

// PairsOf are all pairs of engines, in their order.
func PairsOf(engines []string) (pairs [][2]string) {
	for i, a := range engines {
		for _, b := range engines[i+1:] {
			pairs = append(pairs, [2]string{a, b})
		}
	}
	return pairs
}
