package emit

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/core"
	"github.com/bpfreplay/bpfreplay/internal/insn"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// Limits of one loader program. Offsets of verified map-value addresses must stay below
// BPF_MAX_VAR_OFF, the context must be within reach of a 16-bit displacement, and indexes in
// fd_array are at most 32767.
const (
	maxBlob  = 1<<29 - 1
	maxCells = math.MaxInt16
	maxCtx   = math.MaxInt16
)

// none is the value of a cell while its fd is not open.
const none = math.MaxUint32

// tableFixups is the number of fixups for one answer from which on a loop over a table replaces a
// store for each. An iteration of the loop costs the verifier eight times a store; the table takes
// half the bytes.
const tableFixups = 256

// maxTableFixups bounds the fixups in tables. An iteration costs ten of the million instructions
// that the verifier processes, and a store one of the million that a program may have. Beyond this
// number, fixups get stores.
const maxTableFixups = 32 << 10

// Generate plans the load of an object and turns it into a loader program: see [trace.Plan] and
// [Emit].
func Generate(o *object.Object, opts trace.Options) (*artefact.Artefact, error) {
	t, err := trace.Plan(o, opts)
	if err != nil {
		return nil, err
	}
	return Emit(t)
}

// Emit turns a trace into a loader program. The same trace gives the same bytes. The error names
// the limit that the trace exceeds.
func Emit(t *trace.Trace) (*artefact.Artefact, error) {
	e := &emitter{
		t: t, a: describe(t), commands: make([]place, len(t.Commands)), fixups: make(map[any][]fixup), tables: make(map[any]int),
		licenses: make(map[string]int), slots: make(map[trace.FD]int), stored: make(map[trace.FD]bool),
		settings: make(map[*trace.Setting]int), programs: make(map[*trace.Program]int),
	}
	if n := len(t.FDs); n > maxCells {
		return nil, fmt.Errorf("loader program: %d file descriptors, at most %d are possible", n, maxCells)
	}
	e.layOutContext()
	if e.a.Context > maxCtx {
		return nil, fmt.Errorf("loader program: a context of %d bytes for %d maps, %d programs and %d steps, at most %d are possible",
			e.a.Context, len(t.Maps), len(t.Programs), len(e.a.Steps), maxCtx)
	}
	if err := e.layOut(); err != nil {
		return nil, err
	}
	e.size = len(e.blob)
	e.nearAt = -1
	e.generate()
	if e.err != nil {
		return nil, e.err
	}
	e.a.Insns, e.a.Blob = e.code, e.blob
	return e.a, nil
}

// place has the offsets in the blob of the parts of one command; 0 for none. At offset 0 there is a
// license or nothing.
type place struct {
	attr, size int
	key, value int
	data       int // BTF, instructions, name
	extended   int
	license    int
	funcs      int
	lines      int
	core       int
	other      int     // attribute of a second command
	edits      []edits // changes that depend on an answer
	probes     []int   // the fallbacks' probes
	result     int     // in the context
}

// edits are words of the blob that depend on an answer. From wordTable words on, a loop over a
// table of {offset, value} changes them.
type edits struct {
	words []trace.Word
	table int
}

const wordTable = 32

// fixup is a place in the blob that is completed with an fd or with the answer for a symbol.
type fixup struct {
	kind trace.FixupKind
	off  int // of the instruction, of the attribute for fixupAttach and fixupValue, of the field for fixupFD
	dst  uint8
}

const (
	// fixupAttach is a fixup of PROG_LOAD's attribute: attach_btf_id and its fd.
	fixupAttach trace.FixupKind = -1
	// fixupFD is a four-byte field that holds an fd.
	fixupFD trace.FixupKind = -2
	// fixupValue is a fixup of MAP_CREATE's attribute: the kernel's type of a value.
	fixupValue trace.FixupKind = -3
)

type emitter struct {
	asm
	t         *trace.Trace
	a         *artefact.Artefact
	blob      []byte
	cells     int // offset of the first
	commands  []place
	fixups    map[any][]fixup // by trace.FD or *trace.Symbol
	tables    map[any]int     // offsets of tables of fixups
	licenses  map[string]int  // offsets of licenses
	scratch   int             // 8 bytes for kallsyms, 0 if not needed
	questions bool            // there are commands that choose types

	// Offsets in the context.
	slots    map[trace.FD]int // of returned fds
	settings map[*trace.Setting]int
	programs map[*trace.Program]int // index

	stored map[trace.FD]bool // FDs that are values of maps
	loaded int               // number of programs so far
}

