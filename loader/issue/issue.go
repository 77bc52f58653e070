package issue

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/loader/bpfsys"
	"github.com/bpfreplay/bpfreplay/loader/insn"
	"github.com/bpfreplay/bpfreplay/loader/target"
	"github.com/bpfreplay/bpfreplay/loader/trace"
)

// Result holds what a trace left behind: fds that the caller owns. A program
// that this kernel has no use for (a member that its struct_ops type lacks) is -1.
type Result struct {
	Maps     []int             // in the order of Trace.Maps
	Programs []int             // in the order of Trace.Programs
	Arenas   map[string][]byte // memory of arenas, by map
}

// Close closes all fds and unmaps arenas.
func (r *Result) Close() {
	for _, fd := range slices.Concat(r.Maps, r.Programs) {
		if fd >= 0 {
			bpfsys.Close(fd)
		}
	}
	target.Unmap(r.Arenas)
	r.Maps, r.Programs, r.Arenas = nil, nil, nil
}

// Issue issues t on the running kernel. On failure nothing is left open, and
// the error is a *trace.StepError with the verifier's log of the program that
// failed.
func Issue(t *trace.Trace, tg *target.Target, o target.Options) (*Result, error) {
	load, err := tg.Begin(t, o)
	if err != nil {
		return nil, err
	}
	for {
		r, err := issue(load, tg)
		var step *trace.StepError
		if err == nil || !errors.As(err, &step) || !load.Adapt(step) {
			return r, err
		}
	}
}

