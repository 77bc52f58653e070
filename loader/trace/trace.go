package trace

import (
	"github.com/bpfreplay/bpfreplay/loader/bpfsys"
	"github.com/bpfreplay/bpfreplay/loader/btf"
	"github.com/bpfreplay/bpfreplay/loader/insn"
	"github.com/bpfreplay/bpfreplay/loader/object"
)

// Trace is a load, planned.
type Trace struct {
	Object   string // the object's name
	License  string
	Maps     []Map     // what the load leaves behind, FDs 0 … len(Maps)-1
	Programs []Program // FDs len(Maps) … len(Maps)+len(Programs)-1
	FDs      []FDInfo  // all FDs, in order
	Symbols  []Symbol
	Commands []Command
	Settings []Setting
	Arenas   []Arena
	// Types are the object's types, nil if it has none.
	Types *btf.Spec
}

// Map is a map that the load leaves behind.
type Map struct {
	Name      string // logical name: the variable, or the section of a data map
	Kind      object.MapKind
	Type      uint32 // enum bpf_map_type
	ValueSize uint32 // bytes
	Mmapable  bool   // user space may map the value
	ReadOnly  bool   // frozen after the load
	Pinned    bool   // the object wants it pinned by its name
}

// Program is a program that the load leaves behind.
type Program struct {
	Name       string // of the function
	Section    string
	Type       uint32 // enum bpf_prog_type
	AttachType uint32 // enum bpf_attach_type
}

// FD is the symbol of a file descriptor, an index into Trace.FDs.
type FD int

// NoFD stands where a command uses no fd.
const NoFD FD = -1

// FDInfo says what an FD is.
type FDInfo struct {
	Name string // "map counts", "program handle_exec", "btf", "inner of outer", "module of bpf_skb_ct_lookup"
}

// MapFD returns the FD of map i.
func (t *Trace) MapFD(i int) FD { return FD(i) }

// ProgramFD returns the FD of program i.
func (t *Trace) ProgramFD(i int) FD { return FD(len(t.Maps) + i) }

// Outputs is the number of FDs that stay open after a load.
func (t *Trace) Outputs() int { return len(t.Maps) + len(t.Programs) }

// Arena is a map whose memory user space has to map before a program that
// refers to it is loaded (6.9), and fills with the object's data through that
// mapping. No loader program can do so: the map is made by whoever loads, and
// given to the loader program.
type Arena struct {
	Map  int    // index into Trace.Maps
	Data []byte // initial value of its start, nil for none
}

// SymbolKind says how a symbol is looked up and what the answer looks like.
type SymbolKind int

const (
	// SymbolKfunc is a kernel function that is called: FUNC in the BTF of
	// vmlinux or of a module.
	SymbolKfunc SymbolKind = iota
	// SymbolKsym is an address taken of a typed kernel variable or function:
	// VAR or FUNC.
	SymbolKsym
	// SymbolAddress is a typeless ksym: an address from kallsyms.
	SymbolAddress
	// SymbolAttach is the BTF id of an attach target.
	SymbolAttach
)

// Symbol is something in the kernel that is looked up by name when the trace
// is issued.
type Symbol struct {
	Kind    SymbolKind
	Name    string // as looked up: attach prefix included, flavour stripped
	Module  string // only in this module ("fentry/mod:func"), else empty
	BTFKind uint32 // BTF_KIND_*: 12 FUNC, 14 VAR, 8 TYPEDEF, 4 STRUCT
	// Weak: the load goes on without it. Instructions that refer to it stay
	// as the plan left them: a call that the verifier refuses unless it is
	// dead code, or the constant 0.
	Weak bool
	// BTF is the temporary FD of the module's BTF in which the symbol was
	// found; the FD stays empty if that was vmlinux. NoFD for SymbolAddress.
	BTF FD
	// Type is the FUNC_PROTO of the object's types that a weak kfunc is declared
	// with, 0 for all others. One that does not fit the kernel's function counts
	// as missing: this is how an object asks which of several prototypes a kernel
	// has (bpf_f___v1, bpf_f___v2). The target settles it.
	Type btf.TypeID
}

// Command is one step of a trace. Its String is one line for a person.
type Command interface {
	// Cmd is the bpf(2) command; lookups, which are none, say false.
	Cmd() (bpfsys.Cmd, bool)
	// Subject is what the command is about, for errors: "map counts".
	Subject() string
}

// LoadBTF is BTF_LOAD of the object's types.
type LoadBTF struct {
	Data []byte // raw BTF
	Out  FD
}

