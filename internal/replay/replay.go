package replay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// Options override what the object says, and choose how the load is done. The zero value overrides
// nothing.
type Options struct {
	target.Options
	// Target is the running kernel. Sharing one between loads saves system calls. Nil means a new
	// one.
	Target *target.Target
	// LogLevel is the verifier's log level for a program that failed: the load is repeated to get
	// the log. At 0 the log is at level 1, or has only the statistics if the verifier gave up after
	// a million instructions.
	LogLevel uint32
	// Keyring requests a signed load (6.18): the kernel verifies the signature with the keys of
	// this keyring, given by its serial or a name that package keyring knows. A signed load refuses
	// options that change what was signed, and names them.
	Keyring string
}

// attempts is the maximum number of runs if signals interrupt them. A nested PROG_LOAD then fails
// with EAGAIN, and the runtime closes everything that was opened.
const attempts = 5

// Load runs a loader program. The caller owns the result. On failure nothing is left open, and the
// error is an *artefact.NeedError if the kernel lacks something, or an *artefact.StepError if a
// step failed.
func Load(a *artefact.Artefact, o Options) (*target.Result, error) {
	r, err := newRun(a, o)
	if err != nil {
		return nil, err
	}
	if err = r.load(o.LogLevel); err == nil {
		err = r.complete()
	}
	if err != nil {
		r.close()
		r.p.Close()
		return nil, err
	}
	result := &target.Result{Maps: r.maps(), Programs: r.programs(), Links: r.links(), Arenas: r.p.Arenas}
	if err := r.p.Finish(result.Maps, result.Programs); err != nil {
		result.Close()
		return nil, err
	}
	return result, nil
}

// newRun prepares a run and opens the maps that it reuses.
func newRun(a *artefact.Artefact, o Options) (*run, error) {
	if o.Target == nil {
		o.Target = target.New()
	}
	var signed *signedRun
	if o.Keyring != "" {
		var err error
		if signed, err = newSigned(a, &o); err != nil {
			return nil, err
		}
	}
	var types *btf.Spec
	if a.NeedsTypes() {
		var err error
		if types, err = btf.Parse(a.Types.Of(a.Blob)); err != nil {
			return nil, fmt.Errorf("artefact of %s: types: %w", a.Object, err)
		}
	}
	p, err := o.Target.Prepare(a, types, o.Options, func(m int) (int, error) { return createMap(a, m) })
	if err != nil {
		return nil, err
	}
	r := &run{a: a, p: p, blob: a.Blob, signed: signed}
	if signed != nil {
		for i := range p.Maps {
			p.Close()
			return nil, fmt.Errorf("map %s: it is pinned already: %w", a.Maps[i].Name, ErrSigned)
		}
	}
	r.override()
	return r, nil
}

// ErrMaps is returned by Inputs for a load that needs maps that exist before it.
var ErrMaps = errors.New("it needs maps that exist before the loader program runs")

// Inputs returns the blob and the context with which another program can do one run on this
// machine.
func Inputs(a *artefact.Artefact, o Options) (blob, ctx []byte, err error) {
	r, err := newRun(a, o)
	if err != nil {
		return nil, nil, err
	}
	defer r.p.Close()
	if len(r.p.Maps) > 0 {
		return nil, nil, ErrMaps
	}
	return r.blob, r.context(), nil
}

// createMap creates a map outside of the loader program.
func createMap(a *artefact.Artefact, m int) (int, error) {
	return bpfsys.CallBytes(bpfsys.MapCreate, bytes.Clone(a.Maps[m].Attr.Of(a.Blob)))
}

// run is one load of a loader program, with its overrides.
type run struct {
	a      *artefact.Artefact
	p      *target.Prepared
	signed *signedRun // nil for an unsigned load
	blob   []byte
	ctx    []byte
}

func (r *run) put32(off int, v uint32) { binary.NativeEndian.PutUint32(r.blob[off:], v) }

// override writes this load's overrides into a copy of the blob.
func (r *run) override() {
	p := r.p
	if len(p.Maps)+len(p.MaxEntries)+len(p.Values)+len(p.Replaced)+len(p.Globals) == 0 {
		return
	}
	r.blob = bytes.Clone(r.a.Blob)
	for i, n := range p.MaxEntries {
		if at := r.a.Maps[i].Attr; at.Size > 0 {
			r.put32(at.Off+bpfsys.MapCreateMaxEntries, n)
		}
	}
	for i, v := range p.Values {
		copy(r.a.Maps[i].Value.Of(r.blob), v)
	}
	for i, fd := range p.Maps {
		m := &r.a.Maps[i]
		r.put32(m.Attr.Off, noMapType)
		r.put32(m.Delta, uint32(fd)+uint32(unix.EINVAL))
		if m.Update > 0 {
			binary.NativeEndian.PutUint64(r.blob[m.Update+bpfsys.ElemFlags:], ^uint64(0))
			r.put32(m.Update+4, 1)
		}
	}
	for i, f := range p.Replaced {
		at := r.a.Programs[i].Attr.Off
		r.put32(at+bpfsys.ProgLoadAttachID, f.ID)
		r.put32(at+bpfsys.ProgLoadAttachFD, uint32(f.FD))
	}
	for i, by := range p.Globals {
		for _, at := range r.a.Maps[i].Globals {
			r.put32(at, binary.NativeEndian.Uint32(r.blob[at:])+by)
		}
	}
}

