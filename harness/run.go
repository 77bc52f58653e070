package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bpfreplay/bpfreplay/harness/agent"
	"github.com/bpfreplay/bpfreplay/harness/engine"
	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/skelprog"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/harness/vm"
	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/internal/object"
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
	// Keep says which cases leave a folder with evidence in Out: "" those that fail,
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
	// First says which modules guests have loaded before the first case. It is called
	// once for a kernel; nil for none.
	First func(ctx context.Context, s *vmimage.Store, k *vmimage.Kernel, note func(string)) (guest.Preloaded, error)
	// Budget bounds what the guests take of this machine, together with those of
	// other runs.
	Budget *guest.Budget
	// Before is the report of the run before, nil if there is none. Several guests
	// begin with what took longest then, so that none is left with it at the end.
	Before *Report
	// Resume is the report of a run of the same that was interrupted, or nil: the cases
	// that it has are taken from it and do not run.
	Resume *Report
	// Command is the command line, for the report.
	Command string

	// Done is called for each case as it is judged, one at a time.
	Done func(c *CaseReport)
}

// FaultOnce behind a fault injects it only in the first run of a case.
const FaultOnce = ":once"

// DefaultCaseTimeout is for one case. Under TCG on a busy machine it takes up to 2 s.
const DefaultCaseTimeout = 60 * time.Second

// Run runs a suite in guests. An error means that the harness or its input
// failed, not that a verdict is bad; guests that break are verdicts.
func Run(ctx context.Context, suite *suite.Suite, o Options) (*Report, error) {
	start := time.Now()
	r := newRunner(suite, o)
	if err := r.checkResume(); err != nil {
		return nil, err
	}
	if err := r.readBaseline(); err != nil {
		return nil, err
	}
	var err error
	if r.First != nil {
		if r.first, err = r.First(ctx, r.Store, r.Kernel, r.Note); err != nil {
			return nil, err
		}
	}
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	if r.evidence, err = newEvidence(r); err != nil {
		return nil, err
	}
	if err := r.runAll(ctx); err != nil && (ctx.Err() == nil || !r.leaveOut()) {
		return nil, err
	}
	r.finish(start)
	return r.report, nil
}

// leaveOut takes the cases that have not run from the report of a run that was
// interrupted. It reports whether any is left.
func (r *runner) leaveOut() bool {
	var ran []CaseReport
	for i := range r.report.Cases {
		if c := &r.report.Cases[i]; c.Name != "" {
			ran = append(ran, *c)
		} else {
			r.report.NotRun = append(r.report.NotRun, r.suite.Cases[i].Name)
		}
	}
	r.report.Cases = ran
	return len(ran) > 0
}

// resumed is what the interrupted run found of a case, nil if it has to run.
func (r *runner) resumed(c *suite.Case) *CaseReport {
	if r.Resume == nil {
		return nil
	}
	i := slices.IndexFunc(r.Resume.Cases, func(known CaseReport) bool { return known.Name == c.Name })
	if i < 0 {
		return nil
	}
	sum, err := fileSum(r.suite.Path(c))
	if err != nil || sum != r.Resume.Cases[i].SHA256 {
		return nil
	}
	return &r.Resume.Cases[i]
}

// checkResume refuses a run of something else as the one to go on with.
func (r *runner) checkResume() error {
	was := r.Resume
	if was == nil {
		return nil
	}
	for _, differs := range []struct {
		what, was, is string
	}{
		{"suite", was.Suite, r.suite.Name}, {"source", was.Source, r.suite.Source}, {"kernel", was.Kernel.SHA256, r.Kernel.SHA256},
		{"engines", strings.Join(was.Engines, ","), strings.Join(r.Engines, ",")}, {"mutation", was.Mutation, r.Mutate},
	} {
		if differs.was != differs.is {
			return fmt.Errorf("the interrupted run in %s cannot be resumed: its %s was %q, and is now %q", r.Out, differs.what, differs.was, differs.is)
		}
	}
	return nil
}

