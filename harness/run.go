package harness

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"github.com/bpfreplay/bpfreplay/harness/agent"
	"github.com/bpfreplay/bpfreplay/harness/engine"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/harness/vm"
	"github.com/bpfreplay/bpfreplay/loader/object"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// Options say how to run a suite.
type Options struct {
	Store  *vmimage.Store
	Kernel *vmimage.Kernel
	// Agent is the program that becomes PID 1 of the guest: this one, static.
	Agent   string
	Engines []string // by name, in the order in which they run
	// Bpftool is the bpftool for engines of libbpf, and behind it what it runs
	// in its turn, if anything. None is the one that this machine has.
	Bpftool []string

	QEMU        string // "" for the one in PATH
	Accelerator vm.Accelerator
	StateDir    string   // where what is known of this host is remembered
	Params      []string // more kernel parameters
	BootTimeout time.Duration
	CaseTimeout time.Duration // for one case, all engines

	// Out is the directory for the initramfs and the console's log. Files of a
	// former run are overwritten.
	Out string

	Mutate string // a mutation of the loader programs (mutate.Names)
	Repeat int    // how often each engine loads each object
	Fresh  bool   // repetitions are timed in a new process each
	// Still: programs are only run as the suite says, and not attached. They may
	// break the guest.
	Still bool

	// Note receives lines that tell what happens, Done each case as it is judged.
	Note func(line string)
	Done func(c *CaseReport)
}

// Defaults of the deadlines. Under TCG on a busy machine a boot takes 2 to
// 6 s, a case up to 2 s.
const (
	DefaultBootTimeout = 90 * time.Second
	DefaultCaseTimeout = 60 * time.Second
)

// params are kernel parameters for every guest: LSM programs attach only if the
// LSM "bpf" is on.
var params = []string{"lsm=bpf"}

// guestMemory is what a guest gets, in MiB. The largest objects of the Linux
// selftests need more than the default of package vm.
const guestMemory = 512

// Run runs a suite in guests. An error means that the harness or its input
// failed, not that a verdict is bad; guests that break are verdicts.
func Run(ctx context.Context, suite *Suite, o Options) (*Report, error) {
	start := time.Now()
	r := &runner{Options: o, suite: suite, used: make(map[string]bool)}
	r.defaults()
	r.report = &Report{
		Schema: 1, Suite: suite.Name, Engines: o.Engines, Started: start.UTC(), Cases: []CaseReport{},
		Kernel: KernelReport{Name: o.Kernel.Name, Release: o.Kernel.Release, SHA256: o.Kernel.SHA256, Origin: o.Kernel.Origin},
	}
	defer r.end()
	if err := r.prepare(); err != nil {
		return nil, err
	}
	for _, c := range inOrder(suite.Cases) {
		if err := r.runCase(ctx, c); err != nil {
			return nil, err
		}
	}
	r.end()
	r.finish(start)
	return r.report, nil
}

// inOrder puts cases that need modules after those that do not: a module that
// is loaded stays, and its absence is a case, too.
func inOrder(cases []Case) []*Case {
	var without, with []*Case
	for i := range cases {
		c := &cases[i]
		if len(c.Modules) == 0 {
			without = append(without, c)
		} else {
			with = append(with, c)
		}
	}
	return append(without, with...)
}

type runner struct {
	Options
	suite  *Suite
	report *Report
	initrd string
	tool   string // bpftool in the guest
	used   map[string]bool

	guest    *vm.VM // nil if none runs
	conn     *agent.Conn
	boots    int
	maxBoots int
}

func (r *runner) defaults() {
	if r.maxBoots == 0 {
		r.maxBoots = maxBoots
	}
	if r.BootTimeout == 0 {
		r.BootTimeout = DefaultBootTimeout
	}
	if r.CaseTimeout == 0 {
		r.CaseTimeout = DefaultCaseTimeout
	}
	if r.Note == nil {
		r.Note = func(string) {}
	}
	if r.Done == nil {
		r.Done = func(*CaseReport) {}
	}
}

