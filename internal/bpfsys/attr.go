package bpfsys

import (
	"encoding/binary"
	"runtime"
	"unsafe"

	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// For each command, the part of union bpf_attr (include/uapi/linux/bpf.h) that it reads. All
// numbers are in the machine's byte order. A pointer is a u64, see [Memory]. A kernel that knows
// fewer fields accepts the rest if it is zero.
type (
	// MapCreateAttr is what MAP_CREATE reads.
	MapCreateAttr struct {
		Type           uapi.MapType
		KeySize        uint32 // bytes
		ValueSize      uint32 // bytes
		MaxEntries     uint32
		Flags          uint32
		InnerFD        uint32   // inner_map_fd
		NUMANode       uint32   // with BPF_F_NUMA_NODE
		Name           [16]byte // NUL-terminated, see [Name]
		Ifindex        uint32
		BTF            uint32 // btf_fd
		KeyType        uint32 // btf_key_type_id
		ValueType      uint32 // btf_value_type_id
		KernelType     uint32 // btf_vmlinux_value_type_id, 5.6
		Extra          uint64 // map_extra, 5.16
		TypeFD         uint32 // value_type_btf_obj_fd, 6.9
		TokenFD        uint32 // 6.9
		ExclusiveTo    uint64 // excl_prog_hash, 6.18
		ExclusiveBytes uint32 // excl_prog_hash_size
		_              uint32
	}

	// ElemAttr is what commands for one element read. MAP_FREEZE reads only MapFD.
	ElemAttr struct {
		MapFD uint32
		_     uint32
		Key   uint64
		Value uint64 // or next_key
		Flags uint64
	}

	// BatchAttr is what MAP_LOOKUP_BATCH reads (5.6). The kernel updates Count.
	BatchAttr struct {
		In     uint64 // in_batch
		Out    uint64 // out_batch
		Keys   uint64
		Values uint64
		Count  uint32
		MapFD  uint32
		Elem   uint64 // elem_flags
		Flags  uint64
	}

	// BTFLoadAttr is what BTF_LOAD reads.
	BTFLoadAttr struct {
		BTF      uint64
		Log      uint64
		Size     uint32 // bytes
		LogSize  uint32 // bytes
		LogLevel uint32
	}

	// ProgLoadAttr is what PROG_LOAD reads.
	ProgLoadAttr struct {
		Type           uapi.ProgType
		InsnCount      uint32 // of 8 bytes each
		Insns          uint64
		License        uint64 // a string
		LogLevel       uint32
		LogSize        uint32 // bytes
		Log            uint64
		KernelVersion  uint32
		Flags          uint32
		Name           [16]byte
		Ifindex        uint32
		AttachType     uapi.AttachType // expected_attach_type
		BTF            uint32          // prog_btf_fd
		FuncInfoSize   uint32          // of a record, bytes
		FuncInfo       uint64
		FuncInfoCount  uint32
		LineInfoSize   uint32 // of a record, bytes
		LineInfo       uint64
		LineInfoCount  uint32
		AttachID       uint32 // attach_btf_id
		AttachFD       uint32 // attach_btf_obj_fd or attach_prog_fd
		CORECount      uint32 // core_relo_cnt
		FDArray        uint64 // 5.14
		CORE           uint64 // core_relos, 5.17
		CORESize       uint32 // of a record, bytes
		LogTrueSize    uint32 // set by the kernel, 6.4
		TokenFD        uint32 // 6.9
		FDArrayCount   uint32 // 6.14
		Signature      uint64 // 6.18
		SignatureBytes uint32
		Keyring        uint32 // keyring_id, s32
	}

	// ObjAttr is what OBJ_PIN and OBJ_GET read.
	ObjAttr struct {
		Path  uint64
		FD    uint32
		Flags uint32
	}

	// InfoAttr is what OBJ_GET_INFO_BY_FD reads. The kernel updates Size.
	InfoAttr struct {
		FD   uint32
		Size uint32 // bytes
		Info uint64
	}

	// IDAttr is what commands that walk ids or open one read. The kernel sets Next.
	IDAttr struct{ ID, Next, Flags uint32 }

	// TestRunAttr is what PROG_TEST_RUN reads. The kernel sets Returned, DataOutSize,
	// ContextOutSize and Duration.
	TestRunAttr struct {
		ProgFD         uint32
		Returned       uint32 // retval
		DataSize       uint32 // bytes
		DataOutSize    uint32
		Data           uint64
		DataOut        uint64
		Repeat         uint32
		Duration       uint32 // ns
		ContextSize    uint32 // bytes
		ContextOutSize uint32
		Context        uint64
		ContextOut     uint64
	}

	// RawTracepointAttr is what RAW_TRACEPOINT_OPEN reads.
	RawTracepointAttr struct {
		Name   uint64
		ProgFD uint32
		_      uint32
	}

	// LinkCreateAttr is what LINK_CREATE reads (5.7). More depends on the kind of link.
	LinkCreateAttr[More any] struct {
		ProgFD     uint32
		TargetFD   uint32
		AttachType uapi.AttachType
		Flags      uint32
		More       More
	}

	// LinkKprobes is the More of kprobe_multi links (5.18).
	LinkKprobes struct {
		Flags   uint32
		Count   uint32
		Names   uint64 // an array of strings
		Addrs   uint64
		Cookies uint64
	}

	// LinkUprobes is the More of uprobe_multi links (6.6).
	LinkUprobes struct {
		Path        uint64
		Offsets     uint64
		RefCounters uint64
		Cookies     uint64
		Count       uint32
		Flags       uint32
		PID         uint32
		_           uint32
	}

	// LinkNetfilter is the More of netfilter links (6.4).
	LinkNetfilter struct{ Family, Hook, Priority, Flags uint32 }

	// IterCreateAttr is what ITER_CREATE reads (5.8).
	IterCreateAttr struct{ LinkFD, Flags uint32 }
)

// Offsets in bytes of the fields that a loader program sets, and sizes of attributes that end with
// such a field.
const (
	MapCreateValueSize  = int(unsafe.Offsetof(MapCreateAttr{}.ValueSize))
	MapCreateMaxEntries = int(unsafe.Offsetof(MapCreateAttr{}.MaxEntries))
	MapCreateFlags      = int(unsafe.Offsetof(MapCreateAttr{}.Flags))
	MapCreateInner      = int(unsafe.Offsetof(MapCreateAttr{}.InnerFD))
	MapCreateBTF        = int(unsafe.Offsetof(MapCreateAttr{}.BTF))
	MapCreateKeyType    = int(unsafe.Offsetof(MapCreateAttr{}.KeyType))
	MapCreateValueType  = int(unsafe.Offsetof(MapCreateAttr{}.ValueType))
	MapCreateKernelType = int(unsafe.Offsetof(MapCreateAttr{}.KernelType))
	MapCreateExtra      = int(unsafe.Offsetof(MapCreateAttr{}.Extra))
	MapCreateTypeFD     = int(unsafe.Offsetof(MapCreateAttr{}.TypeFD))

	MapCreateNameEnd       = int(unsafe.Offsetof(MapCreateAttr{}.Ifindex))
	MapCreateValueTypeEnd  = MapCreateKernelType
	MapCreateKernelTypeEnd = MapCreateExtra
	MapCreateExtraEnd      = MapCreateTypeFD
	MapCreateTypeFDEnd     = int(unsafe.Offsetof(MapCreateAttr{}.TokenFD))

	ElemKey   = int(unsafe.Offsetof(ElemAttr{}.Key))
	ElemValue = int(unsafe.Offsetof(ElemAttr{}.Value))
	ElemFlags = int(unsafe.Offsetof(ElemAttr{}.Flags))
	ElemSize  = int(unsafe.Sizeof(ElemAttr{}))

	// FreezeSize includes four bytes that must be zero, or the command is refused.
	FreezeSize = ElemKey

	BTFLoadLen  = int(unsafe.Offsetof(BTFLoadAttr{}.Size))
	BTFLoadSize = int(unsafe.Offsetof(BTFLoadAttr{}.LogLevel)) + 4

	ProgLoadInsns      = int(unsafe.Offsetof(ProgLoadAttr{}.Insns))
	ProgLoadLicense    = int(unsafe.Offsetof(ProgLoadAttr{}.License))
	ProgLoadLogLevel   = int(unsafe.Offsetof(ProgLoadAttr{}.LogLevel))
	ProgLoadLogBuf     = int(unsafe.Offsetof(ProgLoadAttr{}.Log))
	ProgLoadAttachType = int(unsafe.Offsetof(ProgLoadAttr{}.AttachType))
	ProgLoadBTF        = int(unsafe.Offsetof(ProgLoadAttr{}.BTF))
	ProgLoadFuncInfo   = int(unsafe.Offsetof(ProgLoadAttr{}.FuncInfo))
	ProgLoadFuncCount  = int(unsafe.Offsetof(ProgLoadAttr{}.FuncInfoCount))
	ProgLoadLineInfo   = int(unsafe.Offsetof(ProgLoadAttr{}.LineInfo))
	ProgLoadLineCount  = int(unsafe.Offsetof(ProgLoadAttr{}.LineInfoCount))
	ProgLoadAttachID   = int(unsafe.Offsetof(ProgLoadAttr{}.AttachID))
	ProgLoadAttachFD   = int(unsafe.Offsetof(ProgLoadAttr{}.AttachFD))
	ProgLoadFDArray    = int(unsafe.Offsetof(ProgLoadAttr{}.FDArray))
	ProgLoadCORE       = int(unsafe.Offsetof(ProgLoadAttr{}.CORE))

	ProgLoadAttachTypeEnd = ProgLoadBTF
	ProgLoadFuncCountEnd  = ProgLoadFuncCount + 4
	ProgLoadLineCountEnd  = ProgLoadAttachID
	ProgLoadAttachEnd     = ProgLoadAttachFD + 4
	ProgLoadFDArrayEnd    = ProgLoadCORE
	ProgLoadCOREEnd       = int(unsafe.Offsetof(ProgLoadAttr{}.LogTrueSize))
)

// FlagTypeFD is BPF_F_VTYPE_BTF_OBJ_FD of map_flags: the kernel reads value_type_btf_obj_fd (6.9).
const FlagTypeFD = 1 << 15

// Name returns the name of a map or program for an attribute. Like libbpf it cuts names to 15
// characters.
func Name(name string) (b [16]byte) {
	copy(b[:15], name)
	return b
}

// Encode returns an attribute in little-endian byte order, as blobs have it.
func Encode[Attr any](attr *Attr) []byte {
	b, _ := binary.Append(nil, binary.LittleEndian, attr) // cannot fail: fixed size
	return b
}

// Memory pins the Go memory that an attribute points to. The memory does not move until Release.
type Memory struct{ pinner runtime.Pinner }

// At pins data and returns its address, 0 if it is empty.
func (m *Memory) At(data []byte) uint64 { return addressOf(m, data) }

// String pins a NUL-terminated copy of s and returns its address.
func (m *Memory) String(s string) uint64 { return m.At(append([]byte(s), 0)) }

// Release unpins the memory.
func (m *Memory) Release() { m.pinner.Unpin() }

func addressOf[T any](m *Memory, s []T) uint64 {
	if len(s) == 0 {
		return 0
	}
	m.pinner.Pin(&s[0])
	return uint64(uintptr(unsafe.Pointer(&s[0])))
}