// runAll has workers run the cases, each the next one that nobody has begun.
func (r *runner) runAll(ctx context.Context) error {
	r.report.Cases = make([]CaseReport, len(r.suite.Cases))
	queue := make(chan int, len(r.suite.Cases))
	for _, i := range inOrder(r.suite.Cases, r.took()) {
		if known := r.resumed(&r.suite.Cases[i]); known != nil {
			r.report.Cases[i] = *known
			continue
		}
		queue <- i
	}
	close(queue)
	workers, ctx := errgroup.WithContext(ctx)
	for range min(r.Jobs, len(queue)) {
		workers.Go(func() error {
			w := &worker{runner: r}
			defer w.drop()
			for i := range queue {
				if err := w.runCase(ctx, i); err != nil {
					return err
				}
			}
			return w.leave(ctx)
		})
	}
	return workers.Wait()
}

// inOrder are the indices of cases, those that need modules after those that do
// not: a module that is loaded stays, and its absence is a case, too. That holds
// for each worker that takes its cases in this order. Otherwise those come first
// that took longest, in seconds; they may be nil.
func inOrder(cases []suite.Case, took map[string]float64) []int {
	order := make([]int, len(cases))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		x, y := &cases[a], &cases[b]
		switch modules := len(x.Modules) > 0; {
		case modules == (len(y.Modules) > 0):
			return cmp.Compare(took[y.Name], took[x.Name])
		case modules:
			return 1
		}
		return -1
	})
	return order
}

// took is how many seconds cases took in the run before, nil if they are to run one
// after the other anyway.
func (r *runner) took() map[string]float64 {
	if r.Jobs == 1 || r.Before == nil {
		return nil
	}
	took := make(map[string]float64)
	for i := range r.Before.Cases {
		took[r.Before.Cases[i].Name] = r.Before.Cases[i].Seconds
	}
	return took
}

// runner is what the workers of a run share.
type runner struct {
	Options
	suite  *suite.Suite
	source guest.Source // of guests
	tool   string       // bpftool in the guest
	first  guest.Preloaded
	// evidence is nil where none is kept.
	evidence *evidence
	// baseline is what the run is compared with, nil for nothing.
	baseline *Baseline
	// start starts the guest of this number, from 1 on; with cold it is booted, not restored.
	start func(ctx context.Context, number int, cold bool) (liveGuest, error)

	mu     sync.Mutex // for what follows
	report *Report
	used   map[string]bool     // rules that explained something
	leaks  map[string][]string // what cases left behind that were reported before that was known
	guests int                 // that were started
	alive  bool                // whether one ever said hello
	unborn int                 // that did not say hello
}

func newRunner(suite *suite.Suite, o Options) *runner {
	r := &runner{Options: o, suite: suite, used: make(map[string]bool), leaks: make(map[string][]string)}
	r.defaults()
	r.start = r.boot
	r.report = &Report{
		Schema: 1, Suite: suite.Name, Source: suite.Source, Agreement: suite.External, Engines: r.Engines, Started: time.Now().UTC(), Cases: []CaseReport{},
		Command: o.Command, Mutation: o.Mutate, Faults: o.Faults,
		Kernel: KernelReport{Name: o.Kernel.Name, Release: o.Kernel.Release, SHA256: o.Kernel.SHA256, Origin: o.Kernel.Origin},
	}
	return r
}

// nextGuest numbers guests from 1 on.
func (r *runner) nextGuest() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.guests++
	return r.guests
}

func (r *runner) booted() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.alive = true
}

func (r *runner) wasAlive() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.alive
}

// unbornGuests is how often a guest is started in vain before a kernel, or a
// case, is given up.
const unbornGuests = 2

