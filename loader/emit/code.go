package emit

import (
	"slices"

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
	if !e.Steps {
		e.movImm(rErr, 0)
	}
	for _, fd := range e.Given {
		if len(e.sites[target{false, int(fd)}]) > 0 || e.slots[fd] != 0 {
			e.loadBlob(4, r0, e.cell(fd))
			e.handOver(fd)
		}
	}
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
			e.sysBPF(i, bpfsys.MapFreeze)
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
//
// Without Steps it goes on whatever r0 is: rErr gets its sign.
func (e *emitter) check(step int) {
	e.safe = nil
	if !e.Steps {
		e.raw(opOrReg, rErr, r0, 0, 0)
		return
	}
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

// sysBPF issues a command whose attribute is complete, and checks it.
func (e *emitter) sysBPF(step int, cmd bpfsys.Cmd) {
	e.issue(step, cmd)
	e.check(step)
}

func (e *emitter) issue(step int, cmd bpfsys.Cmd) {
	p := &e.commands[step]
	e.movImm(r1, int64(cmd))
	e.blobAddr(r2, p.attr)
	e.movImm(r3, int64(p.size))
	e.call(fnSysBPF)
}

// pointer stores the address of what lies at off in the field of an attribute.
func (e *emitter) pointer(attr, field, off int) {
	if off == 0 {
		e.storeBlob(8, attr+field, rBase)
		return
	}
	e.blobAddr(r1, off)
	e.storeBlob(8, attr+field, r1)
}

// copyCtx copies a field of the context into the blob.
func (e *emitter) copyCtx(width, from, to int) {
	e.load(width, r1, rCtx, from)
	e.storeBlob(width, to, r1)
}

// opened puts the fd in r0 into its cell and into all that refers to it.
// Without Steps, what has a slot in the context needs its cell only if a map
// is to get the fd from there.
func (e *emitter) opened(fd trace.FD) {
	e.safe = append(e.safe, fd)
	if e.slots[fd] == 0 || e.stored[fd] {
		e.storeBlob(4, e.cell(fd), r0)
	}
	e.handOver(fd)
}

// handOver puts the fd in r0 into its slot in the context, if it has one
// (without Steps it is handed out at once), and into all that refers to it.
func (e *emitter) handOver(fd trace.FD) {
	if slot := e.slots[fd]; slot != 0 {
		e.store(4, rCtx, slot, r0)
	}
	e.patchFD(fd)
}

// patchFD puts the fd in r0 into all attributes and instructions that refer to it.
func (e *emitter) patchFD(fd trace.FD) {
	t := target{false, int(fd)}
	sites := e.sites[t]
	if table, ok := e.tables[t]; ok {
		e.loop(table, len(sites), func() { e.store(4, r1, 0, r0) })
		return
	}
	for _, s := range sites {
		e.stop()
		e.storeBlob(4, s.off, r0)
	}
}

func (e *emitter) loadBTF(i int, c *trace.LoadBTF) {
	p := &e.commands[i]
	e.pointer(p.attr, 0, p.data)
	// No log: the one buffer of the context is for programs, and a log of types
	// in it would be taken for theirs. Who has the blob can ask again.
	e.sysBPF(i, bpfsys.BTFLoad)
	e.opened(c.Out)
}

// createMap creates a map. It returns the index of the command that is done
// last: a map that the caller brought needs none of those that give it its
// first value.
func (e *emitter) createMap(i int, c *trace.CreateMap) int {
	last := i
	if c.Map >= 0 {
		last = e.lastInitial(i, c)
	}
	if slices.Contains(e.Given, c.Out) {
		return last
	}
	if e.Inputs && c.Map >= 0 && last == i {
		e.takeMaxEntries(i, c)
	}
	e.sysBPF(i, bpfsys.MapCreate)
	e.opened(c.Out)
	return i
}

// takeMaxEntries takes the size of a map from the context, if it is not 0.
func (e *emitter) takeMaxEntries(i int, c *trace.CreateMap) {
	keep := newLabel()
	e.load(4, r1, rCtx, CtxMap(c.Map)+CtxMaxEntries)
	e.jump(opJeqImm, r1, 0, keep)
	e.storeBlob(4, e.commands[i].attr+bpfsys.MapCreateMaxEntries, r1)
	e.bind(keep)
}

// lastInitial is the index of the last of the commands after i that give a new
// map its first value: i if there is none.
func (e *emitter) lastInitial(i int, c *trace.CreateMap) int {
	for i+1 < len(e.t.Commands) {
		switch next := e.t.Commands[i+1].(type) {
		case *trace.UpdateElem:
			if next.MapIndex != c.Map {
				return i
			}
		case *trace.Freeze:
			if next.Map != c.Out {
				return i
			}
		default:
			return i
		}
		i++
	}
	return i
}

func (e *emitter) update(i int, c *trace.UpdateElem) {
	if e.leftOut(c) {
		return
	}
	p := &e.commands[i]
	skip := newLabel()
	if c.MapIndex >= 0 && e.Inputs {
		keep := newLabel()
		e.load(8, r3, rCtx, CtxMap(c.MapIndex)+CtxInitial)
		if c.OnlyGiven {
			e.jump(opJeqImm, r3, 0, skip)
		} else {
			e.jump(opJeqImm, r3, 0, keep)
		}
		e.blobAddr(r1, p.value)
		e.movImm(r2, int64(len(c.Value)))
		e.call(fnCopyFromUser)
		e.check(i)
		e.bind(keep)
	}
	e.pointer(p.attr, bpfsys.ElemKey, p.key)
	e.pointer(p.attr, bpfsys.ElemValue, p.value)
	e.sysBPF(i, bpfsys.MapUpdateElem)
	e.bind(skip)
}

// fill updates all elements of an array in a loop, which counts in rErr: that
// register is free until the end, or lies on the stack.
func (e *emitter) fill(i int, c *trace.FillArray) {
	p := &e.commands[i]
	width := len(c.Values) / c.Count
	e.pointer(p.attr, bpfsys.ElemKey, p.key)
	if !e.Steps {
		e.store(8, rStack, -8, rErr)
	}
	e.movImm(rErr, 0)
	again := newLabel()
	e.bind(again)
	e.storeBlob(4, p.key, rErr)
	e.mov(r1, rErr)
	e.aluImm(opMulImm, r1, int64(width))
	e.blobAddr(r2, p.value)
	e.add(r2, r1)
	e.storeBlob(8, p.attr+bpfsys.ElemValue, r2)
	e.issue(i, bpfsys.MapUpdateElem)
	good, bad := newLabel(), newLabel()
	if e.Steps {
		e.check(i)
	} else {
		e.jump(opJsgeImm, r0, 0, good)
		e.jump(opJa, 0, 0, bad)
		e.bind(good)
	}
	e.aluImm(opAddImm, rErr, 1)
	e.jump(opJneImm, rErr, int64(c.Count), again)
	if !e.Steps {
		e.bind(bad)
		e.load(8, rErr, rStack, -8)
		e.check(i)
	}
}

// loop runs body once for each of the n sites in a table, with the address
// of the instruction in r1. r2 counts; r3 to r5, r0 and win are the body's,
// but for win, which serves as the address of the table.
func (e *emitter) loop(table, n int, body func()) {
	e.blobAddr(rWin, table)
	e.winAt = -1
	e.movImm(r2, 0)
	again, good, bad := newLabel(), newLabel(), newLabel()
	e.bind(again)
	e.mov(r1, rWin)
	e.add(r1, r2)
	e.load(4, r1, r1, 0)
	// For the verifier: no table holds another offset. It follows the path that
	// falls through at once, so that no branch of a turn is left for later: it
	// keeps 8,192 of them at most.
	e.jump(opJleImm, r1, int64(len(e.blob)-2*insn.Size), good)
	e.jump(opJa, 0, 0, bad)
	e.bind(good)
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
	e.blobAddr(r1, p.data)
	e.movImm(r2, int64(len(s.Name)+1))
	if s.Kind == trace.SymbolAddress {
		e.movImm(r3, 0)
		e.blobAddr(r4, e.scratch)
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
		vmlinux := newLabel()
		e.jump(opJeqImm, r3, 0, vmlinux)
		e.storeBlob(4, e.cell(s.BTF), r3)
		if s.Kind == trace.SymbolKfunc {
			e.movImm(r3, int64(s.BTF)) // index in fd_array
		}
		e.bind(vmlinux)
	}
	if table, ok := e.tables[t]; ok {
		e.loop(table, len(sites), func() { e.patchAt(s, sites[0].kind, r1, 0, -1) })
		return
	}
	for _, at := range sites {
		e.stop()
		r, d := e.reach(at.off, bpfsys.ProgLoadAttachFD+4)
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
	if e.Inputs {
		e.copyCtx(8, CtxLogLevel, p.attr+bpfsys.ProgLoadLogLevel) // and log_size, which follows in both
		e.copyCtx(8, CtxLogBuf, p.attr+bpfsys.ProgLoadLogBuf)
	}
	e.pointer(p.attr, bpfsys.ProgLoadInsns, p.data)
	e.pointer(p.attr, bpfsys.ProgLoadLicense, p.license)
	if c.BTF != trace.NoFD {
		e.pointer(p.attr, bpfsys.ProgLoadFuncInfo, p.funcs)
		if len(c.LineInfo) > 0 {
			e.pointer(p.attr, bpfsys.ProgLoadLineInfo, p.lines)
		}
	}
	if c.Needs().FDArray {
		e.pointer(p.attr, bpfsys.ProgLoadFDArray, e.cells)
	}
	if len(c.CORE) > 0 {
		e.pointer(p.attr, bpfsys.ProgLoadCORE, p.core)
	}
	e.sysBPF(i, bpfsys.ProgLoad)
	e.opened(c.Out)
}

// close closes a temporary fd and forgets it. That of vmlinux, which is none,
// is as good to close as any.
func (e *emitter) close(fd trace.FD) {
	e.loadBlob(4, r1, e.cell(fd))
	if e.Steps {
		e.storeBlobImm(4, e.cell(fd), none)
	}
	e.call(fnSysClose)
}

// end hands the fds out, or closes all after a failure, those that are not
// open as well: a test for each would cost more than the system call does. But
// what is opened last is never open when something fails.
func (e *emitter) end() {
	if !e.Steps {
		e.mov(r0, rErr)
		e.raw(insn.Exit, 0, 0, 0, 0)
		return
	}
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
	for i := range e.t.FDs {
		if fd := trace.FD(i); !slices.Contains(e.safe, fd) {
			e.loadBlob(4, r1, e.cell(fd))
			e.call(fnSysClose)
		}
	}
	e.mov(r0, rErr)
	e.raw(insn.Exit, 0, 0, 0, 0)
}
