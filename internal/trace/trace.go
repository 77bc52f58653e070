package trace

import (
	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/core"
	"github.com/bpfreplay/bpfreplay/internal/insn"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
	"github.com/bpfreplay/bpfreplay/internal/visible"
	"slices"
	"unsafe"
)

// Trace is a planned load.
type Trace struct {
	Object   string // the object's name
	License  string
	Maps     []*Map     // maps that the load creates, FDs 1 … len(Maps)
	Programs []*Program // FDs len(Maps)+1 … len(Maps)+len(Programs)
	FDs      []string   // name of each FD: "map counts", "btf"; FDs[0] is NoFD's
	Symbols  []*Symbol
	Commands []Command
	Settings []*Setting // in the order of the context
	// Needs are the capabilities that this load needs from a kernel, beyond those that every loader
	// program needs.
	Needs []Need
	// Types are the object's types, nil if it has none.
	Types *btf.Spec
}

// Map is a map that the load creates for its caller.
type Map struct {
	Name      string // logical name: the variable, or the section of a data map
	Kind      object.MapKind
	Type      uapi.MapType
	ValueSize uint32 // bytes
	Mmapable  bool   // user space may map the value
	ReadOnly  bool   // frozen after the load
	Pinned    bool   // the object wants it pinned by its name
	KeySize   uint32 // bytes
	Entries   uint32 // max_entries that the object asks for, 0 if the target decides
	Flags     uint32 // map_flags
	Extra     uint64 // map_extra
	Variables []object.Variable
	// Arena: user space maps the map's memory and fills it with Data before a program that refers
	// to it is loaded (6.9). A loader program cannot do so: the runtime creates the map and passes
	// it in.
	Arena bool
	Data  []byte // initial value of an arena's globals, nil for none
}

// Program is a program that the load creates for its caller.
type Program struct {
	Name       string // of the function
	Section    string
	Type       uapi.ProgType
	AttachType uapi.AttachType
	// Module is the module of the function that the program attaches to, as in
	// SEC("fentry/mod:func"). The lookup searches all modules, so the runtime checks the result.
	Module string
	// Replaces: the program replaces this function (freplace) of a program that the caller passes
	// to the load.
	Replaces string
	// Link is the FD of the link that attaches the program, NoFD for none. It stays open after the
	// load, like the program's.
	Link FD
}

// FD stands for a file descriptor. It is an index into Trace.FDs.
type FD int

// NoFD means that a command uses no fd. In fd_array, which FDs index, entry 0 means vmlinux.
const NoFD FD = 0

// MapFD returns the FD of map i.
func (t *Trace) MapFD(i int) FD { return FD(1 + i) }

// ProgramFD returns the FD of program i.
func (t *Trace) ProgramFD(i int) FD { return FD(1 + len(t.Maps) + i) }

// Outputs returns the number of FDs of maps and programs, which stay open after a load.
func (t *Trace) Outputs() int { return len(t.Maps) + len(t.Programs) }

// Need is a capability that a kernel must have for this load.
type Need struct {
	// Capability is the name in kernels.yaml ("core_kernel").
	Capability string `json:"capability"`
	Why        string `json:"why"` // what needs it: "program count: CO-RE relocations"
}

// SymbolKind says how a symbol is looked up, and what the lookup returns.
type SymbolKind int

const (
	// SymbolKfunc is a called kernel function: FUNC in the BTF of vmlinux or of a module.
	SymbolKfunc SymbolKind = iota
	// SymbolKsym is the address of a typed kernel variable or function: VAR or FUNC.
	SymbolKsym
	// SymbolAddress is a typeless ksym: an address from kallsyms.
	SymbolAddress
	// SymbolAttach is the BTF id of an attach target.
	SymbolAttach
)

