package trace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/loader/btf"
	"github.com/bpfreplay/bpfreplay/loader/core"
	"github.com/bpfreplay/bpfreplay/loader/object"
)

// Options choose what of an object is loaded.
type Options struct {
	// Autoload overrides, by name, whether a program is loaded. Without an
	// entry the object decides: SEC("?…") programs are not loaded.
	Autoload map[string]bool
	// Autocreate overrides, by name, whether a struct_ops map is created.
	// Without an entry those of SEC("?.struct_ops…") are not. The programs of
	// a map that is not created are not loaded, unless Autoload says so.
	Autocreate map[string]bool
}

// ErrUnsupported is the reason of a plan that fails because bpfreplay cannot
// load this kind of thing.
var ErrUnsupported = errors.New("not supported")

// Error is a refusal at plan time: every kernel would refuse the load, or the
// object lacks something that no kernel can add. Errno is what libbpf gives
// in this case.
type Error struct {
	Subject string // "program handle_exec"
	Errno   unix.Errno
	Err     error
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %v: %v", e.Subject, e.Errno, e.Err) }

// Unwrap gives both the reason and the errno.
func (e *Error) Unwrap() []error { return []error{e.Err, e.Errno} }

func refuse(subject string, errno unix.Errno, format string, args ...any) error {
	return &Error{Subject: subject, Errno: errno, Err: fmt.Errorf(format, args...)}
}

type planner struct {
	obj  *object.Object
	t    *Trace
	opts Options

	btfFD      FD
	programs   []int          // indexes into obj.Functions, in the order of Trace.Programs
	symbols    map[string]int // by what makes a symbol one
	kconfigMap int            // index into obj.Maps, -1 for none
	size       int            // bytes of all programs so far
	maps       []int          // by index into obj.Maps: index into Trace.Maps, -1 if not created
}

// Plan returns the trace of a load of obj.
func Plan(obj *object.Object, opts Options) (*Trace, error) {
	p := &planner{
		obj:  obj,
		t:    &Trace{Object: obj.Name, License: obj.License, Types: obj.BTF},
		opts: opts, btfFD: NoFD,
		symbols: make(map[string]int), kconfigMap: -1,
	}
	p.declareMaps()
	p.declarePrograms()
	if err := p.checkStructOps(); err != nil {
		return nil, err
	}
	p.loadBTF()
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
	if err := p.divideCORE(); err != nil {
		return nil, err
	}
	p.closeRest()
	return p.t, nil
}

func (p *planner) add(c Command) { p.t.Commands = append(p.t.Commands, c) }

func (p *planner) newFD(name string) FD {
	p.t.FDs = append(p.t.FDs, FDInfo{Name: name})
	return FD(len(p.t.FDs) - 1)
}

// LogicalName is the name of a map that does not depend on who loads it: the
// variable, or the section of a data map.
func LogicalName(m *object.Map) string {
	switch m.Kind {
	case object.MapData, object.MapBSS, object.MapRodata, object.MapKconfig, object.MapPercpu:
		return m.Section
	}
	return m.Name
}

const (
	fMmapable = 1 << 10 // BPF_F_MMAPABLE
	fAllCPUs  = 1 << 4  // BPF_F_ALL_CPUS of MAP_UPDATE_ELEM, 7.0
)

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
		p.t.Maps = append(p.t.Maps, Map{
			Name: name, Kind: m.Kind, Type: m.Type, ValueSize: m.ValueSize,
			Mmapable: m.Flags&fMmapable != 0, ReadOnly: m.Frozen, Pinned: m.Pinning != 0,
		})
		p.newFD("map " + name)
		if m.Kind == object.MapKconfig {
			p.kconfigMap = i
		}
	}
}

// created says whether a map is one that the load leaves behind. Jump tables
// are not: each program has its own.
func (p *planner) created(m *object.Map) bool {
	if m.Kind == object.MapJumpTable {
		return false
	}
	if create, ok := p.opts.Autocreate[LogicalName(m)]; ok {
		return create
	}
	return m.StructOps == nil || !m.StructOps.Optional
}

// mapFD is the FD of a map of the object, which is created.
func (p *planner) mapFD(i int) FD { return p.t.MapFD(p.maps[i]) }

func (p *planner) declarePrograms() {
	for i := range p.obj.Functions {
		f := &p.obj.Functions[i]
		if f.Subprog || !p.loads(i) {
			continue
		}
		p.programs = append(p.programs, i)
		p.t.Programs = append(p.t.Programs, Program{
			Name: f.Name, Section: f.Section,
			Type: f.Program.Type, AttachType: f.Program.AttachType,
		})
		p.newFD("program " + f.Name)
	}
}

