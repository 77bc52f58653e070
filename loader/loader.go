package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/loader/bpfsys"
	"github.com/bpfreplay/bpfreplay/loader/emit"
	"github.com/bpfreplay/bpfreplay/loader/issue"
	"github.com/bpfreplay/bpfreplay/loader/object"
	"github.com/bpfreplay/bpfreplay/loader/target"
	"github.com/bpfreplay/bpfreplay/loader/trace"
)

// Open reads a BPF object from a file. It needs no kernel, and the same file
// gives the same object on every machine.
func Open(path string) (*object.Object, error) { return object.Open(path) }

// Options choose what is generated.
type Options struct {
	trace.Options
	// Inputs: the loader program is for C code with libbpf's skel_internal.h,
	// which gives log settings, sizes of maps and initial values through the
	// context. Load has no need of it.
	Inputs bool
	// Steps: the loader program says itself which step failed, and closes what
	// it has opened. Inputs are not without. Load has no need of it, and is
	// quicker without: it runs another loader program to find out about a failure.
	Steps bool
}

// Program is a loader program.
type Program struct {
	*emit.Loader
	// Trace is what the loader program replays.
	Trace *trace.Trace
}

// Generate makes a loader program of an object. It needs no kernel, and the
// same object gives the same bytes on every machine.
func Generate(obj *object.Object, opts *Options) (*Program, error) {
	if opts == nil {
		opts = &Options{}
	}
	t, err := trace.Plan(obj, opts.Options)
	if err != nil {
		return nil, err
	}
	return fromTrace(t, emit.Options{Inputs: opts.Inputs, Steps: opts.Steps})
}

// FromTrace makes a loader program of a trace; inputs are as in Options.
func FromTrace(t *trace.Trace, inputs bool) (*Program, error) {
	return fromTrace(t, emit.Options{Inputs: inputs})
}

func fromTrace(t *trace.Trace, o emit.Options) (*Program, error) {
	l, err := emit.Emit(t, o)
	if err != nil {
		return nil, err
	}
	return &Program{Loader: l, Trace: t}, nil
}

// LoadOptions change a load.
type LoadOptions struct {
	// Options are what is to be different from what the object says: sizes and
	// values of maps, maps to use instead of new ones, programs to replace.
	target.Options
	// Target is the running kernel; one that is shared between loads saves
	// reading its types again. Nil for a new one.
	Target *target.Target
	// LogLevel is the verifier's log level for all programs. At 0 a load that
	// fails is repeated with a log, so that the error has it.
	LogLevel uint32
}

// Collection is what a load left behind. It owns its maps and programs.
type Collection struct {
	Maps     map[string]*ebpf.Map // by variable, or section of a data map
	Programs map[string]*ebpf.Program
	Arenas   map[string][]byte // memory of arenas, by map
}

// Close closes all maps and programs, and unmaps arenas.
func (c *Collection) Close() {
	target.Unmap(c.Arenas)
	for _, m := range c.Maps {
		m.Close()
	}
	for _, p := range c.Programs {
		p.Close()
	}
}

// Load runs the loader program on this kernel (5.14). On failure nothing is
// left behind; the error is a *trace.StepError if a step of the load failed,
// or a *RunError if the loader program itself could not be loaded or run.
func (p *Program) Load(opts *LoadOptions) (*Collection, error) {
	if err := p.uniqueNames(); err != nil {
		return nil, err
	}
	fds, err := p.LoadFDs(opts)
	if err != nil {
		return nil, err
	}
	c := &Collection{Maps: make(map[string]*ebpf.Map), Programs: make(map[string]*ebpf.Program), Arenas: fds.Arenas}
	for i, fd := range fds.Maps {
		m, err := ebpf.NewMapFromFD(fd)
		if err != nil {
			closeAll(fds.Maps[i+1:], fds.Programs)
			c.Close()
			return nil, fmt.Errorf("map %s: %w", p.Trace.Maps[i].Name, err)
		}
		c.Maps[p.Trace.Maps[i].Name] = m
	}
	for i, fd := range fds.Programs {
		if fd < 0 {
			continue
		}
		prog, err := ebpf.NewProgramFromFD(fd)
		if err != nil {
			closeAll(fds.Programs[i+1:])
			c.Close()
			return nil, fmt.Errorf("program %s: %w", p.Trace.Programs[i].Name, err)
		}
		c.Programs[p.Trace.Programs[i].Name] = prog
	}
	return c, nil
}

// uniqueNames says whether a Collection can hold all maps and programs.
func (p *Program) uniqueNames() error {
	maps, programs := make(map[string]bool), make(map[string]bool)
	for _, m := range p.Trace.Maps {
		if maps[m.Name] {
			return fmt.Errorf("two maps have the name %s: LoadFDs tells them apart", m.Name)
		}
		maps[m.Name] = true
	}
	for _, prog := range p.Trace.Programs {
		if programs[prog.Name] {
			return fmt.Errorf("two programs have the name %s: LoadFDs tells them apart", prog.Name)
		}
		programs[prog.Name] = true
	}
	return nil
}

func closeAll(lists ...[]int) {
	for _, fds := range lists {
		for _, fd := range fds {
			if fd >= 0 {
				bpfsys.Close(fd)
			}
		}
	}
}

// FDs are the fds that a load left behind, in the order of the trace. The
// caller owns them. A program that this kernel has no use for (a member that
// its struct_ops type lacks) is -1.
type FDs struct {
	Maps     []int
	Programs []int
	Arenas   map[string][]byte // memory of arenas, by map
}

// Close closes all fds and unmaps arenas.
func (f *FDs) Close() {
	closeAll(f.Maps, f.Programs)
	target.Unmap(f.Arenas)
}

