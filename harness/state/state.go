package state

import "github.com/bpfreplay/bpfreplay/internal/uapi"

// State is what a load left in the kernel, normalised. It is a plain value, sent as JSON from the
// guest to the host.
type State struct {
	// CPUs is the number of possible CPUs, which is the number of values in a per-CPU element.
	CPUs     int       `json:"cpus"`
	Maps     []Map     `json:"maps,omitempty"`     // by Name
	Programs []Program `json:"programs,omitempty"` // by Name
	BTF      []BTF     `json:"btf,omitempty"`      // by Hash
	Links    []Link    `json:"links,omitempty"`    // links that the load made

	// Types are texts of types that Map.Types and Program.Types refer to by index.
	Types []string `json:"types,omitempty"`

	// Strings are source lines, "file:line:col text", that Function.Lines
	// refers to by index.
	Strings []string `json:"strings,omitempty"`
}

// Map is a map (struct bpf_map_info, fdinfo, contents).
type Map struct {
	// Name is the logical name: the variable or the section. A map that was found through a
	// reference has its kernel name without the object's prefix, or "outer[key]" if it is an inner
	// map.
	Name string `json:"name"`
	// Copies is the number of maps of this name that are identical in all fields below. It is 1
	// except for maps that an engine makes several times.
	Copies int `json:"copies"`

	Type       uapi.MapType `json:"type"`
	KeySize    uint32       `json:"key_size"`
	ValueSize  uint32       `json:"value_size"`
	MaxEntries uint32       `json:"max_entries"`
	Flags      uint32       `json:"flags"` // BPF_F_*
	KernelName string       `json:"kernel_name"`

	IfIndex  uint32  `json:"ifindex,omitempty"`
	NetnsDev uint64  `json:"netns_dev,omitempty"`
	NetnsIno uint64  `json:"netns_ino,omitempty"`
	Extra    *uint64 `json:"extra,omitempty"` // nil before 5.16

	BTF   string   `json:"btf,omitempty"`   // hash of the map's BTF, empty if it has none
	Types []uint32 `json:"types,omitempty"` // types that Key and Value refer to, also by pointers
	Key   string   `json:"key,omitempty"`   // type, rendered
	Value string   `json:"value,omitempty"` // type, rendered
	// VmlinuxValue is the kernel type of a struct_ops map's value:
	// "vmlinux:struct bpf_struct_ops_tcp_congestion_ops#4711".
	VmlinuxValue string `json:"vmlinux_value,omitempty"`

	Frozen   *bool  `json:"frozen,omitempty"`    // nil if fdinfo does not have it (before 5.2)
	Access   string `json:"access,omitempty"`    // access mode of the load's fd: "read-write"; empty if unknown
	NUMANode *int32 `json:"numa_node,omitempty"` // nil if it cannot be read (see peek)
	Inner    string `json:"inner,omitempty"`     // properties that a map of maps requires of inner maps: "HASH, key_size 4, …"
	Owner    string `json:"owner,omitempty"`     // programs in a program array: "type 1 jited 1"

	Contents Contents `json:"contents"`

	userStart uint64 // first address of an arena in user space, 0 if unknown
}

// Contents are the elements of a map.
type Contents struct {
	// NotRead is the reason why there are no Entries, empty if they were read.
	NotRead string `json:"not_read,omitempty"`
	// Entries are sorted by key. Array elements that are all zero are omitted.
	Entries []Entry `json:"entries,omitempty"`
}

// Entry is one element.
type Entry struct {
	Key []byte `json:"k,omitempty"`
	// Value has no trailing zeros. For per-CPU maps it is the values of all CPUs, each rounded up
	// to 8 bytes.
	Value []byte `json:"v,omitempty"`
	// Ref is the logical name of the map or program that the element holds.
	Ref string `json:"r,omitempty"`
}