// Symbol is something in the kernel that is looked up by name when the trace is issued.
type Symbol struct {
	Kind    SymbolKind
	Name    string // as looked up: attach prefix included, flavour stripped
	Module  string // only in this module ("fentry/mod:func"), else empty
	BTFKind uint32 // BTF_KIND_*: 12 FUNC, 14 VAR, 8 TYPEDEF, 4 STRUCT
	// Weak: the load continues without the symbol. Instructions that refer to it then stay as
	// planned: a call that the verifier refuses unless it is dead code, or the constant 0.
	Weak bool
	// BTF is the temporary FD of the module BTF that has the symbol. It stays empty if vmlinux has
	// it. NoFD for SymbolAddress.
	BTF FD
	// Mismatch is set for a weak kfunc: whether the kernel's function has another prototype than
	// the declared one. Such a function counts as missing. Objects use this to select one of
	// several prototypes (bpf_f___v1, bpf_f___v2).
	Mismatch *Setting
}

// MayBeZero reports whether the address may be 0 although the kernel has the symbol: the start of
// per-CPU data, before 6.15 on x86-64.
func (s *Symbol) MayBeZero() bool {
	return s.Kind == SymbolAddress && (s.Name == "__per_cpu_start" || s.Name == "fixed_percpu_data")
}

// Command is one step of a trace. String returns one printable line.
type Command interface {
	// Cmd returns the bpf(2) command. It returns false for a lookup, which issues no command.
	Cmd() (bpfsys.Cmd, bool)
	// Subject returns what the command is about, for errors: "map counts".
	Subject() string
}

// LoadBTF is BTF_LOAD of the object's types. If the kernel refuses them, the load tries once more
// with types sanitised like libbpf's: it applies the edits of each fallback whose probe the kernel
// refuses.
type LoadBTF struct {
	Data      []byte // raw BTF
	Fallbacks []Fallback
	// Extended is Data with types appended. It is loaded instead of Data if a ChooseEnum or
	// AskContext says so. Nil if there is none.
	Extended []byte
	// Optional: no part of the load needs types, so it continues without them if the kernel refuses
	// all of the above, as in libbpf. Maps then have no types, and programs neither func_info nor
	// line_info.
	Optional bool
	Out      FD
}

// Fallback replaces a kind of type that older kernels lack.
type Fallback struct {
	Kind           string // "ENUM64"
	Probe          []byte // types that a kernel accepts if it knows the kind
	Data, Extended []Word
}

// Word is four bytes at an offset.
type Word struct{ Off, Value uint32 }

// MapAttr has the attributes of a map, by the names of union bpf_attr.
type MapAttr struct {
	Type       uapi.MapType
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
}

// CreateMap is MAP_CREATE.
type CreateMap struct {
	Map   *Map // nil for a map that is not the caller's
	Name  string
	Attr  MapAttr
	Inner FD // template of the inner maps, NoFD if there is none
	// Plain: if the kernel refuses the map, the load tries once more without types, as in libbpf.
	// Not set if all kernels give the same answer.
	Plain bool
	// Sizes are further values of max_entries, for kernels with larger pages that refuse the first.
	Sizes []uint32
	// CPUs decides MaxEntries, nil if the object does.
	CPUs *Setting
	// Value is the kernel's type of a struct_ops map's value and ValueSize its size; nil for all
	// others.
	Value     *Symbol
	ValueSize *Setting
	Out       FD
}

// UpdateElem is MAP_UPDATE_ELEM: the initial value of a data map, or one slot of a map of maps or
// programs.
type UpdateElem struct {
	Map   FD
	Name  string // of the map
	Key   []byte
	Value []byte // nil if the value is an fd
	FD    FD     // NoFD if the value is Value
	Flags uint64
	// Initial is the map whose initial value this command sets, nil if it sets a slot. A reused map
	// keeps its content.
	Initial *Map
	Setting *Setting // decides Value, nil if the object does
}

// FillArray is a series of MAP_UPDATE_ELEM that sets all elements of an array, with the keys 0, 1,
// 2 and so on.
type FillArray struct {
	Map    FD
	Name   string // of the map
	Values []byte // Count values, concatenated
	Count  int
}

