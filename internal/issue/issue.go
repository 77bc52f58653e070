package issue

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/core"
	"github.com/bpfreplay/bpfreplay/internal/emit"
	"github.com/bpfreplay/bpfreplay/internal/insn"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// Needs returns what Issue needs of the kernel. It reads the addresses of symbols from
// /proc/kallsyms, so it does not need the helper that a loader program calls.
func Needs(t *trace.Trace) []trace.Need {
	helper := func(n trace.Need) bool { return n.Capability == artefact.NeedKallsyms }
	return slices.DeleteFunc(slices.Clone(t.Needs), helper)
}

// Issue issues t on the running kernel. The caller owns the result. On failure nothing is left
// open, and the error is an *artefact.NeedError or an *artefact.StepError with the verifier's log.
func Issue(t *trace.Trace, tg *target.Target, o target.Options) (*target.Result, error) {
	s := &issuer{
		t: t, target: tg, fds: make([]int, len(t.FDs)),
		answers: make(map[*trace.Symbol]answer), settings: make(map[*trace.Setting][]byte),
		core: make(map[*trace.LoadProgram][]trace.CoreEdit), infos: make(map[*trace.LoadProgram][]trace.InfoEdit),
	}
	for i := range s.fds {
		s.fds[i] = -1
	}
	var err error
	issued := *t
	issued.Needs = Needs(t)
	s.p, err = tg.Prepare(emit.Describe(&issued), t.Types, o, s.createArena)
	if err != nil {
		return nil, err
	}
	for i, fd := range s.p.Maps {
		s.fds[t.MapFD(i)] = fd
	}
	for i, v := range s.p.Settings {
		s.settings[t.Settings[i]] = v
	}
	if err := s.all(); err != nil {
		s.closeFrom(1)
		s.p.Maps = nil // already closed
		s.p.Close()
		return nil, err
	}
	links := make([]int, len(t.Programs))
	for i, p := range t.Programs {
		if p.Link != trace.NoFD {
			links[i], s.fds[p.Link] = s.fds[p.Link], -1
		}
	}
	s.closeFrom(trace.FD(t.Outputs() + 1))
	r := &target.Result{Maps: s.fds[1 : len(t.Maps)+1], Programs: s.fds[len(t.Maps)+1 : t.Outputs()+1], Links: links, Arenas: s.p.Arenas}
	if err := s.p.Finish(r.Maps, r.Programs); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func (s *issuer) all() error {
	for _, c := range s.t.Commands {
		err := s.issue(c)
		if err == nil {
			continue
		}
		log := ""
		var le *logError
		if errors.As(err, &le) {
			err, log = le.err, le.log
		}
		return trace.Fail(c, err, log)
	}
	return nil
}

// answer is the result of looking up a symbol.
type answer struct {
	found bool
	value uint64 // type id or address
}

type issuer struct {
	t        *trace.Trace
	target   *target.Target
	p        *target.Prepared
	fds      []int // by FD, -1 while not open
	answers  map[*trace.Symbol]answer
	settings map[*trace.Setting][]byte

	extended bool // the extended types are to be loaded
	noTypes  bool // the kernel refuses the types, and they are optional
	// Changes of programs that depend on answers.
	core  map[*trace.LoadProgram][]trace.CoreEdit
	infos map[*trace.LoadProgram][]trace.InfoEdit
}

func (s *issuer) number(setting *trace.Setting) uint32 {
	return binary.NativeEndian.Uint32(s.settings[setting])
}

func (s *issuer) closeFrom(first trace.FD) {
	for fd := first; int(fd) < len(s.fds); fd++ {
		s.close(fd)
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
	case *trace.ChooseEnum:
		return s.chooseEnum(c)
	case *trace.AskContext:
		return s.askContext(c)
	case *trace.Freeze:
		if s.reused(c.Map) {
			return nil
		}
		return bpfsys.Freeze(s.fds[c.Map])
	case *trace.Lookup:
		return s.lookup(c)
	case *trace.LoadProgram:
		return s.loadProgram(c)
	case *trace.Attach:
		return s.attach(c)
	case *trace.Close:
		s.close(c.FD)
		return nil
	}
	return fmt.Errorf("command %T: %w", c, errors.ErrUnsupported)
}

func (s *issuer) attach(c *trace.Attach) (err error) {
	fd, prog := -1, uint32(s.fds[c.Program])
	if cmd, _ := c.Cmd(); cmd == bpfsys.LinkCreate {
		fd, err = bpfsys.Call(cmd, &bpfsys.LinkCreateAttr[struct{}]{ProgFD: prog, AttachType: c.AttachType})
	} else {
		fd, err = bpfsys.Call(cmd, &bpfsys.RawTracepointAttr{ProgFD: prog})
	}
	return s.opened(c.Out, fd, err)
}

// opened stores an fd.
func (s *issuer) opened(out trace.FD, fd int, err error) error {
	if err == nil {
		s.fds[out] = fd
	}
	return err
}

// logError carries a log from a command to its StepError.
type logError struct {
	err error
	log string
}

func (e *logError) Error() string { return e.err.Error() }

// loadBTF loads the types, if necessary without the kinds that the kernel does not know, or not at
// all.
func (s *issuer) loadBTF(c *trace.LoadBTF) error {
	data := c.Data
	if s.extended {
		data = c.Extended
	}
	err := s.loadTypes(c.Out, data)
	if err != nil && len(c.Fallbacks) > 0 {
		data = bytes.Clone(data)
		for _, f := range c.Fallbacks {
			words := f.Data
			if s.extended {
				words = f.Extended
			}
			if len(words) == 0 || knows(f.Probe) {
				continue
			}
			for _, w := range words {
				binary.LittleEndian.PutUint32(data[w.Off:], w.Value)
			}
		}
		err = s.loadTypes(c.Out, data)
	}
	if err != nil && c.Optional {
		s.noTypes = true
		return nil
	}
	return err
}

// knows reports whether the kernel accepts the types of a probe.
func knows(probe []byte) bool { return bpfsys.Tried(bpfsys.LoadBTF(probe, nil)) == nil }

func (s *issuer) loadTypes(out trace.FD, data []byte) error {
	return withLog(func(_ uint32, log []byte) error {
		fd, err := bpfsys.LoadBTF(data, log)
		return s.opened(out, fd, err)
	})
}

// withLog issues a command, and again with a log if it fails.
func withLog(issue func(level uint32, log []byte) error) error {
	log, err := bpfsys.WithLog(issue)
	if err == nil {
		return nil
	}
	return &logError{err, strings.TrimRight(log, "\n")}
}

// chooseEnum looks for the kind that the local type does not have. See chooseEnum in package emit.
func (s *issuer) chooseEnum(c *trace.ChooseEnum) error {
	_, other, err := s.target.FindType(c.Name, c.Other, "")
	if err != nil {
		return nil
	}
	s.fds[c.OtherBTF] = other
	_, local, err := s.target.FindType(c.Name, c.Local, "")
	if err == nil {
		s.fds[c.LocalBTF] = local
		if local < 0 || other >= 0 {
			return nil
		}
	}
	s.extended = true
	for _, e := range c.Edits {
		s.core[e.Program] = append(s.core[e.Program], e)
	}
	return nil
}

func (s *issuer) askContext(c *trace.AskContext) error {
	fd, err := bpfsys.LoadBTF(c.Types, nil)
	if s.opened(c.BTF, fd, err) == nil {
		var m bpfsys.Memory
		defer m.Release()
		a := c.Fixed()
		a.Insns, a.License, a.BTF, a.FuncInfo = m.At(c.Insns), m.String("GPL"), uint32(fd), m.At(c.FuncInfo)
		fd, err = bpfsys.Call(bpfsys.ProgLoad, &a)
		err = s.opened(c.Out, fd, err)
	}
	if err == nil {
		return nil
	}
	s.extended = true
	for _, e := range c.Edits {
		s.infos[e.Program] = append(s.infos[e.Program], e)
	}
	return nil
}

// reused reports whether a map is reused. A reused map is neither created nor filled.
func (s *issuer) reused(fd trace.FD) bool {
	_, ok := s.p.Maps[int(fd)-1]
	return ok
}

// createArena creates the map of an arena, which is mapped before the trace is issued.
func (s *issuer) createArena(m int) (int, error) {
	for _, c := range s.t.Commands {
		if c, ok := c.(*trace.CreateMap); ok && c.Map == s.t.Maps[m] {
			a := s.mapAttr(c)
			return bpfsys.Call(bpfsys.MapCreate, &a)
		}
	}
	return -1, fmt.Errorf("map %d: %w", m, errors.ErrUnsupported)
}

func (s *issuer) mapAttr(c *trace.CreateMap) bpfsys.MapCreateAttr {
	a := c.Fixed()
	if c.Attr.BTF != trace.NoFD {
		a.BTF = uint32(s.fds[c.Attr.BTF])
	}
	if s.noTypes {
		a.KeyType, a.ValueType = 0, 0
	}
	if c.Inner != trace.NoFD {
		a.InnerFD = uint32(s.fds[c.Inner])
	}
	if c.Value != nil {
		a.ValueSize, a.KernelType = s.number(c.ValueSize), uint32(s.answers[c.Value].value)
		if fd := s.fds[c.Value.BTF]; fd >= 0 {
			a.TypeFD = uint32(fd)
			a.Flags |= bpfsys.FlagTypeFD
		}
	}
	return a
}

func (s *issuer) createMap(c *trace.CreateMap) error {
	if s.reused(c.Out) {
		return nil
	}
	a := s.mapAttr(c)
	create := func() error {
		fd, err := bpfsys.Call(bpfsys.MapCreate, &a)
		return s.opened(c.Out, fd, err)
	}
	sizes := append([]uint32{c.Attr.MaxEntries}, c.Sizes...)
	if c.CPUs != nil {
		sizes = []uint32{s.number(c.CPUs)}
	}
	if n, ok := s.p.MaxEntries[int(c.Out)-1]; ok && c.Map != nil {
		sizes = []uint32{n}
	}
	var err error
	for _, size := range sizes {
		a.MaxEntries = size
		if err = create(); err == nil {
			return nil
		}
	}
	// Kernels before 5.14 refuse more types than c.Plain knows of, such as one in place of an empty
	// DATASEC.
	if a.KeyType != 0 || a.ValueType != 0 {
		a.KeyType, a.ValueType = 0, 0
		err = create()
	}
	return err
}

func (s *issuer) update(c *trace.UpdateElem) error {
	if c.Initial != nil && s.reused(c.Map) {
		return nil
	}
	value := c.Value
	switch override, ok := s.p.Values[int(c.Map)-1]; {
	case c.Initial != nil && ok:
		value = override
	case c.Setting != nil:
		value = s.settings[c.Setting]
	case c.FD != trace.NoFD:
		value = binary.NativeEndian.AppendUint32(nil, uint32(s.fds[c.FD]))
	}
	return bpfsys.UpdateElem(s.fds[c.Map], c.Key, value, c.Flags)
}

func (s *issuer) fill(c *trace.FillArray) error {
	width := len(c.Values) / c.Count
	for i := range c.Count {
		key := binary.NativeEndian.AppendUint32(nil, uint32(i))
		if err := bpfsys.UpdateElem(s.fds[c.Map], key, c.Values[i*width:(i+1)*width], 0); err != nil {
			return err
		}
	}
	return nil
}

func (s *issuer) lookup(c *trace.Lookup) error {
	sym := c.Symbol
	if sym.Mismatch != nil && s.number(sym.Mismatch) != 0 {
		return nil
	}
	if sym.Kind == trace.SymbolAddress {
		addr, err := s.target.Address(sym.Name)
		if sym.Weak && (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EPERM)) || sym.MayBeZero() && errors.Is(err, unix.ENOENT) {
			return nil
		}
		s.answers[sym] = answer{err == nil, addr}
		return err
	}
	id, fd, err := s.target.FindType(sym.Name, sym.BTFKind, "")
	if sym.Weak && errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	s.fds[sym.BTF] = fd
	s.answers[sym] = answer{true, uint64(id)}
	return nil
}

