package trace

import (
	"bytes"
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/core"
	"github.com/bpfreplay/bpfreplay/internal/insn"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
	"github.com/bpfreplay/bpfreplay/internal/visible"
)

// linker builds one entry program: its own instructions, followed by each subprogram that it
// reaches, in the order of the first calls in a depth-first walk along the instructions. This is
// libbpf's order, so that instructions compare byte for byte.
type linker struct {
	p     *planner
	main  *object.Function
	start map[int]int // index of function → index of its first instruction

	insns    insn.Insns
	fixups   []Fixup
	funcInfo []byte
	lineInfo []byte
	core     []core.Record
	tables   map[int]FD // by index of the jump table in obj.Maps
	noFuncs  bool       // a function lacks func_info, which the kernel wants for all or none
	noLines  bool       // likewise: a function lacks line_info for its first instruction
}

// maxInsns bounds a linked program. It is the kernel's limit (BPF_COMPLEXITY_LIMIT_INSNS), and
// keeps hostile objects from growing much further.
const maxInsns = 1_000_000

// maxSize bounds the bytes of all programs of an object together. Each program has a copy of the
// subprograms that it reaches, so a small object can produce a lot of code. No loader program can
// hold this much.
const (
	maxSize   = 1 << 29
	fixupSize = int(unsafe.Sizeof(Fixup{}))
)

// link links the program whose entry is function main.
func (l *linker) link(main int) error {
	if err := l.append(main); err != nil {
		return err
	}
	if cb := l.main.ExceptionCallback; cb != nil {
		if _, ok := l.start[*cb]; !ok {
			if err := l.append(*cb); err != nil {
				return err
			}
		}
	}
	if l.noFuncs {
		l.funcInfo, l.lineInfo = nil, nil
	}
	if l.noLines {
		l.lineInfo = nil
	}
	return nil
}

func (l *linker) subject() string { return "program " + visible.Name(l.main.Name) }

func (l *linker) refuse(format string, args ...any) error {
	return refuse(l.subject(), unix.EINVAL, format, args...)
}

// append adds function i and then, recursively, its callees.
func (l *linker) append(i int) error {
	f := &l.p.obj.Functions[i]
	if f.Err != nil {
		return l.refuse("%s: %w", visible.Name(f.Name), f.Err)
	}
	at := l.insns.Len()
	if at+insn.Insns(f.Insns).Len() > maxInsns {
		return refuse(l.subject(), unix.E2BIG, "more than %d instructions with its subprograms", maxInsns)
	}
	l.p.size += len(f.Insns) + len(f.FuncInfo) + len(f.LineInfo) + core.RecordSize*len(f.CORE) + fixupSize*len(f.Relocations)
	if l.p.size > maxSize {
		return refuse(l.subject(), unix.E2BIG, "more than %d bytes of instructions and what belongs to them, with the programs before it", maxSize)
	}
	l.start[i] = at
	l.insns = append(l.insns, f.Insns...)
	l.appendInfo(f, at)
	for _, r := range f.CORE {
		l.core = append(l.core, core.Record{
			InsnOff: uint32(at+r.Insn) * insn.Size, TypeID: r.TypeID, AccessStr: r.AccessStrOff, Kind: core.Kind(r.Kind),
		})
	}
	for _, r := range f.Relocations {
		if err := l.relocate(f, at, r); err != nil {
			return err
		}
	}
	return nil
}

func (l *linker) appendInfo(f *object.Function, at int) {
	funcs := shifted(f.FuncInfo, f.FuncInfoRecSize, at)
	lines := shifted(f.LineInfo, f.LineInfoRecSize, at)
	l.noFuncs = l.noFuncs || len(funcs) == 0 || f.FuncInfoRecSize != l.main.FuncInfoRecSize
	l.noLines = l.noLines || len(lines) < 4 || f.LineInfoRecSize != l.main.LineInfoRecSize ||
		binary.LittleEndian.Uint32(lines) != uint32(at)
	l.funcInfo = append(l.funcInfo, funcs...)
	l.lineInfo = append(l.lineInfo, lines...)
}

