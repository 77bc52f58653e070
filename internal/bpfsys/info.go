package bpfsys

import (
	"bytes"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// MapInfo is struct bpf_map_info (104 bytes on 6.18).
type MapInfo struct {
	Type                  uapi.MapType
	ID                    uint32
	KeySize               uint32 // bytes
	ValueSize             uint32 // bytes
	MaxEntries            uint32
	MapFlags              uint32
	Name                  [16]byte // since 4.15
	IfIndex               uint32   // since 4.16
	BTFVmlinuxValueTypeID uint32   // since 5.6
	NetnsDev              uint64
	NetnsIno              uint64
	BTFID                 uint32 // since 4.18
	BTFKeyTypeID          uint32
	BTFValueTypeID        uint32
	BTFVmlinuxID          uint32 // since 6.9
	MapExtra              uint64 // since 5.16
	Hash                  uint64 // since 6.18: in, pointer
	HashSize              uint32
	_                     uint32
}

// ProgInfo is struct bpf_prog_info (232 bytes on 7.3).
type ProgInfo struct {
	Type                 uapi.ProgType
	ID                   uint32
	Tag                  [8]byte
	JitedProgLen         uint32 // bytes
	XlatedProgLen        uint32 // bytes
	JitedProgInsns       uint64
	XlatedProgInsns      uint64
	LoadTime             uint64 // ns since boot
	CreatedByUID         uint32
	NrMapIDs             uint32
	MapIDs               uint64
	Name                 [16]byte
	IfIndex              uint32
	GPLCompatible        uint32 // bit 0
	NetnsDev             uint64
	NetnsIno             uint64
	NrJitedKsyms         uint32
	NrJitedFuncLens      uint32
	JitedKsyms           uint64
	JitedFuncLens        uint64
	BTFID                uint32 // since 5.0
	FuncInfoRecSize      uint32 // bytes
	FuncInfo             uint64
	NrFuncInfo           uint32
	NrLineInfo           uint32
	LineInfo             uint64
	JitedLineInfo        uint64
	NrJitedLineInfo      uint32
	LineInfoRecSize      uint32 // bytes
	JitedLineInfoRecSize uint32 // bytes
	NrProgTags           uint32
	ProgTags             uint64
	RunTimeNs            uint64
	RunCnt               uint64
	RecursionMisses      uint64 // since 5.12
	VerifiedInsns        uint32 // since 5.16
	AttachBTFObjID       uint32 // since 6.0
	AttachBTFID          uint32 // since 6.0
	_                    uint32
}

// BTFInfo is struct bpf_btf_info.
type BTFInfo struct {
	BTF       uint64
	BTFSize   uint32 // bytes
	ID        uint32
	Name      uint64 // since 5.11
	NameLen   uint32
	KernelBTF uint32 // since 5.11
}

// infoByFD fills info with the kernel's info of fd and returns how many of its bytes this kernel
// knows. A kernel that knows fewer requires the rest to be zero; all callers ensure that.
func infoByFD[Info any](fd int, info *Info) (int, error) {
	size := unsafe.Sizeof(*info)
	var m Memory
	defer m.Release()
	a := InfoAttr{FD: uint32(fd), Size: uint32(size), Info: m.At(unsafe.Slice((*byte)(unsafe.Pointer(info)), size))}
	if _, err := Call(ObjGetInfoByFD, &a); err != nil {
		return 0, err
	}
	return int(a.Size), nil
}

// GetMapInfo returns the info of the map fd, and the number of bytes that the kernel filled.
func GetMapInfo(fd int) (*MapInfo, int, error) {
	var info MapInfo
	n, err := infoByFD(fd, &info)
	if err != nil {
		return nil, 0, fmt.Errorf("map info: %w", err)
	}
	return &info, n, nil
}

// GetProgCounts returns the info of the program fd without its arrays.
func GetProgCounts(fd int) (*ProgInfo, error) {
	var info ProgInfo
	if _, err := infoByFD(fd, &info); err != nil {
		return nil, fmt.Errorf("program info: %w", err)
	}
	return &info, nil
}

// ProgArrays are the arrays that a program's info points to.
type ProgArrays struct {
	Xlated    []byte // instructions, 8 bytes each; empty if the caller may not see them
	MapIDs    []uint32
	FuncInfo  []byte    // NrFuncInfo records of FuncInfoRecSize bytes
	LineInfo  []byte    // NrLineInfo records of LineInfoRecSize bytes
	Tags      [][8]byte // one per function
	FuncLens  []uint32  // bytes of machine code per function
	KernelLen int       // bytes of bpf_prog_info that the kernel knows
}

// GetProgInfo returns the info of the program fd with all its arrays, except machine code. It
// issues the command twice: for the lengths, then for the arrays.
func GetProgInfo(fd int) (*ProgInfo, *ProgArrays, error) {
	size, err := GetProgCounts(fd)
	if err != nil {
		return nil, nil, err
	}
	arrays := &ProgArrays{
		Xlated:   make([]byte, size.XlatedProgLen),
		MapIDs:   make([]uint32, size.NrMapIDs),
		FuncInfo: make([]byte, size.NrFuncInfo*size.FuncInfoRecSize),
		LineInfo: make([]byte, size.NrLineInfo*size.LineInfoRecSize),
		Tags:     make([][8]byte, size.NrProgTags),
		FuncLens: make([]uint32, size.NrJitedFuncLens),
	}
	info := ProgInfo{
		XlatedProgLen: size.XlatedProgLen, NrMapIDs: size.NrMapIDs,
		NrFuncInfo: size.NrFuncInfo, FuncInfoRecSize: size.FuncInfoRecSize,
		NrLineInfo: size.NrLineInfo, LineInfoRecSize: size.LineInfoRecSize,
		NrProgTags: size.NrProgTags, NrJitedFuncLens: size.NrJitedFuncLens,
	}
	var m Memory
	defer m.Release()
	info.XlatedProgInsns = m.At(arrays.Xlated)
	info.MapIDs = addressOf(&m, arrays.MapIDs)
	info.FuncInfo = m.At(arrays.FuncInfo)
	info.LineInfo = m.At(arrays.LineInfo)
	info.ProgTags = addressOf(&m, arrays.Tags)
	info.JitedFuncLens = addressOf(&m, arrays.FuncLens)
	n, err := infoByFD(fd, &info)
	if err != nil {
		return nil, nil, fmt.Errorf("program info: %w", err)
	}
	if info.XlatedProgInsns == 0 { // the kernel clears the pointer where it withholds the dump
		arrays.Xlated = nil
	}
	arrays.KernelLen = n
	return &info, arrays, nil
}

// GetBTFInfo returns the info, name and, if withData is set, the bytes of the
// BTF object fd. Before 5.11 there is no name.
func GetBTFInfo(fd int, withData bool) (*BTFInfo, string, []byte, error) {
	name := make([]byte, 64)
	var m Memory
	defer m.Release()
	info := BTFInfo{Name: m.At(name), NameLen: uint32(len(name))}
	_, err := infoByFD(fd, &info)
	if errors.Is(err, unix.E2BIG) {
		info = BTFInfo{}
		_, err = infoByFD(fd, &info)
	}
	if err != nil {
		return nil, "", nil, fmt.Errorf("BTF info: %w", err)
	}
	var data []byte
	if withData && info.BTFSize > 0 {
		data = make([]byte, info.BTFSize)
		again := BTFInfo{BTF: m.At(data), BTFSize: uint32(len(data))}
		if _, err := infoByFD(fd, &again); err != nil {
			return nil, "", nil, fmt.Errorf("BTF info: %w", err)
		}
	}
	return &info, CString(name), data, nil
}

// NextID returns the id after id of the kind that cmd walks (ProgGetNextID,
// MapGetNextID, BTFGetNextID, LinkGetNextID), and false at the end.
func NextID(cmd Cmd, id uint32) (uint32, bool, error) {
	a := IDAttr{ID: id}
	_, err := Call(cmd, &a)
	if errors.Is(err, unix.ENOENT) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("%s: %w", cmd, err)
	}
	return a.Next, true, nil
}

