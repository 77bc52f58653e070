package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/engine"
	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/exercise"
	"github.com/bpfreplay/bpfreplay/harness/mutate"
	"github.com/bpfreplay/bpfreplay/harness/probe"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/target"
)

// serve answers requests until the host closes the port. lacks are the errors of modules that did
// not load.
func serve(rw io.ReadWriter, lacks []string) error {
	c := wire.NewConn(rw)
	hello, err := hello()
	if err != nil {
		return err
	}
	hello.Lacks = lacks
	if err := c.Send(hello); err != nil {
		return err
	}
	s := NewServer()
	for {
		var req wire.Request
		err := c.Receive(&req)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case req.WarmUp != nil:
			if err = s.warmUp(req.WarmUp); err == nil {
				err = c.Send(hello)
			}
		case req.Resume != nil:
			if err = resume(req.Resume, hello); err == nil {
				err = c.Send(hello)
			}
		case req.Exec != nil:
			err = execute(c, req.Exec)
		default:
			err = s.handle(c, &req)
		}
		if err != nil {
			return err
		}
	}
}

// handle answers a Case or Leaks.
func (s *Server) handle(c *wire.Conn, req *wire.Request) error {
	mark(wire.BeginMark + req.Name())
	var answer *wire.Answer
	var err error
	switch {
	case req.Case != nil:
		if err := fail(req.Case, c); err != nil {
			return err
		}
		answer, err = s.answer(req.Case, func(step wire.Step) {
			_ = c.Send(wire.Message{Step: &step}) // the answer fails, too, if this does
		})
	case req.Leaks != nil:
		answer, err = s.checkLeaks(req.Name())
	default:
		err = fmt.Errorf("%w: a request for nothing", wire.ErrProtocol)
	}
	if err != nil {
		return err
	}
	mark(wire.EndMark + req.Name())
	return c.Send(wire.Message{Answer: answer})
}

// mark writes a line to the kernel's log that separates the lines before it from those after it. A
// second line follows, because some kernels (6.17) hold a line back until the next one. Without
// /dev/kmsg there are no marks.
func mark(line string) {
	f, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	for _, l := range []string{line, "bpfreplay"} {
		fmt.Fprintf(f, "<3>%s\n", l) // level 3 (error) is printed even with "quiet"
	}
}

func hello() (*wire.Hello, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, err
	}
	return &wire.Hello{Release: unix.ByteSliceToString(u.Release[:]), Version: unix.ByteSliceToString(u.Version[:])}, nil
}

// Server runs requests on the running kernel, which is a guest's or this machine's. It is not safe
// for concurrent use.
type Server struct {
	tell func(wire.Step) // reports each step of the current request

	// versions caches the versions of engines by name and bpftool. Asking libbpf's engines takes a
	// process.
	versions map[[2]string]string

	target  *target.Target
	kernel  *state.Kernel
	types   *btf.Cache // for engine direct
	probes  map[string]wire.Probe
	modules bool // the modules of the initramfs are loaded
	guest   *exercise.Sandbox
	pending []pending
}

// NewServer returns a Server for the running kernel.
func NewServer() *Server {
	s := &Server{probes: make(map[string]wire.Probe), versions: make(map[[2]string]string)}
	s.forget()
	return s
}

// forget drops what is cached about the kernel.
func (s *Server) forget() {
	s.target, s.kernel, s.types = target.New(), state.NewKernel(), btf.NewCache()
	s.kernel.ShareTypes(s.target.Vmlinux)
	clear(s.probes)
}

// version returns engine.Version from the cache.
func (s *Server) version(name, bpftool string) string {
	key := [2]string{name, bpftool}
	v, ok := s.versions[key]
	if !ok {
		v = engine.Version(name, engine.Tool{Path: bpftool})
		s.versions[key] = v
	}
	return v
}

// Answer runs one request. An error means that this kernel cannot be used any further. Errors of a
// single engine are part of the answer.
func (s *Server) Answer(req *wire.CaseRequest) (*wire.Answer, error) {
	return s.answer(req, func(wire.Step) {})
}