// MapAttr are the attributes of a map, by the names of uapi's bpf_attr.
type MapAttr struct {
	Type       uint32
	KeySize    uint32 // bytes
	ValueSize  uint32 // bytes
	MaxEntries uint32
	Flags      uint32
	NUMANode   uint32
	Name       string // as the kernel gets it: at most 15 characters
	BTF        FD     // the object's BTF, NoFD if the map has no types
	KeyType    uint32
	ValueType  uint32
	Extra      uint64
	// Kernel is the kernel's type of a struct_ops map's value. It is for the
	// target to settle.
	Kernel KernelType
}

// KernelType is a type of the kernel by number, as found on one target.
type KernelType struct {
	ID uint32 // 0 while not settled
	FD int    // of a module's BTF, 0 for vmlinux
}

// CreateMap is MAP_CREATE.
type CreateMap struct {
	Map     int // index into Trace.Maps; -1 for a template of inner maps
	Name    string
	Attr    MapAttr
	Inner   FD  // template of the inner maps, NoFD if there is none
	Setting int // index into Trace.Settings of what decides MaxEntries, -1 for none
	// StructOps is the definition of a struct_ops map, nil for all others. The
	// layout of its value is the kernel's: the target settles its size and type.
	StructOps *object.StructOps
	Out       FD
}

// UpdateElem is MAP_UPDATE_ELEM: the initial value of a data map, or one slot
// of a map of maps or programs.
type UpdateElem struct {
	Map   FD
	Name  string // of the map
	Key   []byte
	Value []byte // nil if the value is an fd
	FD    FD     // NoFD if the value is Value
	Flags uint64
	// MapIndex is the index into Trace.Maps whose initial value this is, -1 if it is none.
	MapIndex int
	Setting  int // index into Trace.Settings of what decides Value, -1 for none
	// OnlyGiven: the command is issued only if whoever loads gives a value; the
	// one of the object is what a new map holds anyway (.bss).
	OnlyGiven bool
}

// FillArray is a series of MAP_UPDATE_ELEM: all elements of an array, the keys
// being 0, 1, 2 and so on.
type FillArray struct {
	Map    FD
	Name   string // of the map
	Values []byte // Count values, one after the other
	Count  int
}

// Freeze is MAP_FREEZE: user space cannot write to the map any more.
type Freeze struct {
	Map  FD
	Name string
}

// Lookup finds a symbol: the helper bpf_btf_find_by_name_kind or
// bpf_kallsyms_lookup_name in a loader program, a search in user space.
type Lookup struct {
	Symbol int // index into Trace.Symbols
	For    string
	trace  *Trace
}

// LoadProgram is PROG_LOAD.
type LoadProgram struct {
	Program    int // index into Trace.Programs
	Name       string
	Type       uint32
	AttachType uint32
	Flags      uint32
	License    string
	Insns      []byte // 8 bytes an instruction; what Fixups name is filled in at issue
	Fixups     []Fixup

	BTF             FD // NoFD: no types, no func_info, no line_info
	FuncInfo        []byte
	FuncInfoRecSize uint32
	LineInfo        []byte
	LineInfoRecSize uint32
	// CORE are bpf_core_relo records (16 bytes: offset in bytes, type id,
	// access string, kind) that the kernel applies (5.17), or whoever issues
	// the trace on a kernel that cannot.
	CORE []byte
	// UserCORE are the indexes of those records to which the kernel may give
	// another answer than a direct load gets. They are resolved in user space
	// where there is one that can.
	UserCORE    []int
	UserReasons []string // why, one a record of UserCORE; none if the program has no func_info

	Attach int // index into Trace.Symbols of the attach target, -1 for none
	// AttachTo is an attach target by number, for targets that cannot be
	// looked up by name. It is for the target to settle.
	AttachTo KernelType
	// USDT: the target settles AttachType. Where the kernel has uprobe_multi
	// links (6.6) such a program is loaded for them.
	USDT bool
	// StructOps says which member of which struct_ops type the program
	// implements; the target settles AttachTo and AttachType from it.
	StructOps *StructOpsMember
	// Replaces: the program replaces another (freplace), given at load, whose
	// function of this name it becomes.
	Replaces string
	Out      FD
}

// StructOpsMember is a function member of a kernel type.
type StructOpsMember struct {
	Type   string // "tcp_congestion_ops"
	Member string // "ssthresh"
}

// FixupKind says how an instruction is completed.
type FixupKind int

const (
	FixupMap     FixupKind = iota // ld_imm64 src 1 or 2: imm = fd
	FixupCall                     // call src 2: imm = type id, off = index in fd_array
	FixupKsym                     // ld_imm64 src 3: imm = type id, second imm = BTF fd
	FixupAddress                  // ld_imm64 src 0: imms = address
)

// Fixup completes one instruction with something that only the target knows.
type Fixup struct {
	Insn   int // index of the instruction in the program
	Kind   FixupKind
	FD     FD  // FixupMap
	Symbol int // all others: index into Trace.Symbols
}