func (s *issuer) loadProgram(c *trace.LoadProgram) error {
	insns, array := s.complete(c)
	funcs, records := bytes.Clone(c.FuncInfo), core.Encode(c.CORE)
	for _, i := range s.infos[c] {
		binary.LittleEndian.PutUint32(funcs[int(c.FuncInfoRecSize)*i.Record+4:], uint32(i.Type))
	}
	for _, r := range s.core[c] {
		binary.LittleEndian.PutUint32(records[core.RecordSize*r.Record+4:], uint32(r.Type))
	}
	var m bpfsys.Memory
	defer m.Release()
	a := c.Fixed()
	a.Insns, a.License, a.CORE = m.At(insns), m.String(c.License), m.At(records)
	if c.Expected != nil {
		a.AttachType = uapi.AttachType(s.number(c.Expected))
	}
	switch {
	case s.noTypes:
		a.FuncInfoCount, a.LineInfoCount = 0, 0
	case c.BTF != trace.NoFD:
		a.BTF, a.FuncInfo, a.LineInfo = uint32(s.fds[c.BTF]), m.At(funcs), m.At(c.LineInfo)
	}
	if c.Attach != nil {
		a.AttachID = uint32(s.answers[c.Attach].value)
		if fd := s.fds[c.Attach.BTF]; fd >= 0 {
			a.AttachFD = uint32(fd)
		}
	}
	if f, ok := s.p.Replaced[int(c.Out)-1-len(s.t.Maps)]; ok {
		a.AttachID, a.AttachFD = f.ID, uint32(f.FD)
	}
	if c.CallsKfunc() && s.usesModule(c) { // kernels before 5.14 have no such field
		a.FDArray = m.At(array)
	}
	return withLog(func(level uint32, log []byte) error {
		a.SetLog(&m, level, log)
		fd, err := bpfsys.Call(bpfsys.ProgLoad, &a)
		return s.opened(c.Out, fd, err)
	})
}

