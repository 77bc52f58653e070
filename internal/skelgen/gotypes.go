package skelgen

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/btf"
)

// goTypes declares Go types for BTF types. The declarations have the layout of the C types on every
// GOARCH. cilium's btf.GoFormatter refuses a whole declaration if it cannot express one member;
// here only that member becomes bytes:
//
//   - pointers, also to functions, are uint64;
//   - bitfields, misaligned members, integers of more than 64 bits, and types that cannot be
//     resolved are [N]byte; bitfields have no name;
//   - a union is its first member and padding;
//   - members of anonymous structs and unions become members of the enclosing struct;
//   - arrays without elements are left out: Go would make the struct larger.
type goTypes struct {
	spec   *btf.Spec
	prefix string // of type names
	global scope  // names at the top level

	names map[btf.TypeID]named // by the type that has the name
	decls []string             // in the order of use
	// checks are expressions that are 0 if the declarations have the intended layout. Tests compile
	// them.
	checks []string
}

type named struct {
	name        string
	size, align uint32
}

// goType is a Go type expression, with its size and its alignment on 64-bit architectures.
type goType struct {
	text        string
	size, align uint32
}

// maxNesting bounds the depth of types, because BTF is not trusted.
const maxNesting = 32

func opaque(size uint32) goType { return goType{fmt.Sprintf("[%d]byte", size), size, 1} }

// of returns a type of the given size in bytes, which is the variable's or member's.
func (g *goTypes) of(id btf.TypeID, size uint32, depth int) goType {
	if t, ok := g.express(id, depth); ok && t.size == size {
		return t
	}
	return opaque(size)
}

// express returns the Go type, if there is one.
func (g *goTypes) express(id btf.TypeID, depth int) (goType, bool) {
	if depth > maxNesting {
		return goType{}, false
	}
	t, err := g.spec.Type(id)
	if err != nil {
		return goType{}, false
	}
	switch t.Kind {
	case btf.KindConst, btf.KindVolatile, btf.KindRestrict, btf.KindTypeTag, btf.KindVar:
		return g.express(t.Ref, depth+1)
	case btf.KindTypedef:
		return g.typedef(t, depth)
	case btf.KindInt:
		return goInt(t)
	case btf.KindPtr:
		return goType{"uint64", btf.PointerSize, 8}, true
	case btf.KindFloat:
		return goType{fmt.Sprintf("float%d", 8*t.Size), t.Size, t.Size}, t.Size == 4 || t.Size == 8
	case btf.KindEnum, btf.KindEnum64:
		return g.enum(t, t.Name)
	case btf.KindArray:
		return g.array(t, depth)
	case btf.KindStruct, btf.KindUnion:
		return g.composite(t, t.Name, depth)
	}
	return goType{}, false
}

func goInt(t *btf.Type) (goType, bool) {
	stem := "uint"
	switch {
	case t.Int.Bool && t.Size == 1:
		return goType{"bool", 1, 1}, true
	case t.Int.Signed && !t.Int.Bool:
		stem = "int"
	}
	switch t.Size {
	case 1, 2, 4, 8:
		return goType{fmt.Sprintf("%s%d", stem, 8*t.Size), t.Size, t.Size}, true
	}
	return opaque(t.Size), true
}

// typedef returns the type behind a typedef. Types without another name get the typedef's.
func (g *goTypes) typedef(t *btf.Type, depth int) (goType, bool) {
	of, err := g.spec.Underlying(t.Ref)
	if err != nil {
		return goType{}, false
	}
	switch of.Kind {
	case btf.KindEnum, btf.KindEnum64:
		if of.Name == "" {
			return g.enum(of, t.Name)
		}
	case btf.KindStruct, btf.KindUnion:
		if of.Name == "" {
			return g.composite(of, t.Name, depth)
		}
	}
	out, ok := g.express(t.Ref, depth+1)
	if n, known := g.names[of.ID]; ok && known && n.name == out.text && depth == 0 {
		g.alias(t, n)
	}
	return out, ok
}

// alias gives a named type a second name: bpf2go names map values after their typedef.
func (g *goTypes) alias(t *btf.Type, to named) {
	if _, known := g.names[t.ID]; known {
		return
	}
	name := g.global.unique(g.prefix + Identifier(t.Name))
	g.names[t.ID] = named{name, to.size, to.align}
	g.decls = append(g.decls, fmt.Sprintf("type %s = %s", name, to.name))
}

func (g *goTypes) array(t *btf.Type, depth int) (goType, bool) {
	elem, ok := g.express(t.Array.Elem, depth+1)
	if !ok {
		size, err := g.spec.SizeOf(t.Array.Elem)
		if err != nil {
			return goType{}, false
		}
		elem = opaque(size)
	}
	size := uint64(elem.size) * uint64(t.Array.Len)
	if elem.size == 0 || size > 1<<31-1 {
		return opaque(uint32(min(size, 1<<31-1))), size <= 1<<31-1
	}
	return goType{fmt.Sprintf("[%d]%s", t.Array.Len, elem.text), uint32(size), elem.align}, true
}

func (g *goTypes) enum(t *btf.Type, name string) (goType, bool) {
	base := goType{fmt.Sprintf("uint%d", 8*t.Size), t.Size, t.Size}
	if t.Flag {
		base.text = base.text[1:]
	}
	if !slices.Contains([]uint32{1, 2, 4, 8}, t.Size) {
		return goType{}, false
	}
	if name == "" {
		return base, true
	}
	if n, ok := g.names[t.ID]; ok {
		return goType{n.name, n.size, n.align}, true
	}
	n := named{g.global.unique(g.prefix + Identifier(name)), t.Size, t.Size}
	g.names[t.ID] = n
	var b strings.Builder
	fmt.Fprintf(&b, "// %s is enum %s.\ntype %s %s\n", n.name, printable(name), n.name, base.text)
	if len(t.Values) > 0 {
		b.WriteString("\nconst (\n")
		for _, v := range t.Values {
			fmt.Fprintf(&b, "%s %s = %s\n", g.global.unique(n.name+Identifier(v.Name)), n.name, enumValue(v.Value, t))
		}
		b.WriteString(")\n")
	}
	g.declare(b.String(), n)
	return goType{n.name, n.size, n.align}, true
}

