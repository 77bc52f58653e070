package skelgen

import (
	"fmt"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/btf"
)

// cType is a type in a C declaration: the text before and after the name.
type cType struct {
	before, after string
	size, align   uint32 // bytes
}

func cOpaque(size uint32) cType { return cType{"unsigned char", fmt.Sprintf("[%d]", size), size, 1} }

func cInt(size uint32, signed bool) cType {
	names := map[uint32][2]string{1: {"__u8", "__s8"}, 2: {"__u16", "__s16"}, 4: {"__u32", "int"}, 8: {"__u64", "__s64"}}
	n, ok := names[size]
	if !ok {
		return cOpaque(size)
	}
	if signed {
		return cType{n[1], "", size, size}
	}
	return cType{n[0], "", size, size}
}

// cFields writes struct members that have the object's layout on every machine. It spells
// everything out, so that no types need to be declared: typedefs, structs and unions as their
// content, enums as integers, bitfields as padding. goTypes lists what becomes bytes.
type cFields struct {
	spec   *btf.Spec
	scope  scope
	indent string
	size   uint32 // of the struct; a multiple of all alignments; 0 for a section

	text   strings.Builder
	at     uint32
	most   uint32
	places []cPlace
}

// cPlace is the required offset of a member.
type cPlace struct {
	name         string
	offset, size uint32
}

func (f *cFields) pad(to uint32) {
	if to > f.at {
		fmt.Fprintf(&f.text, "%sunsigned char %s[%d];\n", f.indent, f.scope.unique("bpfreplay_pad"), to-f.at)
		f.at = to
	}
}

func (f *cFields) field(name string, offset uint32, t cType) {
	if t.size == 0 || offset < f.at || f.size > 0 && offset+t.size > f.size {
		return
	}
	if offset%t.align != 0 || f.size%t.align != 0 {
		t = cOpaque(t.size)
	}
	f.pad(offset)
	id := f.scope.unique(cIdentifier(name))
	fmt.Fprintf(&f.text, "%s%s %s%s;\n", f.indent, t.before, id, t.after)
	f.places = append(f.places, cPlace{id, offset, t.size})
	f.at, f.most = offset+t.size, max(f.most, t.align)
}

// express returns the C type, if there is one.
func (f *cFields) express(id btf.TypeID, depth int) (cType, bool) {
	if depth > maxNesting || id == 0 {
		return cType{}, false
	}
	t, err := f.spec.Type(id)
	if err != nil {
		return cType{}, false
	}
	switch t.Kind {
	case btf.KindConst, btf.KindVolatile, btf.KindRestrict, btf.KindTypeTag, btf.KindVar, btf.KindTypedef:
		return f.express(t.Ref, depth+1)
	case btf.KindInt:
		switch {
		case t.Int.Bool && t.Size == 1:
			return cType{"bool", "", 1, 1}, true
		case t.Size == 1 && (t.Int.Char || t.Name == "char"):
			return cType{"char", "", 1, 1}, true
		}
		return cInt(t.Size, t.Int.Signed), true
	case btf.KindEnum, btf.KindEnum64:
		return cInt(t.Size, t.Flag), true
	case btf.KindPtr:
		return cType{"bpfreplay_ptr", "", btf.PointerSize, 8}, true
	case btf.KindFloat:
		switch t.Size {
		case 4:
			return cType{"float", "", 4, 4}, true
		case 8:
			return cType{"double", "", 8, 8}, true
		}
	case btf.KindArray:
		elem, ok := f.express(t.Array.Elem, depth+1)
		if !ok {
			return cType{}, false
		}
		size := uint64(elem.size) * uint64(t.Array.Len)
		if size == 0 || size > 1<<31-1 {
			return cType{}, size == 0
		}
		return cType{elem.before, fmt.Sprintf("[%d]%s", t.Array.Len, elem.after), uint32(size), elem.align}, true
	case btf.KindStruct, btf.KindUnion:
		return f.composite(t, make(scope), depth)
	}
	return cType{}, false
}

// composite spells out a struct, or a union as a union of structs with one member each.
//
// Members of anonymous structs and unions are in the enclosing scope.
func (f *cFields) composite(t *btf.Type, names scope, depth int) (cType, bool) {
	if t.Size == 0 || depth > 8 { // deeper types become bytes, to bound the text
		return cOpaque(t.Size), true
	}
	in := &cFields{spec: f.spec, scope: names, indent: f.indent + "\t", size: t.Size}
	for _, m := range t.Members {
		if m.BitSize != 0 || m.BitOffset%8 != 0 {
			continue
		}
		size, err := f.spec.SizeOf(m.Type)
		if err != nil {
			continue
		}
		if m.Name == "" {
			in.anonymous(m, depth)
		} else if x, ok := in.express(m.Type, depth+1); ok && x.size == size {
			in.field(m.Name, m.BitOffset/8, x)
		} else {
			in.field(m.Name, m.BitOffset/8, cOpaque(size))
		}
		if t.Kind == btf.KindUnion {
			in.at = 0
		}
	}
	in.pad(t.Size)
	return cType{fmt.Sprintf("%s {\n%s%s}", t.Kind, in.text.String(), f.indent), "", t.Size, max(in.most, 1)}, true
}

// anonymous spells out an anonymous member.
func (f *cFields) anonymous(m btf.Member, depth int) {
	of, err := f.spec.Underlying(m.Type)
	if err != nil || of.Kind != btf.KindStruct && of.Kind != btf.KindUnion {
		return
	}
	offset := m.BitOffset / 8
	x, ok := f.composite(of, f.scope, depth+1)
	if !ok || x.after != "" || x.size == 0 || offset < f.at || offset%x.align != 0 || f.size%x.align != 0 {
		return // padding
	}
	f.pad(offset)
	fmt.Fprintf(&f.text, "%s%s;\n", f.indent, x.before)
	f.at, f.most = offset+x.size, max(f.most, x.align)
}
