package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/loader/bpfsys"
	"github.com/bpfreplay/bpfreplay/loader/trace"
)

// The context of libbpf's loader programs: a header, a descriptor for each map,
// one for each program (struct bpf_loader_ctx, bpf_map_desc and bpf_prog_desc
// of libbpf's skel_internal.h, since 0.8).
const (
	ctxHeader   = 24
	ctxLogLevel = 8
	ctxLogSize  = 12
	ctxLogBuf   = 16

	ctxMap      = 16
	ctxMapFD    = 0
	ctxMapValue = 8

	ctxProgram = 4
)

// LightError says that libbpf's loader program failed. It does not say which of
// its steps did.
type LightError struct {
	What string // the system call that failed: "PROG_TEST_RUN", or "run" if it is one inside
	Err  unix.Errno
	Log  string // the last log of the verifier
}

func (e *LightError) Error() string {
	s := fmt.Sprintf("libbpf's loader program: %s: %v", e.What, e.Err)
	if last := trace.LastLine(e.Log); last != "" && !strings.HasPrefix(e.Log, btfLog) {
		s += ": " + last
	}
	return s
}

// btfLog begins the log of the object's types. It is the last one if a step
// failed that has none, and says nothing about it.
const btfLog = "magic: 0x"

// Unwrap gives the errno.
func (e *LightError) Unwrap() error { return e.Err }

// lightAttempts is how often a run is repeated that a signal interrupted.
const lightAttempts = 5

// runLight does what a light skeleton's open and load functions do: it makes
// the context, puts the blob into an array map, loads the instructions and runs
// them once. The fds that it returns are in the order of the skeleton. A run
// that fails is repeated for the verifier's log, with a fresh blob: a loader
// program changes its own.
func runLight(s *skeleton) (maps, programs []int, err error) {
	for range lightAttempts {
		maps, programs, err = runLightOnce(s, 0)
		if !errors.Is(err, unix.EAGAIN) {
			break
		}
	}
	var failed *LightError
	if !errors.As(err, &failed) || failed.What != inside {
		return maps, programs, err
	}
	maps, programs, err = runLightOnce(s, 1)
	var again *LightError
	if errors.As(err, &again) {
		again.Err = failed.Err // a log that does not fit makes ENOSPC of whatever it was
	}
	return maps, programs, err
}

const (
	inside       = "run"
	lightLogSize = 1 << 20 // bytes
)

func runLightOnce(s *skeleton, level uint32) (maps, programs []int, err error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	ctx := s.context(&pin)
	var log []byte
	if level > 0 {
		log = make([]byte, lightLogSize)
		binary.LittleEndian.PutUint32(ctx[ctxLogLevel:], level)
		binary.LittleEndian.PutUint32(ctx[ctxLogSize:], uint32(len(log)))
		binary.LittleEndian.PutUint64(ctx[ctxLogBuf:], address(&pin, log))
	}
	m, err := lightMap(s.blob)
	if err != nil {
		return nil, nil, err
	}
	defer bpfsys.Close(m)
	prog, err := lightProgram(s.insns, m)
	if err != nil {
		return nil, nil, err
	}
	defer bpfsys.Close(prog)

	a := bpfsys.NewAttr(80)
	a.U32(0, uint32(prog))
	a.U32(40, uint32(len(ctx)))
	a.Ptr(48, ctx)
	if _, err := a.Call(bpfsys.ProgTestRun); err != nil {
		return nil, nil, lightError(bpfsys.ProgTestRun.String(), err, nil)
	}
	if ret := int32(a.Get32(4)); ret < 0 {
		return nil, nil, lightError(inside, unix.Errno(-ret), log)
	}
	for i := range s.maps {
		maps = append(maps, int(int32(binary.LittleEndian.Uint32(ctx[ctxHeader+ctxMap*i+ctxMapFD:]))))
	}
	for i := range s.programs {
		programs = append(programs, int(int32(binary.LittleEndian.Uint32(ctx[ctxHeader+ctxMap*len(s.maps)+ctxProgram*i:]))))
	}
	return maps, programs, nil
}

