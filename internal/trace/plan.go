package trace

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
	"github.com/bpfreplay/bpfreplay/internal/visible"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// Options select the parts of an object that are loaded.
type Options struct {
	// Autoload overrides, by program name, whether a program is loaded. By default all programs
	// are, except those in SEC("?…").
	Autoload map[string]bool
	// Autocreate overrides, by map name, whether a struct_ops map is created. By default all are,
	// except those in SEC("?.struct_ops…"). Programs that only a map that is not created refers to
	// are not loaded, unless Autoload says so.
	Autocreate map[string]bool
	// Attach plans to attach the programs whose sections name a target, if fds and numbers are
	// enough to do so: tp_btf, fentry, fexit, fmod_ret, lsm, iter.
	Attach bool
}

// Error is a refusal at plan time: every kernel would refuse the load, or the object lacks
// something that no kernel can add. Errno is the one that libbpf returns in this case.
type Error struct {
	Subject string // "program handle_exec"
	Errno   unix.Errno
	Err     error
}

func (e *Error) Error() string {
	return visible.Text(fmt.Sprintf("%s: %v: %v", e.Subject, e.Errno, e.Err))
}

// Unwrap returns both the reason and the errno.
func (e *Error) Unwrap() []error { return []error{e.Err, e.Errno} }

func refuse(subject string, errno unix.Errno, format string, args ...any) error {
	return &Error{Subject: subject, Errno: errno, Err: fmt.Errorf(format, args...)}
}

type planner struct {
	obj  *object.Object
	t    *Trace
	opts Options

	btfFD      FD
	programs   []int     // indexes into obj.Functions, in the order of Trace.Programs
	types      *btf.Spec // the types that the kernel gets, nil for none
	extended   *btf.Spec // a copy of types with more appended, nil for none
	first      []Command // to be issued before BTF_LOAD
	twins      []twin
	symbols    map[string]*Symbol // by a key that identifies the symbol
	kconfigMap *int               // index into obj.Maps, nil for none
	size       int                // bytes of all programs so far
	maps       []int              // by index into obj.Maps: index into Trace.Maps, -1 if not created
}

// Plan returns the trace of a load of obj.
func Plan(obj *object.Object, opts Options) (*Trace, error) {
	p := &planner{
		obj:  obj,
		t:    &Trace{Object: obj.Name, License: obj.License, Types: obj.BTF, FDs: []string{"none"}},
		opts: opts, symbols: make(map[string]*Symbol),
	}
	p.declareMaps()
	p.declarePrograms()
	if err := p.checkStructOps(); err != nil {
		return nil, err
	}
	p.chooseTypes()
	if err := p.createMaps(); err != nil {
		return nil, err
	}
	p.fillInnerMaps()
	for i, f := range p.programs {
		if err := p.loadProgram(i, &obj.Functions[f]); err != nil {
			return nil, err
		}
	}
	if err := p.fillSlots(); err != nil {
		return nil, err
	}
	if err := p.loadTypes(); err != nil {
		return nil, err
	}
	if opts.Attach {
		p.attach()
	}
	p.closeRest()
	return p.t, nil
}

// attach plans the links, after all other commands.
func (p *planner) attach() {
	for i, prog := range p.t.Programs {
		f := &p.obj.Functions[p.programs[i]]
		if !attaches(prog, f) {
			continue
		}
		prog.Link = p.newFD("link of " + prog.Name)
		p.add(&Attach{Program: p.t.ProgramFD(i), Name: prog.Name, AttachType: prog.AttachType, Out: prog.Link})
	}
}

// attaches reports whether a program can be attached by its fd alone.
func attaches(prog *Program, f *object.Function) bool {
	if f.Program.Attach == "" || prog.Replaces != "" {
		return false
	}
	switch prog.AttachType {
	case uapi.AttachTraceRawTp, uapi.AttachTraceFentry, uapi.AttachTraceFexit, uapi.AttachModifyReturn:
		return prog.Type == uapi.ProgTracing
	case uapi.AttachLSMMac:
		return prog.Type == uapi.ProgLSM
	case uapi.AttachTraceIter: // iterators over map elements also need the map
		return prog.Type == uapi.ProgTracing && f.Program.Attach != "bpf_map_elem" && f.Program.Attach != "bpf_sk_storage_map"
	}
	return false
}

func (p *planner) add(c Command) { p.t.Commands = append(p.t.Commands, c) }