// Freeze is MAP_FREEZE: user space can no longer write to the map.
type Freeze struct {
	Map  FD
	Name string
}

// Lookup finds a symbol: the helper bpf_btf_find_by_name_kind or
// bpf_kallsyms_lookup_name in a loader program, a search in user space.
type Lookup struct {
	Symbol *Symbol
	For    string
}

// ChooseEnum finds out which width the kernel's enum of a name has. CO-RE in the kernel (all
// releases so far) looks only for candidates of the local type's kind, whereas libbpf accepts ENUM
// for ENUM64 and the reverse. If the kernel has the enum only with the other kind, the edits make
// records refer to a local twin of that kind, and the extended types are loaded.
type ChooseEnum struct {
	Name         string // without flavour
	Local, Other uint32 // BTF_KIND_ENUM or BTF_KIND_ENUM64
	Edits        []CoreEdit
	// LocalBTF and OtherBTF are the FDs of the modules in which the two kinds were found.
	LocalBTF, OtherBTF FD
}

// CoreEdit makes a CO-RE record refer to another local type.
type CoreEdit struct {
	Program *LoadProgram
	Record  int // index into Program.CORE
	Type    btf.TypeID
	// Imm is the low and high half of an enumerator's value, which the instruction must hold for
	// that type. Nil if the value is the same.
	Imm *[2]uint32
}

// AskContext finds out whether the kernel reads the tag "arg:ctx" of global functions' parameters
// (6.8, 94e1c70a3452). Older kernels recognise a context by its type's name. For them, the edits
// give functions types that the kernel knows, and the extended types are loaded.
type AskContext struct {
	Types    []byte // BTF of the probe
	FuncInfo []byte
	Insns    []byte
	Edits    []InfoEdit
	BTF, Out FD // of the probe
}

// InfoEdit gives a function of a program another type.
type InfoEdit struct {
	Program *LoadProgram
	Record  int // index of the record in Program.FuncInfo
	Type    btf.TypeID
}

// LoadProgram is PROG_LOAD.
type LoadProgram struct {
	Program    *Program
	Name       string
	Type       uapi.ProgType
	AttachType uapi.AttachType
	Flags      uint32
	License    string
	Insns      []byte // 8 bytes an instruction; Fixups are filled in at issue
	Fixups     []Fixup

	BTF             FD // NoFD: no types, no func_info, no line_info
	FuncInfo        []byte
	FuncInfoRecSize uint32
	LineInfo        []byte
	LineInfoRecSize uint32
	// CORE are the CO-RE records that the kernel applies (5.17).
	CORE []core.Record

	Attach *Symbol // the attach target, nil for none
	// Expected determines expected_attach_type instead of AttachType, for USDT programs and members
	// of struct_ops. Nil for all others.
	Expected *Setting
	Out      FD
}

// FixupKind says how an instruction is completed.
type FixupKind int

const (
	FixupMap     FixupKind = iota // ld_imm64 src 1 or 2: imm = fd
	FixupCall                     // call src 2: imm = type id, off = index in fd_array
	FixupKsym                     // ld_imm64 src 3: imm = type id, second imm = BTF fd
	FixupAddress                  // ld_imm64 src 0: imms = address
)

// Fixup completes one instruction with a value that only the target knows.
type Fixup struct {
	Insn   int // index of the instruction in the program
	Kind   FixupKind
	FD     FD      // FixupMap
	Symbol *Symbol // all others
}

// Attach attaches a program to the target that its section names: RAW_TRACEPOINT_OPEN without a
// name, or LINK_CREATE for an iterator. Both take only numbers, so a loader program can issue them.
type Attach struct {
	Program    FD
	Name       string // of the program
	AttachType uapi.AttachType
	Out        FD
}

