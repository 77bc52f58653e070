package result

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/internal/failures"
)

// Part is the matrix of one of several machines.
type Part struct {
	Name   string // origin, for errors
	Matrix *Matrix
}

// MatrixOf returns the matrix of a run on one kernel.
func MatrixOf(r *Report) *Matrix {
	m := &Matrix{
		Schema: 1, Suite: r.Suite, Shard: r.Shard, Started: r.Started, Seconds: r.Seconds.Total,
		Kernels: []KernelRun{{Kernel: r.Kernel.Name, State: Done, Cases: len(r.Cases), Report: r}},
	}
	m.Summarise()
	return m
}

// Merge merges the results of several machines: shards of one matrix, or different kernels.
// [Matrix.Missing] lists missing shards.
//
// An error says which parts do not belong together: their suites, engines or shards differ, two of
// them have the same case, or an object or a kernel is not the same in all of them.
func Merge(parts []Part) (*Matrix, error) {
	parts = slices.Clone(parts)
	slices.SortStableFunc(parts, func(a, b Part) int { return shardOf(a).Index - shardOf(b).Index })
	m := &merger{rows: make(map[string]int), objects: make(map[string]seenObject), cases: make(map[string]string)}
	m.out = &Matrix{Schema: 1, Kernels: []KernelRun{}}
	if len(parts) == 0 {
		m.fail("there are no reports")
	}
	m.shards(parts)
	if m.wrong == nil {
		for _, p := range parts {
			m.add(p)
		}
	}
	if err := failures.All(m.wrong); err != nil {
		return nil, fmt.Errorf("merge: %w", err)
	}
	for i := range m.out.Kernels {
		if r := m.out.Kernels[i].Report; r != nil {
			r.Summarise()
		}
	}
	m.out.Summarise()
	return m.out, nil
}

func shardOf(p Part) suite.Shard {
	if p.Matrix.Shard == nil {
		return suite.Shard{}
	}
	return *p.Matrix.Shard
}

// seenObject is a digest and the report that has it.
type seenObject struct{ sha256, part string }

type merger struct {
	out     *Matrix
	first   Part
	engines string
	rows    map[string]int        // row of each kernel
	objects map[string]seenObject // by case
	cases   map[string]string     // by kernel and case: the report with the case
	wrong   *multierror.Error
}

func (m *merger) fail(format string, args ...any) {
	m.wrong = multierror.Append(m.wrong, fmt.Errorf(format, args...))
}

// shards checks that the parts belong to one matrix, and records which are missing.
func (m *merger) shards(parts []Part) {
	have := make(map[int]string)
	count := 0
	for i, p := range parts {
		s := shardOf(p)
		if i == 0 {
			count = s.Count
		}
		switch other, twice := have[s.Index]; {
		case s.Count != count:
			m.fail("%s is %s, %s is %s", parts[0].Name, shardName(shardOf(parts[0])), p.Name, shardName(s))
		case s.Count > 1 && twice:
			m.fail("shard %s is there twice: %s and %s", s, other, p.Name)
		}
		have[s.Index] = p.Name
	}
	for i := 1; i <= count; i++ {
		if _, ok := have[i]; !ok {
			m.out.Missing = append(m.out.Missing, suite.Shard{Index: i, Count: count}.String())
		}
	}
}

func shardName(s suite.Shard) string {
	if s.Count == 0 {
		return "no shard"
	}
	return "shard " + s.String()
}

func (m *merger) add(p Part) {
	if m.first.Matrix == nil {
		m.first, m.out.Suite, m.out.Started = p, p.Matrix.Suite, p.Matrix.Started
	}
	if p.Matrix.Suite != m.out.Suite {
		m.fail("reports of different suites: %s of %s, %s of %s", m.first.Name, m.out.Suite, p.Name, p.Matrix.Suite)
		return
	}
	end := m.out.Started.Add(time.Duration(m.out.Seconds * float64(time.Second)))
	if other := p.Matrix.Started.Add(time.Duration(p.Matrix.Seconds * float64(time.Second))); other.After(end) {
		end = other
	}
	if p.Matrix.Started.Before(m.out.Started) {
		m.out.Started = p.Matrix.Started
	}
	m.out.Seconds = end.Sub(m.out.Started).Seconds()
	m.out.Missing = append(m.out.Missing, p.Matrix.Missing...)
	for _, k := range p.Matrix.Kernels {
		m.addKernel(p.Name, k)
	}
}

// badness orders states: a later state of one part replaces an earlier one of another.
var badness = []RunState{Done, Waiting, Fetching, Running, LeftOut, Unavailable, Failed}

func (m *merger) addKernel(part string, k KernelRun) {
	if k.Report != nil {
		m.check(part, k)
		r := *k.Report
		r.Shard, r.UnusedRules, r.Before = nil, nil, nil // unknown for a part of the cases
		r.Cases = slices.SortedFunc(slices.Values(r.Cases), byName)
		k.Report = &r
	}
	i, ok := m.rows[k.Kernel]
	if !ok {
		m.rows[k.Kernel] = len(m.out.Kernels)
		m.out.Kernels = append(m.out.Kernels, k)
		return
	}
	row := &m.out.Kernels[i]
	row.Cases += k.Cases
	if slices.Index(badness, k.State) > slices.Index(badness, row.State) {
		row.State, row.Reason = k.State, k.Reason
	}
	switch {
	case k.Report == nil:
	case row.Report == nil:
		row.Report = k.Report
	default:
		m.join(part, row.Report, k.Report)
	}
}

func byName(a, b CaseReport) int { return strings.Compare(a.Name, b.Name) }

// check finds cases that occur twice, and objects and engines that differ.
func (m *merger) check(part string, k KernelRun) {
	engines := strings.Join(k.Report.Engines, ", ")
	if m.engines == "" {
		m.engines = engines
	}
	if engines != m.engines {
		m.fail("reports of different engines: %s, and in %s %s", m.engines, part, engines)
	}
	for _, c := range k.Report.Cases {
		key := k.Kernel + "\x00" + c.Name
		if other, twice := m.cases[key]; twice {
			m.fail("case %s on kernel %s is there twice: in %s and %s", c.Name, k.Kernel, other, part)
		}
		m.cases[key] = part
		if known, ok := m.objects[c.Name]; ok && known.sha256 != c.SHA256 {
			m.fail("case %s: the object in %s is another one than in %s", c.Name, part, known.part)
			continue
		}
		m.objects[c.Name] = seenObject{c.SHA256, part}
	}
}

// join merges the results on the same kernel.
func (m *merger) join(part string, to, from *Report) {
	if to.Kernel.SHA256 != from.Kernel.SHA256 {
		m.fail("kernel %s: in %s it is %s (SHA-256 %.12s), elsewhere %s (%.12s); a kernels.lock beside kernels.yaml pins it",
			to.Kernel.Name, part, from.Kernel.Release, from.Kernel.SHA256, to.Kernel.Release, to.Kernel.SHA256)
		return
	}
	to.Cases = append(to.Cases, from.Cases...)
	slices.SortFunc(to.Cases, byName)
	to.Splats = slices.Concat(to.Splats, from.Splats)
	to.Baseline = to.Baseline.with(from.Baseline)
	to.Seconds.Boot += from.Seconds.Boot
	to.Seconds.Suite += from.Seconds.Suite
	to.Seconds.Total += from.Seconds.Total
	if from.Started.Before(to.Started) {
		to.Started = from.Started
	}
	if to.Accelerator != from.Accelerator {
		to.Accelerator += " and " + from.Accelerator
	}
}
