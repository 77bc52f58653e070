package fuzz

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bpfreplay/bpfreplay/harness/compare"
	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/field"
	"github.com/bpfreplay/bpfreplay/harness/random"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/run"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// Options selects the random objects to load (package random).
type Options struct {
	run.Options
	Seed  uint64
	N     int    // number of objects
	First uint64 // index of the first
	Keep  string // directory to save all objects in; "" for none
	// Shrinks limits how often one object is loaded to make it smaller. 0 means DefaultShrinks.
	Shrinks int
	// Progress is called after each object. It may be nil.
	Progress func(*Report)
}

// DefaultShrinks is enough for the largest objects. Each attempt is a load with every engine.
const DefaultShrinks = 400

// mustLoad is the percentage of objects that must load. Objects that all engines refuse test
// little.
const mustLoad = 80

// Report is the result of a run: out/<kernel>/fuzz.json.
type Report struct {
	Schema      int                    `json:"schema"` // 1
	Kernel      result.KernelReport    `json:"kernel"`
	Accelerator string                 `json:"accelerator"`
	Engines     []string               `json:"engines"`
	Started     time.Time              `json:"started"`
	Seconds     result.Seconds         `json:"seconds"`
	Seed        uint64                 `json:"seed"`
	First       uint64                 `json:"first"`
	Objects     int                    `json:"objects"` // objects tried
	Loaded      int                    `json:"loaded"`  // objects that all engines loaded
	Refused     int                    `json:"refused"` // objects that all engines refused
	Summary     map[result.Verdict]int `json:"summary"` // number of pairs of engines, over all objects, by verdict
	// Features counts the features of objects, and how many objects with a feature all engines
	// loaded.
	Features map[string]Share `json:"features"`
	// Refusals lists the objects that all engines refused, by the first engine's error with numbers
	// replaced by stars.
	Refusals map[string][]uint64 `json:"refusals,omitempty"`
	Findings []Finding           `json:"findings"`
	Splats   []string            `json:"splats,omitempty"`
	// Interrupted means that the run ended before all objects were tried.
	Interrupted bool `json:"interrupted,omitempty"`
}

// Share counts objects, and how many of them loaded.
type Share struct {
	Objects int `json:"objects"`
	Loaded  int `json:"loaded"`
}

// Finding is an object on which engines disagree.
type Finding struct {
	Index uint64 `json:"index"`
	// What is the first disagreement.
	What Disagreement `json:"what"`
	// Like is the index of an earlier finding of the same kind. Only the first finding of each kind
	// is shrunk.
	Like  *uint64           `json:"like,omitempty"`
	Dir   string            `json:"dir,omitempty"` // directory with the smallest object that shows it
	Parts int               `json:"parts"`         // parts of the original object
	Left  int               `json:"left"`          // parts of the smallest object
	Case  result.CaseReport `json:"case"`          // report on the smallest object
}

// Disagreement is a field in which two engines differ, or a fault of one engine (B is then empty).
type Disagreement struct {
	A     string      `json:"a"`
	B     string      `json:"b,omitempty"`
	Field field.Field `json:"field"`
}

func (d Disagreement) String() string {
	if d.B == "" {
		return d.A + ": " + d.Field.String()
	}
	return fmt.Sprintf("%s and %s: %s", d.A, d.B, d.Field)
}

var number = regexp.MustCompile(`[0-9]+`)

// sort returns the kind of the disagreement: its text without numbers.
func (d Disagreement) sort() string { return number.ReplaceAllString(d.String(), "*") }

// OK reports whether engines agree on all objects and enough objects loaded.
func (r *Report) OK() bool { return len(r.Findings) == 0 && r.LoadsEnough() }

// LoadsEnough reports whether enough objects loaded for the comparison to be meaningful.
func (r *Report) LoadsEnough() bool { return r.Loaded*100 >= r.Objects*mustLoad }

// Broken reports whether all findings are failures of the harness, and there is at least one.
func (r *Report) Broken() bool {
	return len(r.Findings) > 0 && !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.What.Field != fieldBroken })
}