// Skip is a step that a target does not need, such as types that its kernel
// refuses. It keeps the place of the step in the trace.
type Skip struct{ Of Command }

// Close is close(2) of an fd that is not needed any more. Whatever is still
// open at the end of a trace and is no output is closed by those who issue it.
type Close struct {
	FD   FD
	Name string
}

// SettingKind says what decides a Setting.
type SettingKind int

const (
	// SettingCPUs is the number of possible CPUs.
	SettingCPUs SettingKind = iota
	// SettingPages is a size in bytes, rounded up to a power-of-two number of pages.
	SettingPages
	// SettingKconfig is the value of .kconfig: the kernel's version and
	// configuration.
	SettingKconfig
)

// Setting is a value that the target's user space decides before a load. A
// loader program takes it through its context: a map's max_entries or initial
// value.
type Setting struct {
	Kind SettingKind
	Map  int    // index into Trace.Maps, -1 for a template of inner maps
	Size uint32 // SettingPages: what the object asked for, in bytes
	// Externs are the variables of .kconfig.
	Externs []object.Extern
}

func (c *LoadBTF) Cmd() (bpfsys.Cmd, bool)     { return bpfsys.BTFLoad, true }
func (c *CreateMap) Cmd() (bpfsys.Cmd, bool)   { return bpfsys.MapCreate, true }
func (c *UpdateElem) Cmd() (bpfsys.Cmd, bool)  { return bpfsys.MapUpdateElem, true }
func (c *FillArray) Cmd() (bpfsys.Cmd, bool)   { return bpfsys.MapUpdateElem, true }
func (c *Freeze) Cmd() (bpfsys.Cmd, bool)      { return bpfsys.MapFreeze, true }
func (c *Lookup) Cmd() (bpfsys.Cmd, bool)      { return 0, false }
func (c *LoadProgram) Cmd() (bpfsys.Cmd, bool) { return bpfsys.ProgLoad, true }
func (c *Skip) Cmd() (bpfsys.Cmd, bool)        { return 0, false }
func (c *Close) Cmd() (bpfsys.Cmd, bool)       { return 0, false }

func (c *LoadBTF) Subject() string     { return "the object's BTF" }
func (c *CreateMap) Subject() string   { return "map " + c.Name }
func (c *UpdateElem) Subject() string  { return "map " + c.Name }
func (c *FillArray) Subject() string   { return "map " + c.Name }
func (c *Freeze) Subject() string      { return "map " + c.Name }
func (c *Lookup) Subject() string      { return c.For }
func (c *LoadProgram) Subject() string { return "program " + c.Name }
func (c *Skip) Subject() string        { return c.Of.Subject() }
func (c *Close) Subject() string       { return c.Name }

// Fixed are the fields of the attribute that are known before a load.
func (a *MapAttr) Fixed() bpfsys.MapCreateAttr {
	return bpfsys.MapCreateAttr{
		Type: a.Type, KeySize: a.KeySize, ValueSize: a.ValueSize, MaxEntries: a.MaxEntries,
		Flags: a.Flags, NUMANode: a.NUMANode, Name: a.Name,
		BTF: a.BTF != NoFD, KeyType: a.KeyType, ValueType: a.ValueType, Extra: a.Extra,
		KernelType: a.Kernel.ID, KernelTypeFD: uint32(a.Kernel.FD),
	}
}

// Fixed are the fields of the attribute that are known before a load.
func (c *LoadProgram) Fixed() bpfsys.ProgLoadAttr {
	return bpfsys.ProgLoadAttr{
		Type: c.Type, InsnCount: uint32(insn.Insns(c.Insns).Len()), Flags: c.Flags, Name: kernelName(c.Name), AttachType: c.AttachType,
		FuncInfoRecSize: c.FuncInfoRecSize, FuncInfoSize: len(c.FuncInfo),
		LineInfoRecSize: c.LineInfoRecSize, LineInfoSize: len(c.LineInfo),
		CORESize: len(c.CORE),
		AttachID: c.AttachTo.ID, AttachFD: uint32(c.AttachTo.FD),
	}
}

// Needs says which later fields of the attribute the program uses.
func (c *LoadProgram) Needs() bpfsys.ProgLoadNeeds {
	n := bpfsys.ProgLoadNeeds{
		FuncInfo: len(c.FuncInfo) > 0, LineInfo: len(c.LineInfo) > 0,
		Attach: c.Attach >= 0 || c.AttachTo.ID != 0, CORE: len(c.CORE) > 0,
	}
	for _, f := range c.Fixups {
		n.FDArray = n.FDArray || f.Kind == FixupCall
	}
	return n
}

func btfKindName(k uint32) string { return btf.Kind(k).String() }
