package emit

import (
	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/loader/bpfsys"
	"github.com/bpfreplay/bpfreplay/loader/insn"
	"github.com/bpfreplay/bpfreplay/loader/trace"
)

// stopEvery is the number of instructions after which jumps to the end get a
// stop on the way, well within the reach of 16 bits.
const stopEvery = 16 << 10

func (e *emitter) generate() {
	e.failed = newLabel()
	e.mov(rCtx, r1)
	e.blobAddr(rBase, 0)
	for i := 0; i < len(e.t.Commands); i++ {
		e.stop()
		switch c := e.t.Commands[i].(type) {
		case *trace.LoadBTF:
			e.loadBTF(i, c)
		case *trace.CreateMap:
			i = e.createMap(i, c)
		case *trace.UpdateElem:
			e.update(i, c)
		case *trace.FillArray:
			e.fill(i, c)
		case *trace.Freeze:
			e.freeze(i, c)
		case *trace.Lookup:
			e.lookup(i, c)
		case *trace.LoadProgram:
			e.loadProgram(i, c)
		case *trace.Close:
			e.close(c.FD)
		case *trace.Skip:
		}
	}
	e.end()
}

// stop puts a jump to the end here, over which the code itself jumps, if the
// first of those that want to go there has come far enough.
func (e *emitter) stop() {
	if len(e.failed.jumps) == 0 || e.code.Len()-e.failed.jumps[0] < stopEvery {
		return
	}
	over := newLabel()
	e.jump(opJa, 0, 0, over)
	e.bind(e.failed)
	e.failed = newLabel()
	e.jump(opJa, 0, 0, e.failed)
	e.bind(over)
}

// check goes to the end if r0 is an error, and notes the step. The error is
// the path that falls through: the verifier takes it first, and is done with
// it before it goes on.
func (e *emitter) check(step int) {
	ok := newLabel()
	e.jump(opJsgeImm, r0, 0, ok)
	e.fail(step)
	e.here(ok)
}

// here binds a label over which win stays what it is, on both ways.
func (e *emitter) here(l *label) {
	at := e.winAt
	e.bind(l)
	e.winAt = at
}

func (e *emitter) fail(step int) {
	e.storeImm(4, rBase, 0, int64(step))
	e.jump(opJa, 0, 0, e.failed)
}

// sysBPF issues a command whose attribute is complete.
func (e *emitter) sysBPF(step int, cmd bpfsys.Cmd) {
	p := &e.commands[step]
	e.movImm(r1, int64(cmd))
	e.address(r2, p.attr)
	e.movImm(r3, int64(p.size))
	e.call(fnSysBPF)
	e.check(step)
}

// pointer stores the address of what lies at off in the field of an attribute.
func (e *emitter) pointer(attr, field, off int) {
	e.address(r1, off)
	e.storeBlob(8, attr+field, r1)
}

// copyCtx copies a field of the context into the blob.
func (e *emitter) copyCtx(width, from, to int) {
	e.load(width, r1, rCtx, from)
	e.storeBlob(width, to, r1)
}

// copyCell copies an fd into an attribute.
func (e *emitter) copyCell(fd trace.FD, to int) {
	e.loadBlob(4, r1, e.cell(fd))
	e.storeBlob(4, to, r1)
}

func (e *emitter) loadBTF(i int, c *trace.LoadBTF) {
	p := &e.commands[i]
	e.pointer(p.attr, 0, p.data)
	// No log: the one buffer of the context is for programs, and a log of types
	// in it would be taken for theirs. Who has the blob can ask again.
	e.sysBPF(i, bpfsys.BTFLoad)
	e.storeBlob(4, e.cell(c.Out), r0)
}