// Run loads random objects with each engine and compares the results. It shrinks an object on which
// engines disagree, as long as the smaller object shows the same disagreement. An error means that
// the harness failed. If ctx ends, Run returns a report on the objects tried so far.
func Run(ctx context.Context, o Options) (*Report, error) {
	start := time.Now()
	if s := enginename.Skeletons(o.Engines); len(s) > 0 {
		return nil, fmt.Errorf("engine %s: skeletons are compiled before the guest boots, and these objects are made later: leave it out", s[0])
	}
	guests, err := run.NewGuests(context.Background(), &suite.Suite{Name: "objects", Partial: true}, o.Options)
	if err != nil {
		return nil, err
	}
	defer guests.Close()
	f := newFuzzer(o, func(ctx context.Context, obj *random.Object) (*result.CaseReport, error) {
		return runRandom(ctx, guests, obj)
	})
	f.report.Started = start.UTC()
	if err := f.run(ctx); err != nil && ctx.Err() == nil {
		return nil, err
	}
	f.report.Interrupted = ctx.Err() != nil
	r := guests.Close()
	f.report.Kernel, f.report.Accelerator, f.report.Splats = r.Kernel, r.Accelerator, r.Splats
	f.report.Seconds.Boot = r.Seconds.Boot
	f.report.Seconds.Total = time.Since(start).Seconds()
	f.report.Seconds.Suite = f.report.Seconds.Total - r.Seconds.Boot
	return f.report, nil
}

// packetOf is the packet, in hex, with which the programs of random objects are run.
var packetOf = func() string {
	b := make([]byte, 64)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return hex.EncodeToString(b)
}()

func runRandom(ctx context.Context, guests *run.Guests, obj *random.Object) (*result.CaseReport, error) {
	file, err := obj.ELF()
	if err != nil {
		return nil, err
	}
	c := suite.Case{Name: obj.Name(), Object: obj.File()}
	for _, p := range obj.Programs() {
		c.Run = append(c.Run, suite.RunInput{Program: p, Data: packetOf, Repeat: 2})
	}
	return guests.Run(ctx, c, file)
}

// fuzzer loads objects and collects findings.
type fuzzer struct {
	Options
	load   func(context.Context, *random.Object) (*result.CaseReport, error)
	report *Report
	kinds  map[string]uint64 // kind of finding to the index of its first object
}

func newFuzzer(o Options, load func(context.Context, *random.Object) (*result.CaseReport, error)) *fuzzer {
	o.Shrinks = cmp.Or(o.Shrinks, DefaultShrinks)
	if o.Progress == nil {
		o.Progress = func(*Report) {}
	}
	return &fuzzer{Options: o, load: load, kinds: make(map[string]uint64), report: &Report{
		Schema: 1, Engines: o.Engines, Seed: o.Seed, First: o.First, Findings: []Finding{},
		Summary:  map[result.Verdict]int{result.Equal: 0, result.Explained: 0, result.Different: 0, result.Unsupported: 0, result.Broken: 0},
		Features: make(map[string]Share), Refusals: make(map[string][]uint64),
	}}
}

func (f *fuzzer) run(ctx context.Context) error {
	for i := range uint64(f.N) {
		obj := random.Generate(f.Seed, f.First+i)
		if f.Keep != "" {
			if err := writeRandom(f.Keep, obj); err != nil {
				return err
			}
		}
		c, err := f.load(ctx, obj)
		if err != nil {
			return fmt.Errorf("object %d of seed %d: %w", obj.Index, f.Seed, err)
		}
		f.count(obj, c)
		if list := disagreements(c); len(list) > 0 {
			if err := f.found(ctx, obj, c, list[0]); err != nil {
				return err
			}
		}
		f.Progress(f.report)
	}
	return nil
}

// count adds the result of an object to the report.
func (f *fuzzer) count(obj *random.Object, c *result.CaseReport) {
	r := f.report
	r.Objects++
	all := func(want string) bool {
		return !slices.ContainsFunc(c.Loads, func(l result.LoadReport) bool { return l.Result != want })
	}
	loaded := all(wire.OK)
	if loaded {
		r.Loaded++
	}
	if all(wire.Refused) {
		r.Refused++
		text := number.ReplaceAllString(c.Loads[0].Detail, "*")
		r.Refusals[text] = append(r.Refusals[text], obj.Index)
	}
	for _, p := range c.Verdicts {
		r.Summary[p.Verdict]++
	}
	for _, name := range obj.Features() {
		s := r.Features[name]
		s.Objects++
		if loaded {
			s.Loaded++
		}
		r.Features[name] = s
	}
}