// Program is a program (struct bpf_prog_info).
type Program struct {
	Name       string        `json:"name"` // of the function
	KernelName string        `json:"kernel_name"`
	Type       uapi.ProgType `json:"type"`
	Tag        string        `json:"tag"`
	GPL        bool          `json:"gpl"`
	UID        uint32        `json:"uid,omitempty"`

	IfIndex  uint32 `json:"ifindex,omitempty"`
	NetnsDev uint64 `json:"netns_dev,omitempty"`
	NetnsIno uint64 `json:"netns_ino,omitempty"`

	// Attach is the BTF object and type that the program attaches to,
	// "vmlinux:func do_unlinkat#36123", empty if there is none, nil before 6.0.
	Attach        *string `json:"attach,omitempty"`
	VerifiedInsns *uint32 `json:"verified_insns,omitempty"` // nil before 5.16

	// These are nil if they cannot be read (see peek).
	AttachType *uint32 `json:"attach_type,omitempty"` // enum bpf_attach_type, as it was expected at load
	Sleepable  *bool   `json:"sleepable,omitempty"`
	Frags      *bool   `json:"frags,omitempty"` // accepts packets in several buffers; nil before 5.18

	BTF   string   `json:"btf,omitempty"`   // hash of the program's BTF, empty if it has none
	Types []uint32 `json:"types,omitempty"` // types that the prototypes of its functions refer to

	// Maps are the maps that the instructions refer to, by first use. Bound are the others that the
	// program holds, sorted: maps bound to it, and maps that only dead code referred to.
	Maps  []string `json:"maps,omitempty"`
	Bound []string `json:"bound,omitempty"`

	// Functions are in the order of the instructions; the first is the program itself.
	Functions []Function `json:"functions,omitempty"`
	// Tags are the functions' tags if they cannot be assigned to functions.
	Tags []string `json:"tags,omitempty"`

	// FuncInfo means that the names of functions come from func_info.
	FuncInfo bool `json:"func_info,omitempty"`
	// Hidden means that the kernel withheld call targets (kptr_restrict).
	Hidden bool `json:"hidden,omitempty"`
	// Unread means that the kernel withheld the instructions.
	Unread bool `json:"unread,omitempty"`

	// JitedLens are the sizes of the functions' machine code in bytes. They are informational,
	// because the JIT's choices depend on addresses. Only their number is compared.
	JitedLens []uint32 `json:"jited_lens,omitempty"`
}

// Function is one function of a program.
type Function struct {
	Name    string `json:"name"`
	Linkage string `json:"linkage,omitempty"` // "static", "global"
	Proto   string `json:"proto,omitempty"`   // type, rendered
	// Tag is the function's own tag (since 5.1), or [AddressTag] if it covers an address.
	Tag string `json:"tag,omitempty"`
	// Insns are the instructions after verification, 8 bytes each. Fields that Refs describes are
	// zero.
	Insns []byte `json:"insns,omitempty"`
	Refs  []Ref  `json:"refs,omitempty"` // by instruction
	// Lines are line_info records: instruction, index into State.Strings.
	Lines [][2]uint32 `json:"lines,omitempty"`
}

// A tag differs in every load if it covers instructions with an address of kernel memory or the
// file descriptor of a module's BTF. It is then replaced by one of these.
const (
	AddressTag = "covers an address"
	FDTag      = "covers a file descriptor"
)

// Ref is a reference by an instruction.
type Ref struct {
	At   uint32  `json:"i"` // instruction in its function
	Kind RefKind `json:"k"`
	To   string  `json:"t"`
	// Offset is the offset in the map's value, for RefValue.
	Offset uint32 `json:"o,omitempty"`
	// Index is the index in fd_array of a kfunc's module BTF, 0 for vmlinux. It is compared
	// separately, not as part of the listing.
	Index uint16 `json:"x,omitempty"`
}

// RefKind is the kind of a Ref.
type RefKind string

// Kinds of references.
const (
	RefMap   RefKind = "map"   // ld_imm64 of a map
	RefValue RefKind = "value" // ld_imm64 of an address in a map's value
	RefFunc  RefKind = "func"  // ld_imm64 of a function of the program
	RefCall  RefKind = "call"  // call of a function of the program
	RefKfunc RefKind = "kfunc" // call of a kernel function: "bpf_task_acquire [vmlinux]"
	RefAddr  RefKind = "addr"  // ld_imm64 of a kernel address: "jiffies [vmlinux]", or "memory 1", "memory 2" by first use
)

// BTF is a BTF object of maps and programs in the state.
type BTF struct {
	Hash  string `json:"hash"`  // FNV-1a of the bytes
	Size  int    `json:"size"`  // bytes
	Types int    `json:"types"` // number of types, void included
	// Names are the kind and name of each type by id, "struct task_struct". They are only recorded
	// for BTF that a single map or program has.
	Names []string `json:"names,omitempty"`
}

// find returns a pointer to the first matching element, nil if there is none.
func find[T any](list []T, matches func(*T) bool) *T {
	for i := range list {
		if matches(&list[i]) {
			return &list[i]
		}
	}
	return nil
}

func (s *State) FindMap(name string) *Map {
	return find(s.Maps, func(m *Map) bool { return m.Name == name })
}

func (s *State) FindProgram(name string) *Program {
	return find(s.Programs, func(p *Program) bool { return p.Name == name })
}

func (s *State) FindBTF(hash string) *BTF {
	return find(s.BTF, func(b *BTF) bool { return b.Hash == hash })
}

func (p *Program) FindFunction(name string) *Function {
	return find(p.Functions, func(f *Function) bool { return f.Name == name })
}
