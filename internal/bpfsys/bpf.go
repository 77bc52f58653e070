package bpfsys

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Cmd is a bpf(2) command (enum bpf_cmd).
type Cmd uint32

// The commands that bpfreplay issues. Those marked with a star may be issued
// from inside a loader program, by the helper bpf_sys_bpf.
const (
	MapCreate         Cmd = 0 // *
	MapLookupElem     Cmd = 1
	MapUpdateElem     Cmd = 2 // *
	MapDeleteElem     Cmd = 3 // *
	MapGetNextKey     Cmd = 4
	ProgLoad          Cmd = 5 // *
	ObjPin            Cmd = 6
	ObjGet            Cmd = 7
	ProgTestRun       Cmd = 10
	ProgGetNextID     Cmd = 11
	MapGetNextID      Cmd = 12
	ProgGetFDByID     Cmd = 13
	MapGetFDByID      Cmd = 14 // *
	ObjGetInfoByFD    Cmd = 15
	RawTracepointOpen Cmd = 17 // *
	BTFLoad           Cmd = 18 // *
	BTFGetFDByID      Cmd = 19
	MapFreeze         Cmd = 22 // *
	BTFGetNextID      Cmd = 23
	LinkCreate        Cmd = 28 // *
	LinkGetNextID     Cmd = 31
	ProgBindMap       Cmd = 35
)

var cmdNames = map[Cmd]string{
	MapCreate: "MAP_CREATE", MapLookupElem: "MAP_LOOKUP_ELEM", MapUpdateElem: "MAP_UPDATE_ELEM",
	MapDeleteElem: "MAP_DELETE_ELEM", MapGetNextKey: "MAP_GET_NEXT_KEY", ProgLoad: "PROG_LOAD",
	ObjPin: "OBJ_PIN", ObjGet: "OBJ_GET", ProgTestRun: "PROG_TEST_RUN", ProgGetNextID: "PROG_GET_NEXT_ID",
	MapGetNextID: "MAP_GET_NEXT_ID", ProgGetFDByID: "PROG_GET_FD_BY_ID", MapGetFDByID: "MAP_GET_FD_BY_ID",
	ObjGetInfoByFD: "OBJ_GET_INFO_BY_FD", RawTracepointOpen: "RAW_TRACEPOINT_OPEN", BTFLoad: "BTF_LOAD",
	BTFGetFDByID: "BTF_GET_FD_BY_ID", MapFreeze: "MAP_FREEZE", BTFGetNextID: "BTF_GET_NEXT_ID",
	LinkCreate: "LINK_CREATE", LinkGetNextID: "LINK_GET_NEXT_ID", ProgBindMap: "PROG_BIND_MAP",
}

// String returns the name of the command without its BPF_ prefix.
func (c Cmd) String() string {
	if n, ok := cmdNames[c]; ok {
		return n
	}
	return "BPF_CMD(" + itoa(uint32(c)) + ")"
}

func itoa(v uint32) string {
	var b [10]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + v%10)
		if v /= 10; v == 0 {
			return string(b[i:])
		}
	}
}

// Call issues one bpf(2) command. attr is the attribute as the kernel reads
// it; its length is what the kernel is told, so it must end with the last
// field that is used. Memory that attr points to must be kept alive by the
// caller (see Attr). The error is a unix.Errno.
//
// EINTR is retried, which is safe: no command has an effect before it returns
// EINTR. So is, a few times, EAGAIN of PROG_LOAD: the verifier gives up with it
// when a signal is pending (since 5.0, c3494801cd17), and Go's runtime sends
// signals.
func Call(cmd Cmd, attr []byte) (int, error) {
	var p unsafe.Pointer
	if len(attr) > 0 {
		p = unsafe.Pointer(&attr[0])
	}
	for tries := 1; ; {
		r, _, e := unix.Syscall(unix.SYS_BPF, uintptr(cmd), uintptr(p), uintptr(len(attr)))
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

// progLoadTries is how often PROG_LOAD is tried.
const progLoadTries = 30

// Attr is an attribute under construction: bytes, and the Go memory that they
// point to.
type Attr struct {
	Bytes  []byte
	pinner runtime.Pinner
}

// NewAttr returns a zeroed attribute of size bytes.
func NewAttr(size int) *Attr { return &Attr{Bytes: make([]byte, size)} }

// U16 stores v at offset off.
func (a *Attr) U16(off int, v uint16) { *(*uint16)(unsafe.Pointer(&a.Bytes[off : off+2][0])) = v }

// U32 stores v at offset off.
func (a *Attr) U32(off int, v uint32) { *(*uint32)(unsafe.Pointer(&a.Bytes[off : off+4][0])) = v }

// U64 stores v at offset off.
func (a *Attr) U64(off int, v uint64) { *(*uint64)(unsafe.Pointer(&a.Bytes[off : off+8][0])) = v }

// Get32 reads the value at offset off.
func (a *Attr) Get32(off int) uint32 { return *(*uint32)(unsafe.Pointer(&a.Bytes[off : off+4][0])) }

// Ptr stores the address of data at offset off, 0 if data is empty.
func (a *Attr) Ptr(off int, data []byte) {
	if len(data) == 0 {
		return
	}
	a.pinner.Pin(&data[0])
	a.U64(off, uint64(uintptr(unsafe.Pointer(&data[0]))))
}

// Str stores s and zeroes after it in the size bytes at off. The last byte
// stays zero: s is cut.
func (a *Attr) Str(off, size int, s string) {
	copy(a.Bytes[off:off+size-1], s)
}

// Call issues the command with this attribute and releases what it points to.
func (a *Attr) Call(cmd Cmd) (int, error) {
	defer a.pinner.Unpin()
	return Call(cmd, a.Bytes)
}

// Close closes fd. Errors are of no use to anyone: the fd is gone either way.
func Close(fd int) { _ = unix.Close(fd) }
