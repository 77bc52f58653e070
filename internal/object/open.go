package object

import (
	"bytes"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/btf"
)

// Limits of one object.
const (
	// MaxDataBytes bounds the total size of an object's data sections, including .bss: a loader has
	// to create maps of that size.
	MaxDataBytes = 1 << 30
	// MaxKconfigBytes bounds the total size of all kconfig variables. A line of a kernel's
	// configuration has at most 4 KiB.
	MaxKconfigBytes = 1 << 20

	// An object may take copies times the size of its file in memory, and spare bytes more.
	// Functions and data may overlap in a file, but only to this extent.
	copies = 4
	spare  = 1 << 20
)

// Section names with a meaning.
const (
	secText      = ".text"
	secMaps      = ".maps"
	secBTF       = ".BTF"
	secBTFExt    = ".BTF.ext"
	secKconfig   = ".kconfig"
	secKsyms     = ".ksyms"
	secArena     = ".addr_space.1"
	secJumpTable = ".jumptables"
	secStructOps = ".struct_ops"
	secLink      = ".struct_ops.link"
)

// role is the purpose of a section for a BPF loader.
type role uint8

const (
	roleNone role = iota
	roleProgram
	roleData
	roleBSS
	roleRodata
	rolePercpu
	roleStructOps
	roleMaps
	roleArena
	roleJumpTable
)

// opener holds the state of opening. In names and parameters, section is an index into elf.sections
// and fn one into obj.Functions; -1 is none.
type opener struct {
	obj    *Object
	path   string // the file, as the caller names it
	elf    *elfFile
	roles  []role
	text   int // section indexes of .text and .maps; 0 for none
	maps   int
	rules  SectionRules
	budget uint64 // bytes that may still be copied
	room   uint64 // bytes left for data sections

	// fnSection is the section index of each of obj.Functions.
	fnSection []int

	ext *extInfo // nil if there is none

	// mapsVars are the elements of BTF data section .maps.
	mapsVars []btf.VarSecinfo
	// mapVar is the element of the .maps datasec for each of the first maps.
	mapVar    []int
	dataMap   map[int]int // section index to index in obj.Maps
	arena     *int        // index in obj.Maps
	externBy  map[int]int // symbol index to index in obj.Externs
	jumpTable map[jumpTableKey]int
	structOps []structOpsPlace

	// deferredErrors are the errors that libbpf raises only when it loads the function.
	deferredErrors map[insnPlace]error
}

func open(raw []byte, path string, budget uint64, rules SectionRules) (*Object, error) {
	o := &opener{
		obj:  &Object{Name: objectName(path)},
		path: path, rules: rules,
		budget:         budget,
		room:           MaxDataBytes,
		dataMap:        map[int]int{},
		externBy:       map[int]int{},
		deferredErrors: map[insnPlace]error{},
		jumpTable:      map[jumpTableKey]int{},
	}
	if err := o.run(raw); err != nil {
		return nil, o.name(err)
	}
	return o.obj, nil
}

// name adds the object's name to an error.
func (o *opener) name(err error) error {
	if e, ok := err.(*Error); ok {
		e.Object, e.Path = o.obj.Name, o.path
		return e
	}
	return fileError(o.path, err)
}