// createMap creates a map and issues the commands after it that give it its
// first value, unless the caller brought a map of their own. It returns the
// index of the last command that it issued.
func (e *emitter) createMap(i int, c *trace.CreateMap) int {
	p := &e.commands[i]
	given := newLabel()
	if c.Map >= 0 {
		e.loadBlob(4, r1, e.cell(c.Out))
		e.jump(opJneImm, r1, 0, given)
		if !e.hasValue(i, c.Map) {
			keep := newLabel()
			e.load(4, r1, rCtx, CtxMap(c.Map)+CtxMaxEntries)
			e.jump(opJeqImm, r1, 0, keep)
			e.storeBlob(4, p.attr+bpfsys.MapCreateMaxEntries, r1)
			e.bind(keep)
		}
	}
	if c.Attr.BTF != trace.NoFD {
		e.copyCell(c.Attr.BTF, p.attr+bpfsys.MapCreateBTF)
	}
	if c.Inner != trace.NoFD {
		e.copyCell(c.Inner, p.attr+bpfsys.MapCreateInner)
	}
	e.sysBPF(i, bpfsys.MapCreate)
	e.storeBlob(4, e.cell(c.Out), r0)
	last := i
	if c.Map >= 0 {
		last = e.initial(i+1, c)
	}
	e.bind(given)
	if sites := e.sites[target{false, int(c.Out)}]; len(sites) > 0 {
		e.loadBlob(4, r0, e.cell(c.Out))
		e.patchFD(target{false, int(c.Out)}, sites)
	}
	return last
}

// initial issues the commands from i on that give a new map its first value,
// and returns the index of the last of them.
func (e *emitter) initial(i int, c *trace.CreateMap) int {
	for ; i < len(e.t.Commands); i++ {
		switch next := e.t.Commands[i].(type) {
		case *trace.UpdateElem:
			if next.MapIndex != c.Map {
				return i - 1
			}
			e.update(i, next)
		case *trace.Freeze:
			if next.Map != c.Out {
				return i - 1
			}
			e.freeze(i, next)
		default:
			return i - 1
		}
	}
	return i - 1
}

// hasValue says whether map m, created by command i, is a data map: its size
// is not for the caller to choose.
func (e *emitter) hasValue(i, m int) bool {
	if i+1 >= len(e.t.Commands) {
		return false
	}
	u, ok := e.t.Commands[i+1].(*trace.UpdateElem)
	return ok && u.MapIndex == m
}

func (e *emitter) update(i int, c *trace.UpdateElem) {
	p := &e.commands[i]
	skip, keep := newLabel(), newLabel()
	if c.MapIndex >= 0 {
		e.load(8, r3, rCtx, CtxMap(c.MapIndex)+CtxInitial)
		if c.OnlyGiven {
			e.jump(opJeqImm, r3, 0, skip)
		} else {
			e.jump(opJeqImm, r3, 0, keep)
		}
		e.address(r1, p.value)
		e.movImm(r2, int64(len(c.Value)))
		e.call(fnCopyFromUser)
		e.check(i)
		e.bind(keep)
	}
	e.copyCell(c.Map, p.attr)
	e.pointer(p.attr, bpfsys.ElemKey, p.key)
	e.pointer(p.attr, bpfsys.ElemValue, p.value)
	e.sysBPF(i, bpfsys.MapUpdateElem)
	e.bind(skip)
}

// fill updates all elements of an array in a loop, which counts in rErr: that
// register is free until the end.
func (e *emitter) fill(i int, c *trace.FillArray) {
	p := &e.commands[i]
	width := len(c.Values) / c.Count
	e.copyCell(c.Map, p.attr)
	e.pointer(p.attr, bpfsys.ElemKey, p.key)
	e.movImm(rErr, 0)
	again := newLabel()
	e.bind(again)
	e.storeBlob(4, p.key, rErr)
	e.mov(r1, rErr)
	e.aluImm(opMulImm, r1, int64(width))
	e.address(r2, p.value)
	e.add(r2, r1)
	e.storeBlob(8, p.attr+bpfsys.ElemValue, r2)
	e.sysBPF(i, bpfsys.MapUpdateElem)
	e.aluImm(opAddImm, rErr, 1)
	e.jump(opJneImm, rErr, int64(c.Count), again)
}

func (e *emitter) freeze(i int, c *trace.Freeze) {
	e.copyCell(c.Map, e.commands[i].attr)
	e.sysBPF(i, bpfsys.MapFreeze)
}

