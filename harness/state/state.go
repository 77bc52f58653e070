package state

import "github.com/bpfreplay/bpfreplay/internal/uapi"

// State is what a load left in the kernel, normalised. It is a plain value:
// it travels as JSON from the guest to the host.
type State struct {
	// CPUs is the number of possible CPUs: how many values a per-CPU element has.
	CPUs     int       `json:"cpus"`
	Maps     []Map     `json:"maps,omitempty"`     // by Name
	Programs []Program `json:"programs,omitempty"` // by Name
	BTF      []BTF     `json:"btf,omitempty"`      // by Hash
	Links    []Link    `json:"links,omitempty"`    // that the load has made

	// Types are texts of types that Map.Types and Program.Types refer to by index.
	Types []string `json:"types,omitempty"`

	// Strings are source lines, "file:line:col text", that Function.Lines
	// refers to by index.
	Strings []string `json:"strings,omitempty"`
}

// Map is a map (struct bpf_map_info, fdinfo, contents).
type Map struct {
	// Name is the logical name: the variable or the section. A map that was
	// found through a reference has the name that the kernel gives it, without
	// the object's prefix, or "outer[key]" if it is an inner map.
	Name string `json:"name"`
	// Copies is how many maps that do not differ in anything below were found
	// under this name. It is 1 but for maps that an engine makes several times.
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
	Types []uint32 `json:"types,omitempty"` // what Key and Value lead to, by pointers too
	Key   string   `json:"key,omitempty"`   // type, rendered
	Value string   `json:"value,omitempty"` // type, rendered
	// VmlinuxValue is the kernel type of a struct_ops map's value:
	// "vmlinux:struct bpf_struct_ops_tcp_congestion_ops#4711".
	VmlinuxValue string `json:"vmlinux_value,omitempty"`

	Frozen   *bool  `json:"frozen,omitempty"`    // nil if fdinfo does not say (before 5.2)
	Access   string `json:"access,omitempty"`    // of the fd that the load made: "read-write"; empty if it is not known
	NUMANode *int32 `json:"numa_node,omitempty"` // nil if the kernel does not let us see it (see peek)
	Inner    string `json:"inner,omitempty"`     // what a map of maps wants of those that are put into it: "HASH, key_size 4, …"
	Owner    string `json:"owner,omitempty"`     // of a program array: "type 1 jited 1"

	Contents Contents `json:"contents"`

	userStart uint64 // of an arena: its first address in user space, 0 if it is not known
}

// Contents are the elements of a map.
type Contents struct {
	// NotRead is why there are no Entries, empty if they were read.
	NotRead string `json:"not_read,omitempty"`
	// Entries are sorted by key. Those of arrays whose value is all zero are
	// left out.
	Entries []Entry `json:"entries,omitempty"`
}

// Entry is one element.
type Entry struct {
	Key []byte `json:"k,omitempty"`
	// Value lacks its trailing zeros. For per-CPU maps it is the values of all
	// CPUs, each rounded up to 8 bytes.
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

	// These are nil if the kernel does not let us see them (see peek).
	AttachType *uint32 `json:"attach_type,omitempty"` // enum bpf_attach_type, as it was expected at load
	Sleepable  *bool   `json:"sleepable,omitempty"`
	Frags      *bool   `json:"frags,omitempty"` // takes packets in several buffers; nil before 5.18

	BTF   string   `json:"btf,omitempty"`   // hash of the program's BTF, empty if it has none
	Types []uint32 `json:"types,omitempty"` // what the prototypes of its functions lead to

	// Maps are the maps that the instructions refer to, by first use. Bound
	// are the others that the program holds, sorted: maps bound to it and maps
	// that only dead code referred to.
	Maps  []string `json:"maps,omitempty"`
	Bound []string `json:"bound,omitempty"`

	// Functions in the order of the instructions; the first is the program itself.
	Functions []Function `json:"functions,omitempty"`
	// Tags are those of the functions if they cannot be told whose is whose.
	Tags []string `json:"tags,omitempty"`

	// FuncInfo tells that names of functions come from func_info.
	FuncInfo bool `json:"func_info,omitempty"`
	// Hidden tells that the kernel withheld call targets (kptr_restrict).
	Hidden bool `json:"hidden,omitempty"`
	// Unread tells that the kernel withheld the instructions.
	Unread bool `json:"unread,omitempty"`

	// JitedLens are the bytes of machine code of each function. They are
	// information: the JIT's choices depend on addresses. Their number is compared.
	JitedLens []uint32 `json:"jited_lens,omitempty"`
}

// Function is one function of a program.
type Function struct {
	Name    string `json:"name"`
	Linkage string `json:"linkage,omitempty"` // "static", "global"
	Proto   string `json:"proto,omitempty"`   // type, rendered
	// Tag is the function's own (since 5.1), [AddressTag] if it covers an address.
	Tag string `json:"tag,omitempty"`
	// Insns are the instructions after verification, 8 bytes each. Fields that
	// hold what Refs names are zero.
	Insns []byte `json:"insns,omitempty"`
	Refs  []Ref  `json:"refs,omitempty"` // by instruction
	// Lines are line_info records: instruction, index into State.Strings.
	Lines [][2]uint32 `json:"lines,omitempty"`
}

// A tag differs at every load if the instructions that it covers hold an address of
// kernel memory, or the file descriptor of a module's BTF. One of these stands for it then.
const (
	AddressTag = "covers an address"
	FDTag      = "covers a file descriptor"
)

// Ref is what an instruction refers to.
type Ref struct {
	At   uint32  `json:"i"` // instruction in its function
	Kind RefKind `json:"k"`
	To   string  `json:"t"`
	// Offset in the map's value, for RefValue.
	Offset uint32 `json:"o,omitempty"`
	// Index in the load's fd_array of a kfunc's module BTF, 0 for vmlinux. It
	// is no part of the listing but compared by itself.
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

// BTF is one BTF object that maps and programs of the state have.
type BTF struct {
	Hash  string `json:"hash"`  // FNV-1a of the bytes
	Size  int    `json:"size"`  // bytes
	Types int    `json:"types"` // number of types, void included
	// Names are kind and name of each type by id, "struct task_struct". They
	// are recorded only for BTF that a single map or program has.
	Names []string `json:"names,omitempty"`
}

// find returns a pointer to the first element that matches, nil if none does.
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
