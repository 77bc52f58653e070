package emit

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/bpfreplay/bpfreplay/loader/bpfsys"
	"github.com/bpfreplay/bpfreplay/loader/insn"
	"github.com/bpfreplay/bpfreplay/loader/trace"
)

// Loader is a loader program.
type Loader struct {
	Insns []byte // instructions, 8 bytes each
	Blob  []byte // value of the loader's map; a multiple of 8 bytes
	// Cells is where the cells begin in the blob: that of FD i is at Cells + 4*i.
	Cells int
	// Steps is what Options.Steps was.
	Steps bool
}

// The context of a loader program: libbpf's struct bpf_loader_ctx,
// bpf_map_desc and bpf_prog_desc.
const (
	CtxHeaderSize = 24
	CtxMapSize    = 16
	CtxProgSize   = 4

	CtxLogLevel   = 8  // u32
	CtxLogSize    = 12 // u32
	CtxLogBuf     = 16 // u64, address in user space
	CtxMaxEntries = 4  // u32 in bpf_map_desc
	CtxInitial    = 8  // u64 in bpf_map_desc, address in user space
)

// CtxSize is the size of the context of a loader program in bytes.
func CtxSize(maps, programs int) int {
	return CtxHeaderSize + CtxMapSize*maps + CtxProgSize*programs
}

// CtxMap is the offset of the descriptor of map i in the context.
func CtxMap(i int) int { return CtxHeaderSize + CtxMapSize*i }

// CtxProg is the offset of the descriptor of program i in the context.
func CtxProg(maps, i int) int { return CtxHeaderSize + CtxMapSize*maps + CtxProgSize*i }

// StepNone is the value of the step word of a blob that has not been run, or
// was without failure.
const StepNone = math.MaxUint32

// Limits of one loader program. Offsets of verified map-value addresses must
// stay below BPF_MAX_VAR_OFF; the context's slots must be within reach of a
// 16-bit displacement; fd_array has no index above 32767.
const (
	maxBlob  = 1<<29 - 1
	maxCells = math.MaxInt16
	maxCtx   = math.MaxInt16
)

// none is the content of a cell while its fd is not open.
const none = -1

// tableSites is the number of places to put one answer into from which on a
// loop over a table replaces a store for each. A turn of the loop costs the
// verifier eight times a store, the table half the bytes.
const tableSites = 256

// maxTableSites bounds the places in tables. A turn costs the verifier ten
// of the million instructions that it goes through, a store one of the million
// that a program may have, so that what comes after this many goes without.
const maxTableSites = 32 << 10

// Options choose what a loader program takes from whoever runs it.
type Options struct {
	// Inputs: the loader program takes what libbpf's loader programs take from
	// the context: log settings, max_entries, initial values. Without it, it
	// does one thing and no other, with about a third less code to verify.
	Inputs bool
	// Steps: the loader program stops at a step that fails, notes it at the
	// start of the blob, closes what it has opened and returns the error. Inputs
	// are not without. Without it, it goes on to the end, returns something below
	// 0, and leaves what it has opened in the context: it says that there was a
	// failure, and another one with Steps has to say which.
	Steps bool
	// Given are maps whose cells are filled beforehand: they are not created.
	Given []trace.FD
	// Log is where programs' logs go, without Inputs.
	Log Log
}

// Log is a verifier log's buffer in user space, as in PROG_LOAD.
type Log struct {
	Level uint32
	Size  uint32 // bytes
	Addr  uint64
	// Step is the index of the one command whose program is logged, EachStep for all.
	// A log that does not fit fails a program that is good (ENOSPC).
	Step int
}

// EachStep is every command of a trace.
const EachStep = -1

// Emit turns a trace into a loader program. The same trace gives the same
// bytes. An error names the limit that is exceeded.
func Emit(t *trace.Trace, o Options) (*Loader, error) {
	o.Steps = o.Steps || o.Inputs
	e := &emitter{Options: o, t: t, commands: make([]place, len(t.Commands)), sites: make(map[target][]site), licenses: make(map[string]int)}
	if n := len(t.FDs); n > maxCells {
		return nil, fmt.Errorf("loader program: %d file descriptors, at most %d are possible", n, maxCells)
	}
	if n := CtxSize(len(t.Maps), len(t.Programs)); n > maxCtx {
		return nil, fmt.Errorf("loader program: a context of %d bytes for %d maps and %d programs, at most %d are possible",
			n, len(t.Maps), len(t.Programs), maxCtx)
	}
	if err := e.layOut(); err != nil {
		return nil, err
	}
	e.size = len(e.blob)
	e.winAt = -1
	e.generate()
	if e.err != nil {
		return nil, e.err
	}
	return &Loader{Insns: e.code, Blob: e.blob, Cells: e.cells, Steps: o.Steps}, nil
}