// usesModule reports whether a program calls a kfunc of a module.
func (s *issuer) usesModule(c *trace.LoadProgram) bool {
	return slices.ContainsFunc(c.Fixups, func(f trace.Fixup) bool {
		return f.Kind == trace.FixupCall && s.fds[f.Symbol.BTF] >= 0
	})
}

// complete fills in the fixups of a program. The returned array of fds, for kfuncs of modules, is
// indexed by FD, like a loader program's.
func (s *issuer) complete(c *trace.LoadProgram) (insns, array []byte) {
	p := insn.Insns(bytes.Clone(c.Insns))
	for _, fd := range s.fds {
		array = binary.NativeEndian.AppendUint32(array, uint32(max(fd, 0)))
	}
	for _, r := range s.core[c] {
		if at := int(c.CORE[r.Record].InsnOff / insn.Size); r.Imm != nil {
			p.SetImm(at, int32(r.Imm[0]))
			p.SetImm(at+1, int32(r.Imm[1]))
		}
	}
	for _, f := range c.Fixups {
		if f.Kind == trace.FixupMap {
			p.SetImm(f.Insn, int32(s.fds[f.FD]))
			if by := s.p.Globals[int(f.FD)-1]; by != 0 && p.Src(f.Insn) == insn.PseudoMapValue {
				p.SetImm(f.Insn+1, p.Imm(f.Insn+1)+int32(by))
			}
			continue
		}
		sym, a := f.Symbol, s.answers[f.Symbol]
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
	return p, array
}