func (e *emitter) cell(fd trace.FD) int { return e.cells + 4*int(fd) }

// alloc appends n zeroed bytes at a multiple of align. If the blob would be too large, it allocates
// nothing and records an error.
func (e *emitter) alloc(n, align int) int {
	at := (len(e.blob) + align - 1) / align * align
	if at+n > maxBlob {
		e.limit("its blob needs more than the %d bytes that are possible", maxBlob)
		return 0
	}
	e.blob = append(e.blob, make([]byte, at+n-len(e.blob))...)
	return at
}

func (e *emitter) put(b []byte, align int) int {
	at := e.alloc(len(b), align)
	copy(e.blob[at:], b)
	return at
}

func (e *emitter) put32(at int, v uint32) { binary.LittleEndian.PutUint32(e.blob[at:], v) }
func (e *emitter) put64(at int, v uint64) { binary.LittleEndian.PutUint64(e.blob[at:], v) }

// layOutContext assigns offsets in the context to results, logs and settings.
func (e *emitter) layOutContext() {
	maps, at := len(e.t.Maps), artefact.CtxProgram(len(e.t.Maps), len(e.t.Programs))
	take := func(n, align int) int {
		at = (at + align - 1) / align * align
		at += n
		return at - n
	}
	for i := range e.t.Maps {
		e.slots[e.t.MapFD(i)] = artefact.CtxMap(i)
		e.a.Maps[i].FD = artefact.CtxMap(i)
	}
	for i, p := range e.t.Programs {
		e.slots[e.t.ProgramFD(i)] = artefact.CtxProgram(maps, i)
		e.programs[p] = i
		e.a.Programs[i].FD = artefact.CtxProgram(maps, i)
	}
	for i, c := range e.t.Commands {
		step := artefact.Step{Subject: c.Subject(), Op: trace.What(c)}
		switch c := c.(type) {
		case *trace.CreateMap:
			step.Result = e.slots[c.Out]
		case *trace.LoadProgram:
			step.Result = e.slots[c.Out]
		case *trace.Attach:
			step.Result = take(4, 4)
			e.slots[c.Out] = step.Result
		case *trace.LoadBTF:
			if c.Optional {
				continue // the load continues if it fails
			}
		case *trace.UpdateElem:
			if c.Initial != nil {
				step.Initial = c.Initial.Name
			}
			if c.FD != trace.NoFD {
				e.stored[c.FD] = true
			}
		case *trace.Freeze:
			step.Initial = c.Name
		case *trace.ChooseEnum, *trace.AskContext:
			e.questions = true
			continue
		case *trace.Close:
			continue
		}
		if step.Result == 0 {
			step.Result = take(4, 4)
			e.commands[i].result = step.Result
		}
		e.a.Steps = append(e.a.Steps, step)
	}
	for i, p := range e.t.Programs {
		e.a.Programs[i].Log = take(16, 8)
		e.a.Programs[i].Link = e.slots[p.Link]
	}
	for i, s := range e.t.Settings {
		e.settings[s] = take((s.Size+7)/8*8, 8)
		e.a.Settings[i].Offset = e.settings[s]
	}
	e.a.Context = at
}

// layOut fills the blob, small parts first: then rBase reaches all stores, except in large objects.
func (e *emitter) layOut() error {
	e.licenseFirst()
	e.cells = e.alloc(4*len(e.t.FDs), 4)
	for i := range e.t.FDs {
		e.put32(e.cell(trace.FD(i)), none)
	}
	for i := range e.t.Maps {
		e.a.Maps[i].Delta = e.alloc(4, 4)
	}
	e.layOutAttrs()
	e.layOutNames()
	e.layOutPrograms()
	e.layOutTables()
	e.layOutData()
	e.alloc(0, 8)
	return e.err
}

// licenseFirst puts the license of the programs, usually one for all, at offset 0: a register,
// rBase, has this address already.
func (e *emitter) licenseFirst() {
	for _, c := range e.t.Commands {
		if c, ok := c.(*trace.LoadProgram); ok {
			e.license(c.License)
			return
		}
	}
	e.alloc(1, 1)
}

