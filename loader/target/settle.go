package target

import (
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/loader/bpfsys"
	"github.com/bpfreplay/bpfreplay/loader/btf"
	"github.com/bpfreplay/bpfreplay/loader/core"
	"github.com/bpfreplay/bpfreplay/loader/insn"
	"github.com/bpfreplay/bpfreplay/loader/trace"
)

func (l *Load) settleBTF(c *trace.LoadBTF) trace.Command {
	if l.noBTF {
		return &trace.Skip{Of: c}
	}
	spec := l.types.Sanitize(l.target.Features().BTF)
	if spec == l.trace.Types {
		return c
	}
	n := *c
	n.Data = spec.Raw()
	return &n
}

func (l *Load) settleMap(s *Settled, i int, c *trace.CreateMap) (trace.Command, error) {
	n := *c
	if c.Map >= 0 {
		if size, ok := l.opts.MaxEntries[l.trace.Maps[c.Map].Name]; ok {
			n.Attr.MaxEntries, n.Setting = size, -1
		}
	}
	if n.Setting >= 0 {
		size, err := sizeOf(l.trace.Settings[n.Setting])
		if err != nil {
			return nil, err
		}
		n.Attr.MaxEntries = size
	}
	if l.noBTF || l.plain[i] {
		n.Attr.BTF, n.Attr.KeyType, n.Attr.ValueType = trace.NoFD, 0, 0
	}
	if c.StructOps != nil {
		if err := l.settleStructOpsMap(s, &n); err != nil {
			return nil, err
		}
	}
	if c.Map >= 0 {
		if _, err := l.open(s, &n); err != nil {
			return nil, err
		}
	}
	if n == *c {
		return c, nil
	}
	return &n, nil
}

// sizeOf is the max_entries that a target decides.
func sizeOf(s trace.Setting) (uint32, error) {
	if s.Kind == trace.SettingCPUs {
		return CPUs()
	}
	return RingSize(s.Size), nil
}

func (l *Load) settleValue(c *trace.UpdateElem) (trace.Command, error) {
	if c.MapIndex < 0 {
		return c, nil
	}
	name := l.trace.Maps[c.MapIndex].Name
	if v, ok := l.opts.Values[name]; ok {
		if len(v) != len(c.Value) {
			return nil, fmt.Errorf("initial value of %d bytes for a map of %d: %w", len(v), len(c.Value), unix.EINVAL)
		}
		n := *c
		n.Value, n.OnlyGiven = v, false
		return &n, nil
	}
	if c.Setting < 0 {
		return c, nil
	}
	n := *c
	var err error
	n.Value, err = l.target.Kconfig(l.trace.Settings[c.Setting].Externs, uint32(len(c.Value)))
	return &n, err
}

func (l *Load) settleProgram(s *Settled, i int, c *trace.LoadProgram) (trace.Command, error) {
	n := *c
	if l.noBTF {
		n.BTF, n.FuncInfo, n.LineInfo = trace.NoFD, nil, nil
	} else if info := l.funcInfo[i]; info != nil {
		n.FuncInfo = info
	}
	var err error
	switch {
	case c.USDT && l.target.hasUprobeMulti():
		n.AttachType = traceUprobeMulti
	case c.StructOps != nil:
		err = l.settleMember(s, &n)
	case c.Replaces != "":
		err = l.settleReplaced(s, &n)
	case c.Attach >= 0 && l.trace.Symbols[c.Attach].Module != "":
		err = l.settleModuleTarget(s, &n)
	}
	s.moveGlobals(&n)
	if err == nil {
		err = l.settleCORE(&n)
	}
	if err != nil {
		return nil, err
	}
	if same(&n, c) {
		return c, nil
	}
	return &n, nil
}

// same says whether settling has left a program as it was.
func same(a, b *trace.LoadProgram) bool {
	return a.BTF == b.BTF && a.AttachTo == b.AttachTo && a.AttachType == b.AttachType && a.Attach == b.Attach &&
		len(a.CORE) == len(b.CORE) && sameSlice(a.Insns, b.Insns) && sameSlice(a.FuncInfo, b.FuncInfo)
}