// loads says whether function i is loaded as a program of its own. If maps of
// struct_ops use it, that is for them to say.
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

// structOpsMember is the member that a program implements, nil for none. One
// that several maps use has the same place in all of them that are created; where
// none is, the first counts.
func (p *planner) structOpsMember(i int) *StructOpsMember {
	var first *StructOpsMember
	for m := range p.obj.Maps {
		so := p.obj.Maps[m].StructOps
		if so == nil || p.maps[m] < 0 && first != nil {
			continue
		}
		for _, s := range so.Members {
			if s.Function != i {
				continue
			}
			member := &StructOpsMember{Type: so.Type, Member: s.Name}
			if p.maps[m] >= 0 {
				return member
			}
			if first == nil {
				first = member
			}
		}
	}
	return first
}

// checkStructOps refuses a program that implements different members: the kernel
// verifies it for one of them. libbpf does the same.
func (p *planner) checkStructOps() error {
	for i := range p.obj.Maps {
		m := &p.obj.Maps[i]
		if m.StructOps == nil || p.maps[i] < 0 {
			continue
		}
		for _, s := range m.StructOps.Members {
			here := StructOpsMember{Type: m.StructOps.Type, Member: s.Name}
			if first := p.structOpsMember(s.Function); *first != here {
				return refuse("map "+LogicalName(m), unix.EINVAL, "member %s of struct %s is program %s, which is member %s of struct %s already",
					here.Member, here.Type, p.obj.Functions[s.Function].Name, first.Member, first.Type)
			}
		}
	}
	return nil
}

func (p *planner) loadBTF() {
	if p.obj.BTF == nil {
		return
	}
	p.btfFD = p.newFD("btf")
	p.add(&LoadBTF{Data: p.obj.BTF.Raw(), Out: p.btfFD})
}

// Map types that the plan has to tell apart (enum bpf_map_type).
const (
	mapProgArray   = 3
	mapPerfEvent   = 4
	mapStackTrace  = 7
	mapCgroupArray = 8
	mapArrayOfMaps = 12
	mapHashOfMaps  = 13
	mapDevmap      = 14
	mapSockmap     = 15
	mapCPUMap      = 16
	mapXSKMap      = 17
	mapSockhash    = 18
	mapQueue       = 22
	mapStack       = 23
	mapDevmapHash  = 25
	mapStructOps   = 26
	mapRingbuf     = 27
	mapUserRingbuf = 31
	mapArena       = 33
)

// noTypes are the map types that refuse BTF type ids, as libbpf lists them.
var noTypes = []uint32{
	mapPerfEvent, mapCgroupArray, mapStackTrace, mapArrayOfMaps, mapHashOfMaps,
	mapDevmap, mapDevmapHash, mapCPUMap, mapXSKMap, mapSockmap, mapSockhash,
	mapQueue, mapStack, mapArena,
}

// kernelName cuts a name to what fits into BPF_OBJ_NAME_LEN with its NUL.
func kernelName(name string) string {
	if len(name) > 15 {
		return name[:15]
	}
	return name
}

func (p *planner) createMaps() error {
	for i := range p.obj.Maps {
		if p.maps[i] < 0 {
			continue
		}
		m := &p.obj.Maps[i]
		inner := NoFD
		if m.Inner != nil {
			inner = p.newFD("inner map of " + m.Name)
			p.add(&CreateMap{Map: -1, Name: m.Inner.Name, Attr: p.mapAttr(m.Inner), Inner: NoFD, Setting: p.mapSetting(-1, m.Inner), Out: inner})
		} else if m.Type == mapArrayOfMaps || m.Type == mapHashOfMaps {
			return refuse("map "+LogicalName(m), unix.EINVAL, "map of maps without a definition of its inner map")
		}
		p.add(&CreateMap{
			Map: p.maps[i], Name: LogicalName(m), Attr: p.mapAttr(m), Inner: inner,
			Setting: p.mapSetting(p.maps[i], m), StructOps: m.StructOps, Out: p.mapFD(i),
		})
		p.fillMap(i, m)
		if inner != NoFD {
			p.add(&Close{FD: inner, Name: p.t.FDs[inner].Name})
		}
	}
	return nil
}