// noMapType is not a valid map type: MAP_CREATE refuses it with EINVAL.
const noMapType = 1<<31 - 1

// loaderProgram is the subject of errors about the loader program itself.
const loaderProgram = "loader program"

// load runs the loader program until no signal interrupts it. If a program failed, it runs it once
// more for the verifier's log.
func (r *run) load(level uint32) error {
	var failed *artefact.Step
	var err error
	for range attempts {
		if failed, err = r.once(nil, 0, nil); !errors.Is(err, unix.EAGAIN) {
			break
		}
		r.close()
	}
	var first *artefact.StepError
	if failed == nil || !errors.As(err, &first) {
		return err
	}
	if failed.Op == bpfsys.BTFLoad.String() {
		first.Log = r.typesLog()
	}
	i := slices.IndexFunc(r.a.Programs, func(p artefact.Program) bool { return p.FD == failed.Result })
	if i < 0 {
		return err
	}
	if level == 0 {
		level = bpfsys.LogLevel(first.Err)
	}
	var again *artefact.Step
	log, err := bpfsys.ReadLog(level, func(level uint32, log []byte) (err error) {
		r.close()
		again, err = r.once(&r.a.Programs[i], level, log)
		return err
	})
	var second *artefact.StepError
	switch {
	case !errors.As(err, &second): // the failure went away
		return err
	case again == failed:
		first.Log = log // a log that does not fit changes the errno to ENOSPC
	}
	return first
}

// once creates the blob's map, loads the loader program, runs it, and closes both: six system
// calls. It returns the step that failed, if any. The verifier's log for the program logged goes to
// log; nil for no log.
func (r *run) once(logged *artefact.Program, level uint32, log []byte) (*artefact.Step, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	r.ctx = r.context()
	if logged != nil {
		pin.Pin(&log[0])
		binary.NativeEndian.PutUint32(r.ctx[logged.Log:], level)
		binary.NativeEndian.PutUint32(r.ctx[logged.Log+4:], uint32(len(log)))
		binary.NativeEndian.PutUint64(r.ctx[logged.Log+8:], uint64(uintptr(unsafe.Pointer(&log[0]))))
	}
	m, cmd, err := r.createBlob()
	if err != nil {
		return nil, &artefact.StepError{Subject: loaderProgram, Op: cmd.String(), Err: err}
	}
	defer bpfsys.Close(m)
	prog, err := r.loadLoader(m)
	if err != nil {
		return nil, err
	}
	defer bpfsys.Close(prog)
	result, err := bpfsys.RunLoader(prog, r.ctx)
	if err != nil {
		return nil, &artefact.StepError{Subject: loaderProgram, Op: bpfsys.ProgTestRun.String(), Err: err}
	}
	for i := range r.a.Steps {
		s := &r.a.Steps[i]
		if n := r.get(s.Result); n < 0 && !r.keeps(s.Initial) {
			return s, &artefact.StepError{Subject: s.Subject, Op: s.Op, Err: unix.Errno(-n)}
		}
	}
	if result < 0 {
		if r.signed != nil {
			if why := r.signed.refusedItself(r.a, result); why != nil {
				return nil, &artefact.StepError{Subject: loaderProgram, Op: bpfsys.ProgTestRun.String(), Err: why}
			}
		}
		return nil, &artefact.StepError{Subject: loaderProgram, Op: "a step without a name", Err: unix.Errno(-result)}
	}
	return nil, nil
}

// context returns a new context with the settings.
func (r *run) context() []byte {
	ctx := make([]byte, r.a.Context)
	binary.NativeEndian.PutUint32(ctx, uint32(len(ctx)))
	for i, v := range r.p.Settings {
		copy(ctx[r.a.Settings[i].Offset:], v)
	}
	return ctx
}

func (r *run) createBlob() (int, bpfsys.Cmd, error) {
	if r.signed != nil {
		return r.signed.createBlob(r.blob)
	}
	return bpfsys.NewBlob(r.blob)
}