// license returns the offset of a license in the blob.
func (e *emitter) license(text string) int {
	at, ok := e.licenses[text]
	if !ok {
		at = e.put(append([]byte(text), 0), 1)
		e.licenses[text] = at
	}
	return at
}

func (e *emitter) attr(i, size int) int {
	e.commands[i].attr, e.commands[i].size = e.alloc(size, 8), size
	return e.commands[i].attr
}

// addFD records that a field holds an fd.
func (e *emitter) addFD(fd trace.FD, field int) {
	if fd != trace.NoFD {
		e.fixups[fd] = append(e.fixups[fd], fixup{kind: fixupFD, off: field})
	}
}

func (e *emitter) addFixup(s *trace.Symbol, at fixup) { e.fixups[s] = append(e.fixups[s], at) }

func (e *emitter) layOutAttrs() {
	updates := make(map[trace.FD]int)
	for i, c := range e.t.Commands {
		switch c := c.(type) {
		case *trace.LoadBTF:
			e.put32(e.attr(i, bpfsys.BTFLoadSize)+bpfsys.BTFLoadLen, uint32(len(c.Data)))
			if len(c.Fallbacks) > 0 {
				e.commands[i].other = e.alloc(bpfsys.BTFLoadSize, 8)
			}
		case *trace.CreateMap:
			e.mapAttr(i, c)
		case *trace.UpdateElem:
			e.put64(e.attr(i, bpfsys.ElemSize)+bpfsys.ElemFlags, c.Flags)
			e.addFD(c.Map, e.commands[i].attr)
			updates[c.Map] = e.commands[i].attr
			if m := e.mapOf(c.Initial); m != nil {
				m.Update = e.commands[i].attr
			}
		case *trace.FillArray:
			e.addFD(c.Map, e.attr(i, bpfsys.ElemSize))
			updates[c.Map] = e.commands[i].attr
		case *trace.Freeze:
			// MAP_FREEZE reads map_fd at offset 0 and requires zeros after it. The attribute of the
			// map's last update has the fd there, followed by the zero padding before its key, so
			// it serves both.
			if at, ok := updates[c.Map]; ok {
				e.commands[i].attr, e.commands[i].size = at, bpfsys.FreezeSize
			} else {
				e.addFD(c.Map, e.attr(i, bpfsys.FreezeSize))
			}
		case *trace.LoadProgram:
			e.programAttr(i, c)
		case *trace.Attach:
			fixed := c.Fixed()
			at := e.attr(i, len(fixed))
			copy(e.blob[at:], fixed)
			e.addFD(c.Program, at+c.ProgramField())
		case *trace.AskContext:
			e.contextAttrs(i, c)
		}
	}
}

// mapOf returns the entry of a map in the manifest, or nil for nil.
func (e *emitter) mapOf(m *trace.Map) *artefact.Map {
	if i := slices.Index(e.t.Maps, m); i >= 0 {
		return &e.a.Maps[i]
	}
	return nil
}

func (e *emitter) mapAttr(i int, c *trace.CreateMap) {
	size, fixed := c.AttrSize(), c.Fixed()
	at := e.attr(i, size)
	copy(e.blob[at:at+size], bpfsys.Encode(&fixed))
	e.addFD(c.Attr.BTF, at+bpfsys.MapCreateBTF)
	e.addFD(c.Inner, at+bpfsys.MapCreateInner)
	if c.Value != nil {
		e.addFixup(c.Value, fixup{kind: fixupValue, off: at})
	}
	if m := e.mapOf(c.Map); m != nil {
		m.Attr = artefact.Range{Off: at, Size: size}
	}
}

func (e *emitter) programAttr(i int, c *trace.LoadProgram) {
	size, fixed := c.AttrSize(), c.Fixed()
	at := e.attr(i, size)
	copy(e.blob[at:at+size], bpfsys.Encode(&fixed))
	e.addFD(c.BTF, at+bpfsys.ProgLoadBTF)
	if c.Attach != nil {
		e.addFixup(c.Attach, fixup{kind: fixupAttach, off: at})
	}
	e.a.Programs[e.programs[c.Program]].Attr = artefact.Range{Off: at, Size: e.commands[i].size}
}

