package bpfsys

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

//go:generate go tool -modfile=../../scripts/lint.mod stringer -linecomment -output names.go -type Cmd

// Cmd is a bpf(2) command (enum bpf_cmd).
type Cmd uint32

// The commands that bpfreplay issues. The helper bpf_sys_bpf issues MAP_CREATE, MAP_UPDATE_ELEM,
// MAP_DELETE_ELEM, PROG_LOAD, MAP_GET_FD_BY_ID, RAW_TRACEPOINT_OPEN, BTF_LOAD, MAP_FREEZE and
// LINK_CREATE from inside a loader program.
const (
	MapCreate         Cmd = 0  // MAP_CREATE
	MapLookupElem     Cmd = 1  // MAP_LOOKUP_ELEM
	MapUpdateElem     Cmd = 2  // MAP_UPDATE_ELEM
	MapDeleteElem     Cmd = 3  // MAP_DELETE_ELEM
	MapGetNextKey     Cmd = 4  // MAP_GET_NEXT_KEY
	ProgLoad          Cmd = 5  // PROG_LOAD
	ObjPin            Cmd = 6  // OBJ_PIN
	ObjGet            Cmd = 7  // OBJ_GET
	ProgTestRun       Cmd = 10 // PROG_TEST_RUN
	ProgGetNextID     Cmd = 11 // PROG_GET_NEXT_ID
	MapGetNextID      Cmd = 12 // MAP_GET_NEXT_ID
	ProgGetFDByID     Cmd = 13 // PROG_GET_FD_BY_ID
	MapGetFDByID      Cmd = 14 // MAP_GET_FD_BY_ID
	ObjGetInfoByFD    Cmd = 15 // OBJ_GET_INFO_BY_FD
	RawTracepointOpen Cmd = 17 // RAW_TRACEPOINT_OPEN
	BTFLoad           Cmd = 18 // BTF_LOAD
	BTFGetFDByID      Cmd = 19 // BTF_GET_FD_BY_ID
	MapFreeze         Cmd = 22 // MAP_FREEZE
	BTFGetNextID      Cmd = 23 // BTF_GET_NEXT_ID
	MapLookupBatch    Cmd = 24 // MAP_LOOKUP_BATCH
	LinkCreate        Cmd = 28 // LINK_CREATE
	LinkGetNextID     Cmd = 31 // LINK_GET_NEXT_ID
	IterCreate        Cmd = 33 // ITER_CREATE
	ProgBindMap       Cmd = 35 // PROG_BIND_MAP
)

// Call issues one bpf(2) command. The kernel may change attr. Memory that attr points to must stay
// in place (see [Memory]). The error is a unix.Errno.
//
// EINTR is retried, which is safe: no command has an effect before it returns EINTR. EAGAIN of
// PROG_LOAD is retried a few times: the verifier gives up with it if a signal is pending (since
// 5.0, c3494801cd17), and Go's runtime sends signals.
func Call[Attr any](cmd Cmd, attr *Attr) (int, error) {
	return call(cmd, unsafe.Pointer(attr), unsafe.Sizeof(*attr))
}

// CallBytes is [Call] with an attribute in its binary form, of exactly that length.
func CallBytes(cmd Cmd, attr []byte) (int, error) {
	return call(cmd, unsafe.Pointer(unsafe.SliceData(attr)), uintptr(len(attr)))
}

func call(cmd Cmd, attr unsafe.Pointer, size uintptr) (int, error) {
	for tries := 1; ; {
		r, _, e := unix.Syscall(unix.SYS_BPF, uintptr(cmd), uintptr(attr), size)
		runtime.KeepAlive(attr)
		if e == unix.EINTR {
			continue
		}
		if e == unix.EAGAIN && cmd == ProgLoad && tries < progLoadTries {
			tries++
			continue
		}
		if e != 0 {
			return -1, e
		}
		return int(r), nil
	}
}

// progLoadTries is the maximum number of tries of PROG_LOAD.
const progLoadTries = 30

// Close closes fd. It returns no error, because the fd is closed in any case.
func Close(fd int) { _ = unix.Close(fd) }

// Tried closes the fd of a command that was issued only to see whether it fails, and returns err.
func Tried(fd int, err error) error {
	if err == nil {
		Close(fd)
	}
	return err
}