func (p *planner) newFD(name string) FD {
	p.t.FDs = append(p.t.FDs, name)
	return FD(len(p.t.FDs) - 1)
}

// LogicalName returns the name of a map that does not depend on its loader: the variable's, or for
// data maps the section's.
func LogicalName(m *object.Map) string {
	switch m.Kind {
	case object.MapData, object.MapBSS, object.MapRodata, object.MapKconfig, object.MapPercpu:
		return m.Section
	}
	return m.Name
}

const fAllCPUs = 1 << 4 // BPF_F_ALL_CPUS of MAP_UPDATE_ELEM, 7.0

func (p *planner) declareMaps() {
	p.maps = make([]int, len(p.obj.Maps))
	for i := range p.obj.Maps {
		m := &p.obj.Maps[i]
		p.maps[i] = -1
		if !p.created(m) {
			continue
		}
		name := LogicalName(m)
		p.maps[i] = len(p.t.Maps)
		t := &Map{
			Name: name, Kind: m.Kind, Type: m.Type, KeySize: m.KeySize, ValueSize: m.ValueSize, Entries: m.MaxEntries, Flags: m.Flags, Extra: m.Extra,
			Mmapable: m.Flags&unix.BPF_F_MMAPABLE != 0, ReadOnly: m.Frozen, Pinned: m.Pinning != 0,
			Variables: m.Variables,
		}
		if m.Type == uapi.MapArena {
			t.Arena, t.Data = true, m.Value()
		}
		p.t.Maps = append(p.t.Maps, t)
		p.newFD("map " + visible.Name(name))
		if m.Kind == object.MapKconfig {
			p.kconfigMap = &i
		}
	}
}

// created reports whether the load creates a map for its caller. Jump tables are not such maps:
// each program has its own.
func (p *planner) created(m *object.Map) bool {
	if m.Kind == object.MapJumpTable {
		return false
	}
	if create, ok := p.opts.Autocreate[LogicalName(m)]; ok {
		return create
	}
	return m.StructOps == nil || !m.StructOps.Optional
}

// mapFD returns the FD of a map of the object. The map must be created.
func (p *planner) mapFD(i int) FD { return p.t.MapFD(p.maps[i]) }

func (p *planner) declarePrograms() {
	for i := range p.obj.Functions {
		f := &p.obj.Functions[i]
		if f.Subprog || !p.loads(i) {
			continue
		}
		p.programs = append(p.programs, i)
		p.t.Programs = append(p.t.Programs, &Program{
			Name: f.Name, Section: f.Section,
			Type: f.Program.Type, AttachType: f.Program.AttachType,
		})
		p.newFD("program " + visible.Name(f.Name))
	}
}

// loads reports whether function i is loaded as a program of its own. If struct_ops maps use it,
// these maps decide.
func (p *planner) loads(i int) bool {
	f := &p.obj.Functions[i]
	if load, ok := p.opts.Autoload[f.Name]; ok {
		return load
	}
	used := false
	for m := range p.obj.Maps {
		so := p.obj.Maps[m].StructOps
		if so == nil || !slices.ContainsFunc(so.Members, func(s object.StructOpsMember) bool { return s.Function == i }) {
			continue
		}
		if p.maps[m] >= 0 {
			return true
		}
		used = true
	}
	return f.Autoload && !used
}

// member is a function member of a struct_ops map.
type member struct {
	of   *object.StructOps
	name string
}

// structOpsMember returns the member that a program implements, or nil. If several created maps use
// it, it has the same place in all of them. If none is created, the first map counts.
func (p *planner) structOpsMember(i int) *member {
	var first *member
	for m := range p.obj.Maps {
		so := p.obj.Maps[m].StructOps
		if so == nil || p.maps[m] < 0 && first != nil {
			continue
		}
		for _, s := range so.Members {
			if s.Function != i {
				continue
			}
			found := &member{so, s.Name}
			if p.maps[m] >= 0 {
				return found
			}
			if first == nil {
				first = found
			}
		}
	}
	return first
}