// enumValue returns a value truncated to the enum's size.
func enumValue(v uint64, t *btf.Type) string {
	shift := 64 - 8*t.Size
	if t.Flag {
		return fmt.Sprint(int64(v) << shift >> shift)
	}
	return fmt.Sprint(v << shift >> shift)
}

func (g *goTypes) check(format string, args ...any) {
	g.checks = append(g.checks, fmt.Sprintf(format, args...))
}

func (g *goTypes) declare(text string, n named) {
	g.decls = append(g.decls, text)
	g.check("unsafe.Sizeof(*new(%s)) - %d", n.name, n.size)
}

// composite returns a struct or union. If it has a name, it is declared at the top level.
func (g *goTypes) composite(t *btf.Type, name string, depth int) (goType, bool) {
	if n, ok := g.names[t.ID]; ok {
		return goType{n.name, n.size, n.align}, n.name != ""
	}
	g.names[t.ID] = named{} // in case the type contains itself
	defer func() {
		if g.names[t.ID].name == "" {
			delete(g.names, t.ID)
		}
	}()
	f := &fields{g: g, size: t.Size, scope: make(scope), depth: depth}
	f.composite(t, 0)
	f.pad(t.Size)
	text := "struct {\n_ structs.HostLayout\n" + f.text.String() + "}"
	if name == "" {
		return goType{text, t.Size, f.align()}, true
	}
	n := named{g.global.unique(g.prefix + Identifier(name)), t.Size, f.align()}
	g.names[t.ID] = n
	g.declare(fmt.Sprintf("// %s is %s %s.\ntype %s %s\n", n.name, t.Kind, printable(name), n.name, text), n)
	f.check(n.name)
	return goType{n.name, n.size, n.align}, true
}

// variable is a variable of a data section.
type variable struct {
	name         string
	typ          btf.TypeID // 0 if there is none
	text         string     // replaces typ
	offset, size uint32
}

// section declares the struct of a data section. It may be larger than the section, because Go
// rounds its size up; the mapped memory is whole pages.
func (g *goTypes) section(name, comment string, vars []variable, size uint32) {
	f := &fields{g: g, size: 0, scope: make(scope)}
	slices.SortFunc(vars, func(a, b variable) int { return cmp.Compare(a.offset, b.offset) })
	for _, v := range vars {
		t := goType{v.text, v.size, v.size}
		if v.text == "" {
			t = g.of(v.typ, v.size, 0)
		}
		f.field(v.name, v.offset, t)
	}
	f.pad(size)
	g.decls = append(g.decls, fmt.Sprintf("%s\ntype %s struct {\n_ structs.HostLayout\n%s}\n", comment, name, f.text.String()))
	f.check(name)
}

// fields writes the fields of a struct.
type fields struct {
	g     *goTypes
	size  uint32 // of the struct; a multiple of its alignment; 0 if it may be rounded up
	scope scope
	depth int

	text   strings.Builder
	at     uint32 // end of the last field
	most   uint32 // the largest alignment
	places []string
}

// check records the required offsets of the fields of the struct of this name.
func (f *fields) check(name string) {
	for _, p := range f.places {
		f.g.check("unsafe.Offsetof(new(%s).%s", name, p)
	}
}

func (f *fields) align() uint32 { return max(f.most, 1) }

func (f *fields) pad(to uint32) {
	if to > f.at {
		fmt.Fprintf(&f.text, "_ [%d]byte\n", to-f.at)
		f.at = to
	}
}

// composite writes the members of a struct, or the first member of a union.
func (f *fields) composite(t *btf.Type, base uint32) {
	for _, m := range t.Members {
		f.member(m, base)
		if t.Kind == btf.KindUnion {
			return
		}
	}
}

func (f *fields) member(m btf.Member, base uint32) {
	if m.BitSize != 0 || m.BitOffset%8 != 0 {
		return // padding
	}
	offset := base + m.BitOffset/8
	of, err := f.g.spec.Underlying(m.Type)
	if err != nil {
		return
	}
	if m.Name == "" && (of.Kind == btf.KindStruct || of.Kind == btf.KindUnion) {
		if f.depth++; f.depth <= maxNesting {
			f.composite(of, offset)
		}
		f.depth--
		return
	}
	size, err := f.g.spec.SizeOf(m.Type)
	if err != nil || m.Name == "" {
		return
	}
	f.field(m.Name, offset, f.g.of(m.Type, size, f.depth+1))
}

func (f *fields) field(name string, offset uint32, t goType) {
	if t.size == 0 || offset < f.at || f.size > 0 && offset+t.size > f.size {
		return
	}
	note := ""
	if offset%t.align != 0 || f.size%t.align != 0 {
		note = " // not aligned for " + strings.ReplaceAll(t.text, "\n", " ")
		if strings.Contains(t.text, "{") {
			note = " // not aligned"
		}
		t = opaque(t.size)
	}
	f.pad(offset)
	id := f.scope.unique(Identifier(name))
	fmt.Fprintf(&f.text, "%s %s%s\n", id, t.text, note)
	f.places = append(f.places, fmt.Sprintf("%s) - %d", id, offset))
	f.at, f.most = offset+t.size, max(f.most, t.align)
}
