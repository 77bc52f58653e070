package engine

import (
	"encoding/binary"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// The context of libbpf's loader programs (skel_internal.h, 0.8 and later): struct bpf_loader_ctx,
// then a bpf_map_desc for each map, then a bpf_prog_desc for each program.
const (
	lightHeader   = 24
	lightLogLevel = 8  // u32, and log_size behind it
	lightLogBuf   = 16 // u64, address in user space
	lightMap      = 16 // fd, max_entries, initial_value
	lightInitial  = 8  // u64 in bpf_map_desc, address in user space
)

// lightFDs are the fds that libbpf's loader program returns, in the order of the skeleton. An fd is
// 0 if nothing was created.
type lightFDs struct{ maps, programs []int }

// runLight runs libbpf's loader program as bpf_load_and_run runs an unsigned one. If the run fails,
// runLight repeats it to get the verifier's log.
func runLight(s *skeleton) (*lightFDs, error) {
	fds, err := s.run(nil)
	if err == nil || err.Op != stepOfIt {
		return fds, orNil(err)
	}
	log := make([]byte, bpfsys.LogSize)
	fds, again := s.run(log)
	if again == nil {
		return fds, nil
	}
	// If the log does not fit, the errno is ENOSPC instead of the original one, so keep the first
	// error. If the failed step has no log, the buffer still holds the log of the object's BTF,
	// which has nothing to do with the failure.
	if text := bpfsys.CString(log); !strings.HasPrefix(text, "magic: 0x") {
		err.Log = text
	}
	return nil, err
}

func orNil(err *artefact.StepError) error {
	if err == nil {
		return nil
	}
	return err
}

// stepOfIt stands for the step of libbpf's loader program that failed, which is not known.
const stepOfIt = "a step of it"

// run creates the blob's map, loads the loader program and runs it. It retries if a signal
// interrupts a load in the loader program (EAGAIN).
func (s *skeleton) run(log []byte) (*lightFDs, *artefact.StepError) {
	var fds *lightFDs
	var err *artefact.StepError
	for range 5 {
		if fds, err = s.once(log); err == nil || err.Err != unix.EAGAIN {
			break
		}
	}
	return fds, err
}

func (s *skeleton) once(log []byte) (*lightFDs, *artefact.StepError) {
	fail := func(op string, err error, log string) (*lightFDs, *artefact.StepError) {
		return nil, &artefact.StepError{Subject: "libbpf's loader program", Op: op, Err: err, Log: log}
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	address := func(b []byte) uint64 {
		pin.Pin(&b[0])
		return uint64(uintptr(unsafe.Pointer(&b[0])))
	}
	ctx := make([]byte, lightHeader+lightMap*len(s.maps)+4*len(s.programs))
	binary.NativeEndian.PutUint32(ctx, uint32(len(ctx)))
	if log != nil {
		binary.NativeEndian.PutUint32(ctx[lightLogLevel:], 1)
		binary.NativeEndian.PutUint32(ctx[lightLogLevel+4:], uint32(len(log)))
		binary.NativeEndian.PutUint64(ctx[lightLogBuf:], address(log))
	}
	for i, name := range s.maps {
		if v, ok := s.values[name]; ok && v.size > 0 {
			value := make([]byte, v.size)
			copy(value, v.data)
			binary.NativeEndian.PutUint64(ctx[lightHeader+lightMap*i+lightInitial:], address(value))
		}
	}
	m, cmd, err := bpfsys.NewBlob(s.blob)
	if err != nil {
		return fail(cmd.String(), err, "")
	}
	defer bpfsys.Close(m)
	prog := -1
	text, err := bpfsys.WithLog(func(level uint32, log []byte) (err error) {
		prog, err = bpfsys.LoadLoader(s.insns, []int{m}, level, log)
		return err
	})
	if err != nil {
		return fail(bpfsys.ProgLoad.String(), err, text)
	}
	defer bpfsys.Close(prog)
	result, err := bpfsys.RunLoader(prog, ctx)
	switch {
	case err != nil:
		return fail(bpfsys.ProgTestRun.String(), err, "")
	case result < 0: // the loader program has closed its fds
		return fail(stepOfIt, unix.Errno(-result), "")
	}
	fds := &lightFDs{}
	for i := range s.maps {
		fds.maps = append(fds.maps, int(int32(binary.NativeEndian.Uint32(ctx[lightHeader+lightMap*i:]))))
	}
	for i := range s.programs {
		fds.programs = append(fds.programs, int(int32(binary.NativeEndian.Uint32(ctx[lightHeader+lightMap*len(s.maps)+4*i:]))))
	}
	return fds, nil
}
