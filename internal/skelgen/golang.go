package skelgen

import (
	"bytes"
	"fmt"
	"go/format"
	"go/token"
	"hash/crc32"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
	"unsafe"

	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// Runtime is the import path of package skel, which Go skeletons call.
const Runtime = "github.com/bpfreplay/bpfreplay/loader/skel"

// GoOptions name a Go skeleton.
type GoOptions struct {
	Package string // name of the package
	// Ident is the name of the skeleton's type, and the prefix of all other names. They are
	// exported if it is.
	Ident string
	// File is the name of the artefact's file, which is in the same directory as the Go file.
	File string
	// Constraint is the expression for //go:build, empty for none.
	Constraint string
	// Types are names of further types of the object to declare.
	Types []string
}

// golang writes one Go file.
type golang struct {
	o     GoOptions
	obj   *object.Object
	a     *artefact.Artefact
	types *goTypes
	b     bytes.Buffer

	sections []section
	maps     []string // fields of the maps
	programs []string // fields of the programs
	ops      []structOps
}

// section is a data section whose memory the skeleton owns.
type section struct {
	index       int // of its map
	field, name string
}

// structOps is a struct_ops map that a skeleton attaches.
type structOps struct {
	index   int // of the map
	ops     string
	link    bool
	members []opsMember
}

// opsMember is a member that is set: to a program, or to bytes in the object's layout.
type opsMember struct {
	name    string
	program int // -1 for none
	bytes   []byte
}

// Go returns the Go file of a skeleton. file is the artefact's file, made from obj.
func Go(obj *object.Object, file []byte, o GoOptions) ([]byte, error) {
	g, err := newGolang(obj, file, o)
	if err != nil {
		return nil, err
	}
	g.write(file)
	out, err := format.Source(g.b.Bytes())
	if err != nil {
		return nil, fmt.Errorf("skeleton of %s: this is a bug, please report it with the object: %w", g.a.Object, err)
	}
	return out, nil
}

func newGolang(obj *object.Object, file []byte, o GoOptions) (*golang, error) {
	a, err := artefact.Parse(file)
	if err != nil {
		return nil, err
	}
	switch {
	case !token.IsIdentifier(o.Ident):
		return nil, fmt.Errorf("%q is no identifier of Go", o.Ident)
	case !token.IsIdentifier(o.Package):
		return nil, fmt.Errorf("%q is no name for a package of Go", o.Package)
	case o.File != filepath.Base(o.File) || strings.ContainsAny(o.File, "\n\r\" `*?[]\\"):
		return nil, fmt.Errorf("file name %q cannot stand in a directive of Go", o.File)
	}
	spec := obj.BTF
	if spec == nil {
		if spec, err = btf.Parse(btf.Encode("\x00", nil)); err != nil {
			return nil, err
		}
	}
	g := &golang{o: o, obj: obj, a: a}
	g.types = &goTypes{spec: spec, prefix: o.Ident, global: make(scope), names: make(map[btf.TypeID]named)}
	for _, name := range []string{"", "Maps", "Programs", "Links", "Sizes", "Replace", "Memory"} {
		g.types.global.unique(o.Ident + name)
	}
	g.collect()
	return g, g.more()
}

// private returns the name of an internal variable or function.
func (g *golang) private(suffix string) string { return "_" + g.o.Ident + suffix }

// open returns the name of the function that opens the skeleton.
func (g *golang) open() string {
	if token.IsExported(g.o.Ident) {
		return "Open" + g.o.Ident
	}
	first, n := utf8.DecodeRuneInString(g.o.Ident)
	return "open" + string(unicode.ToUpper(first)) + g.o.Ident[n:]
}

// collect finds the declarations, in the order of the artefact.
func (g *golang) collect() {
	fields, names := make(scope), make(scope)
	for i := range g.a.Maps {
		m := &g.a.Maps[i]
		field := Identifier(strings.ReplaceAll(m.Name, ".", "_")) // for sections: DataCustom
		g.maps = append(g.maps, names.unique(field))
		of := objectMap(g.obj, m)
		switch {
		case of == nil:
		case m.Kind == "user":
			for _, id := range []btf.TypeID{of.KeyType, of.ValueType} {
				g.declareType(id)
			}
			if of.Inner != nil {
				g.declareType(of.Inner.KeyType)
				g.declareType(of.Inner.ValueType)
			}
		case m.Kind == "struct_ops":
			g.ops = append(g.ops, newStructOps(g.obj, g.a, g.types.spec, i, of.StructOps))
		case m.Mmapable && m.ValueSize > 0:
			vars := g.variables(m, of)
			if len(vars) == 0 {
				break
			}
			s := section{index: i, field: fields.unique(field)}
			s.name = g.types.global.unique(g.o.Ident + s.field)
			g.types.section(s.name, g.sectionComment(s.name, m), vars, m.ValueSize)
			g.sections = append(g.sections, s)
		}
	}
	names = make(scope)
	for i := range g.a.Programs {
		g.programs = append(g.programs, names.unique(Identifier(g.a.Programs[i].Name)))
	}
}

func (g *golang) sectionComment(name string, m *artefact.Map) string {
	text := fmt.Sprintf("// %s is the memory of section %s. After Load it is the memory of the section's map.", name, printable(m.Name))
	switch {
	case m.Kind == "kconfig":
		text = fmt.Sprintf("// %s has the extern variables of section .kconfig. Load sets them.", name)
	case m.ReadOnly:
		text += " It is\n// read-only then: a write faults."
	}
	return text
}

// objectMap returns the object's map that an artefact's map was made from.
func objectMap(obj *object.Object, m *artefact.Map) *object.Map {
	for i := range obj.Maps {
		of := &obj.Maps[i]
		user := of.Kind == object.MapUser || of.Kind == object.MapStructOps
		if user && of.Name == m.Name || !user && of.Section == m.Name {
			return of
		}
	}
	return nil
}

// declareType declares a type that has a name and is not a scalar.
func (g *golang) declareType(id btf.TypeID) {
	if id != 0 {
		g.types.express(id, 0)
	}
}

// more declares the types in GoOptions.Types.
func (g *golang) more() error {
	for _, name := range g.o.Types {
		id, err := g.types.spec.First(name, btf.KindTypedef, btf.KindStruct, btf.KindUnion, btf.KindEnum, btf.KindEnum64)
		if err != nil {
			return fmt.Errorf("object %s has no type %q", g.a.Object, name)
		}
		g.declareType(id)
	}
	return nil
}

// variables returns the global variables of a data section.
func (g *golang) variables(m *artefact.Map, of *object.Map) []variable {
	var out []variable
	if m.Kind == "kconfig" {
		for _, s := range g.a.Settings {
			for _, k := range s.Kconfig {
				out = append(out, variable{name: k.Name, offset: k.Offset, size: k.Size, text: kconfigType(k)})
			}
		}
		return out
	}
	types := make(map[string]btf.TypeID)
	if id, err := g.types.spec.First(of.Section, btf.KindDatasec); err == nil {
		if sec, err := g.types.spec.Type(id); err == nil {
			for _, v := range sec.Vars {
				types[g.types.spec.TypeName(v.Type)] = v.Type
			}
		}
	}
	for _, v := range of.Variables {
		if !v.Static && !v.Hidden && v.Size > 0 {
			out = append(out, variable{name: v.Name, typ: types[v.Name], offset: v.Offset, size: v.Size})
		}
	}
	return out
}

func kconfigType(k artefact.Kconfig) string {
	switch {
	case k.Type == "bool" && k.Size == 1:
		return "bool"
	case (k.Type == "int" || k.Type == "char" || k.Type == "tristate") && slices.Contains([]uint32{1, 2, 4, 8}, k.Size):
		if k.Signed {
			return fmt.Sprintf("int%d", 8*k.Size)
		}
		return fmt.Sprintf("uint%d", 8*k.Size)
	}
	return fmt.Sprintf("[%d]byte", k.Size)
}

// newStructOps collects the members of struct_ops map i that are set.
func newStructOps(obj *object.Object, a *artefact.Artefact, spec *btf.Spec, i int, so *object.StructOps) structOps {
	out := structOps{index: i, ops: so.Type, link: so.Link}
	set := make(map[string]bool)
	for _, f := range so.Members {
		name := obj.Functions[f.Function].Name
		p := slices.IndexFunc(a.Programs, func(p artefact.Program) bool { return p.Name == name })
		if set[f.Name] = true; p >= 0 {
			out.members = append(out.members, opsMember{f.Name, p, nil})
		}
	}
	t, err := spec.Type(so.TypeID)
	if err != nil {
		return out
	}
	for _, m := range t.Members {
		size, err := spec.SizeOf(m.Type)
		from := int(m.BitOffset / 8)
		if err != nil || set[m.Name] || m.BitSize != 0 || from+int(size) > len(so.Data) {
			continue
		}
		if b := so.Data[from:][:size]; slices.ContainsFunc(b, func(b byte) bool { return b != 0 }) {
			out.members = append(out.members, opsMember{m.Name, -1, b})
		}
	}
	return out
}

func (g *golang) p(format string, args ...any) { fmt.Fprintf(&g.b, format+"\n", args...) }

// attached is a program or struct_ops map that Attach attaches.
type attached struct {
	field, of, method, subject, where, typ, param, call string
}

// attach splits programs and struct_ops maps into those that Attach attaches, and descriptions of
// those that it leaves out.
func (g *golang) attach() (does []attached, leaves []string) {
	fields := make(scope)
	for i, p := range g.a.Programs {
		h := hookOf(&p)
		name := g.programs[i]
		switch h.why {
		case "":
			does = append(does, attached{fields.unique(name), "Programs." + name, "Attach" + name, "program " + p.Name, p.Section,
				"link.Link", "*ebpf.Program", h.goCall()})
		case member:
		default:
			leaves = append(leaves, fmt.Sprintf("%s (%s): %s", name, p.Section, h.why))
		}
	}
	methods := make(scope)
	for _, a := range does {
		methods.unique(a.method)
	}
	for _, o := range g.ops {
		m := g.a.Maps[o.index]
		field := g.maps[o.index]
		where, typ, call := "struct "+o.ops, "io.Closer", "Register"
		if o.link {
			typ, call = "link.Link", "RegisterLink"
		}
		var values, functions []string
		for _, m := range o.members {
			if m.program >= 0 {
				functions = append(functions, fmt.Sprintf("{Member: %q, Program: %d}", m.name, m.program))
			} else {
				values = append(values, fmt.Sprintf("{Member: %q, Bytes: %q}", m.name, m.bytes))
			}
		}
		does = append(does, attached{fields.unique(field), "Maps." + field, methods.unique("Attach" + field), "map " + m.Name, where, typ, "*ebpf.Map",
			fmt.Sprintf("s.s.%s(p, %q, []skel.Value{%s}, []skel.Function{%s})", call, o.ops, strings.Join(values, ", "), strings.Join(functions, ", "))})
	}
	return does, leaves
}

func (g *golang) write(file []byte) {
	does, leaves := g.attach()
	id := g.o.Ident
	g.p("// Code generated by bpfreplay; DO NOT EDIT.")
	if g.o.Constraint != "" {
		g.p("//go:build %s", g.o.Constraint)
	}
	g.p("\npackage %s\n", g.o.Package)
	g.imports(does)
	g.p("// %s is the light skeleton of object %s. Use %s to create one.", id, printable(g.a.Object), g.open())
	g.p("type %s struct {", id)
	for _, s := range g.sections {
		g.p("%s *%s // section %s", s.field, s.name, printable(g.a.Maps[s.index].Name))
	}
	if len(g.sections) > 0 {
		g.p("")
	}
	g.p("Maps %sMaps // after Load", id)
	g.p("Programs %sPrograms // after Load", id)
	g.p("Links %sLinks // after Attach", id)
	g.p("")
	sizes, replace, arenas := g.sizes(), g.replace(), g.arenas()
	if len(sizes) > 0 {
		g.p("Sizes %sSizes // max_entries of maps, set before Load; 0 keeps the object's", id)
	}
	if len(g.maps) > 0 {
		g.p("Reuse %sMaps // maps to reuse, set before Load; they stay the caller's", id)
	}
	if len(replace) > 0 {
		g.p("Replace %sReplace // programs whose functions freplace programs replace, set before Load", id)
	}
	if len(arenas) > 0 {
		g.p("Memory %sMemory // memory of arenas, after Load", id)
	}
	if slices.ContainsFunc(g.a.Maps, func(m artefact.Map) bool { return m.Pinned }) {
		g.p("PinPath string // directory for maps pinned by name; empty means \"/sys/fs/bpf\"")
	}
	if g.a.Signed != nil {
		g.p("Keyring string // serial or name of the keyring whose keys verify the signature (6.18); empty for an unsigned load")
	}
	g.p("LogLevel uint32 // verifier log level for errors of Load; 0 means 1")
	g.p("\ns *skel.Skeleton\n}\n")
	g.structs(does, sizes, replace, arenas)
	for _, d := range g.types.decls {
		g.p("%s\n", d)
	}
	g.functions(does, leaves, sizes, replace, arenas)
	g.constants(file)
}

func (g *golang) imports(does []attached) {
	g.p("import (")
	g.p("_ \"embed\"")
	if slices.ContainsFunc(does, func(a attached) bool { return a.typ == "io.Closer" }) {
		g.p("\"io\"")
	}
	if slices.ContainsFunc(g.types.decls, func(d string) bool { return strings.Contains(d, "structs.HostLayout") }) {
		g.p("\"structs\"")
	}
	g.p("")
	if len(g.maps)+len(g.programs) > 0 {
		g.p("\"github.com/cilium/ebpf\"")
	}
	if slices.ContainsFunc(does, func(a attached) bool { return a.typ == "link.Link" }) {
		g.p("\"github.com/cilium/ebpf/link\"")
	}
	g.p("%q\n)\n", Runtime)
}

// sizes returns the maps whose size the caller may change.
func (g *golang) sizes() []int {
	return g.which(func(m *artefact.Map) bool { return m.Kind == "user" && !m.Arena })
}

func (g *golang) arenas() []int { return g.which(func(m *artefact.Map) bool { return m.Arena }) }

func (g *golang) which(is func(m *artefact.Map) bool) (out []int) {
	for i := range g.a.Maps {
		if is(&g.a.Maps[i]) {
			out = append(out, i)
		}
	}
	return out
}

func (g *golang) replace() (out []int) {
	for i := range g.a.Programs {
		if g.a.Programs[i].Replaces != "" {
			out = append(out, i)
		}
	}
	return out
}

func (g *golang) structs(does []attached, sizes, replace, arenas []int) {
	id := g.o.Ident
	g.p("// %sMaps are the maps of a %s.\ntype %sMaps struct {", id, id, id)
	for i, f := range g.maps {
		g.p("%s *ebpf.Map%s", f, tag(g.a.Maps[i].Name))
	}
	g.p("}\n\n// %sPrograms are the programs of a %s.\ntype %sPrograms struct {", id, id, id)
	for i, f := range g.programs {
		g.p("%s *ebpf.Program%s", f, tag(g.a.Programs[i].Name))
	}
	g.p("}\n\n// %sLinks are the links that Attach creates, nil if not attached. The %s closes them.\ntype %sLinks struct {", id, id, id)
	for _, a := range does {
		g.p("%s %s", a.field, a.typ)
	}
	g.p("}\n")
	if len(sizes) > 0 {
		g.p("// %sSizes are numbers of elements, or bytes for ring buffers. The comments have the object's sizes.\ntype %sSizes struct {", id, id)
		for _, i := range sizes {
			g.p("%s uint32 // %d", g.maps[i], g.a.Maps[i].MaxEntries)
		}
		g.p("}\n")
	}
	if len(replace) > 0 {
		g.p("// %sReplace are the programs whose functions are replaced. They stay the caller's.\ntype %sReplace struct {", id, id)
		for _, i := range replace {
			g.p("%s *ebpf.Program // has function %s", g.programs[i], printable(g.a.Programs[i].Replaces))
		}
		g.p("}\n")
	}
	if len(arenas) > 0 {
		g.p("// %sMemory is the memory of arenas, shared with the programs.\ntype %sMemory struct {", id, id)
		for _, i := range arenas {
			g.p("%s []byte", g.maps[i])
		}
		g.p("}\n")
	}
}

func (g *golang) functions(does []attached, leaves []string, sizes, replace, arenas []int) {
	id := g.o.Ident
	g.p("// %s creates a skeleton that is not loaded. It parses nothing and does not call bpf(2). The caller must close it.", g.open())
	g.p("func %s() (*%s, error) {", g.open(), id)
	args := ""
	for _, s := range g.sections {
		args += fmt.Sprintf(", %d", s.index)
	}
	g.p("s, err := skel.Open(&%s, %s%s)\nif err != nil {\nreturn nil, err\n}", g.private("Artefact"), g.private("File()"), args)
	if len(g.sections) == 0 {
		g.p("return &%s{s: s}, nil\n}\n", id)
	} else {
		g.p("return &%s{s: s,", id)
		for _, s := range g.sections {
			g.p("%s: (*%s)(s.Section(%d)),", s.field, s.name, s.index)
		}
		g.p("}, nil\n}\n")
	}
	g.load(sizes, replace, arenas)
	g.p("// Attach attaches all programs whose sections name a target, and all struct_ops maps. It skips those that are\n// attached already. If one fails, it detaches all.")
	if len(leaves) > 0 {
		g.p("//\n// It leaves to the caller:")
		for _, l := range leaves {
			g.p("//   - %s", printable(l))
		}
	}
	g.p("func (s *%s) Attach() error {\nreturn skel.AttachAll(s.Detach,", id)
	for _, a := range does {
		g.p("s.%s,", a.method)
	}
	g.p(")\n}\n")
	for _, a := range does {
		g.p("// %s attaches %s (%s), unless it is attached already.", a.method, a.subject, printable(a.where))
		g.p("func (s *%s) %s() error {\nreturn skel.Attach(&s.Links.%s, %q, s.%s, func(p %s) (%s, error) {\nreturn %s\n})\n}\n",
			id, a.method, a.field, a.subject, a.of, a.param, a.typ, a.call)
	}
	g.p("// Detach closes all links.\nfunc (s *%s) Detach() error {", id)
	if len(does) > 0 {
		g.p("links := s.Links\ns.Links = %sLinks{}", id)
	}
	g.p("return skel.Detach(")
	for _, a := range does {
		g.p("links.%s,", a.field)
	}
	g.p(")\n}\n")
	g.p("// Close detaches and closes everything. Do not use pointers into sections after it. A second Close does\n// nothing.")
	g.p("func (s *%s) Close() error {\nerr := s.Detach()\nif cerr := s.s.Close(); err == nil {\nerr = cerr\n}\n*s = %s{}\nreturn err\n}\n", id, id)
}

// load writes the method Load.
func (g *golang) load(sizes, replace, arenas []int) {
	id := g.o.Ident
	g.p("// Load creates the maps, with the current content of the sections as initial values, and loads the programs.\n// On failure nothing is open, and the error wraps a *skel.StepError or a *skel.NeedError.")
	g.p("func (s *%s) Load() error {\nerr := s.s.Load(skel.Options{", id)
	if len(sizes) > 0 {
		g.p("MaxEntries: []uint32{")
		for _, i := range sizes {
			g.p("%d: s.Sizes.%s,", i, g.maps[i])
		}
		g.p("},")
	}
	if len(g.maps) > 0 {
		g.p("Reuse: []*ebpf.Map{")
		for _, f := range g.maps {
			g.p("s.Reuse.%s,", f)
		}
		g.p("},")
	}
	if len(replace) > 0 {
		g.p("Replace: []*ebpf.Program{")
		for _, i := range replace {
			g.p("%d: s.Replace.%s,", i, g.programs[i])
		}
		g.p("},")
	}
	if slices.ContainsFunc(g.a.Maps, func(m artefact.Map) bool { return m.Pinned }) {
		g.p("PinPath: s.PinPath,")
	}
	if g.a.Signed != nil {
		g.p("Keyring: s.Keyring,")
	}
	g.p("LogLevel: s.LogLevel,\n})\nif err != nil {\nreturn err\n}")
	for i, f := range g.maps {
		g.p("s.Maps.%s = s.s.Map(%d)", f, i)
	}
	for i, f := range g.programs {
		g.p("s.Programs.%s = s.s.Program(%d)", f, i)
	}
	for _, i := range arenas {
		g.p("s.Memory.%s = s.s.Arena(%d)", g.maps[i], i)
	}
	g.p("return nil\n}\n")
}

// constants writes the artefact's manifest as constants.
func (g *golang) constants(file []byte) {
	a := *g.a
	a.Insns, a.Blob = nil, nil
	a.Maps = slices.Clone(a.Maps)
	for i := range a.Maps {
		if a.Signed == nil { // needed only to name variables that a signed load refuses
			a.Maps[i].Variables = nil // the sections' structs have them as fields
		}
	}
	// Parse's result refers to the file.
	begin := func(part []byte) int {
		return int(uintptr(unsafe.Pointer(&part[0])) - uintptr(unsafe.Pointer(&file[0])))
	}
	g.p("func %s skel.File {\nreturn skel.File{Name: %q, Data: %s, Sum: %#x,", g.private("File()"), g.o.File, g.private("Bytes"), crc32.ChecksumIEEE(file))
	g.p("Insns: skel.Range{Off: %d, Size: %d}, Blob: skel.Range{Off: %d, Size: %d}}\n}\n", begin(g.a.Insns), len(g.a.Insns), begin(g.a.Blob), len(g.a.Blob))
	g.p("var %s = %s\n", g.private("Artefact"), literal(reflect.ValueOf(a)))
	g.p("// Do not access this directly.\n//\n//go:embed %s\nvar %s []byte", g.o.File, g.private("Bytes"))
}

// printable returns text of an object that is safe in a Go or C comment.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == '\\' || r == utf8.RuneError {
			return '?'
		}
		return r
	}, strings.ReplaceAll(s, "*/", "* /"))
}

// tag returns bpf2go's field tag, empty for names that cannot be in one.
func tag(name string) string {
	if strings.ContainsAny(name, "`") || printable(name) != name {
		return ""
	}
	return fmt.Sprintf(" `ebpf:%q`", name)
}