// checkStructOps refuses a program that implements different members, because the kernel verifies
// it for one of them. libbpf does the same.
func (p *planner) checkStructOps() error {
	for i := range p.obj.Maps {
		m := &p.obj.Maps[i]
		if m.StructOps == nil || p.maps[i] < 0 {
			continue
		}
		for _, s := range m.StructOps.Members {
			if first := p.structOpsMember(s.Function); first.of.Type != m.StructOps.Type || first.name != s.Name {
				return refuse("map "+visible.Name(LogicalName(m)), unix.EINVAL, "member %s of struct %s is program %s, which is member %s of struct %s already",
					s.Name, m.StructOps.Type, p.obj.Functions[s.Function].Name, first.name, first.of.Type)
			}
		}
	}
	return nil
}

// kernelName truncates a name to fit into BPF_OBJ_NAME_LEN with its NUL.
func kernelName(name string) string {
	return name[:min(len(name), 15)]
}

// checkName refuses a name that no kernel accepts (bpf_obj_name_cpy). The kernel takes each byte
// for a Latin-1 character, and of a letter in UTF-8 only the first byte is a Latin-1 letter.
func checkName(subject, name string) error {
	for _, c := range []byte(kernelName(name)) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z' || c >= 0xc0 && c != 0xd7 && c != 0xf7
		if !letter && (c < '0' || c > '9') && c != '_' && c != '.' {
			return refuse(subject, unix.EINVAL, "no kernel takes this name: names of maps and programs have ASCII letters, digits, '_' and '.'; rename it")
		}
	}
	return nil
}

func (p *planner) createMaps() error {
	for i := range p.obj.Maps {
		if p.maps[i] < 0 {
			continue
		}
		m := &p.obj.Maps[i]
		name := LogicalName(m)
		subject := "map " + visible.Name(name)
		if err := checkName(subject, m.Name); err != nil {
			return err
		}
		if m.Pinning != 0 && !artefact.IsPin(name) {
			return refuse(subject, unix.EINVAL, "no file to pin it to can have this name")
		}
		inner := NoFD
		if m.Inner != nil {
			inner = p.newFD("inner map of " + visible.Name(m.Name))
			p.add(p.createMap(nil, m.Inner, m.Inner.Name, inner))
		} else if m.Type == uapi.MapArrayOfMaps || m.Type == uapi.MapHashOfMaps {
			return refuse(subject, unix.EINVAL, "a map of maps needs a definition of its inner maps: declare __array(values, struct { … }); only libbpf can be handed one before the load (bpf_map__set_inner_map_fd)")
		}
		c := p.createMap(p.t.Maps[p.maps[i]], m, name, p.mapFD(i))
		c.Inner = inner
		if m.StructOps != nil {
			p.structOpsValue(c, m.StructOps)
		}
		p.add(c)
		p.fillMap(i, m)
		if inner != NoFD {
			p.add(&Close{FD: inner, Name: p.t.FDs[inner]})
		}
	}
	return nil
}

func (p *planner) createMap(of *Map, m *object.Map, name string, out FD) *CreateMap {
	c := &CreateMap{Map: of, Name: name, Out: out, Attr: MapAttr{
		Type: m.Type, KeySize: m.KeySize, ValueSize: m.ValueSize, MaxEntries: m.MaxEntries,
		Flags: m.Flags, NUMANode: m.NUMANode, Name: kernelName(m.Name), Extra: m.Extra,
	}}
	switch {
	case m.StructOps != nil:
		c.Attr.BTF = p.btfFD // the kernel wants types here but does not use them
	case p.btfFD != NoFD && (m.KeyType != 0 || m.ValueType != 0):
		if answer := askTypes(p.types, m); answer != typesRefused {
			c.Attr.BTF, c.Attr.KeyType, c.Attr.ValueType = p.btfFD, uint32(m.KeyType), uint32(m.ValueType)
			c.Plain = answer == typesUnknown
		}
	}
	switch {
	case m.Type == uapi.MapPerfEventArray && m.MaxEntries == 0:
		c.CPUs = p.setting(&Setting{Kind: SettingCPUs, Size: 4})
	case m.Type == uapi.MapRingbuf || m.Type == uapi.MapUserRingbuf:
		sizes := ringSizes(m.MaxEntries)
		c.Attr.MaxEntries, c.Sizes = sizes[0], sizes[1:]
	}
	return c
}

// structOpsValue has the kernel's types decide the value of a struct_ops map.
func (p *planner) structOpsValue(c *CreateMap, so *object.StructOps) {
	value := Symbol{Kind: SymbolAttach, Name: "bpf_struct_ops_" + so.Type, BTFKind: uint32(btf.KindStruct)}
	c.Value = p.lookup(value, 0, "map "+c.Name)
	c.ValueSize = p.setting(&Setting{Kind: SettingValueSize, Size: 4, StructOps: so})
}