// Cmd returns LINK_CREATE for iterators, and RAW_TRACEPOINT_OPEN for types that the kernel could
// attach before it had LINK_CREATE.
func (c *Attach) Cmd() (bpfsys.Cmd, bool) {
	if c.AttachType == uapi.AttachTraceIter {
		return bpfsys.LinkCreate, true
	}
	return bpfsys.RawTracepointOpen, true
}

// Subject names the program.
func (c *Attach) Subject() string { return "program " + visible.Name(c.Name) }

// Fixed returns the attribute with the fields set that are known before a load.
func (c *Attach) Fixed() []byte {
	if c.AttachType == uapi.AttachTraceIter {
		return bpfsys.Encode(&bpfsys.LinkCreateAttr[struct{}]{AttachType: c.AttachType})
	}
	return bpfsys.Encode(&bpfsys.RawTracepointAttr{})
}

// ProgramField returns the offset of the program's fd in the attribute.
func (c *Attach) ProgramField() int {
	if c.AttachType == uapi.AttachTraceIter {
		return 0
	}
	return int(unsafe.Offsetof(bpfsys.RawTracepointAttr{}.ProgFD))
}

// Close is close(2) of an fd that is no longer needed. At the end of a trace the issuer closes
// every open fd that is not an output.
type Close struct {
	FD   FD
	Name string
}

// SettingKind says what determines a Setting.
type SettingKind int

const (
	// SettingCPUs is the number of possible CPUs.
	SettingCPUs SettingKind = iota
	// SettingKconfig is the value of .kconfig: the kernel's version and
	// configuration.
	SettingKconfig
	// SettingUSDT is BPF_TRACE_UPROBE_MULTI if the kernel has such links (6.6), else 0.
	SettingUSDT
	// SettingMember is the index of a member in a struct_ops type of the kernel.
	SettingMember
	// SettingValueSize is the size in bytes of the value of a struct_ops map.
	SettingValueSize
	// SettingMismatch is 1 if the kernel's function of this name has another prototype, else 0.
	SettingMismatch
)

// Setting is a value that depends on the machine and that a loader program cannot find out. The
// runtime passes it in through the context.
type Setting struct {
	Kind SettingKind
	Size int // bytes; 4 for all but SettingKconfig
	// Externs are the variables of SettingKconfig.
	Externs []object.Extern
	// StructOps is the struct of SettingMember and SettingValueSize, Member the name of the member.
	StructOps *object.StructOps
	Member    string
	// Symbol is the kfunc of SettingMismatch, and Type the FUNC_PROTO in the object's types that it
	// is declared with.
	Symbol string
	Type   btf.TypeID
}

func (c *LoadBTF) Cmd() (bpfsys.Cmd, bool)     { return bpfsys.BTFLoad, true }
func (c *CreateMap) Cmd() (bpfsys.Cmd, bool)   { return bpfsys.MapCreate, true }
func (c *UpdateElem) Cmd() (bpfsys.Cmd, bool)  { return bpfsys.MapUpdateElem, true }
func (c *FillArray) Cmd() (bpfsys.Cmd, bool)   { return bpfsys.MapUpdateElem, true }
func (c *Freeze) Cmd() (bpfsys.Cmd, bool)      { return bpfsys.MapFreeze, true }
func (c *Lookup) Cmd() (bpfsys.Cmd, bool)      { return 0, false }
func (c *ChooseEnum) Cmd() (bpfsys.Cmd, bool)  { return 0, false }
func (c *AskContext) Cmd() (bpfsys.Cmd, bool)  { return 0, false }
func (c *LoadProgram) Cmd() (bpfsys.Cmd, bool) { return bpfsys.ProgLoad, true }
func (c *Close) Cmd() (bpfsys.Cmd, bool)       { return 0, false }

