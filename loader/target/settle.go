package target

import (
	"fmt"
	"slices"

	"github.com/bpfreplay/bpfreplay/loader/core"
	"github.com/bpfreplay/bpfreplay/loader/insn"
	"github.com/bpfreplay/bpfreplay/loader/trace"
)

// Settle returns the trace with what it left to this target filled in: sizes
// that depend on the number of CPUs or the size of a page, the value of
// .kconfig, types that this kernel does not know, and the CO-RE relocations
// that it cannot do, or not as a direct load would. The trace given is not
// changed; it is returned itself if the target decides nothing.
func (t *Target) Settle(tr *trace.Trace) (*trace.Trace, error) {
	var commands []trace.Command // nil until one differs
	for i, c := range tr.Commands {
		n, err := t.settle(tr, c)
		if err != nil {
			return nil, tr.Fail(i, err, "")
		}
		if n == c {
			continue
		}
		if commands == nil {
			commands = slices.Clone(tr.Commands)
		}
		commands[i] = n
	}
	if commands == nil {
		return tr, nil
	}
	out := *tr
	out.Commands = commands
	return &out, nil
}

func (t *Target) settle(tr *trace.Trace, c trace.Command) (trace.Command, error) {
	switch c := c.(type) {
	case *trace.LoadBTF:
		return t.settleBTF(tr, c)
	case *trace.CreateMap:
		return t.settleMap(tr, c)
	case *trace.UpdateElem:
		return t.settleValue(tr, c)
	case *trace.LoadProgram:
		return t.settleProgram(tr, c)
	}
	return c, nil
}

func (t *Target) settleBTF(tr *trace.Trace, c *trace.LoadBTF) (trace.Command, error) {
	spec := tr.Types.Sanitize(t.Features().BTF)
	if spec == tr.Types {
		return c, nil
	}
	n := *c
	n.Data = spec.Raw()
	return &n, nil
}

func (t *Target) settleMap(tr *trace.Trace, c *trace.CreateMap) (trace.Command, error) {
	if c.Setting < 0 {
		return c, nil
	}
	n := *c
	switch s := tr.Settings[c.Setting]; s.Kind {
	case trace.SettingCPUs:
		cpus, err := CPUs()
		if err != nil {
			return nil, err
		}
		n.Attr.MaxEntries = cpus
	case trace.SettingPages:
		n.Attr.MaxEntries = RingSize(s.Size)
	}
	return &n, nil
}

func (t *Target) settleValue(tr *trace.Trace, c *trace.UpdateElem) (trace.Command, error) {
	if c.Setting < 0 {
		return c, nil
	}
	n := *c
	var err error
	n.Value, err = t.Kconfig(tr.Settings[c.Setting].Externs, uint32(len(c.Value)))
	return &n, err
}

// settleProgram resolves CO-RE relocations here: all of them on a kernel that
// has no CO-RE, else those whose answer would differ from a direct load's.
func (t *Target) settleProgram(tr *trace.Trace, c *trace.LoadProgram) (trace.Command, error) {
	if len(c.CORE) == 0 {
		return c, nil
	}
	inKernel := t.Features().CORE && c.BTF != trace.NoFD
	if inKernel && len(c.UserCORE) == 0 {
		return c, nil
	}
	records, err := core.ParseRecords(c.CORE)
	if err != nil {
		return nil, err
	}
	n := *c
	n.CORE = nil
	n.Insns = slices.Clone(c.Insns)
	var ours []core.Record
	for i, r := range records {
		if inKernel && !slices.Contains(c.UserCORE, i) {
			n.CORE = append(n.CORE, c.CORE[i*core.RecordSize:(i+1)*core.RecordSize]...)
		} else {
			ours = append(ours, r)
		}
	}
	candidates, err := t.coreTarget()
	if err != nil {
		return nil, err
	}
	r := core.New(tr.Types, candidates)
	if err := r.Apply(insn.Insns(n.Insns), ours); err != nil {
		return nil, fmt.Errorf("CO-RE: %w", err)
	}
	return &n, nil
}