// ringSizes returns the ring buffer sizes in bytes that kernels accept, the one for the smallest
// page first: a power of two of whole pages (kernel/bpf/ringbuf.c). libbpf rounds the object's size
// up to it.
func ringSizes(size uint32) []uint32 {
	sizes := []uint32{}
	for _, page := range []uint32{4 << 10, 16 << 10, 64 << 10} { // page sizes with BPF
		rounded := size
		if size > 0 && size <= 1<<31 {
			rounded = page << bits.Len32((size-1)/page)
		}
		if !slices.Contains(sizes, rounded) {
			sizes = append(sizes, rounded)
		}
	}
	return sizes
}

func (p *planner) setting(s *Setting) *Setting {
	p.t.Settings = append(p.t.Settings, s)
	return s
}

// fillMap gives a data map its initial value and freezes it if user space may not change it. New
// arrays are zero, so .bss needs no value.
func (p *planner) fillMap(i int, m *object.Map) {
	if m.Data != nil && m.Kind != object.MapBSS && m.Type != uapi.MapArena {
		c := &UpdateElem{Map: p.mapFD(i), Name: LogicalName(m), Key: key32(0), Value: m.Value(), Initial: p.t.Maps[p.maps[i]]}
		if m.Kind == object.MapPercpu {
			c.Flags = fAllCPUs
		}
		if m.Kind == object.MapKconfig {
			c.Setting = p.setting(&Setting{Kind: SettingKconfig, Size: int(m.DataSize), Externs: p.kconfigExterns()})
		}
		p.add(c)
	}
	if m.Frozen {
		p.add(&Freeze{Map: p.mapFD(i), Name: LogicalName(m)})
	}
}

// fillInnerMaps puts maps into the static slots of maps of maps, after all maps are created: an
// object may declare an inner map after the outer one.
func (p *planner) fillInnerMaps() {
	for i := range p.obj.Maps {
		m := &p.obj.Maps[i]
		if m.Type == uapi.MapProgArray {
			continue
		}
		for _, s := range m.Slots {
			p.add(&UpdateElem{Map: p.mapFD(i), Name: LogicalName(m), Key: key32(s.Index), FD: p.mapFD(s.Target)})
		}
	}
}

func (p *planner) kconfigExterns() []object.Extern {
	other := func(e object.Extern) bool { return e.Kind != object.ExternKconfig }
	return slices.DeleteFunc(slices.Clone(p.obj.Externs), other)
}

// fillSlots puts programs into the slots of program arrays, after all are loaded.
func (p *planner) fillSlots() error {
	for i := range p.obj.Maps {
		m := &p.obj.Maps[i]
		if m.Type != uapi.MapProgArray {
			continue
		}
		for _, s := range m.Slots {
			prog := slices.Index(p.programs, s.Target)
			if prog < 0 {
				return refuse("map "+m.Name, unix.EINVAL, "slot %d holds program %s, which is not loaded",
					s.Index, p.obj.Functions[s.Target].Name)
			}
			p.add(&UpdateElem{Map: p.mapFD(i), Name: LogicalName(m), Key: key32(s.Index), FD: p.t.ProgramFD(prog)})
		}
	}
	return nil
}

func key32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }

func (p *planner) closeRest() {
	closed := make(map[FD]bool)
	for _, c := range p.t.Commands {
		if c, ok := c.(*Close); ok {
			closed[c.FD] = true
		}
	}
	for _, prog := range p.t.Programs {
		closed[prog.Link] = true // it stays open
	}
	for fd := FD(p.t.Outputs() + 1); int(fd) < len(p.t.FDs); fd++ {
		if !closed[fd] {
			p.add(&Close{FD: fd, Name: p.t.FDs[fd]})
		}
	}
}