func sameSlice(a, b []byte) bool {
	return len(a) == len(b) && unsafe.SliceData(a) == unsafe.SliceData(b)
}

// settleCORE resolves CO-RE relocations here: all of them on a kernel that
// has no CO-RE, else those whose answer would differ from a direct load's.
func (l *Load) settleCORE(n *trace.LoadProgram) error {
	inKernel := l.target.Features().CORE && n.BTF != trace.NoFD
	if len(n.CORE) == 0 || inKernel && len(n.UserCORE) == 0 {
		return nil
	}
	records, err := core.ParseRecords(n.CORE)
	if err != nil {
		return err
	}
	all := n.CORE
	n.CORE, n.Insns = nil, slices.Clone(n.Insns)
	var ours []core.Record
	for i, r := range records {
		if inKernel && !slices.Contains(n.UserCORE, i) {
			n.CORE = append(n.CORE, all[i*core.RecordSize:(i+1)*core.RecordSize]...)
		} else {
			ours = append(ours, r)
		}
	}
	kernel, err := l.target.coreTarget()
	if err != nil {
		return err
	}
	if err := core.New(l.trace.Types, kernel).Apply(insn.Insns(n.Insns), ours); err != nil {
		return fmt.Errorf("CO-RE: %w", err)
	}
	return nil
}

// keep hands an fd of a module's BTF over to s, and returns the number for an
// attribute: 0 for vmlinux.
func (s *Settled) keep(fd int) int {
	if fd < 0 {
		return 0
	}
	s.temporary = append(s.temporary, fd)
	return fd
}

// settleModuleTarget looks an attach target up in the module that the object
// names: the helper that loader programs have searches all.
func (l *Load) settleModuleTarget(s *Settled, n *trace.LoadProgram) error {
	sym := &l.trace.Symbols[n.Attach]
	id, fd, err := l.target.FindType(sym.Name, sym.BTFKind, sym.Module)
	if err != nil {
		return fmt.Errorf("%s of module %s: %w", sym.Name, sym.Module, err)
	}
	n.Attach, n.AttachTo = -1, trace.KernelType{ID: id, FD: s.keep(fd)}
	return nil
}

// moveGlobals makes a program refer to the data of an arena where it is.
func (s *Settled) moveGlobals(n *trace.LoadProgram) {
	if len(s.globals) == 0 {
		return
	}
	n.Insns = slices.Clone(n.Insns)
	p := insn.Insns(n.Insns)
	for _, f := range n.Fixups {
		if f.Kind == trace.FixupMap && p.Src(f.Insn) == insn.PseudoMapValue {
			p.SetImm(f.Insn+1, p.Imm(f.Insn+1)+int32(s.globals[f.FD]))
		}
	}
}

// prototypeFits says whether a weak kfunc may be called: whether it is declared
// as the kernel has it. What the kernel lacks is for the lookup to find.
func (l *Load) prototypeFits(sym *trace.Symbol) (bool, error) {
	if sym.Type == 0 {
		return true, nil
	}
	id, fd, err := l.target.FindType(sym.Name, sym.BTFKind, sym.Module)
	if err != nil {
		return true, nil
	}
	if fd >= 0 {
		defer bpfsys.Close(fd)
	}
	spec, err := l.target.specOf(fd)
	if err != nil {
		return false, err
	}
	fn, err := spec.Type(btf.TypeID(id))
	if err != nil {
		return false, err
	}
	return core.Compatible(l.trace.Types, sym.Type, spec, fn.Ref)
}

