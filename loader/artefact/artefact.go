package artefact

import "strings"

// Artefact is a loader program with everything that a runtime must know to run it without the
// object. Offsets are in bytes.
type Artefact struct {
	Object  string // the object's name
	License string // of its programs

	Insns []byte // instructions of the loader program, 8 bytes each
	Blob  []byte // value of the loader program's one map; a multiple of 8 bytes

	// Context is the size in bytes of the memory that a run reads and writes (ctx_in of
	// PROG_TEST_RUN). It begins with libbpf's struct bpf_loader_ctx, which the loader program does
	// not read. The fields below give the offset of everything that is in it.
	Context int

	Maps     []Map
	Programs []Program
	Steps    []Step
	Settings []Setting
	Needs    []Need
	// Types is the object's BTF in the blob. It is empty if the blob has none.
	Types Range

	Signed *Signatures // nil if the loader program is not signed
}

// Range is a part of the blob.
type Range struct{ Off, Size int }

// Of returns this part of a blob. It does not copy.
func (r Range) Of(blob []byte) []byte { return blob[r.Off:][:r.Size] }

// Map is a map that a run creates.
type Map struct {
	Name       string // name of the variable, or of the section for data maps
	Kind       string // "user", "data", "bss", "rodata", "kconfig", "struct_ops", "percpu"
	Type       string // of enum bpf_map_type, without BPF_MAP_TYPE_: "ARRAY"
	KeySize    uint32 // bytes
	ValueSize  uint32 // bytes; 0 if a setting decides
	MaxEntries uint32 // 0 if a setting decides
	Flags      uint32 // map_flags
	Extra      uint64 // map_extra
	Mmapable   bool   // user space may map the value
	ReadOnly   bool   // frozen after the load
	Pinned     bool   // pinned by name after the load, or reused if it is pinned already

	FD   int   // in the context: s32, the fd or a negative errno
	Attr Range // of MAP_CREATE's union bpf_attr
	// Delta is the offset in the blob of a u32 that the loader program adds to the result of
	// MAP_CREATE. To reuse a map, the runtime stores a map type that no kernel knows, so that
	// MAP_CREATE fails with EINVAL, and sets Delta to fd + EINVAL.
	Delta int
	// Value is the initial value, empty if the load sets none.
	Value Range
	// Update is the offset in the blob of the MAP_UPDATE_ELEM attribute that sets the value, 0 if
	// there is none. MAP_FREEZE uses the attribute's first eight bytes.
	Update int

	// Arena: the runtime creates the map, maps its memory, and copies Data to the start of the
	// memory, or (7.0) to its last pages. It then adds Data's offset in the memory to the words at
	// Globals in the blob.
	Arena   bool
	Data    Range
	Globals []int

	Variables []Variable // of a data section
}

// Variable is a variable of a data section.
type Variable struct {
	Name         string
	Offset, Size uint32 // bytes
}

// Program is a program that a run creates.
type Program struct {
	Name       string // of the function
	Section    string
	Type       string // of enum bpf_prog_type, without BPF_PROG_TYPE_: "XDP"
	AttachType string // of enum bpf_attach_type, without BPF_

	FD   int   // in the context: s32, the fd or a negative errno
	Link int   // in the context: s32, the link's fd or a negative errno; 0 if the load makes none
	Log  int   // in the context: u32 log_level, u32 log_size, u64 log_buf, as in PROG_LOAD
	Attr Range // of PROG_LOAD's union bpf_attr

	Module   string // the module of the attach target, if the section names one
	Replaces string // freplace: the replaced function; the runtime sets attach_btf_id, attach_prog_fd
}

// Step is a command of the loader program that can fail.
type Step struct {
	Subject string // "map counts"
	Op      string // "MAP_CREATE"
	Result  int    // in the context: s32, below 0 after a failure
	Initial string // the map whose initial value this command sets, empty for other commands
}

// Setting is a value that depends on the machine. The runtime stores it in the context before a
// run.
type Setting struct {
	// Kind is one of:
	//
	//   - "cpus": u32, the number of possible CPUs
	//   - "kconfig": the value of the .kconfig map
	//   - "usdt": u32, BPF_TRACE_UPROBE_MULTI if the kernel has such links, else 0
	//   - "member": u32, the index of Member in the kernel's type StructOps
	//   - "value_size": u32, the size of the value of a struct_ops map
	//   - "mismatch": u32, 1 if the prototype of the kernel's Function differs from type Prototype
	//     of the object's BTF, else 0
	Kind         string
	Offset, Size int // bytes, in the context

	Kconfig   []Kconfig
	StructOps *StructOps
	Member    string
	Function  string
	Prototype uint32
}

// String describes the value of the setting.
func (s *Setting) String() string {
	switch s.Kind {
	case "cpus":
		return "the number of possible CPUs"
	case "kconfig":
		names := make([]string, len(s.Kconfig))
		for i, k := range s.Kconfig {
			names[i] = k.Name
		}
		return "the kernel's configuration: " + strings.Join(names, ", ")
	case "usdt":
		return "whether the kernel has uprobe_multi links"
	case "member":
		return "the place of " + s.Member + " in the kernel's struct " + s.StructOps.Type
	case "value_size":
		return "the size of the kernel's struct bpf_struct_ops_" + s.StructOps.Type
	case "mismatch":
		return "whether the kernel's " + s.Function + " has another prototype"
	}
	return s.Kind
}

// Kconfig is a variable of .kconfig.
type Kconfig struct {
	Name         string // "CONFIG_HZ"
	Offset, Size uint32 // in the map's value, bytes
	Type         string // "bool", "char", "int", "tristate", "char_array"
	Signed, Weak bool
}

// StructOps is a struct of the kernel whose members an object sets.
type StructOps struct {
	Type    string // "tcp_congestion_ops"
	Members []Member
}

// Member is a member of a struct, in the object's layout.
type Member struct {
	Name string
	Kind string // of BTF: "int", "ptr"
	Size uint32 // bytes
	Set  bool   // the object sets it, so the kernel must have it
}

// Capabilities that a load may need, by their names in kernels.yaml, with the first kernel that has
// each.
const (
	NeedCORE        = "core_kernel"       // 5.17
	NeedEnum64      = "enum64"            // 6.0
	NeedTypeMatch   = "core_type_match"   // 6.0
	NeedNoFuncInfo  = "core_no_func_info" // 7.3
	NeedKallsyms    = "kallsyms_helper"   // 5.16
	NeedSyscallProg = "syscall_prog"      // 5.14
)

// Need is a capability that the kernel must have. The runtime checks it before it creates anything.
type Need struct {
	Capability string // name in kernels.yaml
	Why        string
}

// The context begins with libbpf's struct bpf_loader_ctx, bpf_map_desc and bpf_prog_desc
// (skel_internal.h, 0.8), so libbpf's runtime can use it.
const (
	ctxHeader  = 24
	ctxMap     = 16
	ctxProgram = 4
)

// CtxMap returns the offset in the context of map i's descriptor.
func CtxMap(i int) int { return ctxHeader + ctxMap*i }

// CtxProgram returns the offset in the context of program i's descriptor, after those of all maps.
func CtxProgram(maps, i int) int { return ctxHeader + ctxMap*maps + ctxProgram*i }

// NeedsTypes reports whether a run compares the object's types with the kernel's.
func (a *Artefact) NeedsTypes() bool {
	for i := range a.Settings {
		if a.Settings[i].Kind == "mismatch" {
			return a.Types.Size > 0
		}
	}
	return false
}
