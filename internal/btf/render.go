package btf

import (
	"fmt"
	"strconv"
	"strings"
)

// maxRender bounds the text of one type, and maxNesting the depth of anonymous types in it: hostile
// BTF can describe an astronomically large type in a few bytes.
const (
	maxRender  = 1 << 16
	maxNesting = 16
)

// Render returns a type as C, by structure and names and without ids, so equal types of two blobs
// have equal texts. It writes the type itself in full, through typedefs and qualifiers: members
// with their offsets, sizes, enumerators. It only names the types that it refers to, except for
// anonymous ones, which have no name. It leaves out decl tags. A type that cannot be decoded is
// shown as such. A text of more than 64 KiB ends with "…".
func (s *Spec) Render(id TypeID) string {
	r := renderer{s: s}
	text := r.declare(id, "", 0, true)
	if len(text) > maxRender || r.spent > maxRender {
		return text[:min(len(text), maxRender)] + "…"
	}
	return text
}

type renderer struct {
	s     *Spec
	spent int // bytes rendered in bodies so far
}

// declare returns a C declaration of name ("" for an abstract one) with a type. name grows from the
// inside out, as declarators do: "x", "*x", "(*x)[4]".
func (r *renderer) declare(id TypeID, name string, depth int, full bool) string {
	if depth > 2*maxDepth || r.spent > maxRender {
		return join("…", name)
	}
	if !full {
		if ref := r.reference(id); ref != "" {
			return join(ref, name)
		}
	}
	t, err := r.s.Type(id)
	if err != nil {
		return join(fmt.Sprintf("<type %d?>", id), name)
	}
	depth++
	switch t.Kind {
	case KindVoid:
		return join("void", name)
	case KindPtr:
		if k := r.s.KindOf(t.Ref); k == KindArray || k == KindFuncProto {
			return r.declare(t.Ref, "(*"+name+")", depth, false)
		}
		return r.declare(t.Ref, "*"+name, depth, false)
	case KindConst, KindVolatile, KindRestrict:
		return r.qualified(t, name, depth, full)
	case KindTypeTag:
		return r.declare(t.Ref, join(fmt.Sprintf("__attribute__((btf_type_tag(%q)))", t.Name), name), depth, full)
	case KindTypedef:
		if full && name == "" {
			return "typedef " + r.declare(t.Ref, t.Name, depth, true)
		}
		return join(t.Name, name)
	case KindArray:
		return r.declare(t.Array.Elem, fmt.Sprintf("%s[%d]", name, t.Array.Len), depth, full)
	case KindFuncProto:
		return r.declare(t.Ref, name+"("+r.params(t, depth)+")", depth, false)
	case KindVar:
		return t.Linkage.String() + " " + r.declare(t.Ref, t.Name, depth, full)
	case KindFunc:
		return t.Linkage.String() + " " + r.declare(t.Ref, t.Name, depth, false)
	case KindDeclTag:
		return fmt.Sprintf("decl_tag(%q, %d) %s", t.Name, t.Component, r.declare(t.Ref, "", depth, false))
	}
	return join(r.base(t, depth, full), name)
}

// reference returns a type's name, with struct, union or enum, without decoding the inside. It
// returns "" for types without such a name.
func (r *renderer) reference(id TypeID) string {
	name := r.s.TypeName(id)
	if name == "" {
		return ""
	}
	switch kind := r.s.KindOf(id); kind {
	case KindStruct, KindUnion:
		return kind.String() + " " + name
	case KindEnum, KindEnum64:
		return "enum " + name
	}
	return ""
}

// qualified adds a qualifier in C's place: before the qualified type, or after the star of a
// pointer.
func (r *renderer) qualified(t *Type, name string, depth int, full bool) string {
	if r.qualifiesPointer(t.Ref) {
		return r.declare(t.Ref, join(t.Kind.String(), name), depth, full)
	}
	return t.Kind.String() + " " + r.declare(t.Ref, name, depth, full)
}