// patchFD puts the fd in r0 into all ld_imm64 that refer to it.
func (e *emitter) patchFD(t target, sites []site) {
	if table, ok := e.tables[t]; ok {
		e.loop(table, len(sites), func() { e.store(4, r1, 4, r0) })
		return
	}
	for _, s := range sites {
		e.storeBlob(4, s.off+4, r0)
	}
}

// loop runs body once for each of the n sites in a table, with the address
// of the instruction in r1. r2 counts; r3 to r5, r0 and win are the body's,
// but for win, which serves as the address of the table.
func (e *emitter) loop(table, n int, body func()) {
	e.blobAddr(rWin, table)
	e.winAt = -1
	e.movImm(r2, 0)
	again, bad := newLabel(), newLabel()
	e.bind(again)
	e.mov(r1, rWin)
	e.add(r1, r2)
	e.load(4, r1, r1, 0)
	// For the verifier: no table holds such an offset.
	e.jump(opJgtImm, r1, int64(len(e.blob)-2*insn.Size), bad)
	e.add(r1, rBase)
	body()
	e.aluImm(opAddImm, r2, 4)
	e.jump(opJneImm, r2, int64(4*n), again)
	e.bind(bad)
}

// lookup finds a symbol and puts the answer into all that refers to it.
func (e *emitter) lookup(i int, c *trace.Lookup) {
	s := &e.t.Symbols[c.Symbol]
	p := &e.commands[i]
	e.address(r1, p.data)
	e.movImm(r2, int64(len(s.Name)+1))
	if s.Kind == trace.SymbolAddress {
		e.movImm(r3, 0)
		e.address(r4, e.scratch)
		e.call(fnKallsymsName)
	} else {
		e.movImm(r3, int64(s.BTFKind))
		e.movImm(r4, 0)
		e.call(fnFindByName)
	}
	missing := newLabel()
	if s.Weak {
		// Only what is not there is missing; anything else is a failure.
		e.jump(opJeqImm, r0, -int64(unix.ENOENT), missing)
		if s.Kind == trace.SymbolAddress {
			// Addresses may be hidden (kptr_restrict): a direct load sees 0 then.
			e.jump(opJeqImm, r0, -int64(unix.EPERM), missing)
		}
	}
	e.check(i)
	e.patchSymbol(target{true, c.Symbol}, s)
	e.bind(missing)
}

func (e *emitter) patchSymbol(t target, s *trace.Symbol) {
	sites := e.sites[t]
	switch s.Kind {
	case trace.SymbolAddress:
		e.loadBlob(8, r0, e.scratch)
		e.mov(r3, r0)
		e.aluImm(opRshImm, r3, 32)
	default:
		// The answer is the type id, and in the upper half the fd of a
		// module's BTF, 0 for vmlinux.
		e.mov(r3, r0)
		e.aluImm(opRshImm, r3, 32)
		e.storeBlob(4, e.cell(s.BTF), r3)
	}
	if s.Kind == trace.SymbolKfunc {
		vmlinux := newLabel()
		e.jump(opJeqImm, r3, 0, vmlinux)
		e.movImm(r3, int64(s.BTF))
		e.bind(vmlinux)
	}
	if table, ok := e.tables[t]; ok {
		e.loop(table, len(sites), func() { e.patchAt(s, sites[0].kind, r1, 0, -1) })
		return
	}
	for _, at := range sites {
		r, d := e.reach(at.off)
		if d2 := d + 2*insn.Size; d2 > 1<<15-1 {
			r, d = e.reach(at.off + 2*insn.Size)
			d -= 2 * insn.Size
		}
		e.patchAt(s, at.kind, r, d, int(at.dst))
	}
}