func (p *planner) mapAttr(m *object.Map) MapAttr {
	a := MapAttr{
		Type: m.Type, KeySize: m.KeySize, ValueSize: m.ValueSize, MaxEntries: m.MaxEntries,
		Flags: m.Flags, NUMANode: m.NUMANode, Name: kernelName(m.Name), Extra: m.Extra, BTF: NoFD,
	}
	if p.btfFD != NoFD && (m.KeyType != 0 || m.ValueType != 0) && !slices.Contains(noTypes, m.Type) {
		a.BTF, a.KeyType, a.ValueType = p.btfFD, uint32(m.KeyType), uint32(m.ValueType)
	}
	if m.StructOps != nil {
		a.BTF = p.btfFD // the kernel asks for types, and uses none of them
	}
	return a
}

// mapSetting records what the target has to decide about a map: how many
// CPUs there are, how large a page is.
func (p *planner) mapSetting(i int, m *object.Map) int {
	switch {
	case m.Type == mapPerfEvent && m.MaxEntries == 0:
		return p.addSetting(Setting{Kind: SettingCPUs, Map: i})
	case (m.Type == mapRingbuf || m.Type == mapUserRingbuf) && !fitsAnyPage(m.MaxEntries):
		return p.addSetting(Setting{Kind: SettingPages, Map: i, Size: m.MaxEntries})
	}
	return -1
}

// fitsAnyPage says whether a ring of size bytes is a power of two and whole
// pages on every machine: 64 KiB is the largest page that Linux runs BPF with.
func fitsAnyPage(size uint32) bool {
	return bits.OnesCount32(size) == 1 && size >= 64<<10
}

func (p *planner) addSetting(s Setting) int {
	p.t.Settings = append(p.t.Settings, s)
	return len(p.t.Settings) - 1
}

// fillMap gives a data map its initial value and freezes it if user space may
// not change it. Arrays are born zeroed: .bss is only written to if whoever
// loads brings a value of their own.
func (p *planner) fillMap(i int, m *object.Map) {
	if m.Type == mapArena {
		p.t.Arenas = append(p.t.Arenas, Arena{Map: p.maps[i], Data: m.Data})
		return
	}
	if m.Data != nil {
		c := &UpdateElem{
			Map: p.mapFD(i), Name: LogicalName(m), Key: key32(0), Value: m.Data,
			FD: NoFD, MapIndex: p.maps[i], Setting: -1, OnlyGiven: m.Kind == object.MapBSS,
		}
		if m.Kind == object.MapPercpu {
			c.Flags = fAllCPUs
		}
		if m.Kind == object.MapKconfig {
			c.Setting = p.addSetting(Setting{Kind: SettingKconfig, Map: p.maps[i], Externs: p.kconfigExterns()})
		}
		p.add(c)
	}
	if m.Frozen {
		p.add(&Freeze{Map: p.mapFD(i), Name: LogicalName(m)})
	}
}

// fillInnerMaps puts maps into the static slots of maps of maps, once all maps
// exist: an object may declare an inner map after the outer one.
func (p *planner) fillInnerMaps() {
	for i := range p.obj.Maps {
		m := &p.obj.Maps[i]
		if m.Type == mapProgArray {
			continue
		}
		for _, s := range m.Slots {
			p.add(&UpdateElem{
				Map: p.mapFD(i), Name: LogicalName(m), Key: key32(s.Index),
				FD: p.mapFD(s.Target), MapIndex: -1, Setting: -1,
			})
		}
	}
}

func (p *planner) kconfigExterns() []object.Extern {
	var out []object.Extern
	for _, e := range p.obj.Externs {
		if e.Kind == object.ExternKconfig {
			out = append(out, e)
		}
	}
	return out
}

