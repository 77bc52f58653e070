package btf

import "fmt"

// TypeID is the index of a type in a BTF blob. 0 is void.
type TypeID uint32

// Kind is a BTF_KIND_* of include/uapi/linux/btf.h.
type Kind uint8

// The kinds of BTF. The comment names the first kernel that accepts the kind.
const (
	KindVoid      Kind = iota // type id 0
	KindInt                   // 4.18
	KindPtr                   // 4.18
	KindArray                 // 4.18
	KindStruct                // 4.18
	KindUnion                 // 4.18
	KindEnum                  // 4.18, values of 32 bits
	KindFwd                   // 4.18
	KindTypedef               // 4.18
	KindVolatile              // 4.18
	KindConst                 // 4.18
	KindRestrict              // 4.18
	KindFunc                  // 5.0
	KindFuncProto             // 5.0
	KindVar                   // 5.2
	KindDatasec               // 5.2
	KindFloat                 // 5.13
	KindDeclTag               // 5.16
	KindTypeTag               // 5.17
	KindEnum64                // 6.0

	kindMax = KindEnum64
)

var kindNames = [...]string{
	"void", "int", "ptr", "array", "struct", "union", "enum", "fwd", "typedef",
	"volatile", "const", "restrict", "func", "func_proto", "var", "datasec",
	"float", "decl_tag", "type_tag", "enum64",
}

// String returns the lower-case name of the kind: "func_proto".
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Linkage of a VAR or FUNC (BTF_VAR_*, BTF_FUNC_*: the numbers agree).
type Linkage uint32

// Linkages. A global FUNC is verified on its own, a static one with its callers.
const (
	Static Linkage = 0
	Global Linkage = 1
	Extern Linkage = 2
)

func (l Linkage) String() string {
	switch l {
	case Static:
		return "static"
	case Global:
		return "global"
	case Extern:
		return "extern"
	}
	return fmt.Sprintf("linkage %d", uint32(l))
}

// layout is the number of bytes that follow a type's 12-byte header: info once, and elem for each
// of its vlen elements.
type layout struct {
	info, elem uint8
}

var layouts = [kindMax + 1]layout{
	KindInt:       {info: 4},
	KindArray:     {info: 12},
	KindStruct:    {elem: 12},
	KindUnion:     {elem: 12},
	KindEnum:      {elem: 8},
	KindFuncProto: {elem: 8},
	KindVar:       {info: 4},
	KindDatasec:   {elem: 12},
	KindDeclTag:   {info: 4},
	KindEnum64:    {elem: 12},
}

// hasRef reports whether the kind's third word is a type id. Otherwise it is a size.
func (k Kind) hasRef() bool {
	switch k {
	case KindPtr, KindTypedef, KindVolatile, KindConst, KindRestrict, KindFunc,
		KindFuncProto, KindVar, KindDeclTag, KindTypeTag:
		return true
	}
	return false
}

// isModifier reports whether the kind is a typedef, qualifier or type tag. libbpf and the kernel
// skip these to find the underlying type.
func (k Kind) isModifier() bool {
	switch k {
	case KindTypedef, KindVolatile, KindConst, KindRestrict, KindTypeTag:
		return true
	}
	return false
}