// contextAttrs lays out the attributes of the probe for arg:ctx.
func (e *emitter) contextAttrs(i int, c *trace.AskContext) {
	e.put32(e.attr(i, bpfsys.BTFLoadSize)+bpfsys.BTFLoadLen, uint32(len(c.Types)))
	p := &e.commands[i]
	fixed := c.Fixed()
	p.other = e.alloc(bpfsys.ProgLoadFuncCountEnd, 8)
	copy(e.blob[p.other:p.other+bpfsys.ProgLoadFuncCountEnd], bpfsys.Encode(&fixed))
	e.addFD(c.BTF, p.other+bpfsys.ProgLoadBTF)
}

func (e *emitter) layOutNames() {
	key := -1
	for i, c := range e.t.Commands {
		p := &e.commands[i]
		switch c := c.(type) {
		case *trace.UpdateElem:
			if key >= 0 && string(c.Key) == string(e.blob[key:key+4]) {
				p.key = key
				break
			}
			p.key = e.put(c.Key, 4)
			key = p.key
		case *trace.FillArray:
			p.key = e.put(make([]byte, 4), 4)
		case *trace.Lookup:
			p.data = e.put(append([]byte(c.Symbol.Name), 0), 1)
			if c.Symbol.Kind == trace.SymbolAddress && e.scratch == 0 {
				e.scratch = e.alloc(8, 8)
			}
		case *trace.ChooseEnum:
			p.data = e.put(append([]byte(c.Name), 0), 1)
		case *trace.AskContext:
			p.data = e.put(c.Insns, 8)
			p.funcs = e.put(c.FuncInfo, 4)
			p.license = e.license("GPL")
		case *trace.LoadProgram:
			p.license = e.license(c.License)
		}
	}
}

func (e *emitter) layOutPrograms() {
	for i, c := range e.t.Commands {
		c, ok := c.(*trace.LoadProgram)
		if !ok {
			continue
		}
		p := &e.commands[i]
		p.data = e.put(c.Insns, 8)
		p.funcs = e.put(c.FuncInfo, 4)
		p.lines = e.put(c.LineInfo, 4)
		p.core = e.put(core.Encode(c.CORE), 4)
		for _, f := range c.Fixups {
			at := p.data + f.Insn*insn.Size
			if f.Kind != trace.FixupMap {
				e.addFixup(f.Symbol, fixup{kind: f.Kind, off: at, dst: insn.Insns(c.Insns).Dst(f.Insn)})
				continue
			}
			e.addFD(f.FD, at+4)
			if i := int(f.FD) - 1; i >= 0 && i < len(e.t.Maps) && e.t.Maps[i].Arena && insn.Insns(c.Insns).Src(f.Insn) == insn.PseudoMapValue {
				e.a.Maps[i].Globals = append(e.a.Maps[i].Globals, at+insn.Size+4)
			}
		}
	}
}

// tabled reports whether a loop patches these fixups: all are of one kind, and there are enough of
// them.
func (e *emitter) tabled(fixups []fixup) bool {
	for _, s := range fixups {
		if s.kind != fixups[0].kind || s.kind == fixupAttach || s.kind == fixupValue {
			return false
		}
	}
	return len(fixups) >= tableFixups
}

func (e *emitter) layOutTables() {
	total := 0
	place := func(to any, skipped bool) {
		fixups := e.fixups[to]
		if !e.tabled(fixups) || total+len(fixups) > maxTableFixups && !skipped {
			return
		}
		total += len(fixups)
		at := e.alloc(4*len(fixups), 4)
		for i, s := range fixups {
			e.put32(at+4*i, uint32(s.off))
		}
		e.tables[to] = at
	}
	for i := range e.t.FDs {
		place(trace.FD(i), false)
	}
	for _, s := range e.t.Symbols {
		// The code jumps over the fixups of a missing weak symbol, and a jump does not reach over
		// many stores.
		place(s, s.Weak)
	}
}