// answer is Answer that tells of each step that it begins.
func (s *Server) answer(req *wire.CaseRequest, tell func(wire.Step)) (*wire.Answer, error) {
	s.tell = tell
	if req.Modules && !s.modules {
		if err := loadModules(func(string) bool { return true }); err != nil {
			return nil, err
		}
		s.modules = true
		s.forget()
	}
	engines, err := engine.ByName(req.Engines, engine.Tool{Path: req.Bpftool, Wait: req.ToolWait(), Skeletons: req.Skeletons})
	if err != nil {
		return nil, err
	}
	a := &wire.Answer{Name: req.Name}
	lacking := s.probe(a, req.Needs)
	exercise, err := s.exercise(req)
	if err != nil {
		return nil, err
	}
	made := make(map[string]ids)
	replaced := make(map[string]int)
	var errReplaced error
	if lacking == nil {
		var done func()
		done, errReplaced = s.loadReplaced(req.Replace, replaced)
		defer done()
	}
	for _, e := range engines {
		l := wire.Load{Engine: e.Name()}
		err := watch(made, &l, func() {
			switch {
			case lacking != nil:
				unsupported(&l, lacking)
			case errReplaced != nil:
				refused(&l, errReplaced)
			default:
				s.load(e, req, replaced, a, &l, exercise)
			}
		})
		if err != nil {
			return nil, err
		}
		a.Loads = append(a.Loads, l)
	}
	if err := exercise.repeatUntilAgreed(a.Loads, made); err != nil {
		return nil, err
	}
	var left map[string][]string
	begun := time.Now()
	s.tell(wire.Step{Phase: wire.PhaseFree})
	if req.DeferLeaks {
		err = s.deferLeakCheck(req.Name, made)
	} else {
		left, err = waitFreed(made)
	}
	if err != nil {
		return nil, err
	}
	a.Freeing = time.Since(begun).Nanoseconds()
	for i := range a.Loads {
		l := &a.Loads[i]
		l.Leaks = append(l.Leaks, left[l.Engine]...)
		l.Version = s.version(l.Engine, req.Bpftool)
	}
	return a, nil
}

// begin reports that a phase of a load begins. The caller calls the returned function at its end.
func (s *Server) begin(l *wire.Load, p wire.Phase) func() {
	s.tell(wire.Step{Engine: l.Engine, Phase: p})
	start := time.Now()
	return func() { l.Spend(p, start) }
}

// watch records the ids of the objects that an engine creates while do runs, and the file
// descriptors that it leaves open.
func watch(made map[string]ids, l *wire.Load, do func()) error {
	before, err := allIDs()
	if err != nil {
		return err
	}
	fds := openFDs()
	do()
	if n := openFDs(); n != fds {
		l.Leaks = append(l.Leaks, fmt.Sprintf("%d file descriptors", n-fds))
		collect(fds)
	}
	after, err := allIDs()
	if err != nil {
		return err
	}
	if made[l.Engine] == nil {
		made[l.Engine] = make(ids)
	}
	for kind, list := range after.minus(before) {
		made[l.Engine][kind] = append(made[l.Engine][kind], list...)
	}
	return nil
}

// collect runs the garbage collector until no more than this many file descriptors are open.
// Otherwise the collector might close leaked ones during another engine's load.
func collect(fds int) {
	for range 20 {
		runtime.GC()
		time.Sleep(time.Millisecond)
		if openFDs() <= fds {
			return
		}
	}
}

// probe runs the named probes and returns the first that fails, or nil.
func (s *Server) probe(a *wire.Answer, names []string) *wire.Probe {
	var no *wire.Probe
	for _, n := range names {
		r, ok := s.probes[n]
		if !ok {
			r = probe.Run(n, s.target)
			s.probes[n] = r
		}
		if !slices.ContainsFunc(a.Probes, func(p wire.Probe) bool { return p.Name == n }) {
			a.Probes = append(a.Probes, r)
		}
		if !r.OK && no == nil {
			no = &r
		}
	}
	return no
}

func unsupported(l *wire.Load, r *wire.Probe) {
	l.Result, l.Errno, l.Missing = wire.Unsupported, r.Errno, r.Name
	l.Detail = fmt.Sprintf("%s: %s", r.Name, r.Detail)
}

