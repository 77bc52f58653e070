package emit

import (
	"math"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/insn"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// Stack slots, from the top.
const (
	stackSaved    = -8  // rErr during a loop that counts in it, or the result of a lookup
	stackExtended = -16 // not 0 if the extended types are to be loaded
)

func (e *emitter) generate() {
	e.mov(rCtx, r1)
	e.blobAddr(rBase, 0)
	e.movImm(rErr, 0)
	if e.questions {
		e.storeImm(8, rStack, stackExtended, 0)
	}
	attached := newLabel() // after the last Attach
	for i, c := range e.t.Commands {
		switch c := c.(type) {
		case *trace.LoadBTF:
			e.loadBTF(i, c)
		case *trace.ChooseEnum:
			e.chooseEnum(i, c)
		case *trace.AskContext:
			e.askContext(i, c)
		case *trace.CreateMap:
			e.createMap(i, c)
		case *trace.UpdateElem:
			e.update(i, c)
		case *trace.FillArray:
			e.fill(i, c)
		case *trace.Freeze:
			e.issue(i, bpfsys.MapFreeze)
			e.result(i)
		case *trace.Lookup:
			e.lookup(i, c)
		case *trace.LoadProgram:
			e.loadProgram(i, c)
		case *trace.Attach:
			e.attach(i, c, attached)
		case *trace.Close:
			if len(attached.jumps) > 0 && attached.at < 0 {
				e.bind(attached)
			}
			e.close(c.FD)
		}
	}
	if attached.at < 0 {
		e.bind(attached)
	}
	e.mov(r0, rErr)
	e.raw(insn.Exit, 0, 0, 0, 0)
}

// issue emits a command whose attribute is complete. out: r0 = result.
func (e *emitter) issue(step int, cmd bpfsys.Cmd) {
	e.call2(cmd, e.commands[step].attr, e.commands[step].size)
}

func (e *emitter) call2(cmd bpfsys.Cmd, attr, size int) {
	e.movImm(r1, int64(cmd))
	e.blobAddr(r2, attr)
	e.movImm(r3, int64(size))
	e.call(fnSysBPF)
}

// result stores the result of a step. in: r0 = result.
func (e *emitter) result(step int) {
	if at := e.commands[step].result; at != 0 {
		e.store(4, rCtx, at, r0)
	}
}

// unless emits body, which is skipped if r0 is not an error. The verifier follows the fall-through
// path first.
func (e *emitter) unless(body func()) {
	e.over(opJsgeImm, r0, 0, body)
}

// over emits body and a conditional jump over it.
func (e *emitter) over(op uint8, dst reg, v int64, body func()) {
	end := newLabel()
	e.jump(op, dst, v, end)
	e.merge(end, body)
}

// merge emits body, which is the last code before a label that other code has jumped to. After the
// label rNear is still known if body has not moved it.
func (e *emitter) merge(l *label, body func()) {
	near := e.nearAt
	body()
	moved := e.nearAt != near
	e.bind(l)
	if !moved {
		e.nearAt = near
	}
}

// pointer stores the address of off in a field of an attribute.
func (e *emitter) pointer(attr, field, off int) {
	if off == 0 {
		e.storeBlob(8, attr+field, rBase)
		return
	}
	e.blobAddr(r1, off)
	e.storeBlob(8, attr+field, r1)
}

// copyCtx copies a field of the context into the blob. clobbers: r1.
func (e *emitter) copyCtx(width, from, to int) {
	e.load(width, r1, rCtx, from)
	e.storeBlob(width, to, r1)
}

// opened stores the fd in r0 in the context, in its cell, and in all its fixups. An fd with a slot
// in the context needs its cell only if it becomes the value of a map. A negative r0 is stored as
// well: the kernel refuses it as an fd.
func (e *emitter) opened(fd trace.FD) {
	slot := e.slots[fd]
	if slot != 0 {
		e.store(4, rCtx, slot, r0)
	}
	if slot == 0 || e.stored[fd] {
		e.storeBlob(4, e.cell(fd), r0)
	}
	fixups := e.fixups[fd]
	if table, ok := e.tables[fd]; ok {
		e.loop(table, len(fixups), 4, 2*insn.Size, func() { e.store(4, r1, 0, r0) })
		return
	}
	for _, s := range fixups {
		e.storeBlob(4, s.off, r0)
	}
}

// edit changes words of the blob. clobbers: r1; r2 and r3 if it uses a loop.
func (e *emitter) edit(w edits) {
	if w.table == 0 {
		for _, w := range w.words {
			e.storeBlobImm(4, int(w.Off), int64(int32(w.Value)))
		}
		return
	}
	e.loop(w.table, len(w.words), 8, 4, func() { e.store(4, r1, 0, r3) })
}

// loadBTF loads the types, or the extended types if an earlier command chose them.
func (e *emitter) loadBTF(i int, c *trace.LoadBTF) {
	p := &e.commands[i]
	if c.Extended == nil {
		e.types(i, c, p.data, 0)
	} else {
		plain, done := newLabel(), newLabel()
		e.load(8, r1, rStack, stackExtended)
		e.jump(opJeqImm, r1, 0, plain)
		e.storeBlobImm(4, p.attr+bpfsys.BTFLoadLen, int64(len(c.Extended)))
		e.types(i, c, p.extended, 1)
		e.jump(opJa, 0, 0, done)
		e.bind(plain)
		e.types(i, c, p.data, 0)
		e.bind(done)
	}
	e.result(i)
	e.opened(c.Out)
}

// types loads types. If the kernel refuses them, it probes which kinds the kernel knows and tries
// once more without the others. If that fails too and types are optional, the load continues
// without any. There is no log, because the runtime has the blob and can load it again.
func (e *emitter) types(i int, c *trace.LoadBTF, data, extended int) {
	p := &e.commands[i]
	e.pointer(p.attr, 0, data)
	e.issue(i, bpfsys.BTFLoad)
	var fallbacks []int
	for n := range c.Fallbacks {
		if len(p.edits[2*n+extended].words) > 0 {
			fallbacks = append(fallbacks, n)
		}
	}
	done := newLabel()
	near := e.nearAt
	if len(fallbacks) > 0 {
		e.jump(opJsgeImm, r0, 0, done)
		for _, n := range fallbacks {
			e.pointer(p.other, 0, p.probes[n])
			e.storeBlobImm(4, p.other+bpfsys.BTFLoadLen, int64(len(c.Fallbacks[n].Probe)))
			e.call2(bpfsys.BTFLoad, p.other, bpfsys.BTFLoadSize)
			known, next := newLabel(), newLabel()
			e.jump(opJsgeImm, r0, 0, known)
			e.edit(p.edits[2*n+extended])
			e.jump(opJa, 0, 0, next)
			e.bind(known)
			e.mov(r1, r0)
			e.call(fnSysClose)
			e.bind(next)
		}
		e.issue(i, bpfsys.BTFLoad)
	}
	if last := p.edits[len(p.edits)-1]; c.Optional && len(last.words) > 0 {
		e.jump(opJsgeImm, r0, 0, done)
		e.edit(last)
	}
	if moved := e.nearAt != near; len(done.jumps) > 0 {
		e.bind(done)
		if !moved {
			e.nearAt = near
		}
	}
}

// chooseEnum looks for the kind that the local type does not have. Records refer to the twin only
// if the kernel has that kind, and not the local one, or has the local one in a module and the
// other in vmlinux.
func (e *emitter) chooseEnum(i int, c *trace.ChooseEnum) {
	p := &e.commands[i]
	e.findType(p.data, len(c.Name)+1, c.Other)
	done, found := newLabel(), newLabel()
	e.jump(opJsgeImm, r0, 0, found)
	e.jump(opJa, 0, 0, done)
	e.bind(found)
	e.keepModule(c.OtherBTF) // r3 = fd, 0 for vmlinux
	e.store(8, rStack, stackSaved, r3)
	e.findType(p.data, len(c.Name)+1, c.Local)
	twin := newLabel()
	e.jump(opJsltImm, r0, 0, twin)
	e.keepModule(c.LocalBTF)
	e.jump(opJeqImm, r3, 0, done) // vmlinux has the local kind
	e.load(8, r1, rStack, stackSaved)
	e.jump(opJneImm, r1, 0, done) // modules have both
	e.bind(twin)
	e.storeImm(8, rStack, stackExtended, 1)
	e.edit(p.edits[0])
	e.bind(done)
}

// findType calls bpf_btf_find_by_name_kind. out: r0 = type id, with the fd of a module's BTF in the
// upper half, or an error.
func (e *emitter) findType(name, size int, kind uint32) {
	e.blobAddr(r1, name)
	e.movImm(r2, int64(size))
	e.movImm(r3, int64(kind))
	e.movImm(r4, 0)
	e.call(fnFindByName)
}

// keepModule stores the fd of a module's BTF in its cell, to be closed at the end. in: r0 = result
// of findType, not an error. out: r3 = the fd, 0 for vmlinux.
func (e *emitter) keepModule(cell trace.FD) {
	e.mov(r3, r0)
	e.aluImm(opRshImm, r3, 32)
	e.over(opJeqImm, r3, 0, func() { e.storeBlob(4, e.cell(cell), r3) })
}

// askContext loads the probe for arg:ctx. Its fds are closed at the end.
func (e *emitter) askContext(i int, c *trace.AskContext) {
	p := &e.commands[i]
	e.pointer(p.attr, 0, p.extended)
	e.issue(i, bpfsys.BTFLoad)
	e.opened(c.BTF)
	e.pointer(p.other, bpfsys.ProgLoadInsns, p.data)
	e.pointer(p.other, bpfsys.ProgLoadLicense, p.license)
	e.pointer(p.other, bpfsys.ProgLoadFuncInfo, p.funcs)
	e.call2(bpfsys.ProgLoad, p.other, bpfsys.ProgLoadFuncCountEnd)
	e.opened(c.Out)
	e.unless(func() {
		e.storeImm(8, rStack, stackExtended, 1)
		e.edit(p.edits[0])
	})
}

func (e *emitter) createMap(i int, c *trace.CreateMap) {
	p := &e.commands[i]
	if c.CPUs != nil { // unless the runtime has stored a number
		e.loadBlob(4, r1, p.attr+bpfsys.MapCreateMaxEntries)
		e.over(opJneImm, r1, 0, func() {
			e.load(4, r1, rCtx, e.settings[c.CPUs])
			e.over(opJleImm, r1, maxCPUs, func() { e.movImm(r1, maxCPUs) })
			e.storeBlob(4, p.attr+bpfsys.MapCreateMaxEntries, r1)
		})
	}
	if c.ValueSize != nil {
		e.copyCtx(4, e.settings[c.ValueSize], p.attr+bpfsys.MapCreateValueSize)
	}
	e.issue(i, bpfsys.MapCreate)
	e.otherSizes(i, c)
	if c.Plain {
		e.unless(func() {
			e.storeBlobImm(4, p.attr+bpfsys.MapCreateKeyType, 0)
			e.storeBlobImm(4, p.attr+bpfsys.MapCreateValueType, 0)
			e.issue(i, bpfsys.MapCreate)
		})
	}
	if m := e.mapOf(c.Map); m != nil {
		e.loadBlob(4, r1, m.Delta)
		e.add(r0, r1)
	}
	e.result(i)
	e.opened(c.Out)
}

// otherSizes tries the other sizes if the kernel refuses the first one of a ring buffer, unless the
// runtime has stored a size of its own.
func (e *emitter) otherSizes(i int, c *trace.CreateMap) {
	if len(c.Sizes) == 0 {
		return
	}
	field := e.commands[i].attr + bpfsys.MapCreateMaxEntries
	e.loadBlob(4, r1, field)
	e.over(opJneImm, r1, int64(int32(c.Attr.MaxEntries)), func() {
		for _, size := range c.Sizes {
			e.unless(func() {
				e.storeBlobImm(4, field, int64(int32(size)))
				e.issue(i, bpfsys.MapCreate)
			})
		}
	})
}

func (e *emitter) update(i int, c *trace.UpdateElem) {
	p := &e.commands[i]
	if c.Setting != nil {
		e.copyValue(e.settings[c.Setting], p.value, c.Setting.Size)
		e.bound(c.Setting, p.value)
	}
	e.pointer(p.attr, bpfsys.ElemKey, p.key)
	e.pointer(p.attr, bpfsys.ElemValue, p.value)
	e.issue(i, bpfsys.MapUpdateElem)
	e.result(i)
}

// copyValue copies size bytes, rounded up to whole words, from the context into the blob.
func (e *emitter) copyValue(from, to, size int) {
	for at := 0; at < size; at += 8 {
		e.copyCtx(8, from+at, to+at)
	}
}

// maxCPUs is the largest number of CPUs that a kernel can be built for (NR_CPUS of x86-64 with
// MAXSMP).
const maxCPUs = 8192

// bound limits booleans and tristates of .kconfig to their valid values, so that a signature of the
// loader program covers its behaviour for all values that it can get. clobbers: r1.
func (e *emitter) bound(s *trace.Setting, value int) {
	for _, x := range s.Externs {
		last := int64(0)
		switch x.KconfigType {
		case object.KconfigBool:
			last = 1
		case object.KconfigTristate:
			last = 2
		default:
			continue // not signed
		}
		width, at := int(x.KconfigSize), int(x.KconfigOffset)
		e.load(width, r1, rCtx, e.settings[s]+at)
		e.over(opJleImm, r1, last, func() { e.storeBlobImm(width, value+at, last) })
	}
}

// fill updates all elements of an array in a loop that counts in rErr.
func (e *emitter) fill(i int, c *trace.FillArray) {
	p := &e.commands[i]
	width := len(c.Values) / c.Count
	e.pointer(p.attr, bpfsys.ElemKey, p.key)
	e.store(8, rStack, stackSaved, rErr)
	e.movImm(rErr, 0)
	again, good, bad := newLabel(), newLabel(), newLabel()
	e.bind(again)
	e.storeBlob(4, p.key, rErr)
	e.mov(r1, rErr)
	e.aluImm(opMulImm, r1, int64(width))
	e.blobAddr(r2, p.value)
	e.add(r2, r1)
	e.storeBlob(8, p.attr+bpfsys.ElemValue, r2)
	e.issue(i, bpfsys.MapUpdateElem)
	e.jump(opJsgeImm, r0, 0, good)
	e.jump(opJa, 0, 0, bad)
	e.bind(good)
	e.aluImm(opAddImm, rErr, 1)
	e.jump(opJneImm, rErr, int64(c.Count), again)
	e.bind(bad)
	e.load(8, rErr, rStack, stackSaved)
	e.result(i)
}

// wordAligned is a mask for offsets of words. The offsets in tables are multiples of 4, but the
// verifier does not know that, and on machines without fast unaligned accesses (riscv64) it must.
const wordAligned = -4

// loop emits a loop that runs body for each of the n entries of a table: the offset of a place of
// span bytes in the blob, and, in entries of 8 bytes, a value. body in: r1 = address of the place,
// r3 = value. body may clobber r0, r1 and r3 to r5. clobbers: r2, rNear.
func (e *emitter) loop(table, n, entry, span int, body func()) {
	e.blobAddr(rNear, table)
	e.nearAt = -1
	e.movImm(r2, 0)
	again, good, bad := newLabel(), newLabel(), newLabel()
	e.bind(again)
	e.mov(r1, rNear)
	e.add(r1, r2)
	if entry == 8 {
		e.load(4, r3, r1, 4)
	}
	e.load(4, r1, r1, 0)
	e.aluImm(opAndImm, r1, wordAligned)
	// The tables hold only valid offsets; the check is for the verifier. It follows the
	// fall-through path, which ends at once, so no branch of an iteration stays pending: the
	// verifier keeps at most 8,192.
	e.jump(opJleImm, r1, int64(e.size-span), good)
	e.jump(opJa, 0, 0, bad)
	e.bind(good)
	e.add(r1, rBase)
	body()
	e.aluImm(opAddImm, r2, int64(entry))
	e.jump(opJneImm, r2, int64(entry*n), again)
	e.bind(bad)
}

// lookup finds a symbol and stores the answer in all its fixups.
func (e *emitter) lookup(i int, c *trace.Lookup) {
	s := c.Symbol
	p := &e.commands[i]
	missing := newLabel()
	if s.Mismatch != nil {
		e.load(4, r1, rCtx, e.settings[s.Mismatch])
		e.jump(opJneImm, r1, 0, missing)
	}
	if s.Kind == trace.SymbolAddress {
		e.blobAddr(r1, p.data)
		e.movImm(r2, int64(len(s.Name)+1))
		e.movImm(r3, 0)
		e.blobAddr(r4, e.scratch)
		e.call(fnKallsymsName)
	} else {
		e.findType(p.data, len(s.Name)+1, s.BTFKind)
	}
	if s.Weak {
		// Only ENOENT means missing. Any other error is a failure.
		e.jump(opJeqImm, r0, -int64(unix.ENOENT), missing)
	}
	if s.Kind == trace.SymbolAddress {
		switch {
		case s.Weak:
			// Addresses may be hidden (kptr_restrict). A direct load reads 0 then.
			e.jump(opJeqImm, r0, -int64(unix.EPERM), missing)
		case s.MayBeZero():
			// The helper reports a symbol at address 0 as missing.
			e.jump(opJeqImm, r0, -int64(unix.ENOENT), missing)
		}
	}
	e.result(i)
	e.patchSymbol(s)
	if len(missing.jumps) > 0 {
		e.bind(missing)
	}
}

func (e *emitter) patchSymbol(s *trace.Symbol) {
	fixups := e.fixups[s]
	if s.Kind == trace.SymbolAddress {
		e.loadBlob(8, r0, e.scratch)
	} // else r0 = type id, and in the upper half the fd of a module's BTF, 0 for vmlinux
	e.mov(r3, r0)
	e.aluImm(opRshImm, r3, 32)
	if s.Kind != trace.SymbolAddress {
		e.over(opJeqImm, r3, 0, func() { e.inModule(s, fixups) })
	}
	if table, ok := e.tables[s]; ok {
		e.loop(table, len(fixups), 4, 2*insn.Size, func() { e.patchAt(s, fixups[0].kind, r1, 0, -1) })
		return
	}
	for _, at := range fixups {
		r, d := e.reach(at.off, bpfsys.ProgLoadAttachFD+4)
		e.patchAt(s, at.kind, r, d, int(at.dst))
	}
}

// inModule handles a symbol that a module has. in: r3 = fd of the module's BTF. out: r3 = the index
// in fd_array for a kfunc, else the same fd.
func (e *emitter) inModule(s *trace.Symbol, fixups []fixup) {
	e.storeBlob(4, e.cell(s.BTF), r3)
	for _, at := range fixups {
		if at.kind == fixupValue { // 6.9
			e.storeBlob(4, at.off+bpfsys.MapCreateTypeFD, r3)
			e.loadBlob(4, r1, at.off+bpfsys.MapCreateFlags)
			e.aluImm(opOrImm, r1, bpfsys.FlagTypeFD)
			e.storeBlob(4, at.off+bpfsys.MapCreateFlags, r1)
		}
	}
	if s.Kind == trace.SymbolKfunc {
		e.movImm(r3, int64(s.BTF))
	}
}

// patchAt completes the fixup at r+d. in: r0 = type id or lower half of an address, r3 = index in
// fd_array, BTF fd or upper half. clobbers: r4. dst is the instruction's destination register, -1
// if it must be read from the blob.
func (e *emitter) patchAt(s *trace.Symbol, kind trace.FixupKind, r reg, d, dst int) {
	switch kind {
	case fixupValue:
		e.store(4, r, d+bpfsys.MapCreateKernelType, r0)
		return
	case fixupAttach:
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

// loadProgram loads a program. If an earlier program has failed, it uses a command number that the
// kernel does not know, so that no program is verified in vain.
func (e *emitter) loadProgram(i int, c *trace.LoadProgram) {
	p := &e.commands[i]
	log := e.a.Programs[e.programs[c.Program]].Log
	e.copyCtx(8, log, p.attr+bpfsys.ProgLoadLogLevel) // and log_size, the next field
	e.copyCtx(8, log+8, p.attr+bpfsys.ProgLoadLogBuf)
	if c.Expected != nil {
		e.load(4, r1, rCtx, e.settings[c.Expected])
		if c.Expected.Kind == trace.SettingUSDT { // the setting counts as a boolean
			e.over(opJeqImm, r1, 0, func() { e.movImm(r1, int64(uapi.AttachTraceUprobeMulti)) })
		}
		e.storeBlob(4, p.attr+bpfsys.ProgLoadAttachType, r1)
	}
	e.pointer(p.attr, bpfsys.ProgLoadInsns, p.data)
	e.pointer(p.attr, bpfsys.ProgLoadLicense, p.license)
	if len(c.FuncInfo) > 0 {
		e.pointer(p.attr, bpfsys.ProgLoadFuncInfo, p.funcs)
	}
	if len(c.LineInfo) > 0 {
		e.pointer(p.attr, bpfsys.ProgLoadLineInfo, p.lines)
	}
	if c.CallsKfunc() {
		e.pointer(p.attr, bpfsys.ProgLoadFDArray, e.cells)
	}
	if len(c.CORE) > 0 {
		e.pointer(p.attr, bpfsys.ProgLoadCORE, p.core)
	}
	if e.loaded == 0 {
		e.issue(i, bpfsys.ProgLoad)
		e.mov(rErr, r0)
	} else {
		e.mov(r1, rErr)
		e.aluImm(opArshImm, r1, 63)
		e.aluImm(opOrImm, r1, int64(bpfsys.ProgLoad))
		e.blobAddr(r2, p.attr)
		e.movImm(r3, int64(p.size))
		e.call(fnSysBPF)
		e.raw(opOrReg, rErr, r0, 0, 0)
	}
	e.loaded++
	e.opened(c.Out)
}

// attach attaches a program. The first attach jumps past the last one unless all maps and programs
// exist: an incomplete load attaches nothing. The runtime names what failed.
func (e *emitter) attach(i int, c *trace.Attach, attached *label) {
	if len(attached.jumps) == 0 {
		for n := 1; n <= e.t.Outputs(); n++ {
			e.load(4, r1, rCtx, e.slots[trace.FD(n)])
			e.jump(opJgtImm, r1, math.MaxInt32, attached) // a negative errno
		}
	}
	cmd, _ := c.Cmd()
	e.issue(i, cmd)
	e.opened(c.Out)
}

// close closes a temporary fd. If it was not opened, the cell holds -1 or an errno, and closing
// that does nothing.
func (e *emitter) close(fd trace.FD) {
	e.loadBlob(4, r1, e.cell(fd))
	e.call(fnSysClose)
}
