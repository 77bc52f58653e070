package random

import (
	"fmt"
	"slices"

	"github.com/bpfreplay/bpfreplay/internal/core"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// Object describes a BPF object. All names in it are unique, across all kinds of things.
type Object struct {
	Seed, Index uint64
	License     string
	Maps        []Map
	Vars        []Var
	Externs     []Extern
	Functions   []Function // a function calls only functions before it

	// Lines means that each block has line info, not only each function.
	Lines bool
	// Compiled means that the loader has to fill in the offsets and sizes of data sections, as with
	// a compiler's output. A static linker fills them in itself.
	Compiled bool
}

// Name returns the name of the object, from which libbpf derives the names of data maps.
func (o *Object) Name() string { return fmt.Sprintf("fuzz%d_%d", o.Index, o.Seed) }

// File returns the base name of the object's file.
func (o *Object) File() string { return o.Name() + ".bpf.o" }

// Map describes a map in .maps.
type Map struct {
	Name       string
	Type       uapi.MapType
	Key, Value Type
	KeySize    uint32 // bytes; also set if Key is
	ValueSize  uint32
	MaxEntries uint32
	Flags      uint32
	NUMA       bool   // the flag and numa_node 0 are set
	Extra      uint64 // map_extra
	Inner      *Map   // the template of a map of maps
	Slots      []Slot
}

// Slot is a slot of a map of maps or of programs that the loader has to fill.
type Slot struct {
	Index int
	To    string // name of a map or a program
}

// Type is a C type. The zero Type means that only a size is given.
type Type struct {
	kind string
	size uint32 // bytes
}

// Kinds of types.
const (
	kindInt    = "int"
	kindArray  = "array"  // of char
	kindStruct = "struct" // of numbers
	kindLock   = "lock"   // a struct with a bpf_spin_lock first
	kindTimer  = "timer"  // a struct with a bpf_timer first
)

// String returns the text for descriptions: "int:4".
func (t Type) String() string {
	if t == (Type{}) {
		return ""
	}
	return fmt.Sprintf("%s:%d", t.kind, t.size)
}

// special reports whether the type begins with a lock or a timer.
func (t Type) special() bool { return t.kind == kindLock || t.kind == kindTimer }

// Var is a variable in a data section. The variables of a section are next to each other, and are
// laid out in order.
type Var struct {
	Name    string
	Section string
	Size    uint32 // bytes
	Static  bool
	Data    []byte // Size bytes; nil in .bss
}

func (v *Var) align() uint32 {
	switch {
	case v.Size%8 == 0:
		return 8
	case v.Size%4 == 0:
		return 4
	}
	return 1
}

// named is a part of an object that has a name.
type named interface{ name() string }

func (m Map) name() string      { return m.Name }
func (v Var) name() string      { return v.Name }
func (e Extern) name() string   { return e.Name }
func (f Function) name() string { return f.Name }

func namesOf[T named](list []T) (names []string) {
	for _, t := range list {
		names = append(names, t.name())
	}
	return names
}

// ExternKind is a kind of extern symbols.
type ExternKind string

// Kinds of extern symbols.
const (
	Kconfig  ExternKind = "kconfig"
	Typeless ExternKind = "typeless ksym"
	Typed    ExternKind = "typed ksym"
	Kfunc    ExternKind = "kfunc"
)

// Extern is a symbol that the kernel provides.
type Extern struct {
	Name string
	Kind ExternKind
	Weak bool
}

// Role is the purpose of a function.
type Role string

// Roles of functions.
const (
	Program    Role = "program"
	Subprogram Role = "subprogram"
	OfLoop     Role = "callback of bpf_loop"
	OfElements Role = "callback of bpf_for_each_map_elem"
)

// Function is a program or a function in .text.
type Function struct {
	Name    string
	Role    Role
	Section string
	Global  bool  // a program always is
	Hidden  bool  // global only within the file: libbpf makes it static
	Result  int32 // the return value, unless Returns is set
	Returns bool  // the accumulator is returned
	Runs    bool  // it can be run with a packet
	Blocks  []Block
}

// Block is a piece of a function that can be removed.
type Block struct {
	ID   string // "#" and a number, unique in the object
	What string
	Head []Insn
	Body []Block
	Tail []Insn
}

// Target is the target of a jump.
type Target uint8

// Targets of jumps.
const (
	Nowhere Target = iota // use Off
	ToBody                // the start of the block's Body
	ToTail
	ToEnd // after the block
)

// Insn is an instruction. A load of 64 bits also counts as one.
type Insn struct {
	Op       uint8
	Dst, Src uint8
	Off      int16
	Imm      int64
	To       Target
	Ref      *Ref
	Core     *Access
}

// Ref is a reference to something by name: a call of a function or an extern, or ld_imm64 of a map,
// a variable, an extern or a function.
type Ref struct {
	Name   string
	Offset uint32 // bytes, into a variable
	// BySection: refer to something that is not global by the symbol of its section, as compilers
	// do, instead of its own.
	BySection bool
}

// Access is a CO-RE access.
type Access struct {
	Kind core.Kind
	Type string // in localTypes
	Path string // "0:1"
}

// insns returns the instructions of the block itself, not of its Body.
func (b *Block) insns() []Insn { return slices.Concat(b.Head, b.Tail) }

// walk calls f for all blocks, including nested ones.
func walk(blocks []Block, f func(*Block)) {
	for i := range blocks {
		f(&blocks[i])
		walk(blocks[i].Body, f)
	}
}

// Without returns the object without the named things, and without the blocks and slots that refer
// to them. The result shares data with o.
func (o *Object) Without(drop map[string]bool) *Object {
	out := *o
	out.Maps, out.Vars = without(o.Maps, drop), without(o.Vars, drop)
	out.Externs, out.Functions = without(o.Externs, drop), without(o.Functions, drop)
	for i := range out.Maps {
		m := &out.Maps[i]
		m.Slots = slices.DeleteFunc(slices.Clone(m.Slots), func(s Slot) bool { return drop[s.To] })
	}
	for i := range out.Functions {
		f := &out.Functions[i]
		f.Blocks = withoutBlocks(f.Blocks, drop)
	}
	return &out
}

func without[T named](list []T, drop map[string]bool) []T {
	return slices.DeleteFunc(slices.Clone(list), func(t T) bool { return drop[t.name()] })
}

func withoutBlocks(blocks []Block, drop map[string]bool) []Block {
	var out []Block
	for _, b := range blocks {
		refers := func(in Insn) bool { return in.Ref != nil && drop[in.Ref.Name] }
		if drop[b.ID] || slices.ContainsFunc(b.insns(), refers) {
			continue
		}
		b.Body = withoutBlocks(b.Body, drop)
		out = append(out, b)
	}
	return out
}

// find returns the element with this name, nil if there is none.
func find[T named](list []T, name string) *T {
	return firstOf(list, func(t *T) bool { return (*t).name() == name })
}

// firstOf returns the first element for which want returns true, nil if there is none.
func firstOf[T any](list []T, want func(*T) bool) *T {
	for i := range list {
		if want(&list[i]) {
			return &list[i]
		}
	}
	return nil
}

// Programs returns the names of the programs that can be run with a packet.
func (o *Object) Programs() []string {
	var names []string
	for _, f := range o.Functions {
		if f.Runs {
			names = append(names, f.Name)
		}
	}
	return names
}