func (e *emitter) layOutData() {
	for i, c := range e.t.Commands {
		p := &e.commands[i]
		switch c := c.(type) {
		case *trace.FillArray:
			p.value = e.put(c.Values, 8)
		case *trace.AskContext:
			p.extended = e.put(c.Types, 4)
		case *trace.LoadBTF:
			p.data = e.put(c.Data, 4)
			e.a.Types = artefact.Range{Off: p.data, Size: len(c.Data)}
			if c.Extended != nil {
				p.extended = e.put(c.Extended, 4)
			}
			for _, f := range c.Fallbacks {
				p.probes = append(p.probes, e.put(f.Probe, 4))
			}
		case *trace.UpdateElem:
			if c.FD != trace.NoFD {
				p.value = e.cell(c.FD)
				break
			}
			p.value = e.put(c.Value, 8)
			if c.Setting != nil {
				e.alloc(0, 8) // room for copying whole words
			}
			if m := e.mapOf(c.Initial); m != nil {
				m.Value = artefact.Range{Off: p.value, Size: len(c.Value)}
			}
		}
	}
	for i, m := range e.t.Maps {
		if m.Arena && len(m.Data) > 0 {
			e.a.Maps[i].Data = artefact.Range{Off: e.put(m.Data, 8), Size: len(m.Data)}
		}
	}
	e.layOutEdits()
}

// layOutEdits computes the edits, after everything that they change has an offset.
func (e *emitter) layOutEdits() {
	programs := make(map[*trace.LoadProgram]*place)
	for i, c := range e.t.Commands {
		if c, ok := c.(*trace.LoadProgram); ok {
			programs[c] = &e.commands[i]
		}
	}
	for i, c := range e.t.Commands {
		p := &e.commands[i]
		switch c := c.(type) {
		case *trace.LoadBTF:
			for _, f := range c.Fallbacks {
				p.edits = append(p.edits, e.newEdits(at(p.data, f.Data)), e.newEdits(at(p.extended, f.Extended)))
			}
			p.edits = append(p.edits, e.newEdits(e.untyped()))
		case *trace.ChooseEnum:
			var words []trace.Word
			for _, edit := range c.Edits {
				of := programs[edit.Program]
				words = append(words, word(of.core+core.RecordSize*edit.Record+4, uint32(edit.Type)))
				if edit.Imm != nil {
					insnAt := of.data + int(edit.Program.CORE[edit.Record].InsnOff)
					words = append(words, word(insnAt+4, edit.Imm[0]), word(insnAt+insn.Size+4, edit.Imm[1]))
				}
			}
			p.edits = []edits{e.newEdits(words)}
		case *trace.AskContext:
			var words []trace.Word
			for _, edit := range c.Edits {
				words = append(words, word(programs[edit.Program].funcs+int(edit.Program.FuncInfoRecSize)*edit.Record+4, uint32(edit.Type)))
			}
			p.edits = []edits{e.newEdits(words)}
		}
	}
}

// untyped returns the edits for a load without types.
func (e *emitter) untyped() (words []trace.Word) {
	for i, c := range e.t.Commands {
		p := &e.commands[i]
		switch c := c.(type) {
		case *trace.CreateMap:
			if c.Attr.KeyType != 0 {
				words = append(words, word(p.attr+bpfsys.MapCreateKeyType, 0))
			}
			if c.Attr.ValueType != 0 {
				words = append(words, word(p.attr+bpfsys.MapCreateValueType, 0))
			}
		case *trace.LoadProgram:
			if len(c.FuncInfo) > 0 {
				words = append(words, word(p.attr+bpfsys.ProgLoadFuncCount, 0))
			}
			if len(c.LineInfo) > 0 {
				words = append(words, word(p.attr+bpfsys.ProgLoadLineCount, 0))
			}
		}
	}
	return words
}

func word(off int, v uint32) trace.Word { return trace.Word{Off: uint32(off), Value: v} }

func at(base int, words []trace.Word) []trace.Word {
	out := make([]trace.Word, len(words))
	for i, w := range words {
		out[i] = word(base+int(w.Off), w.Value)
	}
	return out
}

func (e *emitter) newEdits(words []trace.Word) edits {
	if len(words) < wordTable {
		return edits{words: words}
	}
	table := e.alloc(8*len(words), 8)
	for i, w := range words {
		e.put32(table+8*i, w.Off)
		e.put32(table+8*i+4, w.Value)
	}
	return edits{words, table}
}
