package bpfsys

import "encoding/binary"

// NewBlob creates an array map with one value, the blob of a loader program. The caller
// owns the fd. The command is the one that failed.
func NewBlob(blob []byte) (int, Cmd, error) { return newBlob(blob, nil) }

// NewExclusiveBlob creates the blob of a signed loader program (6.18): only the program with
// this SHA-256 of its instructions may use the map, and user space can no longer write it.
func NewExclusiveBlob(blob, program []byte) (int, Cmd, error) {
	fd, cmd, err := newBlob(blob, program)
	if err != nil {
		return -1, cmd, err
	}
	if err := Freeze(fd); err != nil {
		Close(fd)
		return -1, MapFreeze, err
	}
	return fd, 0, nil
}

// Freeze ends that user space can write a map (5.2).
func Freeze(fd int) error {
	a := NewAttr(FreezeSize)
	a.U32(0, uint32(fd))
	_, err := a.Call(MapFreeze)
	return err
}

func newBlob(blob, program []byte) (int, Cmd, error) {
	fixed := MapCreateAttr{Type: mapTypeArray, KeySize: 4, ValueSize: uint32(len(blob)), MaxEntries: 1, Name: "__loader.map"}
	size := MapCreateSize(fixed)
	if len(program) > 0 {
		size = MapCreateExclSize + 4
	}
	m := NewAttr(size)
	PutMapCreate(m.Bytes, fixed)
	if len(program) > 0 {
		m.Ptr(MapCreateExcl, program)
		m.U32(MapCreateExclSize, uint32(len(program)))
	}
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

// MapHash has the kernel compute the SHA-256 of a frozen array map (6.18), and keep it in
// struct bpf_map.
func MapHash(fd int) ([]byte, error) {
	const infoSize, hash, hashSize = 104, 88, 96 // of struct bpf_map_info
	info, sum := NewAttr(infoSize), make([]byte, 32)
	info.Ptr(hash, sum)
	info.U32(hashSize, uint32(len(sum)))
	defer info.pinner.Unpin()
	a := NewAttr(16)
	a.U32(0, uint32(fd))
	a.U32(4, infoSize)
	a.Ptr(8, info.Bytes)
	if _, err := a.Call(ObjGetInfoByFD); err != nil {
		return nil, err
	}
	return sum, nil
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

// A Signature is that of a loader program (6.18).
type Signature struct {
	CMS     []byte // DER
	Keyring int32  // keyring_id: a serial, or one of the special numbers
	// Bound has the kernel bind the maps before it verifies the signature, over their
	// values, too (7.3): fd_array_cnt is set.
	Bound bool
}

// LoadLoader loads a SYSCALL program whose fd_array has maps, with a log if log is not nil.
// The caller owns the fd.
func LoadLoader(insns []byte, maps []int, level uint32, log []byte) (int, error) {
	return LoadSigned(insns, maps, nil, level, log)
}

// LoadSigned is LoadLoader with a signature, nil for none.
func LoadSigned(insns []byte, maps []int, s *Signature, level uint32, log []byte) (int, error) {
	var fds []byte
	for _, m := range maps {
		fds = binary.NativeEndian.AppendUint32(fds, uint32(m))
	}
	size := ProgLoadSize(ProgLoadNeeds{FDArray: true})
	if s != nil {
		size = ProgLoadKeyring + 4
	}
	a := NewAttr(size)
	PutProgLoad(a.Bytes, ProgLoadAttr{Type: progTypeSyscall, InsnCount: uint32(len(insns) / 8), Flags: fSleepable, Name: "__loader.prog"})
	a.Ptr(ProgLoadInsns, insns)
	a.Ptr(ProgLoadLicense, []byte("Dual BSD/GPL\x00"))
	a.Ptr(ProgLoadFDArray, fds)
	if s != nil {
		a.Ptr(ProgLoadSignature, s.CMS)
		a.U32(ProgLoadSigSize, uint32(len(s.CMS)))
		a.U32(ProgLoadKeyring, uint32(s.Keyring))
		if s.Bound {
			a.U32(ProgLoadFDArrayCnt, uint32(len(maps)))
		}
	}
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