// qualifiesPointer reports whether a pointer follows, through further qualifiers.
func (r *renderer) qualifiesPointer(id TypeID) bool {
	for range maxDepth {
		b := r.s.at(id)
		if b == nil {
			return false
		}
		switch infoKind(le.Uint32(b[4:])) {
		case KindPtr:
			return true
		case KindConst, KindVolatile, KindRestrict:
			id = TypeID(le.Uint32(b[8:]))
		default:
			return false
		}
	}
	return false
}

func join(a, b string) string {
	if b == "" {
		return a
	}
	return a + " " + b
}

func (r *renderer) params(t *Type, depth int) string {
	if len(t.Params) == 0 {
		return "void"
	}
	var list []string
	for i, p := range t.Params {
		if p.Type == 0 && i == len(t.Params)-1 {
			list = append(list, "...")
			break
		}
		list = append(list, r.note(r.declare(p.Type, p.Name, depth, false)))
	}
	return strings.Join(list, ", ")
}

// note counts the bytes written, so that wide and deep types end.
func (r *renderer) note(text string) string {
	r.spent += len(text)
	return text
}

// base returns types that need no declarator.
func (r *renderer) base(t *Type, depth int, full bool) string {
	switch t.Kind {
	case KindInt:
		if full {
			return fmt.Sprintf("%s /* %s */", t.Name, t.Int.describe(t.Size))
		}
		return t.Name
	case KindFloat:
		if full {
			return fmt.Sprintf("%s /* float of %d bytes */", t.Name, t.Size)
		}
		return t.Name
	case KindFwd:
		if t.Flag {
			return join("union", t.Name)
		}
		return join("struct", t.Name)
	case KindStruct, KindUnion:
		if depth > maxNesting {
			return join(t.Kind.String(), t.Name)
		}
		return join(t.Kind.String(), t.Name) + r.members(t, depth)
	case KindEnum, KindEnum64:
		if depth > maxNesting {
			return join("enum", t.Name)
		}
		return join("enum", t.Name) + r.values(t)
	case KindDatasec:
		return "datasec " + t.Name + r.vars(t, depth)
	}
	return fmt.Sprintf("%v %s", t.Kind, t.Name)
}

func (e Encoding) describe(size uint32) string {
	what := "unsigned"
	switch {
	case e.Bool:
		what = "bool"
	case e.Signed:
		what = "signed"
	}
	if e.Char {
		what += " char"
	}
	text := fmt.Sprintf("%s, %d bits of %d bytes", what, e.Bits, size)
	if e.Offset != 0 {
		text += fmt.Sprintf(" at bit %d", e.Offset)
	}
	return text
}

func (r *renderer) members(t *Type, depth int) string {
	return r.body(t, len(t.Members), func(i int) string {
		m := &t.Members[i]
		text := r.declare(m.Type, m.Name, depth, false)
		if m.BitSize != 0 {
			text += ":" + strconv.Itoa(int(m.BitSize))
		}
		return fmt.Sprintf("%s; /* %s */ ", text, bitOffset(m.BitOffset))
	})
}

// body returns the n elements of a type in braces, and the type's size.
func (r *renderer) body(t *Type, n int, element func(i int) string) string {
	var b strings.Builder
	b.WriteString(" { ")
	for i := 0; i < n && r.spent <= maxRender; i++ {
		b.WriteString(r.note(element(i)))
	}
	fmt.Fprintf(&b, "} /* %d bytes */", t.Size)
	return b.String()
}

func bitOffset(bits uint32) string {
	if bits%8 == 0 {
		return strconv.Itoa(int(bits / 8))
	}
	return fmt.Sprintf("%d:%d", bits/8, bits%8)
}

func (r *renderer) values(t *Type) string {
	return r.body(t, len(t.Values), func(i int) string {
		v := &t.Values[i]
		if t.Flag {
			return fmt.Sprintf("%s = %d, ", v.Name, int64(v.Value))
		}
		return fmt.Sprintf("%s = %d, ", v.Name, v.Value)
	})
}

func (r *renderer) vars(t *Type, depth int) string {
	return r.body(t, len(t.Vars), func(i int) string {
		v := &t.Vars[i]
		return fmt.Sprintf("%s; /* %d, %d bytes */ ", r.declare(v.Type, "", depth, false), v.Offset, v.Size)
	})
}