// shifted returns a copy of records with at added to the first field, an instruction offset.
func shifted(records []byte, size uint32, at int) []byte {
	if size < 4 {
		return nil
	}
	out := bytes.Clone(records)
	for o := 0; o+int(size) <= len(out); o += int(size) {
		binary.LittleEndian.PutUint32(out[o:], binary.LittleEndian.Uint32(out[o:])+uint32(at))
	}
	return out
}

// poisonKfunc plus the symbol's rank is the helper number in a call of a missing weak kfunc. These
// are libbpf's numbers, so verifier logs look familiar and tags compare.
const poisonKfunc = 2002000000

// rank returns the position of an extern in libbpf's order: .kconfig first, the others by name.
func (p *planner) rank(e *object.Extern) int {
	rank := 0
	for i := range p.obj.Externs {
		o := &p.obj.Externs[i]
		if o.Kind == object.ExternKconfig || o.Name < e.Name {
			rank++
		}
	}
	return rank
}

func (l *linker) relocate(f *object.Function, at int, r object.Relocation) error {
	i := at + r.Insn
	if i >= l.insns.Len() {
		return l.refuse("%s: relocation of instruction %d, which does not exist", visible.Name(f.Name), r.Insn)
	}
	switch r.Kind {
	case object.RelocCall, object.RelocKfunc:
		if l.insns.Op(i) != insn.Call {
			return l.refuse("%s: instruction %d is not a call", visible.Name(f.Name), r.Insn)
		}
	default:
		if !l.insns.IsLdImm64(i) {
			return l.refuse("%s: instruction %d is not a 64-bit load", visible.Name(f.Name), r.Insn)
		}
	}
	if (r.Kind == object.RelocMap || r.Kind == object.RelocMapValue) && l.p.maps[r.Target] < 0 {
		return l.refuse("%s: instruction %d refers to map %s, which is not created", visible.Name(f.Name), r.Insn, l.p.obj.Maps[r.Target].Name)
	}
	switch r.Kind {
	case object.RelocMap:
		l.setMap(i, insn.PseudoMapFD, 0, l.p.mapFD(r.Target))
	case object.RelocMapValue:
		l.setMap(i, insn.PseudoMapValue, r.Offset, l.p.mapFD(r.Target))
	case object.RelocKconfig:
		if l.p.kconfigMap == nil {
			return l.refuse("%s: instruction %d refers to .kconfig, which the object lacks", visible.Name(f.Name), r.Insn)
		}
		l.setMap(i, insn.PseudoMapValue, l.p.obj.Externs[r.Target].KconfigOffset, l.p.mapFD(*l.p.kconfigMap))
	case object.RelocCall, object.RelocFunc:
		return l.relocateCall(i, r)
	case object.RelocKfunc:
		l.relocateKfunc(i, &l.p.obj.Externs[r.Target])
	case object.RelocKsym:
		l.relocateKsym(i, &l.p.obj.Externs[r.Target])
	case object.RelocJumpTable:
		return l.relocateJumpTable(i, r)
	}
	return nil
}

// insnArrayValueSize is the size in bytes of struct bpf_insn_array_value, the values of jump tables
// (BPF_MAP_TYPE_INSN_ARRAY, 6.19). User space sets only its first field, orig_off.
const insnArrayValueSize = 16