func (o *opener) run(raw []byte) (err error) {
	if o.elf, err = parseELF(raw); err != nil {
		return err
	}
	// The order is libbpf's. Each step uses what the earlier ones found, or changed in the BTF.
	for _, step := range []func() error{
		o.readSections, o.readBTF, o.readExterns, o.fixDatasecs,
		o.readMaps, o.readDataMaps, o.readKconfigMap, o.readStructOps,
		o.readRelocations, o.linkFunctions, o.splitExt, o.hideFunctions,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// take returns a private copy of bytes of the file, within the memory limit.
func (o *opener) take(b []byte) ([]byte, error) {
	if err := o.spend(uint64(len(b))); err != nil {
		return nil, err
	}
	return slices.Clone(b), nil
}

// reserve counts a data section of n bytes against the limit.
func (o *opener) reserve(n uint64) error {
	if n > o.room {
		return fmt.Errorf("%w: %d bytes of data; with the data sections before it the object has more than %d (MaxDataBytes); put what is so large into a map of its own", ErrTooLarge, n, MaxDataBytes)
	}
	o.room -= n
	return nil
}

func (o *opener) spend(n uint64) error {
	if n > o.budget {
		return fmt.Errorf("%w: what its headers ask for takes more than %d times the bytes of its file: functions or sections overlap", ErrTooLarge, copies)
	}
	o.budget -= n
	return nil
}

// readSections finds the role of each section, and reads the small sections.
func (o *opener) readSections() error {
	o.roles = make([]role, len(o.elf.sections))
	for i := 1; i < len(o.elf.sections); i++ {
		s := &o.elf.sections[i]
		if ignored(s) {
			continue
		}
		if err := o.readSection(s); err != nil {
			return in(s.name, "", err)
		}
	}
	sort.Stable(byPlace{o})
	return nil
}

// ignored reports whether a BPF loader has no use for a section, so that its content may be
// anything.
func ignored(s *section) bool {
	name := strings.TrimPrefix(s.name, ".rel")
	switch {
	case s.kind == shtStrtab, s.kind == shtLLVMAddrsig, strings.HasPrefix(name, ".debug_"):
		return true
	case s.kind == shtProgbits && s.size == 0 && s.name == secText:
		return true
	}
	return name != s.name && (name == secBTF || name == secBTFExt)
}

func (o *opener) readSection(s *section) error {
	data, err := o.elf.stored(s)
	if err != nil {
		return err
	}
	if s.flags&shfCompressed != 0 && (known(s) || dataRole(s) != roleNone) {
		_, err := o.elf.contents(s)
		return err
	}
	switch s.name {
	case "license":
		if len(data) == 0 {
			return malformed("section is empty")
		}
		o.obj.License = licenseString(data)
		return nil
	case "version":
		if len(data) != 4 {
			return malformed("%d bytes, not 4", len(data))
		}
		o.obj.KernelVersion = le.Uint32(data)
		return nil
	case "maps":
		return ErrLegacyMaps
	case ".z" + secBTF[1:], ".z" + secBTFExt[1:]:
		return unsupported("section is compressed; " + decompress)
	case secMaps:
		o.maps, o.roles[s.index] = s.index, roleMaps
		return nil
	case secBTF, secBTFExt:
		if s.kind != shtProgbits {
			return malformed("section type is %d, not %d (PROGBITS)", s.kind, shtProgbits)
		}
		if bytes.HasPrefix(data, []byte("ZLIB")) {
			return unsupported("section is compressed as GNU tools once did; " + decompress)
		}
		return nil
	}
	switch {
	case s.kind == shtProgbits && len(data) > 0:
		o.roles[s.index] = dataRole(s)
		if s.executable() {
			return o.readFunctions(s, data)
		}
	case s.kind == shtNobits && s.size > 0 && sectionFamily(s.name, ".bss"):
		o.roles[s.index] = roleBSS
	}
	return nil
}

// known reports whether a section's name has a meaning.
func known(s *section) bool {
	return slices.Contains([]string{"license", "version", secMaps, secBTF, secBTFExt}, s.name)
}

func dataRole(s *section) role {
	switch {
	case s.executable():
		return roleProgram
	case sectionFamily(s.name, ".data"):
		return roleData
	case sectionFamily(s.name, ".rodata"):
		return roleRodata
	case sectionFamily(s.name, ".percpu"):
		return rolePercpu
	case s.name == secArena:
		return roleArena
	case s.name == secJumpTable:
		return roleJumpTable
	}
	switch strings.TrimPrefix(s.name, "?") {
	case secStructOps, secLink:
		return roleStructOps
	}
	return roleNone
}

// sectionFamily reports whether name is family, such as ".data", or family and a suffix,
// ".data.anything".
func sectionFamily(name, family string) bool {
	rest, ok := strings.CutPrefix(name, family)
	return ok && (rest == "" || rest[0] == '.')
}

// licenseString returns the license up to its NUL. libbpf keeps 63 characters.
func licenseString(data []byte) string {
	s, _, _ := strings.Cut(string(data[:min(len(data), 63)]), "\x00")
	return s
}

// readFunctions makes a Function from each function symbol of an executable section.
func (o *opener) readFunctions(s *section, data []byte) error {
	if s.name == secText {
		o.text = s.index
	}
	for _, sym := range o.elf.bySection[s.index] {
		if sym.kind != symFunc {
			continue
		}
		f, err := o.readFunction(s, data, sym)
		if err != nil {
			return in(s.name, sym.name, err)
		}
		o.obj.Functions = append(o.obj.Functions, f)
		o.fnSection = append(o.fnSection, s.index)
	}
	return nil
}

func (o *opener) readFunction(s *section, data []byte, sym *symbol) (Function, error) {
	size := uint64(len(data))
	if sym.unnamed {
		return Function{}, malformed("function symbol %d has no name", sym.index)
	}
	if sym.value > size || sym.size > size-sym.value {
		return Function{}, malformed("function at %d+%d ends beyond its section's %d bytes", sym.value, sym.size, size)
	}
	subprog := s.name == secText
	if !subprog && sym.bind == bindLocal {
		return Function{}, unsupported("function is static: a program must be global, a subprogram belongs into %s", secText)
	}
	if sym.size == 0 || sym.size%8 != 0 || sym.value%8 != 0 {
		return Function{}, malformed("function at %d+%d is empty or not made of whole instructions", sym.value, sym.size)
	}
	insns, err := o.take(data[sym.value:][:sym.size])
	if err != nil {
		return Function{}, err
	}
	section, optional := strings.CutPrefix(s.name, "?")
	f := Function{
		Name: sym.name, Section: section, Offset: uint32(sym.value), Insns: insns,
		Subprog: subprog, Static: sym.bind == bindLocal, Weak: sym.bind == bindWeak,
		Hidden: sym.bind != bindLocal && sym.hidden(), Autoload: !optional && !subprog,
	}
	if !subprog {
		f.Program, _ = o.rules.Lookup(section)
	}
	return f, nil
}

// byPlace sorts functions by section index and offset.
type byPlace struct{ *opener }

func (p byPlace) Len() int { return len(p.obj.Functions) }
func (p byPlace) Less(i, j int) bool {
	if a, b := p.fnSection[i], p.fnSection[j]; a != b {
		return a < b
	}
	return p.obj.Functions[i].Offset < p.obj.Functions[j].Offset
}
func (p byPlace) Swap(i, j int) {
	f, s := p.obj.Functions, p.fnSection
	f[i], f[j] = f[j], f[i]
	s[i], s[j] = s[j], s[i]
}

// functionAt returns the function that contains the byte at an offset of a section.
func (o *opener) functionAt(section int, off uint64) (int, bool) {
	n := sort.Search(len(o.obj.Functions), func(i int) bool {
		if s := o.fnSection[i]; s != section {
			return s > section
		}
		return uint64(o.obj.Functions[i].Offset) > off
	}) - 1
	if n < 0 || o.fnSection[n] != section {
		return 0, false
	}
	f := &o.obj.Functions[n]
	return n, off-uint64(f.Offset) < uint64(len(f.Insns))
}

// readBTF reads .BTF and .BTF.ext. If they are broken, it fails only if the object needs them: for
// what libbpf requires BTF for, or for CO-RE records, without which a program would use the offsets
// of the machine that compiled it.
func (o *opener) readBTF() error {
	section, err := o.parseBTF()
	if err == nil {
		return nil
	}
	if o.maps != 0 || slices.Contains(o.roles, roleStructOps) {
		return in(section, "", fmt.Errorf("%w: %w", ErrNoBTF, err))
	}
	ext := o.elf.byName(secBTFExt)
	if ext != nil && o.holdsCORE(ext) {
		return in(section, "", fmt.Errorf("%w: %w", ErrCORELost, err))
	}
	switch {
	case section == secBTFExt:
		o.warn(Warning{Section: section, Defect: "cannot be read: " + err.Error(), Consequence: "the object has no CO-RE records, and is loaded without func info and line info"})
	case o.elf.byName(secBTF) != nil:
		o.warn(Warning{Section: section, Defect: "cannot be read: " + err.Error(), Consequence: "the object has no CO-RE records, and is loaded without types, func info and line info"})
	case ext != nil:
		o.warn(Warning{Section: secBTFExt, Defect: err.Error() + " that it refers to", Consequence: "the object is loaded without types, func info and line info"})
	}
	return nil
}

// parseBTF returns, with an error, the section that it is about.
func (o *opener) parseBTF() (section string, err error) {
	sec := o.elf.byName(secBTF)
	if sec == nil {
		return "", fmt.Errorf("no section %s", secBTF)
	}
	data, err := o.elf.contents(sec)
	if err != nil {
		return secBTF, err
	}
	if o.obj.BTF, err = btf.Parse(data); err != nil {
		return secBTF, err
	}
	if sec = o.elf.byName(secBTFExt); sec == nil {
		return "", nil
	}
	if data, err = o.elf.contents(sec); err == nil {
		o.ext, err = parseExt(data)
	}
	return secBTFExt, err
}

// holdsCORE reports whether a .BTF.ext, which may be damaged, has CO-RE records according to its
// header.
func (o *opener) holdsCORE(sec *section) bool {
	data, err := o.elf.stored(sec)
	if err != nil || len(data) < extCoreHeader {
		return false
	}
	if hdr := le.Uint32(data[4:]); hdr >= extMinHeader && hdr < extCoreHeader {
		return false // a header from before CO-RE
	}
	return le.Uint32(data[28:]) != 0
}