// loadLoader loads the loader program. If that fails, it tries again to get a log.
func (r *run) loadLoader(m int) (int, error) {
	// Session, process and thread keyrings belong to the calling thread. explain must see the same
	// ones.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	insns, signature := r.a.Insns, (*bpfsys.Signature)(nil)
	if r.signed != nil {
		insns, signature = r.signed.insns, r.signed.signature()
	}
	fd := -1
	log, err := bpfsys.WithLog(func(level uint32, log []byte) (err error) {
		fd, err = bpfsys.LoadSigned(insns, []int{m}, signature, level, log)
		return err
	})
	if err == nil {
		return fd, nil
	}
	if r.signed != nil {
		err = r.signed.explain(r.a, err, log)
	} else if errors.Is(err, unix.EPERM) {
		// Without permission, a probe says nothing about the kernel.
	} else if !mayTrace() {
		err = fmt.Errorf("%w (bpf(2) from a program wants CAP_PERFMON besides CAP_BPF, and this process does not have it)", err)
	} else if why := target.ProbeSyscall(); why != nil && !errors.Is(why, target.ErrUnknown) {
		return -1, &artefact.NeedError{Need: artefact.Need{Capability: artefact.NeedSyscallProg, Why: "the loader program of " + r.a.Object}, Err: why}
	}
	return -1, &artefact.StepError{Subject: loaderProgram, Op: bpfsys.ProgLoad.String(), Err: err, Log: log}
}

// mayTrace reports whether the calling thread has CAP_PERFMON, or CAP_SYS_ADMIN, which includes it.
// Without it the kernel does not offer the helper bpf_sys_bpf, and the verifier applies the
// restrictions for unprivileged programs.
func mayTrace() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if unix.Capget(&header, &caps[0]) != nil {
		return true
	}
	return caps[unix.CAP_PERFMON/32].Effective&(1<<(unix.CAP_PERFMON%32)) != 0 || caps[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}

func (r *run) get(off int) int32 { return int32(binary.NativeEndian.Uint32(r.ctx[off:])) }

// keeps reports whether a map is reused, and keeps its content.
func (r *run) keeps(name string) bool {
	for i := range r.p.Maps {
		if r.a.Maps[i].Name == name {
			return true
		}
	}
	return false
}

// maps returns the fds of maps that a run stored in the context.
func (r *run) maps() []int {
	out := make([]int, len(r.a.Maps))
	for i := range out {
		out[i] = int(r.get(r.a.Maps[i].FD))
	}
	return out
}

// programs returns the fds of programs.
func (r *run) programs() []int {
	out := make([]int, len(r.a.Programs))
	for i := range out {
		out[i] = int(r.get(r.a.Programs[i].FD))
	}
	return out
}

// links returns the fds of links by program, 0 for none.
func (r *run) links() []int {
	out := make([]int, len(r.a.Programs))
	for i := range out {
		if at := r.a.Programs[i].Link; at != 0 {
			out[i] = int(r.get(at))
		}
	}
	return out
}

// errNoFD reports a defect of the loader program: a load succeeded but did not return an fd for
// something.
var errNoFD = errors.New("the loader program has handed out no fd for it")

// complete checks that the run returned all fds. No valid one is 0, because the blob's map has
// taken the lowest free fd.
func (r *run) complete() error {
	for i := range r.a.Maps {
		if m := &r.a.Maps[i]; r.get(m.FD) <= 0 {
			return &artefact.StepError{Subject: "map " + m.Name, Op: bpfsys.MapCreate.String(), Err: errNoFD}
		}
	}
	for i := range r.a.Programs {
		if p := &r.a.Programs[i]; r.get(p.FD) <= 0 {
			return &artefact.StepError{Subject: "program " + p.Name, Op: bpfsys.ProgLoad.String(), Err: errNoFD}
		} else if p.Link != 0 && r.get(p.Link) <= 0 {
			return &artefact.StepError{Subject: "program " + p.Name, Op: "attach", Err: errNoFD}
		}
	}
	return nil
}

// close closes what a failed run has created. Reused maps stay open.
func (r *run) close() {
	if r.ctx == nil {
		return
	}
	for i, fd := range r.maps() {
		if _, ours := r.p.Maps[i]; !ours && fd > 0 {
			bpfsys.Close(fd)
		}
	}
	for _, fd := range slices.Concat(r.links(), r.programs()) {
		if fd > 0 {
			bpfsys.Close(fd)
		}
	}
	r.ctx = nil
}

// typesLog returns the kernel's log about the object's types, empty if it accepts them.
func (r *run) typesLog() string {
	log := make([]byte, bpfsys.LogSize)
	if bpfsys.Tried(bpfsys.LoadBTF(r.a.Types.Of(r.blob), log)) == nil {
		return ""
	}
	return bpfsys.CString(log)
}