// fillSlots puts programs into the slots of program arrays, once all are loaded.
func (p *planner) fillSlots() error {
	for i := range p.obj.Maps {
		m := &p.obj.Maps[i]
		if m.Type != mapProgArray {
			continue
		}
		for _, s := range m.Slots {
			prog := slices.Index(p.programs, s.Target)
			if prog < 0 {
				return refuse("map "+m.Name, unix.EINVAL, "slot %d holds program %s, which is not loaded",
					s.Index, p.obj.Functions[s.Target].Name)
			}
			p.add(&UpdateElem{
				Map: p.mapFD(i), Name: LogicalName(m), Key: key32(s.Index),
				FD: p.t.ProgramFD(prog), MapIndex: -1, Setting: -1,
			})
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
	for fd := FD(p.t.Outputs()); int(fd) < len(p.t.FDs); fd++ {
		if !closed[fd] {
			p.add(&Close{FD: fd, Name: p.t.FDs[fd].Name})
		}
	}
}

// lookup returns the index of a symbol and plans its lookup at the first use.
func (p *planner) lookup(s Symbol, why string) int {
	id := fmt.Sprint(s.Kind, s.BTFKind, s.Module, ":", s.Name, s.Weak, s.Type)
	if i, ok := p.symbols[id]; ok {
		return i
	}
	s.BTF = NoFD
	if s.Kind != SymbolAddress {
		s.BTF = p.newFD("module of " + s.Name)
	}
	p.t.Symbols = append(p.t.Symbols, s)
	i := len(p.t.Symbols) - 1
	p.symbols[id] = i
	p.add(&Lookup{Symbol: i, For: why, trace: p.t})
	return i
}

// Program and attach types that name their targets in a way of their own
// (enum bpf_prog_type, enum bpf_attach_type).
const (
	progStructOps  = 27
	progExt        = 28
	progLSM        = 29
	attachRawTp    = 23
	attachLSM      = 27
	attachIter     = 28
	attachLSMGroup = 43
)

// attachSymbol is the kernel's name of a program's attach target.
func attachSymbol(f *object.Function) Symbol {
	s := Symbol{Kind: SymbolAttach, Name: f.Program.Attach, BTFKind: uint32(btf.KindFunc)}
	if mod, name, ok := strings.Cut(s.Name, ":"); ok {
		s.Module, s.Name = mod, name
	}
	switch f.Program.AttachType {
	case attachRawTp:
		s.Name, s.BTFKind = "btf_trace_"+s.Name, uint32(btf.KindTypedef)
	case attachLSM, attachLSMGroup:
		s.Name = "bpf_lsm_" + s.Name
	case attachIter:
		s.Name = "bpf_iter_" + s.Name
	}
	return s
}

func (p *planner) loadProgram(i int, f *object.Function) error {
	subject := "program " + f.Name
	if f.Program.Type == 0 {
		return refuse(subject, unix.EINVAL, "section %q is of no known program type", f.Section)
	}
	l := linker{p: p, main: f, start: make(map[int]int), tables: make(map[int]FD)}
	if err := l.link(); err != nil {
		return err
	}
	c := &LoadProgram{
		Program: i, Name: f.Name,
		Type: f.Program.Type, AttachType: f.Program.AttachType, Flags: f.Program.Flags,
		License: p.obj.License, Insns: l.insns, Fixups: l.fixups,
		BTF: NoFD, Attach: -1, Out: p.t.ProgramFD(i), USDT: f.Program.USDT,
	}
	if p.btfFD != NoFD && len(l.funcInfo) > 0 {
		c.BTF = p.btfFD
		c.FuncInfo, c.FuncInfoRecSize = l.funcInfo, f.FuncInfoRecSize
		c.LineInfo, c.LineInfoRecSize = l.lineInfo, f.LineInfoRecSize
	}
	// Without func_info kernels up to 7.2 ignore CO-RE records: BTF stays NoFD,
	// and they are resolved in user space.
	c.CORE = l.core
	if f.Program.NeedsBTF {
		switch {
		case f.Program.Attach == "":
			return refuse(subject, unix.EINVAL, "section %q names no attach target", f.Section)
		case f.Program.Type == progExt:
			c.Replaces = f.Program.Attach
		default:
			c.Attach = p.lookup(attachSymbol(f), subject)
		}
	}
	if f.Program.Type == progStructOps {
		c.StructOps = p.structOpsMember(p.programs[i])
	}
	p.add(c)
	return nil
}

// divideCORE finds the CO-RE records to which the kernel may give another
// answer than a direct load gets.
func (p *planner) divideCORE() error {
	var programs []core.Program
	var loads []*LoadProgram
	for _, c := range p.t.Commands {
		c, ok := c.(*LoadProgram)
		if !ok || len(c.CORE) == 0 {
			continue
		}
		records, err := core.ParseRecords(c.CORE)
		if err != nil {
			return &Error{Subject: c.Subject(), Errno: unix.EINVAL, Err: err}
		}
		if c.BTF == NoFD {
			for i := range records {
				c.UserCORE = append(c.UserCORE, i)
			}
		}
		programs = append(programs, core.Program{Insns: c.Insns, Records: records})
		loads = append(loads, c)
	}
	for _, d := range core.Divergences(p.obj.BTF, programs...) {
		c := loads[d.Program]
		if c.BTF != NoFD {
			c.UserCORE = append(c.UserCORE, d.Record)
			c.UserReasons = append(c.UserReasons, d.Reason)
		}
	}
	return nil
}