// context makes the context, with the initial values of data sections. They
// stay where they are as long as they are pinned.
func (s *skeleton) context(pin *runtime.Pinner) []byte {
	ctx := make([]byte, ctxHeader+ctxMap*len(s.maps)+ctxProgram*len(s.programs))
	binary.LittleEndian.PutUint32(ctx, uint32(len(ctx)))
	for i, name := range s.maps {
		v, ok := s.values[name]
		if !ok || v.size == 0 {
			continue
		}
		memory := make([]byte, v.size)
		copy(memory, v.data)
		binary.LittleEndian.PutUint64(ctx[ctxHeader+ctxMap*i+ctxMapValue:], address(pin, memory))
	}
	return ctx
}

func address(pin *runtime.Pinner, b []byte) uint64 {
	pin.Pin(&b[0])
	return uint64(uintptr(unsafe.Pointer(&b[0])))
}

// lightMap makes the map of the blob. libbpf 1.7 freezes it, for signatures;
// that is of no use here, and asking for its hash then fails below 6.18.
func lightMap(blob []byte) (int, error) {
	fixed := bpfsys.MapCreateAttr{Type: 2, KeySize: 4, ValueSize: uint32(len(blob)), MaxEntries: 1, Name: "__loader.map"}
	m := bpfsys.NewAttr(bpfsys.MapCreateSize(fixed))
	bpfsys.PutMapCreate(m.Bytes, fixed)
	fd, err := m.Call(bpfsys.MapCreate)
	if err != nil {
		return -1, lightError(bpfsys.MapCreate.String(), err, nil)
	}
	u := bpfsys.NewAttr(bpfsys.ElemSize)
	u.U32(0, uint32(fd))
	u.Ptr(bpfsys.ElemKey, make([]byte, 4))
	u.Ptr(bpfsys.ElemValue, blob)
	if _, err := u.Call(bpfsys.MapUpdateElem); err != nil {
		bpfsys.Close(fd)
		return -1, lightError(bpfsys.MapUpdateElem.String(), err, nil)
	}
	return fd, nil
}

// lightProgram loads the loader program, and again with a log if that fails.
func lightProgram(insns []byte, m int) (int, error) {
	const syscall, sleepable = 31, 1 << 4 // BPF_PROG_TYPE_SYSCALL, BPF_F_SLEEPABLE
	fds := binary.LittleEndian.AppendUint32(nil, uint32(m))
	load := func(log []byte) (int, error) {
		a := bpfsys.NewAttr(bpfsys.ProgLoadSize(bpfsys.ProgLoadNeeds{FDArray: true}))
		bpfsys.PutProgLoad(a.Bytes, bpfsys.ProgLoadAttr{
			Type: syscall, InsnCount: uint32(len(insns) / 8), Flags: sleepable, Name: "__loader.prog",
		})
		a.Ptr(bpfsys.ProgLoadInsns, insns)
		a.Ptr(bpfsys.ProgLoadLicense, []byte("Dual BSD/GPL\x00"))
		a.Ptr(bpfsys.ProgLoadFDArray, fds)
		if log != nil {
			a.U32(bpfsys.ProgLoadLogLevel, 1)
			a.U32(bpfsys.ProgLoadLogSize, uint32(len(log)))
			a.Ptr(bpfsys.ProgLoadLogBuf, log)
		}
		return a.Call(bpfsys.ProgLoad)
	}
	fd, err := load(nil)
	if err == nil || errors.Is(err, unix.EAGAIN) {
		return fd, lightError(bpfsys.ProgLoad.String(), err, nil)
	}
	log := make([]byte, lightLogSize)
	if fd, err2 := load(log); err2 == nil {
		return fd, nil
	}
	return -1, lightError(bpfsys.ProgLoad.String(), err, log)
}

func lightError(what string, err error, log []byte) error {
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return err
	}
	return &LightError{What: what, Err: errno, Log: bpfsys.CString(log)}
}
