package bpfsys

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// NewBlob creates an array map with one value, the blob of a loader program. The caller owns the
// fd. On failure it returns the command that failed.
func NewBlob(blob []byte) (int, Cmd, error) { return newBlob(blob, nil) }

// NewExclusiveBlob creates the blob of a signed loader program (6.18). Only the program whose
// instructions have this SHA-256 may use the map, and user space can no longer write it.
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

// Freeze makes a map read-only for user space (5.2).
func Freeze(fd int) error {
	_, err := Call(MapFreeze, &ElemAttr{MapFD: uint32(fd)})
	return err
}

func newBlob(blob, program []byte) (int, Cmd, error) {
	var m Memory
	defer m.Release()
	fd, err := Call(MapCreate, &MapCreateAttr{
		Type: uapi.MapArray, KeySize: 4, ValueSize: uint32(len(blob)), MaxEntries: 1, Name: Name("__loader.map"),
		ExclusiveTo: m.At(program), ExclusiveBytes: uint32(len(program)),
	})
	if err != nil {
		return -1, MapCreate, err
	}
	if err := UpdateElem(fd, make([]byte, 4), blob, 0); err != nil {
		Close(fd)
		return -1, MapUpdateElem, err
	}
	return fd, 0, nil
}

// MapHash makes the kernel compute the SHA-256 of a frozen array map and store it in struct bpf_map
// (6.18).
func MapHash(fd int) ([]byte, error) {
	var m Memory
	defer m.Release()
	sum := make([]byte, 32)
	info := MapInfo{Hash: m.At(sum), HashSize: uint32(len(sum))}
	if _, err := infoByFD(fd, &info); err != nil {
		return nil, err
	}
	return sum, nil
}

// UpdateElem stores value at key. Their lengths must be the map's.
func UpdateElem(fd int, key, value []byte, flags uint64) error {
	var m Memory
	defer m.Release()
	_, err := Call(MapUpdateElem, &ElemAttr{MapFD: uint32(fd), Key: m.At(key), Value: m.At(value), Flags: flags})
	return err
}

// A Signature is the signature of a loader program (6.18).
type Signature struct {
	CMS     []byte // DER
	Keyring int32  // keyring_id: a serial, or one of the special numbers
	// Bound makes the kernel bind the maps before it verifies the signature, and include their
	// values (7.3): fd_array_cnt is set.
	Bound bool
}

// LoadLoader loads a SYSCALL program with maps as its fd_array. The verifier's log goes to log,
// unless it is nil. The caller owns the fd.
func LoadLoader(insns []byte, maps []int, level uint32, log []byte) (int, error) {
	return LoadSigned(insns, maps, nil, level, log)
}

// LoadSigned is LoadLoader with a signature, nil for none.
func LoadSigned(insns []byte, maps []int, s *Signature, level uint32, log []byte) (int, error) {
	var fds []byte
	for _, m := range maps {
		fds = binary.NativeEndian.AppendUint32(fds, uint32(m))
	}
	var m Memory
	defer m.Release()
	a := ProgLoadAttr{
		Type: uapi.ProgSyscall, Insns: m.At(insns), InsnCount: uint32(len(insns) / 8), License: m.String("Dual BSD/GPL"),
		Flags: unix.BPF_F_SLEEPABLE, Name: Name("__loader.prog"), FDArray: m.At(fds),
	}
	if s != nil {
		a.Signature, a.SignatureBytes, a.Keyring = m.At(s.CMS), uint32(len(s.CMS)), uint32(s.Keyring)
		if s.Bound {
			a.FDArrayCount = uint32(len(maps))
		}
	}
	a.SetLog(&m, level, log)
	return Call(ProgLoad, &a)
}

// RunLoader runs a SYSCALL program once and returns its return value. The program may change ctx.
func RunLoader(prog int, ctx []byte) (int32, error) {
	var m Memory
	defer m.Release()
	a := TestRunAttr{ProgFD: uint32(prog), Context: m.At(ctx), ContextSize: uint32(len(ctx))}
	_, err := Call(ProgTestRun, &a)
	return int32(a.Returned), err
}
