package object

import (
	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// Object is an opened BPF ELF file: everything a load needs to know, with every relocation resolved
// to its target. It depends only on the bytes of the file.
type Object struct {
	// Name is the object's name as libbpf derives it: the file's base name up to the first dot.
	// libbpf prefixes the names of data maps with it.
	Name string
	// KernelVersion is the number in the "version" section, 0 if there is none. Kernels since 5.0
	// ignore it.
	KernelVersion uint32
	// License is the string in the "license" section, without its NUL. Empty if there is none.
	License string
	// BTF is the object's .BTF section after libbpf's fix-ups (sizes and offsets of data sections,
	// linkage of hidden functions, extern variables turned into ints). Type ids and string offsets
	// are those of the file; a variable "dummy_ksym" is appended if there are kfuncs. Nil if the
	// object has no BTF.
	BTF *btf.Spec
	// Maps are in the order in which libbpf creates them: .maps by order of declaration, data
	// sections by section index, .kconfig, then struct_ops; jump tables come last.
	Maps []Map
	// Functions are the entry programs and subprograms, by section index and offset.
	Functions []Function
	// Externs are the ksyms, kfuncs and kconfig variables, in the order of the symbol table.
	Externs []Extern
	// Warnings are defects that libbpf tolerates, such as a broken .BTF.ext, in the order in which
	// they were found.
	Warnings []Warning
}

// Map is one map of an object.
type Map struct {
	// Name is the map's name in the kernel, as libbpf gives it. For maps in .maps and struct_ops
	// maps it is the variable's name, which the kernel gets cut to 15 characters. For data sections
	// that libbpf prefixes (.data, .bss, .rodata, .kconfig) it is OBJECT+SECTION, for custom ones
	// (.data.x) the section's name; both are already cut.
	Name string

	Kind MapKind

	// Section is the ELF section that declares the map (".maps", ".rodata.foo").
	Section string

	Type       uapi.MapType
	KeySize    uint32 // bytes
	ValueSize  uint32 // bytes
	MaxEntries uint32
	Flags      uint32 // BPF_F_*
	NUMANode   uint32 // with BPF_F_NUMA_NODE in Flags
	Extra      uint64 // attr.map_extra: bloom hash count, arena address, ...

	// KeyType and ValueType are ids in Object.BTF, 0 if there is none.
	KeyType, ValueType btf.TypeID

	// Pinning is the value of the "pinning" key: 0 none, 1 by name.
	Pinning uint32

	// Data is the initial content of a data section up to the last byte that is not zero. DataSize
	// is its full size; the rest is zero. Memory therefore follows the file and not the size of a
	// .bss. Data is empty for .bss and .kconfig, and nil for maps without initial content.
	// [Map.Value] returns all bytes.
	//
	// DataSize equals ValueSize, except for an arena. An arena's data is .addr_space.1, its global
	// variables. libbpf 1.8 places them in the last pages of the arena on kernels that accept such
	// large offsets (7.0), and at its start on others.
	Data     []byte
	DataSize uint32

	// Frozen means that the load freezes the map after filling it (.rodata*, .kconfig).
	Frozen bool

	// Inner is the template of the inner maps of a map-in-map, or nil.
	Inner *Map

	// Slots are the static initialisers of a map-in-map or PROG_ARRAY (key
	// "values") by index, nil if there are none.
	Slots []Slot

	// StructOps describes a struct_ops map, nil for all others.
	StructOps *StructOps

	// JumpTable describes a jump table, nil for all others.
	JumpTable *JumpTable

	// Variables are the symbols of a data section, sorted by offset.
	Variables []Variable
}

// Value returns a copy of the map's whole initial content, DataSize bytes, zero-filled beyond
// len(Data). It returns nil if the map has none.
func (m *Map) Value() []byte {
	if m.Data == nil {
		return nil
	}
	v := make([]byte, max(int(m.DataSize), len(m.Data)))
	copy(v, m.Data)
	return v
}

// JumpTable is the content of a jump table. Its map is a template: libbpf makes one for every entry
// program that contains the function.
type JumpTable struct {
	Function int      // index into Object.Functions
	Targets  []uint32 // instruction indices from the start of the function
}

// MapKind says what in the object declares a map.
type MapKind int

const (
	MapUser      MapKind = iota // declared in .maps
	MapData                     // .data*
	MapBSS                      // .bss*
	MapRodata                   // .rodata*
	MapKconfig                  // .kconfig
	MapStructOps                // .struct_ops*, ?.struct_ops*
	MapPercpu                   // .percpu* (libbpf of 7.3)
	MapJumpTable                // jump table of one function (BPF_MAP_TYPE_INSN_ARRAY, 6.19)
)

// Slot is one static initialiser: the slot's index, and the index into Object.Maps (map-in-map) or
// Object.Functions (PROG_ARRAY) of its content.
type Slot struct {
	Index  uint32
	Target int
}

// Variable is one symbol in a data section.
type Variable struct {
	Name   string
	Offset uint32 // bytes from the start of the section
	Size   uint32 // bytes
	Static bool
	Hidden bool // STV_HIDDEN or STV_INTERNAL, and not static: becomes static in BTF
}

// StructOps is the definition of a struct_ops map.
type StructOps struct {
	Type     string            // name of the kernel's struct, without flavour ___x
	TypeID   btf.TypeID        // of the struct in Object.BTF
	Data     []byte            // the struct in the object's layout, pointers to functions zeroed
	Members  []StructOpsMember // function members that are set
	Link     bool              // section .struct_ops.link: BPF_F_LINK
	Optional bool              // section starts with '?': not created by default
}

// StructOpsMember is one function member of a struct_ops map.
type StructOpsMember struct {
	Name     string // of the member
	Offset   uint32 // bytes in the object's layout
	Function int    // index into Object.Functions
}

// Function is a function in an executable section. Functions in .text are
// subprograms; every other one is an entry program.
type Function struct {
	Name     string
	Section  string // with '?' stripped
	Offset   uint32 // bytes from the start of its section
	Subprog  bool   // in .text: loaded only as part of its callers
	Static   bool   // STB_LOCAL
	Weak     bool
	Hidden   bool // STV_HIDDEN or STV_INTERNAL
	Autoload bool // false for SEC("?...") and for subprograms

	// Type information from the section name; zero for subprograms.
	Program ProgramType

	// Insns are the raw instruction bytes, 8 per instruction. They are never decoded and
	// re-encoded.
	Insns []byte

	TypeID btf.TypeID // FUNC in Object.BTF, 0 if unknown

	Relocations                      []Relocation // by instruction, ascending
	CORE                             []CORERelocation
	FuncInfo                         []byte // bpf_func_info records of this function, FuncInfoRecSize each, offsets in instructions from its start
	LineInfo                         []byte // bpf_line_info records, likewise
	FuncInfoRecSize, LineInfoRecSize uint32

	// Err is set if libbpf opens the object but refuses to load a program that contains this
	// function. It gives the reason.
	Err error

	// ExceptionCallback is the index in Object.Functions of the function that the decl tag
	// "exception_callback:NAME" names (6.7), nil for none.
	ExceptionCallback *int
}

// ProgramType is what a section name says about a program (libbpf's table).
type ProgramType struct {
	Type       uapi.ProgType
	AttachType uapi.AttachType // expected_attach_type
	Flags      uint32          // prog_flags: BPF_F_SLEEPABLE (16), BPF_F_XDP_HAS_FRAGS (32)
	// USDT: the program attaches to a USDT probe; kernels with uprobe_multi
	// links (6.6) get expected_attach_type BPF_TRACE_UPROBE_MULTI.
	USDT bool
	// NeedsBTF: the program attaches to a BTF id (SEC_ATTACH_BTF): the target
	// is resolved at load.
	NeedsBTF bool
	// Attach is the rest of the section name: "task_newtask", "mod:func".
	Attach string
	// Pattern is the row of the table that matched: "tp_btf+".
	Pattern string
}

// RelocationKind says what an instruction refers to.
type RelocationKind int

const (
	RelocMap       RelocationKind = iota // ld_imm64: address of a map (its fd)
	RelocMapValue                        // ld_imm64: Offset bytes into a data section's value
	RelocCall                            // call of the function Target
	RelocFunc                            // ld_imm64: address of the function Target (callback)
	RelocKconfig                         // ld_imm64: address of an extern in .kconfig
	RelocKsym                            // ld_imm64: extern variable or function of the kernel
	RelocKfunc                           // call of a kernel function
	RelocJumpTable                       // ld_imm64: Offset bytes into jump table Target of Maps
)

// Relocation is one reference from an instruction to something outside it.
type Relocation struct {
	Insn   int // instruction index from the start of the function
	Kind   RelocationKind
	Target int    // index into Object.Maps, .Functions or .Externs, by Kind
	Offset uint32 // RelocMapValue: bytes from the start of the value
}

// CORERelocation is one bpf_core_relo record (uapi), of one function.
type CORERelocation struct {
	Insn         int // instruction index from the start of the function
	TypeID       btf.TypeID
	AccessStrOff uint32
	Kind         uint32 // enum bpf_core_relo_kind
}

// ExternKind is the kind of an extern symbol.
type ExternKind int

const (
	ExternKconfig  ExternKind = iota
	ExternTypeless            // extern const void x __ksym: address from kallsyms
	ExternVar                 // typed ksym variable: BTF VAR in the kernel
	ExternFunc                // kfunc: BTF FUNC in vmlinux or a module
)

// Extern is a symbol that the object declares and the target provides.
type Extern struct {
	Name   string // as in the symbol table, flavour "___x" included
	Kind   ExternKind
	Weak   bool
	TypeID btf.TypeID // of the VAR or FUNC in Object.BTF

	// DeclType is the declared type of a typed ksym variable or a kfunc, without typedefs and
	// qualifiers. The kernel's type has to be compatible with it. The fix-ups of Object.BTF replace
	// the type of the VAR itself. 0 for the other kinds.
	DeclType btf.TypeID

	// For ExternKconfig: place and type in the .kconfig map's value.
	KconfigOffset uint32
	KconfigSize   uint32
	KconfigType   KconfigType
	KconfigSigned bool
}

// EssentialName returns the extern's name without its flavour ("bpf_f___v2" → "bpf_f").
func (e *Extern) EssentialName() string { return btf.EssentialName(e.Name) }

// KconfigType says how a kconfig value is stored.
type KconfigType int

const (
	KconfigUnknown KconfigType = iota
	KconfigBool
	KconfigChar
	KconfigInt
	KconfigTristate
	KconfigCharArray
)