func refused(l *wire.Load, err error) {
	switch {
	case errors.Is(err, engine.ErrEngine):
		broken(l, err)
		return
	case errors.Is(err, engine.ErrCannot):
		l.Result, l.Detail = wire.Unsupported, firstLine(err.Error())
		return
	}
	l.Result, l.Errno, l.Detail = wire.Refused, engine.Errno(err), firstLine(err.Error())
	l.Log = tail(engine.Log(err))
}

func broken(l *wire.Load, err error) {
	l.Result, l.Errno, l.Detail = wire.Broken, engine.Errno(err), err.Error()
	l.Overdue = errors.Is(err, engine.ErrOverdue)
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// logTail limits how much of a verifier's log is sent, in bytes.
const logTail = 16 << 10

func tail(s string) string {
	if len(s) <= logTail {
		return s
	}
	s = s[len(s)-logTail:]
	_, s, _ = strings.Cut(s, "\n")
	return "…\n" + s
}

// loadReplaced loads, with engine direct, the programs that freplace programs replace. It adds
// their fds to programs by the name of the replacing program. The caller calls done to close them,
// also after an error.
func (s *Server) loadReplaced(list []wire.Replaced, programs map[string]int) (done func(), err error) {
	var all []*engine.Loaded
	done = func() {
		for _, l := range all {
			l.Close()
		}
	}
	engines, err := engine.ByName([]string{enginename.Direct}, engine.Tool{})
	if err != nil {
		return done, err
	}
	for i := range list {
		r := &list[i]
		l, err := s.loadOne(engines[0], r)
		if err != nil {
			return done, fmt.Errorf("what program %s replaces: %w", r.By, err)
		}
		all = append(all, l)
		programs[r.By] = l.Programs[0].FD
	}
	return done, nil
}

func (s *Server) loadOne(direct engine.Engine, r *wire.Replaced) (*engine.Loaded, error) {
	ready, err := direct.Open(engine.Object{Name: r.File, Data: r.Object, Only: r.Program})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.File, err)
	}
	l, err := ready.Do(s.target)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.File, err)
	}
	if len(l.Programs) != 1 || r.Program != "" && l.Programs[0].Name != r.Program {
		names := make([]string, len(l.Programs))
		for i, p := range l.Programs {
			names[i] = p.Name
		}
		l.Close()
		return nil, fmt.Errorf("%s has the programs %q: say which one", r.File, names)
	}
	return l, nil
}

func (s *Server) load(e engine.Engine, req *wire.CaseRequest, replaced map[string]int, a *wire.Answer, l *wire.Load, x *exercises) {
	obj := engine.Object{Name: req.File, Data: req.Object, Only: req.Only, Autoload: req.Autoload, Certs: req.Certs, Attach: req.Attach, Replaces: replaced}
	if req.Repeat <= 1 { // a load that is timed reads the kernel's types itself
		obj.Types = s.types
	}
	if req.Mutate != "" {
		m, err := mutate.Find(req.Mutate)
		if err != nil {
			broken(l, err)
			return
		}
		obj.Mutate = m
	}
	if req.Attach && !engine.Attaches(e.Name()) {
		refused(l, fmt.Errorf("%w: its loads attach nothing", engine.ErrCannot))
		return
	}
	end := s.begin(l, wire.PhaseOpen)
	ready, err := e.Open(obj)
	end()
	l.Opened = l.Spent[wire.PhaseOpen]
	if err != nil {
		refused(l, err)
		return
	}
	if r := s.probe(a, ready.Needs()); r != nil {
		unsupported(l, r)
		return
	}
	end = s.begin(l, wire.PhaseLoad)
	loaded, err := s.loadTimes(ready, req, l)
	end()
	if err != nil {
		refused(l, err)
		return
	}
	defer loaded.Close()
	l.Result = wire.OK
	ctx := context.Background()
	end = s.begin(l, wire.PhaseCapture)
	l.State, err = state.Capture(ctx, loaded.Maps, loaded.Programs, s.kernel)
	end()
	switch {
	case errors.Is(err, state.ErrHandle): // a fault of the engine, not of the harness
		refused(l, fmt.Errorf("loaded, but: %w", err))
		return
	case err != nil:
		broken(l, err)
		return
	}
	if l.State.Links, err = state.CaptureLinks(loaded.Links, s.kernel); err != nil {
		broken(l, err)
		return
	}
	defer s.begin(l, wire.PhaseExercise)()
	if len(req.Runs) > 0 {
		l.Runs = runAll(req.Runs, loaded.Programs)
		if l.After, err = state.Reread(ctx, l.State, loaded.Maps, loaded.Programs, s.kernel); err != nil {
			broken(l, err)
			return
		}
	}
	if err := x.first(ctx, l, ready, loaded); err != nil {
		broken(l, err)
	}
}

