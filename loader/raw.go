package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/loader/bpfsys"
	"github.com/bpfreplay/bpfreplay/loader/emit"
)

// Raw is a loader program as bytes, with nothing known of it but the numbers
// of its maps and programs: one that Generate made with Options.Inputs, or one
// of libbpf's light skeletons (0.8 and later). It is run as libbpf's
// bpf_load_and_run runs one that is not signed, but for what fails below 6.18:
// the blob is not frozen, nor is its hash asked for.
type Raw struct {
	Insns    []byte
	Blob     []byte
	Maps     int
	Programs int
}

// Inputs are what a loader program takes from its context.
type Inputs struct {
	MaxEntries []uint32 // by map, 0 to keep the size; nil for none
	Values     [][]byte // by map, nil to keep the initial value; nil for none
	LogLevel   uint32   // the verifier's, for all programs
}

// Run runs the loader program once, and again if a signal interrupted it. The
// error is a *RunError.
func (r *Raw) Run(in Inputs) (*FDs, error) {
	var fds *FDs
	var err error
	for range attempts {
		if fds, err = r.once(in); !errors.Is(err, unix.EAGAIN) {
			break
		}
	}
	return fds, err
}

// RunError says that a loader program could not be loaded or run, or that a
// step of it failed.
type RunError struct {
	What string // "MAP_CREATE", "PROG_LOAD", "PROG_TEST_RUN", or "a step of it"
	Err  error
	// Log is the verifier's log of the loader program, or of what its step
	// loaded last.
	Log string
	// Blob is the blob after a step that failed: the loader may have noted in
	// it which.
	Blob []byte
}

func (e *RunError) Error() string {
	s := fmt.Sprintf("loader program: %s: %v", e.What, e.Err)
	if last := bpfsys.LastLine(e.Log); last != "" {
		s += ": " + last
	}
	return s
}

// Unwrap gives the errno.
func (e *RunError) Unwrap() error { return e.Err }

// attempts is how often a load is repeated that a signal interrupted: a nested
// PROG_LOAD gives EAGAIN then, and the loader has closed all that it opened.
const attempts = 5

// once creates the blob's map, loads the loader program, runs it and closes
// both: six system calls.
func (r *Raw) once(in Inputs) (*FDs, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	ctx, log := r.context(in, &pin)
	m, err := newBlob(r.Blob)
	if err != nil {
		return nil, err
	}
	defer bpfsys.Close(m)
	prog, err := loadLoader(r.Insns, m)
	if err != nil {
		return nil, err
	}
	defer bpfsys.Close(prog)

	a := bpfsys.NewAttr(80)
	a.U32(0, uint32(prog))
	a.U32(40, uint32(len(ctx)))
	a.Ptr(48, ctx)
	if _, err := a.Call(bpfsys.ProgTestRun); err != nil {
		return nil, &RunError{What: bpfsys.ProgTestRun.String(), Err: err}
	}
	if ret := int32(a.Get32(4)); ret < 0 {
		r.outputs(ctx).Close() // what a loader program that goes on to the end has left there
		return nil, &RunError{What: "a step of it", Err: unix.Errno(-ret), Log: bpfsys.CString(log), Blob: readBlob(m, len(r.Blob))}
	}
	return r.outputs(ctx), nil
}

// context makes the context. What it points to stays where it is until pin lets go.
func (r *Raw) context(in Inputs, pin *runtime.Pinner) (ctx, log []byte) {
	ctx = make([]byte, emit.CtxSize(r.Maps, r.Programs))
	binary.LittleEndian.PutUint32(ctx, uint32(len(ctx)))
	if in.LogLevel > 0 {
		log = make([]byte, bpfsys.LogSize)
		binary.LittleEndian.PutUint32(ctx[emit.CtxLogLevel:], in.LogLevel)
		binary.LittleEndian.PutUint32(ctx[emit.CtxLogSize:], uint32(len(log)))
		binary.LittleEndian.PutUint64(ctx[emit.CtxLogBuf:], address(pin, log))
	}
	for i, n := range in.MaxEntries {
		binary.LittleEndian.PutUint32(ctx[emit.CtxMap(i)+emit.CtxMaxEntries:], n)
	}
	for i, v := range in.Values {
		if len(v) > 0 {
			binary.LittleEndian.PutUint64(ctx[emit.CtxMap(i)+emit.CtxInitial:], address(pin, v))
		}
	}
	return ctx, log
}