// startAgain says whether to start another guest in place of one that did not say
// hello. As long as none ever did, the run has nothing to run on; later that only
// costs the case.
func (r *runner) startAgain(ctx context.Context, err error) (_ error, again bool) {
	var ending *vm.Ending
	if ctx.Err() != nil || !errors.As(err, &ending) {
		return err, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unborn++
	if r.alive || r.unborn < unbornGuests {
		return err, true
	}
	return fmt.Errorf("no guest with kernel %s boots, tried %d times: %v\n%s", r.Kernel.Name, r.unborn, ending, strings.Join(ending.Console, "\n")), false
}

func (r *runner) defaults() {
	if r.Jobs == 0 {
		r.Jobs = 1
	}
	r.Config.Defaults()
	if r.CaseTimeout == 0 {
		r.CaseTimeout = DefaultCaseTimeout
	}
	if r.Debugger != nil {
		r.CaseTimeout = vm.Endless
	}
	if r.Done == nil {
		r.Done = func(*CaseReport) {}
	}
}

// prepare finds what goes into the initramfs.
func (r *runner) prepare(ctx context.Context) error {
	if err := r.SetAgent(); err != nil {
		return err
	}
	if err := os.MkdirAll(r.Out, 0o755); err != nil {
		return err
	}
	var modules []string
	for _, m := range r.suite.Modules() {
		if _, err := r.Kernel.Modules(m); err != nil {
			// The probe of what the module brings will say that it is missing.
			r.Note(fmt.Sprintf("kernel %s has no module %s: %v", r.Kernel.Name, m, err))
			continue
		}
		modules = append(modules, m)
	}
	initrd := filepath.Join(r.Out, "initramfs.cpio")
	stale, err := filepath.Glob(filepath.Join(r.Out, "console*.log"))
	if err != nil {
		return err
	}
	for _, path := range append(stale, initrd) {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	tool, err := r.toolFiles(ctx)
	if err != nil {
		return err
	}
	skeleton, err := r.skeletonFiles(ctx)
	if err != nil {
		return err
	}
	initramfs, err := r.Initramfs(r.first, modules, slices.Concat(tool, skeleton))
	if err != nil {
		return err
	}
	config := r.Config
	config.Note = func(line string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.Note(line)
	}
	r.source = guest.Source{
		Config: config, Initramfs: initramfs, Initrd: initrd,
		Ready: agent.Ready{Behave: r.behaves(), Bpftool: r.tool},
	}
	if r.Repeat <= 1 {
		r.source.Ready.Engines = r.Engines
	}
	return nil
}

// behaves says whether programs are attached: what is timed is only loaded.
func (r *runner) behaves() bool { return !r.Still && r.Repeat <= 1 }

// toolFiles are bpftool and its libraries, if an engine needs them.
func (r *runner) toolFiles(ctx context.Context) ([]vmimage.File, error) {
	if !engine.UseTool(r.Engines) {
		return nil, nil
	}
	paths := r.Bpftool
	if len(paths) == 0 && r.Kernel.Arch != arch.Native {
		return r.foreignTool(ctx)
	}
	if len(paths) == 0 {
		path, err := engine.FindTool()
		if err != nil {
			return nil, err
		}
		paths = []string{path}
	}
	files, err := vmimage.Programs(r.Kernel.Arch, engine.GuestTool, paths...)
	if err != nil {
		return nil, fmt.Errorf("bpftool: %w", err)
	}
	r.tool = path.Join(engine.GuestTool, "bin", filepath.Base(paths[0]))
	return files, nil
}

// foreignTool is Debian's bpftool for the guest's architecture.
func (r *runner) foreignTool(ctx context.Context) ([]vmimage.File, error) {
	const program = "/usr/sbin/bpftool"
	root, err := r.Store.Tool(ctx, r.Kernel.Arch, "bpftool")
	if err != nil {
		return nil, fmt.Errorf("bpftool for %s: %w; name one with --bpftool", r.Kernel.Arch, err)
	}
	files, err := vmimage.ProgramsIn(root, r.Kernel.Arch, engine.GuestTool, program)
	if err != nil {
		return nil, fmt.Errorf("bpftool for %s: %w", r.Kernel.Arch, err)
	}
	r.tool = path.Join(engine.GuestTool, "bin", filepath.Base(program))
	return files, nil
}

// skeletonFiles are the programs of engines that load skeletons, built for the cases.
func (r *runner) skeletonFiles(ctx context.Context) (files []vmimage.File, err error) {
	for _, e := range engine.Skeletons(r.Engines) {
		program, err := skeletons(ctx, r.suite, e, r.Kernel.Arch, filepath.Join(r.Out, "skeletons"))
		if err != nil {
			return nil, err
		}
		files = append(files, vmimage.File{Path: path.Join(engine.GuestSkeletons, e), Mode: 0o755, Host: program})
	}
	return files, nil
}

// skeletons builds the program of an engine that loads skeletons, with those of all cases.
func skeletons(ctx context.Context, s *suite.Suite, engine, arch, dir string) (string, error) {
	var objects []skelprog.Object
	for i := range s.Cases {
		data, err := os.ReadFile(s.Path(&s.Cases[i]))
		if err != nil {
			return "", fmt.Errorf("case %s: %w", s.Cases[i].Name, err)
		}
		objects = append(objects, skelprog.Object{Name: filepath.Base(s.Cases[i].Object), Data: data})
	}
	return skelprog.Build(ctx, engine, arch, dir, objects)
}

// version notes which version an engine is.
func (r *runner) version(l *agent.Load) {
	if l.Version == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.report.Versions == nil {
		r.report.Versions = make(map[string]string)
	}
	r.report.Versions[l.Engine] = l.Version
}

// request is what the guest is asked for to run a case.
func (r *runner) request(c *suite.Case) (*agent.Request, error) {
	data, err := os.ReadFile(r.suite.Path(c))
	if err != nil {
		return nil, fmt.Errorf("case %s: %w", c.Name, err)
	}
	return r.requestFor(c, data)
}

// requestFor is what the guest is asked for to run a case with this object.
func (r *runner) requestFor(c *suite.Case, data []byte) (*agent.Request, error) {
	runs, err := c.Runs()
	if err != nil {
		return nil, fmt.Errorf("case %s: %w", c.Name, err)
	}
	replace, err := r.suite.Replaced(c)
	if err != nil {
		return nil, fmt.Errorf("case %s: %w", c.Name, err)
	}
	return &agent.Request{
		Replace: replace,
		Name:    c.Name, File: filepath.Base(c.Object), Object: data, Engines: r.Engines, Needs: c.Needs,
		Modules: len(c.Modules) > 0, Runs: runs, Idle: slices.Sorted(maps.Keys(c.Idle)), Mutate: r.Mutate, Repeat: r.Repeat, Fresh: r.Fresh,
		Certs: r.Certs, Attach: c.Attach, Bpftool: r.tool, Only: c.Only, Autoload: r.suite.External, Lazy: r.lazy(),
	}, nil
}

func (r *runner) judge(c *suite.Case) *judge {
	data, err := os.ReadFile(r.suite.Path(c))
	if err != nil {
		data = nil // there was an object when the request was made
	}
	return r.judgeOf(filepath.Base(c.Object), data)
}

// judgeOf judges what becomes of an object, given as a file.
func (r *runner) judgeOf(file string, data []byte) *judge {
	j := &judge{must: r.Kernel.Must, used: make(map[string]bool)}
	if o, err := object.OpenBytes(data, file); err == nil {
		j.facts = state.FactsOf(o)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	j.release = r.report.Kernel.Release
	return j
}

func (r *runner) finish(start time.Time) {
	for i := range r.report.Cases {
		c := &r.report.Cases[i]
		r.report.Seconds.Suite += c.Seconds
		c.Failures = append(c.Failures, r.leaks[c.Name]...)
	}
	r.report.Seconds.Saving = r.source.Saving().Seconds()
	r.report.Seconds.Total = time.Since(start).Seconds()
	if r.Resume != nil {
		r.report.Seconds.Total += r.Resume.Seconds.Total
	}
	r.report.summarise()
	r.report.Follow(r.Before)
	if r.baseline != nil {
		r.report.Baseline = r.baseline.Compare(r.report, !r.suite.Partial && len(r.report.NotRun) == 0)
		r.report.Baseline.explain(r.suite.Absent)
	}
	if r.suite.Partial || r.suite.External || len(r.report.NotRun) > 0 {
		return // what a few cases do not need, others may
	}
	var used []string
	for id := range r.used {
		used = append(used, id)
	}
	for _, rule := range state.UnusedRules(used, r.Engines) {
		r.report.UnusedRules = append(r.report.UnusedRules, rule.ID)
	}
}