// Fields of disagreements that are not fields of a state.
var (
	fieldBroken = field.Field{Aspect: field.Aspect{Attribute: "broken"}}
	fieldLeak   = field.Field{Aspect: field.Aspect{Attribute: "left something behind"}}
)

// disagreements returns everything that is wrong with a case, the most telling first.
func disagreements(c *result.CaseReport) []Disagreement {
	var list []Disagreement
	for i := range c.Loads {
		if l := &c.Loads[i]; l.Result == wire.Broken {
			return []Disagreement{{A: l.Engine, Field: fieldBroken}}
		}
	}
	for _, p := range c.Verdicts {
		for _, d := range p.Differences {
			if len(d.ExplainedBy) == 0 {
				list = append(list, Disagreement{A: p.A, B: p.B, Field: fieldOf(d)})
			}
		}
	}
	for i := range c.Loads {
		if l := &c.Loads[i]; len(l.Leaks) > 0 {
			list = append(list, Disagreement{A: l.Engine, Field: fieldLeak})
		}
	}
	return list
}

// fieldOf returns the field of a difference. If one engine refuses the object, the field includes
// the outcomes of both. Otherwise shrinking might end at an object that the other engine refuses.
func fieldOf(d compare.Difference) field.Field {
	if d.Field != result.FieldLoad {
		return d.Field
	}
	a, _, _ := strings.Cut(d.A, ":")
	b, _, _ := strings.Cut(d.B, ":")
	return field.Load(fmt.Sprintf("(%s, %s)", a, b))
}

// found shrinks the object, unless there was a finding of the same kind, and writes the finding.
func (f *fuzzer) found(ctx context.Context, obj *random.Object, c *result.CaseReport, what Disagreement) error {
	finding := Finding{Index: obj.Index, What: what, Case: *c, Parts: obj.Parts(), Left: obj.Parts()}
	if first, ok := f.kinds[what.sort()]; ok {
		finding.Like = &first
		f.report.Findings = append(f.report.Findings, finding)
		return nil
	}
	f.kinds[what.sort()] = obj.Index
	f.Note(fmt.Sprintf("object %d: %s; making it smaller", obj.Index, what))
	small, smallest := obj, c
	if what.Field != fieldBroken { // each attempt would cost a guest
		var failed error
		small = random.Shrink(obj, f.Shrinks, func(o *random.Object) bool {
			if failed != nil {
				return false
			}
			got, err := f.load(ctx, o)
			if err != nil {
				failed = err
				return false
			}
			if !slices.Contains(disagreements(got), what) {
				return false
			}
			smallest = got
			return true
		})
		if failed != nil {
			return fmt.Errorf("object %d of seed %d, made smaller: %w", obj.Index, f.Seed, failed)
		}
	}
	finding.Case, finding.Left = *smallest, small.Parts()
	finding.Dir = filepath.Join(f.Out, fmt.Sprintf("fuzz-%d-%d", f.Seed, obj.Index))
	f.report.Findings = append(f.report.Findings, finding)
	return f.write(&finding, obj, small)
}

// write writes the smallest object and a description of the disagreement to the finding's
// directory.
func (f *fuzzer) write(finding *Finding, obj, small *random.Object) error {
	if err := os.RemoveAll(finding.Dir); err != nil {
		return err
	}
	if err := writeRandom(finding.Dir, small); err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nmade smaller from %d parts to %d\n\n%s\n", finding.What, obj.Parts(), small.Parts(), small)
	for _, l := range finding.Case.Loads {
		fmt.Fprintf(&b, "%s: %s %s %s %v\n", l.Engine, l.Result, l.Errno, l.Detail, l.Leaks)
		if l.Log != "" {
			fmt.Fprintf(&b, "%s\n", l.Log)
		}
	}
	for _, d := range finding.Case.Differences() {
		d.Write(&b)
	}
	for _, line := range finding.Case.Console {
		fmt.Fprintln(&b, line)
	}
	if err := os.WriteFile(filepath.Join(finding.Dir, "about.txt"), []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("finding: %w", err)
	}
	return nil
}

// writeRandom writes an object to a directory.
func writeRandom(dir string, obj *random.Object) error {
	file, err := obj.ELF()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, obj.File()), file, 0o644)
}