func issue(load *target.Load, tg *target.Target) (*Result, error) {
	settled, err := load.Settle()
	if err != nil {
		return nil, err
	}
	defer settled.Close()
	t := settled.Trace
	s := &issuer{t: t, target: tg, given: settled.Given, fds: make([]int, len(t.FDs)), answers: make([]answer, len(t.Symbols))}
	for i := range s.fds {
		s.fds[i] = -1
	}
	for fd, n := range settled.Given {
		s.fds[fd] = n
	}
	if err := s.all(); err != nil {
		s.closeFrom(0)
		target.Unmap(settled.Arenas)
		return nil, err
	}
	s.closeFrom(t.Outputs())
	r := &Result{Maps: s.fds[:len(t.Maps)], Programs: s.fds[len(t.Maps):t.Outputs()], Arenas: settled.Arenas}
	if err := load.Pin(settled, r.Maps); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func (s *issuer) all() error {
	for i, c := range s.t.Commands {
		err := s.issue(c)
		if err == nil {
			continue
		}
		log := ""
		var le *logError
		if errors.As(err, &le) {
			err, log = le.err, le.log
		}
		return s.t.Fail(i, err, log)
	}
	return nil
}

// answer is what a symbol was found to be.
type answer struct {
	found bool
	value uint64 // type id or address
}

type issuer struct {
	t       *trace.Trace
	target  *target.Target
	fds     []int // by FD, -1 while not open
	given   map[trace.FD]int
	answers []answer
}

func (s *issuer) closeFrom(first int) {
	for i := first; i < len(s.fds); i++ {
		s.close(trace.FD(i))
	}
}

func (s *issuer) close(fd trace.FD) {
	if s.fds[fd] >= 0 {
		bpfsys.Close(s.fds[fd])
		s.fds[fd] = -1
	}
}

func (s *issuer) issue(c trace.Command) error {
	switch c := c.(type) {
	case *trace.LoadBTF:
		return s.loadBTF(c)
	case *trace.CreateMap:
		return s.createMap(c)
	case *trace.UpdateElem:
		return s.update(c)
	case *trace.FillArray:
		return s.fill(c)
	case *trace.Skip:
		return nil
	case *trace.Freeze:
		if s.isGiven(c.Map) {
			return nil
		}
		a := bpfsys.NewAttr(bpfsys.FreezeSize)
		a.U32(0, uint32(s.fds[c.Map]))
		_, err := a.Call(bpfsys.MapFreeze)
		return err
	case *trace.Lookup:
		return s.lookup(c)
	case *trace.LoadProgram:
		return s.loadProgram(c)
	case *trace.Close:
		s.close(c.FD)
		return nil
	}
	return fmt.Errorf("command %T: %w", c, errors.ErrUnsupported)
}

func (s *issuer) open(out trace.FD, a *bpfsys.Attr, cmd bpfsys.Cmd) error {
	fd, err := a.Call(cmd)
	if err != nil {
		return err
	}
	s.fds[out] = fd
	return nil
}

// logError carries a log from a command to its StepError.
type logError struct {
	err error
	log string
}

func (e *logError) Error() string { return e.err.Error() }

func (s *issuer) loadBTF(c *trace.LoadBTF) error {
	return s.withLog(c.Out, bpfsys.BTFLoad, func(_ uint32, log []byte) *bpfsys.Attr { return btfAttr(c, log) })
}

func btfAttr(c *trace.LoadBTF, log []byte) *bpfsys.Attr {
	a := bpfsys.NewAttr(bpfsys.BTFLoadSize)
	a.Ptr(0, c.Data)
	a.U32(bpfsys.BTFLoadLen, uint32(len(c.Data)))
	if log != nil {
		a.Ptr(bpfsys.BTFLoadLogBuf, log)
		a.U32(bpfsys.BTFLoadLogSize, uint32(len(log)))
		a.U32(bpfsys.BTFLoadLogLevel, 1)
	}
	return a
}

// BTFLog is what the kernel says about an object's types that it refuses,
// empty if it takes them.
func BTFLog(c *trace.LoadBTF) string {
	log := make([]byte, bpfsys.LogSize)
	fd, err := btfAttr(c, log).Call(bpfsys.BTFLoad)
	if err == nil {
		bpfsys.Close(fd)
		return ""
	}
	return bpfsys.CString(log)
}

// withLog issues a command that can have a log.
func (s *issuer) withLog(out trace.FD, cmd bpfsys.Cmd, attr func(level uint32, log []byte) *bpfsys.Attr) error {
	log, err := bpfsys.WithLog(func(level uint32, log []byte) error { return s.open(out, attr(level, log), cmd) })
	if err == nil {
		return nil
	}
	return &logError{err, strings.TrimRight(log, "\n")}
}

// isGiven says whether a map existed before: it is not filled then.
func (s *issuer) isGiven(fd trace.FD) bool {
	_, ok := s.given[fd]
	return ok
}

func (s *issuer) createMap(c *trace.CreateMap) error {
	if s.isGiven(c.Out) {
		return nil
	}
	a := bpfsys.NewAttr(bpfsys.MapCreateSize(c.Attr.Fixed()))
	bpfsys.PutMapCreate(a.Bytes, c.Attr.Fixed())
	if c.Attr.BTF != trace.NoFD {
		a.U32(bpfsys.MapCreateBTF, uint32(s.fds[c.Attr.BTF]))
	}
	if c.Inner != trace.NoFD {
		a.U32(bpfsys.MapCreateInner, uint32(s.fds[c.Inner]))
	}
	return s.open(c.Out, a, bpfsys.MapCreate)
}

func (s *issuer) update(c *trace.UpdateElem) error {
	if c.OnlyGiven || c.MapIndex >= 0 && s.isGiven(c.Map) {
		return nil
	}
	value := c.Value
	if c.FD != trace.NoFD {
		fd := bpfsys.NewAttr(4)
		fd.U32(0, uint32(s.fds[c.FD]))
		value = fd.Bytes
	}
	a := bpfsys.NewAttr(bpfsys.ElemSize)
	a.U32(0, uint32(s.fds[c.Map]))
	a.Ptr(bpfsys.ElemKey, c.Key)
	a.Ptr(bpfsys.ElemValue, value)
	a.U64(bpfsys.ElemFlags, c.Flags)
	_, err := a.Call(bpfsys.MapUpdateElem)
	return err
}

func (s *issuer) fill(c *trace.FillArray) error {
	width := len(c.Values) / c.Count
	for i := range c.Count {
		key := bpfsys.NewAttr(4)
		key.U32(0, uint32(i))
		a := bpfsys.NewAttr(bpfsys.ElemSize)
		a.U32(0, uint32(s.fds[c.Map]))
		a.Ptr(bpfsys.ElemKey, key.Bytes)
		a.Ptr(bpfsys.ElemValue, c.Values[i*width:(i+1)*width])
		if _, err := a.Call(bpfsys.MapUpdateElem); err != nil {
			return err
		}
	}
	return nil
}

func (s *issuer) lookup(c *trace.Lookup) error {
	sym := &s.t.Symbols[c.Symbol]
	if sym.Kind == trace.SymbolAddress {
		addr, err := s.target.Address(sym.Name)
		if sym.Weak && (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EPERM)) {
			return nil
		}
		s.answers[c.Symbol] = answer{err == nil, addr}
		return err
	}
	id, fd, err := s.target.FindType(sym.Name, sym.BTFKind, sym.Module)
	if sym.Weak && errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	s.fds[sym.BTF] = fd
	s.answers[c.Symbol] = answer{true, uint64(id)}
	return nil
}