// LoadFDs is Load for those who work with fds.
func (p *Program) LoadFDs(opts *LoadOptions) (*FDs, error) {
	if opts == nil {
		opts = &LoadOptions{}
	}
	tg := opts.Target
	if tg == nil {
		tg = target.New()
	}
	load, err := tg.Begin(p.Trace, opts.Options)
	if err != nil {
		return nil, err
	}
	for {
		fds, err := p.load(load, opts.LogLevel)
		var step *trace.StepError
		if err == nil || !errors.As(err, &step) || !load.Adapt(step) {
			return fds, err
		}
	}
}

func (p *Program) load(load *target.Load, level uint32) (*FDs, error) {
	settled, err := load.Settle()
	if err != nil {
		return nil, err
	}
	defer settled.Close()
	r := &run{trace: settled.Trace, given: settled.Given}
	if settled.Trace == p.Trace && len(r.given) == 0 {
		r.loader = p.Loader
	}
	fds, err := r.attempt(level)
	if err != nil {
		target.Unmap(settled.Arenas)
		return nil, err
	}
	fds.Arenas = settled.Arenas
	if err := load.Pin(settled, fds.Maps); err != nil {
		fds.Close()
		return nil, err
	}
	return fds, nil
}

// run is a load of a trace on one target.
type run struct {
	trace  *trace.Trace
	loader *emit.Loader // nil if one has to be made
	given  map[trace.FD]int
}

// emit makes a loader program of this run.
func (r *run) emit(steps bool, log emit.Log) (*emit.Loader, error) {
	if l := r.loader; l != nil && log.Level == 0 && (l.Steps || !steps) {
		return l, nil
	}
	return emit.Emit(r.trace, emit.Options{Given: slices.Sorted(maps.Keys(r.given)), Steps: steps, Log: log})
}

// attempt runs the loader program. If a step fails it runs one that can say
// which, that one again after an interruption, and once more for the log of a
// program. The fds that are given are gone after a failure.
func (r *run) attempt(level uint32) (*FDs, error) {
	defer r.closeGiven()
	if level == 0 {
		if fds, err := r.once(false, 0, emit.EachStep); err == nil || !errors.Is(err, errStep) {
			return fds, err
		}
	}
	var fds *FDs
	var err error
	for range attempts {
		fds, err = r.once(true, level, emit.EachStep)
		if err == nil || !errors.Is(err, unix.EAGAIN) {
			break
		}
	}
	var step *trace.StepError
	if level > 0 || !errors.As(err, &step) {
		return fds, err
	}
	switch c := r.trace.Commands[step.Step].(type) {
	case *trace.LoadProgram:
		again, err := r.once(true, bpfsys.LogLevel(step.Err), step.Step)
		var failed *trace.StepError
		if !errors.As(err, &failed) {
			return again, err // a failure that went away
		}
		if failed.Step != step.Step {
			return nil, step
		}
		// A log that does not fit makes ENOSPC of whatever it was.
		failed.Err = step.Err
		return nil, failed
	case *trace.LoadBTF:
		step.Log = issue.BTFLog(c)
	}
	return nil, err
}

// errStep is the failure of a step of a loader program that does not say which.
var errStep = errors.New("a step failed")

// blob is the loader program's blob with fds that are given in their cells. A
// run that fails closes what is in its cells, so each gets copies.
func (r *run) blob(l *emit.Loader) ([]byte, error) {
	if len(r.given) == 0 {
		return l.Blob, nil
	}
	blob := slices.Clone(l.Blob)
	for fd, n := range r.given {
		dup, err := unix.FcntlInt(uintptr(n), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			r.closeCells(l, blob)
			return nil, &RunError{What: "copy the fd of " + r.trace.FDs[fd].Name, Err: err}
		}
		binary.LittleEndian.PutUint32(blob[l.Cells+4*int(fd):], uint32(dup))
	}
	return blob, nil
}

// closeCells closes the copies in a blob that no loader program has run on.
func (r *run) closeCells(l *emit.Loader, blob []byte) {
	for fd := range r.given {
		if n := binary.LittleEndian.Uint32(blob[l.Cells+4*int(fd):]); int32(n) >= 0 {
			bpfsys.Close(int(n))
		}
	}
}

func (r *run) closeGiven() {
	for _, fd := range r.given {
		bpfsys.Close(fd)
	}
}

// once runs a loader program once, one that says which step fails, or errStep. The
// verifier's log, if there is a level, is that of one step or of each.
func (r *run) once(steps bool, level uint32, logged int) (*FDs, error) {
	var log []byte
	var buffer emit.Log
	var pin runtime.Pinner
	defer pin.Unpin()
	if level > 0 {
		log = make([]byte, bpfsys.LogSize)
		buffer = emit.Log{Level: level, Size: bpfsys.LogSize, Addr: address(&pin, log), Step: logged}
	}
	l, err := r.emit(steps, buffer)
	if err != nil {
		return nil, err
	}
	blob, err := r.blob(l)
	if err != nil {
		return nil, err
	}
	raw := Raw{Insns: l.Insns, Blob: blob, Maps: len(r.trace.Maps), Programs: len(r.trace.Programs)}
	fds, err := raw.once(Inputs{})
	var failed *RunError
	switch {
	case !errors.As(err, &failed):
		return fds, err
	case failed.Blob == nil: // nothing has run that would have closed them
		r.closeCells(l, blob)
		return nil, err
	case !l.Steps:
		return nil, errStep
	}
	step := binary.LittleEndian.Uint32(failed.Blob)
	if int(step) >= len(r.trace.Commands) {
		return nil, failed
	}
	return nil, r.trace.Fail(int(step), failed.Err, bpfsys.CString(log))
}