// settleReplaced finds the function that an freplace program replaces in the
// program that the caller gave for it.
func (l *Load) settleReplaced(s *Settled, n *trace.LoadProgram) error {
	fd, ok := l.opts.Programs[n.Name]
	if !ok {
		return fmt.Errorf("the program whose function %s it replaces is not given: %w", n.Replaces, unix.EINVAL)
	}
	info, _, err := bpfsys.GetProgInfo(fd)
	if err != nil {
		return err
	}
	if info.BTFID == 0 {
		return fmt.Errorf("the program that it replaces has no types: %w", unix.EINVAL)
	}
	types, err := bpfsys.FDByID(bpfsys.BTFGetFDByID, info.BTFID)
	if err != nil {
		return err
	}
	defer bpfsys.Close(types)
	_, _, raw, err := bpfsys.GetBTFInfo(types, true)
	if err != nil {
		return err
	}
	spec, err := btf.Parse(raw)
	if err != nil {
		return err
	}
	id, err := spec.First(n.Replaces, btf.KindFunc)
	if err != nil {
		return fmt.Errorf("function %s: %w: %w", n.Replaces, err, unix.ENOENT)
	}
	n.AttachTo = trace.KernelType{ID: uint32(id), FD: fd}
	return nil
}

// structOpsPrefix is what the kernel puts before the name of a struct_ops type
// to name the type of its map's value.
const structOpsPrefix = "bpf_struct_ops_"

// structOpsTypes finds a struct_ops type of the kernel and the type of its
// map's value, with the fd of the module's BTF that has them, or -1.
func (t *Target) structOpsTypes(name string) (ops, value *btf.Type, spec *btf.Spec, fd int, err error) {
	id, fd, err := t.FindType(name, uint32(btf.KindStruct), "")
	if err != nil {
		return nil, nil, nil, -1, fmt.Errorf("kernel type struct %s: %w", name, err)
	}
	defer func() {
		if err != nil && fd >= 0 {
			bpfsys.Close(fd)
		}
	}()
	spec, err = t.specOf(fd)
	if err != nil {
		return nil, nil, nil, fd, err
	}
	if ops, err = spec.Type(btf.TypeID(id)); err != nil {
		return nil, nil, nil, fd, err
	}
	valueID, err := spec.First(structOpsPrefix+name, btf.KindStruct)
	if err != nil {
		return nil, nil, nil, fd, fmt.Errorf("kernel type struct %s%s: %w", structOpsPrefix, name, unix.ENOENT)
	}
	value, err = spec.Type(valueID)
	return ops, value, spec, fd, err
}

func (l *Load) settleStructOpsMap(s *Settled, n *trace.CreateMap) error {
	ops, value, spec, fd, err := l.target.structOpsTypes(n.StructOps.Type)
	if err != nil {
		return err
	}
	n.Attr.ValueSize = value.Size
	n.Attr.Kernel = trace.KernelType{ID: uint32(value.ID), FD: s.keep(fd)}
	if fd >= 0 {
		n.Attr.Flags |= fTypeBTF
	}
	return checkStructOps(l.trace.Types, spec, ops, n.StructOps, func(member string) bool {
		return slices.ContainsFunc(l.trace.Commands, func(c trace.Command) bool {
			p, ok := c.(*trace.LoadProgram)
			return ok && p.StructOps != nil && *p.StructOps == trace.StructOpsMember{Type: n.StructOps.Type, Member: member}
		})
	})
}

const fTypeBTF = 1 << 15 // BPF_F_VTYPE_BTF_OBJ_FD, 6.9

// settleMember finds the member of a kernel type that a program implements.
func (l *Load) settleMember(s *Settled, n *trace.LoadProgram) error {
	ops, _, _, fd, err := l.target.structOpsTypes(n.StructOps.Type)
	if err != nil {
		return err
	}
	module := s.keep(fd)
	i := slices.IndexFunc(ops.Members, func(m btf.Member) bool { return m.Name == n.StructOps.Member })
	if i < 0 {
		return fmt.Errorf("this kernel's struct %s has no member %s: %w", n.StructOps.Type, n.StructOps.Member, unix.ENOTSUP)
	}
	n.AttachType = uint32(i)
	n.AttachTo = trace.KernelType{ID: uint32(ops.ID), FD: module}
	return nil
}