// lookup returns a symbol and plans its lookup at the first use. proto is the prototype that a weak
// kfunc must have, 0 for all others.
func (p *planner) lookup(s Symbol, proto btf.TypeID, why string) *Symbol {
	id := fmt.Sprint(s.Kind, s.BTFKind, ":", s.Name, s.Weak, proto)
	if found, ok := p.symbols[id]; ok {
		return found
	}
	if s.Kind != SymbolAddress {
		s.BTF = p.newFD("module of " + visible.Name(s.Name))
	} else {
		p.need(artefact.NeedKallsyms, why, "kernel symbol "+s.Name)
	}
	if proto != 0 {
		s.Mismatch = p.setting(&Setting{Kind: SettingMismatch, Size: 4, Symbol: s.Name, Type: proto})
	}
	p.t.Symbols = append(p.t.Symbols, &s)
	p.symbols[id] = &s
	p.add(&Lookup{Symbol: &s, For: why})
	return &s
}

// attachSymbol returns the kernel's name of a program's attach target, and the module that has it
// if the section names one.
func attachSymbol(f *object.Function) (Symbol, string) {
	s := Symbol{Kind: SymbolAttach, Name: f.Program.Attach, BTFKind: uint32(btf.KindFunc)}
	module, name, ok := strings.Cut(s.Name, ":")
	if !ok {
		module, name = "", s.Name
	}
	s.Name = name
	switch f.Program.AttachType {
	case uapi.AttachTraceRawTp:
		s.Name, s.BTFKind = "btf_trace_"+s.Name, uint32(btf.KindTypedef)
	case uapi.AttachLSMMac, uapi.AttachLSMCgroup:
		s.Name = "bpf_lsm_" + s.Name
	case uapi.AttachTraceIter:
		s.Name = "bpf_iter_" + s.Name
	}
	return s, module
}

// likeSection suggests the section that a name may have been meant to be.
func likeSection(section string) string {
	hint := ""
	if near := object.NearestSection(section); near != "" {
		hint = fmt.Sprintf("; libbpf knows %q", near)
	}
	if t, ok := object.CiliumRules.Lookup(section); ok {
		hint += fmt.Sprintf("; for libbpf before 1.0 and for cilium/ebpf it is %q (--sections cilium, or loader.OpenOptions.SectionRules)", t.Pattern)
	}
	return hint
}

func (p *planner) loadProgram(i int, f *object.Function) error {
	subject := "program " + visible.Name(f.Name)
	if f.Program.Type == 0 {
		return refuse(subject, unix.EINVAL, "section %q is of no known program type%s", f.Section, likeSection(f.Section))
	}
	if err := checkName(subject, f.Name); err != nil {
		return err
	}
	l := linker{p: p, main: f, start: make(map[int]int), tables: make(map[int]FD)}
	if err := l.link(p.programs[i]); err != nil {
		return err
	}
	c := &LoadProgram{
		Program: p.t.Programs[i], Name: f.Name,
		Type: f.Program.Type, AttachType: f.Program.AttachType, Flags: f.Program.Flags,
		License: p.obj.License, Insns: l.insns, Fixups: l.fixups, Out: p.t.ProgramFD(i),
	}
	if p.btfFD != NoFD && len(l.funcInfo) > 0 {
		c.BTF = p.btfFD
		c.FuncInfo, c.FuncInfoRecSize = l.funcInfo, f.FuncInfoRecSize
		c.LineInfo, c.LineInfoRecSize = l.lineInfo, f.LineInfoRecSize
	}
	if c.CORE = l.core; len(c.CORE) > 0 && c.BTF == NoFD {
		c.BTF = p.btfFD
		p.need(artefact.NeedNoFuncInfo, subject, "CO-RE relocations, and a function without func_info")
	}
	if f.Program.NeedsBTF {
		switch {
		case f.Program.Attach == "":
			return refuse(subject, unix.EINVAL, "section %q names no attach target", f.Section)
		case f.Program.Type == uapi.ProgExt:
			c.Program.Replaces = f.Program.Attach
		default:
			s, module := attachSymbol(f)
			c.Program.Module = module
			c.Attach = p.lookup(s, 0, subject)
		}
	}
	switch m := p.structOpsMember(p.programs[i]); {
	case f.Program.USDT:
		c.Expected = p.setting(&Setting{Kind: SettingUSDT, Size: 4})
	case f.Program.Type == uapi.ProgStructOps && m != nil:
		c.Attach = p.lookup(Symbol{Kind: SymbolAttach, Name: m.of.Type, BTFKind: uint32(btf.KindStruct)}, 0, subject)
		c.Expected = p.setting(&Setting{Kind: SettingMember, Size: 4, StructOps: m.of, Member: m.name})
	}
	p.add(c)
	return nil
}