func (s *issuer) loadProgram(c *trace.LoadProgram) error {
	insns, array := s.complete(c)
	needs := c.Needs()
	needs.FDArray = needs.FDArray && s.usesModule(c) // 5.14: kernels before have no such field
	attr := func(level uint32, log []byte) *bpfsys.Attr {
		a := bpfsys.NewAttr(bpfsys.ProgLoadSize(needs))
		bpfsys.PutProgLoad(a.Bytes, c.Fixed())
		a.Ptr(bpfsys.ProgLoadInsns, insns)
		a.Ptr(bpfsys.ProgLoadLicense, append([]byte(c.License), 0))
		if c.BTF != trace.NoFD {
			a.U32(bpfsys.ProgLoadBTF, uint32(s.fds[c.BTF]))
			a.Ptr(bpfsys.ProgLoadFuncInfo, c.FuncInfo)
			if len(c.LineInfo) > 0 {
				a.Ptr(bpfsys.ProgLoadLineInfo, c.LineInfo)
			}
		}
		if c.Attach >= 0 {
			sym := &s.t.Symbols[c.Attach]
			a.U32(bpfsys.ProgLoadAttachID, uint32(s.answers[c.Attach].value))
			if fd := s.fds[sym.BTF]; fd >= 0 {
				a.U32(bpfsys.ProgLoadAttachFD, uint32(fd))
			}
		}
		if needs.FDArray {
			a.Ptr(bpfsys.ProgLoadFDArray, array)
		}
		if len(c.CORE) > 0 {
			a.Ptr(bpfsys.ProgLoadCORE, c.CORE)
		}
		a.ProgLoadLog(level, log)
		return a
	}
	return s.withLog(c.Out, bpfsys.ProgLoad, attr)
}

// usesModule says whether a program calls a kfunc of a module.
func (s *issuer) usesModule(c *trace.LoadProgram) bool {
	return slices.ContainsFunc(c.Fixups, func(f trace.Fixup) bool {
		return f.Kind == trace.FixupCall && s.fds[s.t.Symbols[f.Symbol].BTF] >= 0
	})
}

// complete fills in what only the target knows. The array of fds that it
// returns, for kfuncs of modules, is indexed by FD, as a loader program's is.
func (s *issuer) complete(c *trace.LoadProgram) (insns, array []byte) {
	p := insn.Insns(append([]byte(nil), c.Insns...))
	fds := bpfsys.NewAttr(4 * len(s.fds))
	for i, fd := range s.fds {
		fds.U32(4*i, uint32(max(fd, 0)))
	}
	for _, f := range c.Fixups {
		if f.Kind == trace.FixupMap {
			p.SetImm(f.Insn, int32(s.fds[f.FD]))
			continue
		}
		sym, a := &s.t.Symbols[f.Symbol], s.answers[f.Symbol]
		if !a.found {
			continue
		}
		module := -1
		if sym.BTF != trace.NoFD {
			module = s.fds[sym.BTF]
		}
		switch f.Kind {
		case trace.FixupCall:
			p.SetSrc(f.Insn, insn.PseudoKfunc)
			p.SetImm(f.Insn, int32(a.value))
			if module >= 0 {
				p.SetOff(f.Insn, int16(sym.BTF))
			}
		case trace.FixupKsym:
			p.SetSrc(f.Insn, insn.PseudoBTFID)
			p.SetImm(f.Insn, int32(a.value))
			p.SetImm(f.Insn+1, int32(max(module, 0)))
		case trace.FixupAddress:
			p.SetImm(f.Insn, int32(a.value))
			p.SetImm(f.Insn+1, int32(a.value>>32))
		}
	}
	return p, fds.Bytes
}