// relocateJumpTable plans a jump table for this program. Its instructions are counted from the
// program's start, so programs cannot share a table.
func (l *linker) relocateJumpTable(i int, r object.Relocation) error {
	table := l.p.obj.Maps[r.Target].JumpTable
	start, ok := l.start[table.Function]
	if !ok {
		return l.refuse("instruction %d refers to the jump table of another function", r.Insn)
	}
	fd, ok := l.tables[r.Target]
	if !ok {
		fd = l.p.newFD("jump table of " + visible.Name(l.main.Name))
		l.tables[r.Target] = fd
		values := make([]byte, insnArrayValueSize*len(table.Targets))
		for n, to := range table.Targets {
			binary.LittleEndian.PutUint32(values[n*insnArrayValueSize:], uint32(start)+to)
		}
		name := l.p.t.FDs[fd]
		l.p.add(&CreateMap{Name: name, Out: fd, Attr: MapAttr{
			Type: uapi.MapInsnArray, KeySize: 4, ValueSize: insnArrayValueSize,
			MaxEntries: uint32(len(table.Targets)), Name: ".jumptables",
		}})
		l.p.add(&FillArray{Map: fd, Name: name, Values: values, Count: len(table.Targets)})
		l.p.add(&Freeze{Map: fd, Name: name})
	}
	l.setMap(i, insn.PseudoMapValue, r.Offset, fd)
	return nil
}

// setMap makes instruction i refer to a map, or to an offset in its value.
func (l *linker) setMap(i int, src uint8, offset uint32, fd FD) {
	l.setLd64(i, src, offset)
	l.fixups = append(l.fixups, Fixup{Insn: i, Kind: FixupMap, FD: fd})
}

func (l *linker) setLd64(i int, src uint8, second uint32) {
	l.insns.SetSrc(i, src)
	l.insns.SetOff(i, 0)
	l.insns.SetImm(i, 0)
	l.insns.SetImm(i+1, int32(second))
}

func (l *linker) relocateCall(i int, r object.Relocation) error {
	to, ok := l.start[r.Target]
	if !ok {
		to = l.insns.Len()
		if err := l.append(r.Target); err != nil {
			return err
		}
	}
	if r.Kind == object.RelocFunc {
		l.setLd64(i, insn.PseudoFunc, 0)
	} else {
		l.insns.SetSrc(i, insn.PseudoCall)
	}
	l.insns.SetImm(i, int32(to-i-1))
	return nil
}

func (l *linker) relocateKfunc(i int, e *object.Extern) {
	s := Symbol{Kind: SymbolKfunc, Name: e.EssentialName(), BTFKind: uint32(btf.KindFunc), Weak: e.Weak}
	sym := l.p.lookup(s, prototype(e), l.subject())
	l.insns.SetOff(i, 0)
	if e.Weak {
		l.insns.SetSrc(i, 0)
		l.insns.SetImm(i, int32(poisonKfunc+l.p.rank(e)))
	} else {
		l.insns.SetSrc(i, insn.PseudoKfunc)
		l.insns.SetImm(i, 0)
	}
	l.fixups = append(l.fixups, Fixup{Insn: i, Kind: FixupCall, Symbol: sym})
}

// prototype returns the prototype that a weak kfunc must have, 0 for other externs.
func prototype(e *object.Extern) btf.TypeID {
	if e.Weak && e.Kind == object.ExternFunc {
		return e.DeclType
	}
	return 0
}

func (l *linker) relocateKsym(i int, e *object.Extern) {
	s := Symbol{Kind: SymbolKsym, Name: e.EssentialName(), Weak: e.Weak}
	fix := Fixup{Insn: i, Kind: FixupKsym}
	src := uint8(insn.PseudoBTFID)
	switch e.Kind {
	case object.ExternVar:
		s.BTFKind = uint32(btf.KindVar)
	case object.ExternFunc:
		s.BTFKind = uint32(btf.KindFunc)
	default:
		s.Kind, s.Name, fix.Kind, src = SymbolAddress, e.Name, FixupAddress, 0
	}
	if e.Weak {
		src = 0
	}
	l.setLd64(i, src, 0)
	fix.Symbol = l.p.lookup(s, prototype(e), l.subject())
	l.fixups = append(l.fixups, fix)
}
