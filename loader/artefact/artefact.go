package artefact

import "strings"

// Artefact is a loader program and all that is known of it without its object.
type Artefact struct {
	Object  string // the object's name
	License string // of its programs

	Insns []byte // instructions of the loader program, 8 bytes each
	Blob  []byte // value of its one map; a multiple of 8 bytes

	// Context is the size in bytes of the memory that a run takes in and gives
	// out. It begins with libbpf's struct bpf_loader_ctx, of which nothing is read;
	// all that is in it is named below by its offset.
	Context int

	Maps     []Map
	Programs []Program
	Steps    []Step
	Settings []Setting
	Needs    []Need
	// Types is where the object's BTF is in the blob, empty if it has none there.
	Types Range

	Signed *Signatures // nil if the loader program is not signed
}

// Range is a part of the blob.
type Range struct{ Off, Size int }

// Of returns the part of a blob.
func (r Range) Of(blob []byte) []byte { return blob[r.Off:][:r.Size] }

// Map is a map that a run leaves behind.
type Map struct {
	Name       string // of the variable, or of a data map's section
	Kind       string // "user", "data", "bss", "rodata", "kconfig", "struct_ops", "percpu"
	Type       string // of enum bpf_map_type, without BPF_MAP_TYPE_: "ARRAY"
	KeySize    uint32 // bytes
	ValueSize  uint32 // bytes; 0 if a setting decides
	MaxEntries uint32 // 0 if a setting decides
	Flags      uint32 // map_flags
	Extra      uint64 // map_extra
	Mmapable   bool   // user space may map the value
	ReadOnly   bool   // frozen after the load
	Pinned     bool   // to be pinned by name after the load, or reused if it is

	FD   int   // in the context: s32, the fd or a negative errno
	Attr Range // of MAP_CREATE's union bpf_attr
	// Delta is the offset in the blob of a u32 that is added to the result of
	// MAP_CREATE. A runtime that brings a map of its own makes MAP_CREATE fail by
	// a type that no kernel has, with EINVAL, and sets Delta to fd + EINVAL.
	Delta int
	// Value is the initial value, empty if the load sets none.
	Value Range
	// Update is the offset in the blob of MAP_UPDATE_ELEM's attribute that sets it, 0
	// for none. MAP_FREEZE takes the first eight bytes of the same.
	Update int

	// Arena: the runtime makes the map, maps its memory, and copies Data to its
	// start, or (7.0) to its last pages; then it adds that distance to the words
	// at Globals in the blob.
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

// Program is a program that a run leaves behind.
type Program struct {
	Name       string // of the function
	Section    string
	Type       string // of enum bpf_prog_type, without BPF_PROG_TYPE_: "XDP"
	AttachType string // of enum bpf_attach_type, without BPF_

	FD   int   // in the context: s32, the fd or a negative errno
	Link int   // in the context: s32, the fd of the link that attaches it, or a negative errno; 0 if none does
	Log  int   // in the context: u32 log_level, u32 log_size, u64 log_buf, as in PROG_LOAD
	Attr Range // of PROG_LOAD's union bpf_attr

	Module   string // the module that has the attach target, if the section names one
	Replaces string // freplace: the function that it becomes; the runtime sets attach_btf_id and attach_prog_fd
}

// Step is a command that can fail.
type Step struct {
	Subject string // "map counts"
	Op      string // "MAP_CREATE"
	Result  int    // in the context: s32, below 0 after a failure
	Initial string // the map whose initial value this is about, empty for none
}

// Setting is a value that depends on the machine: the runtime stores it in the
// context before a run.
type Setting struct {
	// Kind is "cpus" (u32, the number of possible CPUs), "kconfig" (the value of
	// .kconfig), "usdt" (u32, BPF_TRACE_UPROBE_MULTI where there are such links,
	// else 0), "member" (u32, the index of Member in StructOps' type of the
	// kernel), "value_size" (u32, the size of the value of a struct_ops map), or
	// "mismatch" (u32, 1 if the kernel's Function has another prototype than type
	// Prototype of the object's BTF, else 0).
	Kind         string
	Offset, Size int // in the context, bytes

	Kconfig   []Kconfig
	StructOps *StructOps
	Member    string
	Function  string
	Prototype uint32
}

// String reports what decides the setting.
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
	Offset, Size uint32 // bytes in the value
	Type         string // "bool", "char", "int", "tristate", "char_array"
	Signed, Weak bool
}

// StructOps is a struct of the kernel whose members an object sets.
type StructOps struct {
	Type    string // "tcp_congestion_ops"
	Members []Member
}

// Member is a member in the object's layout.
type Member struct {
	Name string
	Kind string // of BTF: "int", "ptr"
	Size uint32 // bytes
	Set  bool   // the object sets it, so that the kernel must have it
}

// Names of capabilities in kernels.yaml that a load may need, and the first kernels that have them.
const (
	NeedCORE        = "core_kernel"       // 5.17
	NeedEnum64      = "enum64"            // 6.0
	NeedTypeMatch   = "core_type_match"   // 6.0
	NeedNoFuncInfo  = "core_no_func_info" // 7.3
	NeedKallsyms    = "kallsyms_helper"   // 5.16
	NeedSyscallProg = "syscall_prog"      // 5.14
)

// Need is something that a kernel must have, checked before anything is created.
type Need struct {
	Capability string // its name in kernels.yaml
	Why        string
}

// The context's first part is libbpf's struct bpf_loader_ctx, bpf_map_desc and
// bpf_prog_desc (skel_internal.h, 0.8), so that skeletons can have their shape.
const (
	ctxHeader  = 24
	ctxMap     = 16
	ctxProgram = 4
)

// CtxMap is the offset of the descriptor of map i in the context.
func CtxMap(i int) int { return ctxHeader + ctxMap*i }

// CtxProgram is the offset of the descriptor of program i in the context.
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