func address(pin *runtime.Pinner, b []byte) uint64 {
	pin.Pin(&b[0])
	return uint64(uintptr(unsafe.Pointer(&b[0])))
}

func newBlob(blob []byte) (int, error) {
	fixed := bpfsys.MapCreateAttr{Type: 2, KeySize: 4, ValueSize: uint32(len(blob)), MaxEntries: 1, Name: "__loader.map"}
	m := bpfsys.NewAttr(bpfsys.MapCreateSize(fixed))
	bpfsys.PutMapCreate(m.Bytes, fixed)
	fd, err := m.Call(bpfsys.MapCreate)
	if err != nil {
		return -1, &RunError{What: bpfsys.MapCreate.String(), Err: err}
	}
	u := bpfsys.NewAttr(bpfsys.ElemSize)
	u.U32(0, uint32(fd))
	u.Ptr(bpfsys.ElemKey, make([]byte, 4))
	u.Ptr(bpfsys.ElemValue, blob)
	if _, err := u.Call(bpfsys.MapUpdateElem); err != nil {
		bpfsys.Close(fd)
		return -1, &RunError{What: bpfsys.MapUpdateElem.String(), Err: err}
	}
	return fd, nil
}

// readBlob reads the blob back. If that fails it names no step.
func readBlob(m, size int) []byte {
	value := make([]byte, size)
	a := bpfsys.NewAttr(bpfsys.ElemSize)
	a.U32(0, uint32(m))
	a.Ptr(bpfsys.ElemKey, make([]byte, 4))
	a.Ptr(bpfsys.ElemValue, value)
	if _, err := a.Call(bpfsys.MapLookupElem); err != nil {
		binary.LittleEndian.PutUint32(value, emit.StepNone)
	}
	return value
}

const (
	progTypeSyscall = 31     // BPF_PROG_TYPE_SYSCALL, 5.14
	fSleepable      = 1 << 4 // BPF_F_SLEEPABLE
)

// loadLoader loads the loader program, and again with a log if that fails.
func loadLoader(insns []byte, m int) (int, error) {
	fds := binary.LittleEndian.AppendUint32(nil, uint32(m))
	fd := -1
	log, err := bpfsys.WithLog(func(level uint32, log []byte) (err error) {
		a := bpfsys.NewAttr(bpfsys.ProgLoadSize(bpfsys.ProgLoadNeeds{FDArray: true}))
		bpfsys.PutProgLoad(a.Bytes, bpfsys.ProgLoadAttr{
			Type: progTypeSyscall, InsnCount: uint32(len(insns) / 8), Flags: fSleepable, Name: "__loader.prog",
		})
		a.Ptr(bpfsys.ProgLoadInsns, insns)
		a.Ptr(bpfsys.ProgLoadLicense, []byte("Dual BSD/GPL\x00"))
		a.Ptr(bpfsys.ProgLoadFDArray, fds)
		a.ProgLoadLog(level, log)
		fd, err = a.Call(bpfsys.ProgLoad)
		return err
	})
	if err != nil {
		return -1, &RunError{What: bpfsys.ProgLoad.String(), Err: err, Log: log}
	}
	return fd, nil
}

func (r *Raw) outputs(ctx []byte) *FDs {
	fds := &FDs{}
	at := func(off int) int {
		if fd := int32(binary.LittleEndian.Uint32(ctx[off:])); fd > 0 {
			return int(fd)
		}
		// libbpf's loaders leave 0 where they made nothing. It is no fd of
		// theirs: the blob's map has taken the lowest that was free.
		return -1
	}
	for i := range r.Maps {
		fds.Maps = append(fds.Maps, at(emit.CtxMap(i)))
	}
	for i := range r.Programs {
		fds.Programs = append(fds.Programs, at(emit.CtxProg(r.Maps, i)))
	}
	return fds
}
