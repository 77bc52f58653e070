package bpfsys

import "encoding/binary"

// NewBlob creates an array map with one value, the blob of a loader program. The caller
// owns the fd. The command is the one that failed.
func NewBlob(blob []byte) (int, Cmd, error) {
	fixed := MapCreateAttr{Type: mapTypeArray, KeySize: 4, ValueSize: uint32(len(blob)), MaxEntries: 1, Name: "__loader.map"}
	m := NewAttr(MapCreateSize(fixed))
	PutMapCreate(m.Bytes, fixed)
	fd, err := m.Call(MapCreate)
	if err != nil {
		return -1, MapCreate, err
	}
	if err := UpdateElem(fd, make([]byte, 4), blob, 0); err != nil {
		Close(fd)
		return -1, MapUpdateElem, err
	}
	return fd, 0, nil
}

// UpdateElem stores value at key. Their lengths must be what the map has.
func UpdateElem(fd int, key, value []byte, flags uint64) error {
	a := NewAttr(ElemSize)
	a.U32(0, uint32(fd))
	a.Ptr(ElemKey, key)
	a.Ptr(ElemValue, value)
	a.U64(ElemFlags, flags)
	_, err := a.Call(MapUpdateElem)
	return err
}

const (
	mapTypeArray    = 2      // BPF_MAP_TYPE_ARRAY
	progTypeSyscall = 31     // BPF_PROG_TYPE_SYSCALL, 5.14
	fSleepable      = 1 << 4 // BPF_F_SLEEPABLE
)

// LoadLoader loads a SYSCALL program whose fd_array has maps, with a log if log is not nil.
// The caller owns the fd.
func LoadLoader(insns []byte, maps []int, level uint32, log []byte) (int, error) {
	var fds []byte
	for _, m := range maps {
		fds = binary.NativeEndian.AppendUint32(fds, uint32(m))
	}
	a := NewAttr(ProgLoadSize(ProgLoadNeeds{FDArray: true}))
	PutProgLoad(a.Bytes, ProgLoadAttr{Type: progTypeSyscall, InsnCount: uint32(len(insns) / 8), Flags: fSleepable, Name: "__loader.prog"})
	a.Ptr(ProgLoadInsns, insns)
	a.Ptr(ProgLoadLicense, []byte("Dual BSD/GPL\x00"))
	a.Ptr(ProgLoadFDArray, fds)
	a.ProgLoadLog(level, log)
	return a.Call(ProgLoad)
}

// RunLoader runs a SYSCALL program once. The context is changed in place.
func RunLoader(prog int, ctx []byte) (int32, error) {
	a := NewAttr(80)
	a.U32(0, uint32(prog))
	a.U32(40, uint32(len(ctx)))
	a.Ptr(48, ctx)
	_, err := a.Call(ProgTestRun)
	return int32(a.Get32(4)), err
}
