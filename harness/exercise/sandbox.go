package exercise

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/effects"
	"github.com/bpfreplay/bpfreplay/harness/field"
	"github.com/bpfreplay/bpfreplay/harness/inguest"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/btf"
)

// Sandbox is a machine on which programs may be attached to anything, because nothing else runs
// there. It is not safe for concurrent use.
type Sandbox struct {
	dir    string                    // directory for the trigger's files
	tiny   string                    // path of the tiny program
	cgroup string                    // directory of this process's cgroup; "" if there is none
	usual  map[string]string         // results of the trigger's steps while nothing is attached
	types  func() (*btf.Spec, error) // returns the kernel's types
}

// NewSandbox prepares the running machine. It enables the loopback device, moves this process to a
// cgroup of its own, and makes the kernel count program runs. It does not undo any of that, so it
// refuses a machine that is not a guest of the harness. What the kernel lacks is left out;
// attaching programs that need it then fails with a reason. types returns the types of vmlinux.
func NewSandbox(types func() (*btf.Spec, error)) (*Sandbox, error) {
	if err := inguest.Check(); err != nil {
		return nil, fmt.Errorf("attach programs: %w", err)
	}
	g := &Sandbox{dir: filepath.Join(os.TempDir(), "behave"), types: types}
	if err := os.MkdirAll(g.dir, 0o700); err != nil {
		return nil, fmt.Errorf("trigger: %w", err)
	}
	g.tiny = filepath.Join(g.dir, "tiny")
	if err := os.WriteFile(g.tiny, tinyELF(), 0o700); err != nil {
		return nil, fmt.Errorf("trigger: %w", err)
	}
	if err := InterfaceUp("lo"); err != nil {
		return nil, fmt.Errorf("loopback device: %w", err)
	}
	g.cgroup = joinCgroup()
	// Since 5.1. On older kernels the number of runs is unknown.
	_ = os.WriteFile("/proc/sys/kernel/bpf_stats_enabled", []byte("1"), 0)
	g.runTrigger(anyStep) // the first time is slower, and may give other results
	g.usual = g.runTrigger(anyStep)
	return g, nil
}

// InterfaceUp enables a network interface. The kernel then gives the loopback interface its
// addresses.
func InterfaceUp(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
}

// loopback is the index of the loopback device, the first device of every network namespace.
const loopback = 1

// joinCgroup creates a cgroup and moves this process to it. Programs attached to the root cgroup
// would see everything that the kernel does by itself.
func joinCgroup() string {
	const dir = "/sys/fs/cgroup/bpfreplay"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return ""
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
		return ""
	}
	return dir
}

// Run executes the plan with a load. It returns all effects except those on the contents of maps:
// see [Changes].
func (g *Sandbox) Run(p *Plan, maps, programs []state.Handle) effects.Sample {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s := make(effects.Sample)
	for _, in := range p.Inputs {
		if fd, ok := find(s, field.Program(in.Program, ""), programs); ok {
			runOnce(s, field.Program(in.Program, "run "+in.Name), fd, in.Data, in.Context)
		}
	}
	for _, subject := range p.Attach {
		if fd, ok := find(s, field.Program(subject.Program, ""), programs); ok {
			g.attachOne(s, &subject, fd)
		}
	}
	for i := range p.Register {
		ops := &p.Register[i]
		if fd, ok := find(s, field.Map(ops.Map, ""), maps); ok {
			g.registerOne(s, ops, fd, programs)
		}
	}
	return s
}

// find returns the fd of a program or map. It records if the engine has not loaded it.
func find(s effects.Sample, of field.Field, in []state.Handle) (int, bool) {
	i := slices.IndexFunc(in, func(h state.Handle) bool { return h.Name == of.Name })
	if i < 0 {
		s.Set(of, effects.NotLoaded)
		return 0, false
	}
	return in[i].FD, true
}

// runOnce runs a program with BPF_PROG_TEST_RUN.
func runOnce(s effects.Sample, run field.Field, fd int, data, ctx []byte) {
	returns := run.With(run.Attribute + " returns")
	ret, out, err := bpfsys.TestRun(fd, data, ctx)
	if err != nil {
		s.Set(returns, outcome(err))
		return
	}
	s.Set(returns, strconv.FormatUint(uint64(ret), 10))
	if len(out) > 0 && !slices.Equal(out, data) {
		s.Set(run.With(run.Attribute+" data"), fmt.Sprintf("%x", out))
	}
}

// attachOne attaches a program, makes it run, and detaches it.
func (g *Sandbox) attachOne(s effects.Sample, subject *Subject, fd int) {
	of := field.Program(subject.Program, "")
	before := runCount(fd)
	a, err := g.attach(subject, fd)
	s.Set(of.With("attached"), outcome(err))
	if err != nil {
		return
	}
	defer a.detach()
	wanted, others := anyStep, a.own == nil
	if onPackets(subject.Type) {
		wanted, others = func(st step) bool { return st.packets }, false
	}
	triggerWith(s, of.With("trigger"), g, a, wanted)
	switch n := runCount(fd) - before; {
	case n == 0:
	case others: // the number varies: other processes make it run, too
		s.Set(of.With("ran"), "yes")
	default:
		s.Set(of.With("ran"), strconv.FormatUint(n, 10))
	}
}

// triggerWith makes the attached program run, and records results that differ from the usual.
func triggerWith(s effects.Sample, trigger field.Field, g *Sandbox, a *attachment, wanted func(step) bool) {
	if a.own != nil {
		if said := a.own(); said != "" {
			s.Set(trigger, said)
		}
		return
	}
	var odd []string
	for name, said := range g.runTrigger(wanted) {
		if said != g.usual[name] {
			odd = append(odd, name+": "+said)
		}
	}
	slices.Sort(odd)
	if len(odd) > 0 {
		s.Set(trigger, strings.Join(odd, "; "))
	}
}

// runCount returns how often a program has run since it was loaded. It is 0 if the kernel does not
// count.
func runCount(fd int) uint64 {
	info, err := bpfsys.GetProgCounts(fd)
	if err != nil {
		return 0
	}
	return info.RunCnt
}
