package run

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// Event reports progress of a matrix.
type Event struct {
	Run  *result.KernelRun  // the row, in its current state; valid during the call
	Case *result.CaseReport // the case that was just judged, or nil
	Note string             // a message, or ""
}

// MatrixOptions configures a run on several kernels.
type MatrixOptions struct {
	// Options are those of each kernel's run. Matrix sets Store, Kernel, Note and Done for each
	// kernel. Out is the parent of the kernels' directories. The number of kernels that run at the
	// same time is the number of guests that Budget has room for.
	Options
	Kernels []string // names or paths, as [vmimage.Store.Resolve] takes them
	// Open opens a store of kernels that reports its progress to note.
	Open     func(note func(line string)) (*vmimage.Store, error)
	Shard    suite.Shard // the part of the kernels and cases to run; the zero value is all
	FailFast bool        // the first kernel that fails ends the others
	// ResumeRow returns the report of a kernel's interrupted run, or nil to run all of it; see
	// [Options.Resume].
	ResumeRow func(run *result.KernelRun) *result.Report
	// Watch is called for every event, one at a time, and first for each row.
	Watch func(Event)
}

// Matrix runs a suite on several kernels, some at the same time. If a kernel cannot be fetched or
// does not boot, its row has the reason, and the other kernels still run. Kernels that are on this
// machine run first, while others are fetched.
//
// An error means that nothing could be run at all, or that ctx ended.
func Matrix(ctx context.Context, suite *suite.Suite, o MatrixOptions) (*result.Matrix, error) {
	start := time.Now()
	m := &matrix{MatrixOptions: o, report: &result.Matrix{Schema: 1, Suite: suite.Name, Started: start.UTC()}}
	if o.Shard.Count > 1 {
		m.report.Shard = &o.Shard
	}
	if m.Watch == nil {
		m.Watch = func(Event) {}
	}
	m.plan(suite)
	release, err := m.claim()
	if err != nil {
		return nil, err
	}
	defer release()
	if err := m.run(ctx); err != nil && (ctx.Err() == nil || !m.anyRan()) {
		return nil, err
	}
	m.report.Seconds = time.Since(start).Seconds()
	m.report.Summarise()
	return m.report, nil
}

// anyRan reports whether there is a report of any kernel, if only with a few cases.
func (m *matrix) anyRan() bool {
	return slices.ContainsFunc(m.report.Kernels, func(k result.KernelRun) bool { return k.Report != nil })
}

type matrix struct {
	MatrixOptions
	suites []*suite.Suite // by kernel
	moved  map[int]string // by row: a note that the directory is another one

	mu     sync.Mutex // guards what follows, and calls of Watch
	report *result.Matrix
}

// plan makes a row for each kernel that has something to run.
func (m *matrix) plan(suite *suite.Suite) {
	m.report.Kernels = []result.KernelRun{}
	dirs := make(map[string]bool)
	for i, part := range m.Shard.Split(m.Kernels, suite) {
		if len(part.Cases) == 0 && len(suite.Cases) > 0 {
			continue
		}
		name := m.Kernels[i]
		m.suites = append(m.suites, part)
		m.report.Kernels = append(m.report.Kernels, result.KernelRun{
			Kernel: name, State: result.Waiting, Cases: len(part.Cases), Dir: filepath.Join(m.Out, unused(dirs, runDir(name))),
		})
	}
}

// claim claims the directories of all rows.
func (m *matrix) claim() (release func(), err error) {
	var held []func()
	m.moved = make(map[int]string)
	release = func() {
		for _, r := range held {
			r()
		}
	}
	for i := range m.report.Kernels {
		k := &m.report.Kernels[i]
		dir, r, err := Claim(k.Dir)
		if err != nil {
			release()
			return nil, err
		}
		held = append(held, r)
		if dir != k.Dir {
			m.moved[i] = fmt.Sprintf("another run is using %s: this one writes to %s", k.Dir, dir)
			k.Dir = dir
		}
	}
	return release, nil
}

// runDir is the name of a kernel's directory.
func runDir(kernel string) string { return result.KernelDir(kernel) }

// unused makes a name unique: the paths of two kernels may end alike.
func unused(taken map[string]bool, name string) string {
	free := name
	for i := 2; taken[free]; i++ {
		free = fmt.Sprintf("%s-%d", name, i)
	}
	taken[free] = true
	return free
}

// found is a fetched kernel and its row.
type found struct {
	row    int
	kernel *vmimage.Kernel
}