// patchAt completes what lies at r+d with r0, the type id or the lower half
// of an address, and r3: the index in fd_array, the BTF fd or the upper half.
// dst is the instruction's destination register, -1 if only the blob knows.
func (e *emitter) patchAt(s *trace.Symbol, kind trace.FixupKind, r reg, d, dst int) {
	switch kind {
	case siteAttach:
		e.store(4, r, d+bpfsys.ProgLoadAttachID, r0)
		e.store(4, r, d+bpfsys.ProgLoadAttachFD, r3)
		return
	case trace.FixupCall:
		if s.Weak {
			e.storeImm(1, r, d+1, insn.PseudoKfunc<<4)
		}
		e.store(2, r, d+2, r3)
		e.store(4, r, d+4, r0)
		return
	}
	if kind == trace.FixupKsym && s.Weak {
		if dst >= 0 {
			e.storeImm(1, r, d+1, int64(dst)|insn.PseudoBTFID<<4)
		} else {
			e.load(1, r4, r, d+1)
			e.aluImm(opOrImm, r4, insn.PseudoBTFID<<4)
			e.store(1, r, d+1, r4)
		}
	}
	e.store(4, r, d+4, r0)
	e.store(4, r, d+insn.Size+4, r3)
}

func (e *emitter) loadProgram(i int, c *trace.LoadProgram) {
	p := &e.commands[i]
	given := newLabel()
	e.loadBlob(4, r1, e.cell(c.Out))
	e.jump(opJneImm, r1, 0, given)
	e.pointer(p.attr, bpfsys.ProgLoadInsns, p.data)
	e.pointer(p.attr, bpfsys.ProgLoadLicense, p.license)
	e.copyCtx(8, CtxLogLevel, p.attr+bpfsys.ProgLoadLogLevel) // and log_size, which follows in both
	e.copyCtx(8, CtxLogBuf, p.attr+bpfsys.ProgLoadLogBuf)
	if c.BTF != trace.NoFD {
		e.copyCell(c.BTF, p.attr+bpfsys.ProgLoadBTF)
		e.pointer(p.attr, bpfsys.ProgLoadFuncInfo, p.funcs)
		if len(c.LineInfo) > 0 {
			e.pointer(p.attr, bpfsys.ProgLoadLineInfo, p.lines)
		}
	}
	if c.Needs().FDArray {
		e.pointer(p.attr, bpfsys.ProgLoadFDArray, e.layout.Cells)
	}
	if len(c.CORE) > 0 {
		e.pointer(p.attr, bpfsys.ProgLoadCORE, p.core)
	}
	e.sysBPF(i, bpfsys.ProgLoad)
	e.storeBlob(4, e.cell(c.Out), r0)
	e.bind(given)
}

// close closes a temporary fd and forgets it.
func (e *emitter) close(fd trace.FD) {
	none := newLabel()
	e.loadBlob(4, r1, e.cell(fd))
	e.jump(opJeqImm, r1, 0, none)
	e.storeBlobImm(4, e.cell(fd), 0)
	e.call(fnSysClose)
	e.bind(none)
}

// end hands the fds out, or closes all that are open after a failure.
func (e *emitter) end() {
	maps := len(e.t.Maps)
	for i := range e.t.Maps {
		e.loadBlob(4, r1, e.cell(e.t.MapFD(i)))
		e.store(4, rCtx, CtxMap(i), r1)
	}
	for i := range e.t.Programs {
		e.loadBlob(4, r1, e.cell(e.t.ProgramFD(i)))
		e.store(4, rCtx, CtxProg(maps, i), r1)
	}
	e.movImm(r0, 0)
	e.raw(insn.Exit, 0, 0, 0, 0)

	if len(e.failed.jumps) == 0 {
		return // nothing can fail, and the verifier refuses what cannot be reached
	}
	e.bind(e.failed)
	e.mov(rErr, r0)
	e.movImm(rWin, 0)
	again, next, done := newLabel(), newLabel(), newLabel()
	e.bind(again)
	e.jump(opJeqImm, rWin, int64(4*len(e.t.FDs)), done)
	e.mov(r2, rBase)
	e.add(r2, rWin)
	e.load(4, r1, r2, e.layout.Cells)
	e.aluImm(opAddImm, rWin, 4)
	e.jump(opJeqImm, r1, 0, next)
	e.call(fnSysClose)
	e.bind(next)
	e.jump(opJa, 0, 0, again)
	e.bind(done)
	e.mov(r0, rErr)
	e.raw(insn.Exit, 0, 0, 0, 0)
}