// place is where the parts of one command lie in the blob; 0 for none.
type place struct {
	attr, size int
	key, value int
	data       int // BTF, instructions, name
	license    int
	funcs      int
	lines      int
	core       int
}

// target is something that instructions and attributes refer to: an FD or a symbol.
type target struct {
	symbol bool
	index  int
}

// site is a place in the blob that is completed with the answer to a target.
type site struct {
	kind trace.FixupKind
	off  int // of the instruction, of the attribute for siteAttach, of the field for siteFD
	dst  uint8
}

const (
	// siteAttach is a site in PROG_LOAD's attribute: attach_btf_id and its fd.
	siteAttach trace.FixupKind = -1
	// siteFD is a field of four bytes that holds an fd.
	siteFD trace.FixupKind = -2
)

type emitter struct {
	asm
	Options
	t        *trace.Trace
	blob     []byte
	cells    int // where they begin
	commands []place
	sites    map[target][]site
	tables   map[target]int // where tables of sites lie
	licenses map[string]int // where licenses lie
	scratch  int            // 8 bytes for kallsyms, 0 if not needed

	slots  map[trace.FD]int  // without Steps: offsets in the context, of what is handed out
	stored map[trace.FD]bool // FDs that are values of maps

	failed *label     // all failures go here, or to the next stop on the way
	safe   []trace.FD // opened after all that has been emitted and can fail
}

func (e *emitter) cell(fd trace.FD) int { return e.cells + 4*int(fd) }

// alloc appends n zeroed bytes at a multiple of align. Beyond what a blob can
// hold it takes no memory: what is laid out after that is of no use.
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

// layOut fills the blob, small things first: what stores go to lies within
// reach of base for all but large objects.
func (e *emitter) layOut() error {
	if e.Steps {
		e.alloc(4, 4)
		e.put32(0, StepNone)
	} else {
		e.handOut()
		e.licenseFirst()
	}
	e.cells = e.alloc(4*len(e.t.FDs), 4)
	for i := range e.t.FDs {
		e.put32(e.cell(trace.FD(i)), math.MaxUint32)
	}
	e.layOutAttrs()
	e.layOutNames()
	e.layOutPrograms()
	e.layOutTables()
	e.layOutData()
	if len(e.blob) == 0 {
		e.alloc(1, 1) // no map has values of no size
	}
	e.alloc(0, 8)
	return e.err
}

// handOut finds the places in the context of what is handed out, and which fds
// are values of maps.
func (e *emitter) handOut() {
	e.slots, e.stored = make(map[trace.FD]int), make(map[trace.FD]bool)
	for i := range e.t.Maps {
		e.slots[e.t.MapFD(i)] = CtxMap(i)
	}
	for i := range e.t.Programs {
		e.slots[e.t.ProgramFD(i)] = CtxProg(len(e.t.Maps), i)
	}
	for _, c := range e.t.Commands {
		switch c := c.(type) {
		case *trace.UpdateElem:
			if c.FD != trace.NoFD {
				e.stored[c.FD] = true
			}
		case *trace.Close:
			delete(e.slots, c.FD)
		}
	}
}

// licenseFirst puts the license of the programs, of which there is one as a
// rule, where rBase points to: a register that has its address.
func (e *emitter) licenseFirst() {
	for _, c := range e.t.Commands {
		if c, ok := c.(*trace.LoadProgram); ok {
			e.license(c.License)
			return
		}
	}
}

// license is where a license lies in the blob.
func (e *emitter) license(text string) int {
	at, ok := e.licenses[text]
	if !ok {
		at = e.put(append([]byte(text), 0), 1)
		e.licenses[text] = at
	}
	return at
}

// leftOut says whether a command is not part of the loader program: whoever
// runs it has no way to give the value.
func (e *emitter) leftOut(c *trace.UpdateElem) bool { return c.OnlyGiven && !e.Inputs }

func (e *emitter) attr(i, size int) int {
	e.commands[i].attr, e.commands[i].size = e.alloc(size, 8), size
	return e.commands[i].attr
}