// prepare makes the initramfs.
func (r *runner) prepare() error {
	if err := os.MkdirAll(r.Out, 0o755); err != nil {
		return err
	}
	modules := slices.Clone(agent.BootModules)
	for _, m := range r.suite.Modules() {
		if _, err := r.Kernel.Modules(m); err != nil {
			// The probe of what the module brings will say that it is missing.
			r.Note(fmt.Sprintf("kernel %s has no module %s: %v", r.Kernel.Name, m, err))
			continue
		}
		modules = append(modules, m)
	}
	r.initrd = filepath.Join(r.Out, "initramfs.cpio")
	stale, err := filepath.Glob(filepath.Join(r.Out, "console*.log"))
	if err != nil {
		return err
	}
	for _, path := range append(stale, r.initrd) {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	tool, err := r.toolFiles()
	if err != nil {
		return err
	}
	_, err = r.Store.Initramfs(r.initrd, r.Kernel, vmimage.Initramfs{
		Base:    append(tool, vmimage.File{Path: "/init", Mode: 0o755, Host: r.Agent}),
		Modules: modules,
	})
	if err != nil {
		return fmt.Errorf("initramfs: %w", err)
	}
	return nil
}

// toolFiles are bpftool and its libraries, if an engine needs them.
func (r *runner) toolFiles() ([]vmimage.File, error) {
	if !engine.UseTool(r.Engines) {
		return nil, nil
	}
	paths := r.Bpftool
	if len(paths) == 0 {
		path, err := engine.FindTool()
		if err != nil {
			return nil, err
		}
		paths = []string{path}
	}
	files, err := vmimage.Programs(engine.GuestTool, paths...)
	if err != nil {
		return nil, fmt.Errorf("bpftool: %w", err)
	}
	r.tool = path.Join(engine.GuestTool, "bin", filepath.Base(paths[0]))
	return files, nil
}

// boot starts a guest and waits for its agent.
func (r *runner) boot(ctx context.Context) error {
	r.boots++
	console := "console.log"
	if r.boots > 1 {
		console = fmt.Sprintf("console-%d.log", r.boots)
	}
	guest, err := vm.Start(ctx, vm.Config{
		QEMU: r.QEMU, Kernel: r.Kernel.BootPath, Initrd: r.initrd,
		Params:      append(slices.Clone(params), r.Params...),
		MemoryMiB:   guestMemory,
		Accelerator: r.Accelerator, StateDir: r.StateDir,
		ConsolePath: filepath.Join(r.Out, console),
		BootTimeout: r.BootTimeout, SilenceTimeout: r.CaseTimeout,
	})
	if err != nil {
		return err
	}
	r.guest, r.conn = guest, agent.NewConn(guest.Port())
	if r.boots == 1 {
		choice := guest.Accelerator()
		r.report.Accelerator = string(choice.Accelerator)
		r.Note(fmt.Sprintf("%s: %s", choice.Accelerator, choice.Reason))
	}
	var hello agent.Hello
	err = guest.Do(ctx, func(*vm.Port) error { return r.conn.Receive(&hello) })
	if err != nil {
		return err
	}
	if guest.BootTime() > r.BootTimeout {
		// It woke up while package vm was ending it.
		guest.Close()
		late := *guest.Wait()
		late.Reason, late.Cause = vm.NoBoot, fmt.Sprintf("nothing on the port after %s", r.BootTimeout)
		return &late
	}
	r.report.Kernel.Release = hello.Release
	if r.boots == 1 {
		r.report.Seconds.Boot = guest.BootTime().Seconds()
	}
	return nil
}

// end ends the guest, if one runs, and keeps what its kernel complained of.
func (r *runner) end() {
	if r.guest == nil {
		return
	}
	r.guest.Close()
	for _, s := range r.guest.Splats() {
		r.report.Splats = append(r.report.Splats, s.Kind+": "+s.Line)
	}
	r.guest = nil
}

// maxBoots bounds the guests that one run starts: a kernel on which every
// case breaks the guest tells nothing new by the tenth.
const maxBoots = 10

func (r *runner) runCase(ctx context.Context, c *Case) error {
	req, err := r.request(c)
	if err != nil {
		return err
	}
	out, err := r.runRequest(ctx, c, req)
	if err != nil {
		return err
	}
	r.report.Cases = append(r.report.Cases, *out)
	r.Done(out)
	return nil
}

// runRequest runs a case and judges it.
func (r *runner) runRequest(ctx context.Context, c *Case, req *agent.Request) (*CaseReport, error) {
	start := time.Now()
	out := CaseReport{Name: c.Name, Object: c.Object, Loads: []LoadReport{}, Verdicts: []PairReport{}}
	answer, err := r.ask(ctx, req)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var ending *vm.Ending
	switch {
	case errors.As(err, &ending):
		r.broken(&out, ending)
	case err != nil:
		return nil, err
	default:
		for i := range answer.Loads {
			out.Loads = append(out.Loads, loadReport(&answer.Loads[i]))
			r.version(&answer.Loads[i])
		}
		j := r.judgeOf(req.File, req.Object)
		out.Verdicts, out.Failures = j.judgeCase(c, answer.Loads)
		out.Notes = j.notes
	}
	out.Seconds = time.Since(start).Seconds()
	return &out, nil
}

// version notes which version an engine is.
func (r *runner) version(l *agent.Load) {
	if l.Version == "" {
		return
	}
	if r.report.Versions == nil {
		r.report.Versions = make(map[string]string)
	}
	r.report.Versions[l.Engine] = l.Version
}

// request is what the guest is asked for to run a case.
func (r *runner) request(c *Case) (*agent.Request, error) {
	data, err := os.ReadFile(r.suite.path(c))
	if err != nil {
		return nil, fmt.Errorf("case %s: %w", c.Name, err)
	}
	return r.requestFor(c, data)
}

// requestFor is what the guest is asked for to run a case with this object.
func (r *runner) requestFor(c *Case, data []byte) (*agent.Request, error) {
	runs, err := c.runs()
	if err != nil {
		return nil, fmt.Errorf("case %s: %w", c.Name, err)
	}
	return &agent.Request{
		Name: c.Name, File: filepath.Base(c.Object), Object: data, Engines: r.Engines, Needs: c.Needs,
		Modules: len(c.Modules) > 0, Runs: runs, Idle: slices.Sorted(maps.Keys(c.Idle)), Mutate: r.Mutate, Repeat: r.Repeat, Fresh: r.Fresh,
		Bpftool: r.tool,
	}, nil
}

func (r *runner) judge(c *Case) *judge {
	data, err := os.ReadFile(r.suite.path(c))
	if err != nil {
		data = nil // there was an object when the request was made
	}
	return r.judgeOf(filepath.Base(c.Object), data)
}

// judgeOf judges what becomes of an object, given as a file.
func (r *runner) judgeOf(file string, data []byte) *judge {
	j := &judge{release: r.report.Kernel.Release, must: r.Kernel.Must, used: r.used}
	if o, err := object.OpenBytes(data, file); err == nil {
		j.facts = state.FactsOf(o)
	}
	return j
}

// ask sends a request to the guest, which it boots if there is none.
func (r *runner) ask(ctx context.Context, req *agent.Request) (*agent.Answer, error) {
	if r.guest == nil {
		if r.boots == r.maxBoots {
			return nil, fmt.Errorf("%d guests of this run broke: giving up before case %s", r.boots, req.Name)
		}
		if err := r.boot(ctx); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, r.CaseTimeout)
	defer cancel()
	req.Behave = !r.Still && req.Repeat <= 1 // what is timed is only loaded
	var answer agent.Answer
	err := r.guest.Do(ctx, func(*vm.Port) error {
		if err := r.conn.Send(req); err != nil {
			return err
		}
		return r.conn.Receive(&answer)
	})
	return &answer, err
}

// broken reports a guest that did not survive a case. The next case gets a new one.
func (r *runner) broken(out *CaseReport, ending *vm.Ending) {
	r.end()
	out.Console = ending.Console
	for i, e := range r.Engines {
		out.Loads = append(out.Loads, LoadReport{Engine: e, Result: agent.Broken, Detail: ending.Error()})
		if i > 0 {
			out.Verdicts = append(out.Verdicts, PairReport{
				A: r.Engines[0], B: e, Verdict: Broken, Reason: ending.Error(), Differences: []state.Difference{},
			})
		}
	}
	if len(r.Engines) == 1 {
		out.Failures = append(out.Failures, ending.Error())
	}
}

func (r *runner) finish(start time.Time) {
	for i := range r.report.Cases {
		r.report.Seconds.Suite += r.report.Cases[i].Seconds
	}
	r.report.Seconds.Suite -= r.report.Seconds.Boot
	r.report.Seconds.Total = time.Since(start).Seconds()
	r.report.summarise()
	if r.suite.part {
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