func (c *LoadBTF) Subject() string     { return "the object's BTF" }
func (c *CreateMap) Subject() string   { return "map " + visible.Name(c.Name) }
func (c *UpdateElem) Subject() string  { return "map " + visible.Name(c.Name) }
func (c *FillArray) Subject() string   { return "map " + visible.Name(c.Name) }
func (c *Freeze) Subject() string      { return "map " + visible.Name(c.Name) }
func (c *Lookup) Subject() string      { return c.For }
func (c *LoadProgram) Subject() string { return "program " + visible.Name(c.Name) }
func (c *ChooseEnum) Subject() string  { return "enum " + c.Name }
func (c *AskContext) Subject() string  { return "tag arg:ctx" }
func (c *Close) Subject() string       { return c.Name }

// Fixed returns the attribute with the fields set that are known before a load.
func (c *CreateMap) Fixed() bpfsys.MapCreateAttr {
	a := &c.Attr
	return bpfsys.MapCreateAttr{
		Type: a.Type, KeySize: a.KeySize, ValueSize: a.ValueSize, MaxEntries: a.MaxEntries,
		Flags: a.Flags, NUMANode: a.NUMANode, Name: bpfsys.Name(a.Name),
		KeyType: a.KeyType, ValueType: a.ValueType, Extra: a.Extra,
	}
}

// AttrSize returns the size of the attribute in bytes: it ends with the last field that is used.
func (c *CreateMap) AttrSize() int {
	switch a := &c.Attr; {
	case c.Value != nil:
		return bpfsys.MapCreateTypeFDEnd
	case a.Extra != 0:
		return bpfsys.MapCreateExtraEnd
	case a.BTF != NoFD || a.KeyType != 0 || a.ValueType != 0:
		return bpfsys.MapCreateValueTypeEnd
	}
	return bpfsys.MapCreateNameEnd
}

// Fixed returns the attribute with the fields set that are known before a load.
func (c *LoadProgram) Fixed() bpfsys.ProgLoadAttr {
	a := bpfsys.ProgLoadAttr{
		Type: c.Type, InsnCount: uint32(insn.Insns(c.Insns).Len()), Flags: c.Flags, Name: bpfsys.Name(c.Name), AttachType: c.AttachType,
	}
	if len(c.FuncInfo) > 0 {
		a.FuncInfoSize, a.FuncInfoCount = c.FuncInfoRecSize, uint32(len(c.FuncInfo))/c.FuncInfoRecSize
	}
	if len(c.LineInfo) > 0 {
		a.LineInfoSize, a.LineInfoCount = c.LineInfoRecSize, uint32(len(c.LineInfo))/c.LineInfoRecSize
	}
	if len(c.CORE) > 0 {
		a.CORESize, a.CORECount = core.RecordSize, uint32(len(c.CORE))
	}
	return a
}

// Fixed returns the attribute with the fields set that are known before a load.
func (c *AskContext) Fixed() bpfsys.ProgLoadAttr {
	return bpfsys.ProgLoadAttr{
		Type: uapi.ProgKprobe, InsnCount: uint32(insn.Insns(c.Insns).Len()),
		FuncInfoSize: funcInfoSize, FuncInfoCount: uint32(len(c.FuncInfo) / funcInfoSize),
	}
}

// AttrSize returns the size of the attribute in bytes: it ends with the last field that is used.
func (c *LoadProgram) AttrSize() int {
	switch {
	case len(c.CORE) > 0:
		return bpfsys.ProgLoadCOREEnd
	case c.CallsKfunc():
		return bpfsys.ProgLoadFDArrayEnd
	case c.Attach != nil || c.Program.Replaces != "":
		return bpfsys.ProgLoadAttachEnd
	case len(c.LineInfo) > 0:
		return bpfsys.ProgLoadLineCountEnd
	case len(c.FuncInfo) > 0:
		return bpfsys.ProgLoadFuncCountEnd
	}
	return bpfsys.ProgLoadAttachTypeEnd
}

// CallsKfunc reports whether the program calls a kfunc, which requires an fd_array.
func (c *LoadProgram) CallsKfunc() bool {
	return slices.ContainsFunc(c.Fixups, func(f Fixup) bool { return f.Kind == FixupCall })
}

func btfKindName(k uint32) string { return btf.Kind(k).String() }