func (m *matrix) run(ctx context.Context) error {
	inner, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	ready := make(chan found, len(m.report.Kernels))
	// The open store keeps others from pruning kernels until the last run has ended.
	store, err := m.Open(nil)
	if err != nil {
		return err
	}
	defer store.Close()
	for row := range m.report.Kernels {
		m.set(row, result.Waiting, nil)
		if said, ok := m.moved[row]; ok {
			m.note(row, said)
		}
	}

	group, _ := errgroup.WithContext(inner)
	group.Go(func() error {
		defer close(ready)
		return m.fetch(inner, ready)
	})
	for range min(m.Budget.Guests(cmp.Or(m.MemoryMiB, guest.GuestMemoryMiB)), len(m.report.Kernels)) {
		group.Go(func() error {
			for f := range ready {
				m.runKernel(inner, f, stop)
			}
			return nil
		})
	}
	err = group.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// fetch gets the kernels one after the other, those on this machine first.
func (m *matrix) fetch(ctx context.Context, ready chan<- found) error {
	row := 0
	store, err := m.Open(func(line string) { m.note(row, line) })
	if err != nil {
		return err
	}
	defer store.Close()
	var names []string
	for _, k := range m.report.Kernels {
		names = append(names, k.Kernel)
	}
	here, others, err := store.Ready(names)
	if err != nil {
		return err
	}
	for i, name := range slices.Concat(here, others) {
		row = slices.Index(names, name)
		if i >= len(here) {
			m.set(row, result.Fetching, nil)
		}
		kernel, err := store.Resolve(ctx, name)
		switch {
		case ctx.Err() != nil:
			m.set(row, result.LeftOut, context.Cause(ctx))
		case err != nil:
			m.set(row, result.Unavailable, err)
		default:
			m.set(row, result.Waiting, nil)
			ready <- found{row, kernel}
		}
	}
	return nil
}

// runKernel runs the suite on one kernel. It calls stop to end the others.
func (m *matrix) runKernel(ctx context.Context, f found, stop context.CancelCauseFunc) {
	if ctx.Err() != nil {
		m.set(f.row, result.LeftOut, context.Cause(ctx))
		return
	}
	report, err := m.runSuite(ctx, f)
	switch {
	case err == nil && len(report.NotRun) > 0: // --resume runs the rest
		m.mu.Lock()
		m.report.Kernels[f.row].Report = report
		m.mu.Unlock()
		m.set(f.row, result.LeftOut, context.Cause(ctx))
		return
	case err != nil && ctx.Err() != nil:
		m.set(f.row, result.LeftOut, context.Cause(ctx))
		return
	case err != nil:
		m.set(f.row, result.Failed, err)
	default:
		m.mu.Lock()
		m.report.Kernels[f.row].Report = report
		m.mu.Unlock()
		m.set(f.row, result.Done, nil)
	}
	if m.FailFast && (err != nil || !report.OK()) {
		stop(fmt.Errorf("kernel %s failed", m.report.Kernels[f.row].Kernel))
	}
}

func (m *matrix) runSuite(ctx context.Context, f found) (*result.Report, error) {
	store, err := m.Open(func(line string) { m.note(f.row, line) })
	if err != nil {
		return nil, err
	}
	defer store.Close()
	m.set(f.row, result.Running, nil)
	o := m.Options
	o.Store, o.Kernel, o.Out = store, f.kernel, m.report.Kernels[f.row].Dir
	o.Note = func(line string) { m.note(f.row, line) }
	o.Done = func(c *result.CaseReport) { m.emit(f.row, Event{Case: c}) }
	if m.ResumeRow != nil {
		m.mu.Lock()
		o.Resume = m.ResumeRow(&m.report.Kernels[f.row])
		m.mu.Unlock()
	}
	r, err := Suite(ctx, m.suites[f.row], o)
	if err != nil {
		return nil, err
	}
	r.Shard = m.report.Shard
	return r, nil
}

// set changes the state of a row.
func (m *matrix) set(row int, s result.RunState, reason error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := &m.report.Kernels[row]
	k.State = s
	if s == result.Running {
		k.Began = time.Now()
	}
	if reason != nil {
		k.Reason = reason.Error()
	}
	m.Watch(Event{Run: k})
}

func (m *matrix) note(row int, line string) { m.emit(row, Event{Note: line}) }

func (m *matrix) emit(row int, e Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e.Run = &m.report.Kernels[row]
	m.Watch(e)
}