func (e *emitter) layOutAttrs() {
	fd := func(fd trace.FD, field int) {
		if fd != trace.NoFD {
			e.addSite(target{false, int(fd)}, site{kind: siteFD, off: field})
		}
	}
	updates := make(map[trace.FD]int)
	for i, c := range e.t.Commands {
		switch c := c.(type) {
		case *trace.LoadBTF:
			e.put32(e.attr(i, bpfsys.BTFLoadSize)+bpfsys.BTFLoadLen, uint32(len(c.Data)))
		case *trace.CreateMap:
			e.attr(i, bpfsys.MapCreateSize(c.Attr.Fixed()))
			bpfsys.PutMapCreate(e.blob[e.commands[i].attr:], c.Attr.Fixed())
			fd(c.Attr.BTF, e.commands[i].attr+bpfsys.MapCreateBTF)
			fd(c.Inner, e.commands[i].attr+bpfsys.MapCreateInner)
		case *trace.UpdateElem:
			if e.leftOut(c) {
				break
			}
			e.put64(e.attr(i, bpfsys.ElemSize)+bpfsys.ElemFlags, c.Flags)
			fd(c.Map, e.commands[i].attr)
			updates[c.Map] = e.commands[i].attr
		case *trace.FillArray:
			fd(c.Map, e.attr(i, bpfsys.ElemSize))
			updates[c.Map] = e.commands[i].attr
		case *trace.Freeze:
			// MAP_FREEZE reads map_fd at offset 0 and no more, as the update
			// before it has it already.
			if at, ok := updates[c.Map]; ok {
				e.commands[i].attr, e.commands[i].size = at, bpfsys.FreezeSize
			} else {
				fd(c.Map, e.attr(i, bpfsys.FreezeSize))
			}
		case *trace.LoadProgram:
			e.attr(i, bpfsys.ProgLoadSize(c.Needs()))
			bpfsys.PutProgLoad(e.blob[e.commands[i].attr:], c.Fixed())
			fd(c.BTF, e.commands[i].attr+bpfsys.ProgLoadBTF)
			e.bakeLog(i, e.commands[i].attr)
			if c.Attach >= 0 {
				e.addSite(target{true, c.Attach}, site{kind: siteAttach, off: e.commands[i].attr})
			}
		}
	}
}

// bakeLog puts the log's buffer into an attribute of PROG_LOAD, of this command.
func (e *emitter) bakeLog(step, attr int) {
	if e.Log.Level == 0 || e.Inputs || e.Log.Step != EachStep && e.Log.Step != step {
		return
	}
	e.put32(attr+bpfsys.ProgLoadLogLevel, e.Log.Level)
	e.put32(attr+bpfsys.ProgLoadLogSize, e.Log.Size)
	e.put64(attr+bpfsys.ProgLoadLogBuf, e.Log.Addr)
}

func (e *emitter) addSite(t target, s site) { e.sites[t] = append(e.sites[t], s) }

func (e *emitter) layOutNames() {
	key := -1
	for i, c := range e.t.Commands {
		p := &e.commands[i]
		switch c := c.(type) {
		case *trace.UpdateElem:
			if e.leftOut(c) {
				break
			}
			if key >= 0 && string(c.Key) == string(e.blob[key:key+4]) {
				p.key = key
				break
			}
			p.key = e.put(c.Key, 4)
			key = p.key
		case *trace.FillArray:
			p.key = e.put(make([]byte, 4), 4)
		case *trace.Lookup:
			s := e.t.Symbols[c.Symbol]
			p.data = e.put(append([]byte(s.Name), 0), 1)
			if s.Kind == trace.SymbolAddress && e.scratch == 0 {
				e.scratch = e.alloc(8, 8)
			}
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
		p.core = e.put(c.CORE, 4)
		for _, f := range c.Fixups {
			s := site{kind: f.Kind, off: p.data + f.Insn*insn.Size, dst: insn.Insns(c.Insns).Dst(f.Insn)}
			if f.Kind == trace.FixupMap {
				e.addSite(target{false, int(f.FD)}, site{kind: siteFD, off: s.off + 4})
			} else {
				e.addSite(target{true, f.Symbol}, s)
			}
		}
	}
}

// tabled says whether the sites of a target are patched by a loop: all of one
// kind, and enough of them.
func (e *emitter) tabled(sites []site) bool {
	for _, s := range sites {
		if s.kind != sites[0].kind || s.kind == siteAttach {
			return false
		}
	}
	return len(sites) >= tableSites
}

func (e *emitter) layOutTables() {
	e.tables = make(map[target]int)
	total := 0
	place := func(t target, skipped bool) {
		sites := e.sites[t]
		if !e.tabled(sites) || total+len(sites) > maxTableSites && !skipped {
			return
		}
		total += len(sites)
		at := e.alloc(4*len(sites), 4)
		for i, s := range sites {
			e.put32(at+4*i, uint32(s.off))
		}
		e.tables[t] = at
	}
	for i := range e.t.FDs {
		place(target{false, i}, false)
	}
	for i := range e.t.Symbols {
		// What is weak is jumped over, and no jump reaches over many stores.
		place(target{true, i}, e.t.Symbols[i].Weak)
	}
}

func (e *emitter) layOutData() {
	for i, c := range e.t.Commands {
		p := &e.commands[i]
		switch c := c.(type) {
		case *trace.FillArray:
			p.value = e.put(c.Values, 8)
		case *trace.LoadBTF:
			p.data = e.put(c.Data, 4)
		case *trace.UpdateElem:
			if e.leftOut(c) {
				break
			}
			if c.FD != trace.NoFD {
				p.value = e.cell(c.FD)
				break
			}
			p.value = e.put(c.Value, 8)
		}
	}
}