// IDs returns all ids of the kind that cmd walks, ascending.
func IDs(cmd Cmd) ([]uint32, error) {
	var ids []uint32
	for id := uint32(0); ; {
		next, ok, err := NextID(cmd, id)
		if err != nil || !ok {
			return ids, err
		}
		ids = append(ids, next)
		id = next
	}
}

// FDByID opens the object id of the kind that cmd opens (ProgGetFDByID,
// MapGetFDByID, BTFGetFDByID).
func FDByID(cmd Cmd, id uint32) (int, error) {
	fd, err := Call(cmd, &IDAttr{ID: id})
	if err != nil {
		return -1, fmt.Errorf("%s %d: %w", cmd, id, err)
	}
	return fd, nil
}

// CString returns the bytes of b up to the first NUL.
func CString(b []byte) string {
	s, _, _ := bytes.Cut(b, []byte{0})
	return string(s)
}

// LinkInfo is the beginning of struct bpf_link_info (5.8), with the fields of links of tracing, LSM
// and iterator programs.
type LinkInfo struct {
	Type    uint32 // enum bpf_link_type
	ID      uint32
	Program uint32 // id
	_       uint32
	// For links of tracing programs (type 2): the attach target.
	AttachType uapi.AttachType
	Object     uint32 // id of the program or the BTF that has the target
	Target     uint32 // BTF id
	_          [20]byte
}

// GetLinkInfo returns the info of the link fd.
func GetLinkInfo(fd int) (*LinkInfo, error) {
	var info LinkInfo
	if _, err := infoByFD(fd, &info); err != nil {
		return nil, fmt.Errorf("link info: %w", err)
	}
	return &info, nil
}
