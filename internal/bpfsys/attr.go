package bpfsys

import "encoding/binary"

// Offsets in union bpf_attr (include/uapi/linux/bpf.h), in bytes, of the
// fields that a load sets.
const (
	MapCreateValueSize  = 8
	MapCreateMaxEntries = 12
	MapCreateFlags      = 16
	MapCreateInner      = 20 // inner_map_fd
	MapCreateName       = 28 // 16 bytes
	MapCreateBTF        = 48 // btf_fd
	MapCreateKeyType    = 52
	MapCreateValueType  = 56
	MapCreateKernelType = 60 // btf_vmlinux_value_type_id, 5.6
	MapCreateExtra      = 64 // map_extra, 5.16
	MapCreateTypeFD     = 72 // value_type_btf_obj_fd, 6.9
	MapCreateExcl       = 80 // excl_prog_hash, 6.18
	MapCreateExclSize   = 88 // excl_prog_hash_size

	ElemKey   = 8
	ElemValue = 16
	ElemFlags = 24
	ElemSize  = 32

	FreezeSize = 4

	BTFLoadLogBuf   = 8
	BTFLoadLen      = 16
	BTFLoadLogSize  = 20
	BTFLoadLogLevel = 24
	BTFLoadSize     = 28

	ProgLoadInsns       = 8
	ProgLoadLicense     = 16
	ProgLoadLogLevel    = 24
	ProgLoadLogSize     = 28
	ProgLoadLogBuf      = 32
	ProgLoadAttachType  = 68 // expected_attach_type
	ProgLoadBTF         = 72 // prog_btf_fd
	ProgLoadFuncInfo    = 80
	ProgLoadFuncCount   = 88
	ProgLoadLineInfo    = 96
	ProgLoadLineCount   = 104
	ProgLoadAttachID    = 108 // attach_btf_id
	ProgLoadAttachFD    = 112 // attach_btf_obj_fd or attach_prog_fd
	ProgLoadCORECount   = 116
	ProgLoadFDArray     = 120 // 5.14
	ProgLoadCORE        = 128 // 5.17
	ProgLoadCORERecSize = 136
	ProgLoadFDArrayCnt  = 148 // 6.14
	ProgLoadSignature   = 152 // 6.18
	ProgLoadSigSize     = 160
	ProgLoadKeyring     = 164 // keyring_id, s32
)

// FlagTypeFD is BPF_F_VTYPE_BTF_OBJ_FD of map_flags: value_type_btf_obj_fd counts (6.9).
const FlagTypeFD = 1 << 15

// TraceUprobeMulti is BPF_TRACE_UPROBE_MULTI of expected_attach_type (6.6).
const TraceUprobeMulti = 48

// ProgTypeKprobe is BPF_PROG_TYPE_KPROBE.
const ProgTypeKprobe = 2

// CORERecordSize is the size of struct bpf_core_relo in bytes.
const CORERecordSize = 16

// MapCreateAttr are the fields of MAP_CREATE that hold numbers known before
// anything is loaded.
type MapCreateAttr struct {
	Type, KeySize, ValueSize, MaxEntries, Flags, NUMANode uint32
	Name                                                  string
	BTF                                                   bool // btf_fd is used
	KeyType, ValueType                                    uint32
	KernelType, KernelTypeFD                              uint32
	Extra                                                 uint64
}

// MapCreateSize is the size of an attribute of MAP_CREATE, in bytes: it ends
// with the last field that is used.
func MapCreateSize(a MapCreateAttr) int {
	switch {
	case a.KernelTypeFD != 0:
		return MapCreateTypeFD + 4
	case a.Extra != 0:
		return MapCreateExtra + 8
	case a.KernelType != 0:
		return MapCreateKernelType + 4
	case a.BTF || a.KeyType != 0 || a.ValueType != 0:
		return MapCreateValueType + 4
	}
	return MapCreateName + 16
}

// PutMapCreate stores a into b, the start of an attribute of MAP_CREATE, which
// may be cut after the last field that is not zero.
func PutMapCreate(b []byte, a MapCreateAttr) {
	put := func(off int, v uint32) {
		if v != 0 {
			binary.LittleEndian.PutUint32(b[off:], v)
		}
	}
	put(0, a.Type)
	put(4, a.KeySize)
	put(8, a.ValueSize)
	put(MapCreateMaxEntries, a.MaxEntries)
	put(16, a.Flags)
	put(24, a.NUMANode)
	putName(b[MapCreateName:], a.Name)
	put(MapCreateKeyType, a.KeyType)
	put(MapCreateValueType, a.ValueType)
	put(MapCreateKernelType, a.KernelType)
	put(MapCreateTypeFD, a.KernelTypeFD)
	put(MapCreateExtra, uint32(a.Extra))
	put(MapCreateExtra+4, uint32(a.Extra>>32))
}

// putName stores a name of at most 15 characters; longer ones are cut, as
// libbpf does.
func putName(b []byte, name string) { copy(b[:15], name) }

// ProgLoadAttr are the fields of PROG_LOAD that hold numbers known before
// anything is loaded.
type ProgLoadAttr struct {
	Type, InsnCount, Flags, AttachType uint32
	Name                               string
	FuncInfoRecSize, LineInfoRecSize   uint32 // bytes
	FuncInfoSize, LineInfoSize         int    // bytes
	CORESize                           int    // bytes
	AttachID, AttachFD                 uint32
}

// ProgLoadNeeds says which of the later fields of PROG_LOAD are used.
type ProgLoadNeeds struct{ FuncInfo, LineInfo, Attach, FDArray, CORE bool }

// ProgLoadSize is the size of an attribute of PROG_LOAD, in bytes: it ends
// with the last field that is used, for a kernel refuses what it does not
// know unless it is zero.
func ProgLoadSize(n ProgLoadNeeds) int {
	switch {
	case n.CORE:
		return ProgLoadCORERecSize + 4
	case n.FDArray:
		return ProgLoadFDArray + 8
	case n.Attach:
		return ProgLoadAttachFD + 4
	case n.LineInfo:
		return ProgLoadLineCount + 4
	case n.FuncInfo:
		return ProgLoadFuncCount + 4
	}
	return ProgLoadAttachType + 4
}

// PutProgLoad stores a into b, the start of an attribute of PROG_LOAD, which
// may be cut after the last field that is not zero.
func PutProgLoad(b []byte, a ProgLoadAttr) {
	put := func(off int, v uint32) {
		if v != 0 {
			binary.LittleEndian.PutUint32(b[off:], v)
		}
	}
	put(0, a.Type)
	put(4, a.InsnCount)
	put(44, a.Flags)
	putName(b[48:], a.Name)
	put(ProgLoadAttachType, a.AttachType)
	if a.FuncInfoSize > 0 {
		put(76, a.FuncInfoRecSize)
		put(ProgLoadFuncCount, uint32(a.FuncInfoSize)/a.FuncInfoRecSize)
	}
	if a.LineInfoSize > 0 {
		put(92, a.LineInfoRecSize)
		put(ProgLoadLineCount, uint32(a.LineInfoSize)/a.LineInfoRecSize)
	}
	put(ProgLoadAttachID, a.AttachID)
	put(ProgLoadAttachFD, a.AttachFD)
	if a.CORESize > 0 {
		put(ProgLoadCORECount, uint32(a.CORESize/CORERecordSize))
		put(ProgLoadCORERecSize, CORERecordSize)
	}
}