// loadTimes loads an object as often as it is asked for, and returns what the last load
// leaves. Each is timed, one that is refused as well.
func (s *Server) loadTimes(ready engine.Load, req *wire.CaseRequest, l *wire.Load) (*engine.Loaded, error) {
	for n := max(req.Repeat, 1); ; n-- {
		if n > 1 && req.Fresh {
			ns, err := timeFresh(l.Engine, req)
			if err != nil {
				n = 1 // the load below says why
			} else {
				l.Nanoseconds = append(l.Nanoseconds, ns)
				continue
			}
		}
		loaded, took, err := engine.Time(ready, s.target)
		if err != nil || !req.Fresh || len(l.Nanoseconds) == 0 {
			l.Nanoseconds = append(l.Nanoseconds, took.Nanoseconds())
		}
		if err != nil || n == 1 {
			return loaded, err
		}
		loaded.Close()
	}
}

func runAll(runs []wire.Run, programs []state.Handle) []wire.Ran {
	var out []wire.Ran
	for _, r := range runs {
		out = append(out, run1(r, programs))
	}
	return out
}

// run1 runs a program. If the engine did not load it, the states differ, so the error here is only
// a marker.
func run1(r wire.Run, programs []state.Handle) wire.Ran {
	out := wire.Ran{Program: r.Program}
	i := slices.IndexFunc(programs, func(h state.Handle) bool { return h.Name == r.Program })
	if i < 0 {
		out.Errno = "ENOENT"
		return out
	}
	for range max(r.Repeat, 1) {
		ret, data, err := bpfsys.TestRun(programs[i].FD, r.Data, r.Context)
		if err != nil {
			out.Errno = engine.Errno(err)
			return out
		}
		out.Returns = append(out.Returns, ret)
		out.Out = data
	}
	return out
}

// ids are the kernel's ids of BPF objects, by kind.
type ids map[string][]uint32

var kinds = map[string]bpfsys.Cmd{
	"program": bpfsys.ProgGetNextID, "map": bpfsys.MapGetNextID, "BTF": bpfsys.BTFGetNextID, "link": bpfsys.LinkGetNextID,
}

func allIDs() (ids, error) {
	all := make(ids)
	for kind, cmd := range kinds {
		list, err := bpfsys.IDs(cmd)
		if errors.Is(err, unix.EINVAL) { // kernels before 5.8 have no link ids
			continue
		}
		if err != nil {
			return nil, err
		}
		all[kind] = list
	}
	return all, nil
}

func (a ids) minus(b ids) ids {
	rest := make(ids)
	for kind, list := range a {
		for _, id := range list {
			if !slices.Contains(b[kind], id) {
				rest[kind] = append(rest[kind], id)
			}
		}
	}
	return rest
}

func (a ids) and(b ids) ids {
	return a.minus(a.minus(b))
}

// freeWait is how long the kernel may take to free objects without references. It frees them after
// RCU grace periods, on a work queue, which takes long in a guest on a busy host.
const freeWait = 20 * time.Second

// waitFreed waits until everything that the engines created is freed, and returns what is left, by
// engine.
func waitFreed(made map[string]ids) (map[string][]string, error) {
	pause := time.Millisecond / 2
	for end := time.Now().Add(freeWait); ; pause = min(2*pause, 50*time.Millisecond) {
		now, err := allIDs()
		if err != nil {
			return nil, err
		}
		left := make(map[string][]string)
		for name, m := range made {
			rest := m.and(now)
			for kind, list := range rest {
				left[name] = append(left[name], fmt.Sprintf("%s ids %v", kind, list))
			}
		}
		if len(left) == 0 || time.Now().After(end) {
			return left, nil
		}
		time.Sleep(pause)
	}
}

// openFDs returns the number of open fds of this process.
func openFDs() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(list)
}
