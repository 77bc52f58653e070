package target

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/loader/bpfsys"
	"github.com/bpfreplay/bpfreplay/loader/btf"
	"github.com/bpfreplay/bpfreplay/loader/trace"
)

// Options are what whoever loads wants to be different from what the object says.
type Options struct {
	MaxEntries map[string]uint32 // by map
	Values     map[string][]byte // by data map: initial value, of the map's size
	Maps       map[string]int    // by map: fd of a map to use instead of a new one; it stays the caller's
	Programs   map[string]int    // by freplace program: fd of the program that it replaces
	// PinPath is the directory in a BPF file system for maps that the object
	// wants pinned by name, "/sys/fs/bpf" if empty. A map that is pinned there
	// is used, a new one is pinned.
	PinPath string
}

// Load is one load of a trace on a target: what has been settled, and what
// has been learned from failures.
type Load struct {
	target *Target
	trace  *trace.Trace
	opts   Options
	noBTF  bool         // the kernel takes none of the object's types
	plain  map[int]bool // by command: maps that the kernel refuses to have types
	zero   map[int]bool // by symbol: addresses that are 0, for which the kernel's helper finds nothing

	types    *btf.Spec      // the object's, with what this kernel needs besides
	funcInfo map[int][]byte // by command: what refers to that
}

// Begin begins a load.
func (t *Target) Begin(tr *trace.Trace, o Options) (*Load, error) {
	known := make(map[string]bool)
	for _, m := range tr.Maps {
		known[m.Name] = true
	}
	for _, names := range []([]string){
		slices.Collect(maps.Keys(o.MaxEntries)), slices.Collect(maps.Keys(o.Values)), slices.Collect(maps.Keys(o.Maps)),
	} {
		for _, n := range names {
			if !known[n] {
				return nil, fmt.Errorf("object %s has no map %q", tr.Object, n)
			}
		}
	}
	for n := range o.Programs {
		if !slices.ContainsFunc(tr.Programs, func(p trace.Program) bool { return p.Name == n }) {
			return nil, fmt.Errorf("object %s has no program %q", tr.Object, n)
		}
	}
	if o.PinPath == "" {
		o.PinPath = "/sys/fs/bpf"
	}
	l := &Load{
		target: t, trace: tr, opts: o, types: tr.Types,
		plain: make(map[int]bool), zero: make(map[int]bool), funcInfo: make(map[int][]byte),
	}
	return l, l.argCtx()
}

// Settled is a trace with nothing left open for one target, and what has been
// opened to settle it.
type Settled struct {
	*trace.Trace
	// Given are fds that exist before the trace is issued, by FD: it neither
	// creates nor fills these maps. They belong to whoever issues the trace.
	Given map[trace.FD]int
	// Arenas is the memory of arenas, by map, mapped in this process.
	Arenas map[string][]byte

	temporary []int
	globals   map[trace.FD]uint32 // by arena: where its data begins, in bytes, if not at its start
}

// Close closes what the commands of the trace refer to by number. It leaves
// Given and Arenas alone.
func (s *Settled) Close() {
	for _, fd := range s.temporary {
		bpfsys.Close(fd)
	}
	s.temporary = nil
}

// Discard closes everything, after a failure.
func (s *Settled) Discard() {
	s.Close()
	for _, fd := range s.Given {
		bpfsys.Close(fd)
	}
	s.Given = nil
	Unmap(s.Arenas)
	s.Arenas = nil
}

// Unmap unmaps the memory of arenas.
func Unmap(arenas map[string][]byte) {
	for _, m := range arenas {
		bpfsys.UnmapMemory(m)
	}
}

// Settle fills in what the trace left to this target: sizes that depend on
// the number of CPUs or the size of a page, the value of .kconfig, types that
// this kernel does not know, the layout of struct_ops, targets in modules and
// other programs, and the CO-RE relocations that the kernel cannot do, or not
// as a direct load would. The trace itself is not changed; if the target
// decides nothing, the result refers to it.
func (l *Load) Settle() (*Settled, error) {
	s := &Settled{Trace: l.trace, Given: make(map[trace.FD]int), Arenas: make(map[string][]byte), globals: make(map[trace.FD]uint32)}
	commands := l.trace.Commands
	for i, c := range l.trace.Commands {
		n, err := l.settle(s, i, c)
		if err != nil {
			s.Discard()
			return nil, l.trace.Fail(i, err, "")
		}
		if n == c {
			continue
		}
		if &commands[0] == &l.trace.Commands[0] {
			commands = slices.Clone(commands)
		}
		commands[i] = n
	}
	if len(commands) > 0 && &commands[0] != &l.trace.Commands[0] {
		out := *l.trace
		out.Commands = commands
		s.Trace = &out
	}
	return s, nil
}

// settle returns a command as it is for this target.
func (l *Load) settle(s *Settled, i int, c trace.Command) (trace.Command, error) {
	switch c := c.(type) {
	case *trace.LoadBTF:
		return l.settleBTF(c), nil
	case *trace.CreateMap:
		return l.settleMap(s, i, c)
	case *trace.UpdateElem:
		return l.settleValue(c)
	case *trace.Lookup:
		// A loader program cannot search one module only: see settleModuleTarget.
		if l.trace.Symbols[c.Symbol].Module != "" || l.zero[c.Symbol] {
			return &trace.Skip{Of: c}, nil
		}
		if fits, err := l.prototypeFits(&l.trace.Symbols[c.Symbol]); !fits || err != nil {
			return &trace.Skip{Of: c}, err
		}
	case *trace.LoadProgram:
		return l.settleProgram(s, i, c)
	}
	return c, nil
}

// Adapt is told of a step that the kernel refused. It returns true if the
// load is worth another try: because a probe has found something missing that
// the step made use of, or because the step can do without types, as libbpf
// does without them then.
func (l *Load) Adapt(e *trace.StepError) bool {
	if e.Step < 0 || e.Step >= len(l.trace.Commands) || tellsNothing(e.Err) {
		return false
	}
	switch c := l.trace.Commands[e.Step].(type) {
	case *trace.LoadBTF:
		if l.target.learn() {
			return true
		}
		if l.noBTF || l.needsBTF() {
			return false
		}
		l.noBTF = true
		return true
	case *trace.CreateMap:
		if c.Attr.BTF == trace.NoFD || c.StructOps != nil || l.plain[e.Step] || l.noBTF {
			return false
		}
		l.plain[e.Step] = true
		return true
	case *trace.Lookup:
		return l.adaptLookup(c, e)
	case *trace.LoadProgram:
		return errors.Is(e.Err, unix.E2BIG) && len(c.CORE) > 0 && l.target.learn()
	}
	return false
}

// adaptLookup: bpf_kallsyms_lookup_name does not find symbols at address 0.
func (l *Load) adaptLookup(c *trace.Lookup, e *trace.StepError) bool {
	sym := &l.trace.Symbols[c.Symbol]
	if sym.Kind != trace.SymbolAddress || l.zero[c.Symbol] || !errors.Is(e.Err, unix.ENOENT) {
		return false
	}
	addr, err := l.target.Address(sym.Name)
	l.zero[c.Symbol] = err == nil && addr == 0
	return l.zero[c.Symbol]
}

// tellsNothing says whether an error is about the caller or the moment and not
// about the kernel: what cannot be done now for want of fds can be done later.
func tellsNothing(err error) bool {
	return slices.ContainsFunc([]error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EPERM, unix.EAGAIN}, func(e error) bool {
		return errors.Is(err, e)
	})
}

// needsBTF says whether the object cannot do without its types.
func (l *Load) needsBTF() bool {
	return slices.ContainsFunc(l.trace.Commands, func(c trace.Command) bool {
		m, ok := c.(*trace.CreateMap)
		return ok && m.StructOps != nil
	})
}

// open opens what exists before the trace is issued for map m: a map of the
// caller's, a pinned one, an arena. It says whether there is one.
func (l *Load) open(s *Settled, c *trace.CreateMap) (bool, error) {
	m := l.trace.Maps[c.Map]
	fd := l.trace.MapFD(c.Map)
	if given, ok := l.opts.Maps[m.Name]; ok {
		dup, err := unix.FcntlInt(uintptr(given), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return false, fmt.Errorf("map to use: %w", err)
		}
		s.Given[fd] = dup
		return true, nil
	}
	if m.Pinned {
		pinned, err := bpfsys.Get(l.PinPath(m.Name))
		if err == nil {
			s.Given[fd] = pinned
			return true, checkPinned(pinned, c)
		}
		if !errors.Is(err, unix.ENOENT) {
			return false, fmt.Errorf("pinned map %s: %w", l.PinPath(m.Name), err)
		}
	}
	for _, a := range l.trace.Arenas {
		if a.Map == c.Map {
			return true, l.openArena(s, m.Name, fd, c, a.Data)
		}
	}
	return false, nil
}

// PinPath is where a map of that name is pinned.
func (l *Load) PinPath(name string) string { return filepath.Join(l.opts.PinPath, name) }

// checkPinned compares a pinned map with the one that the object defines.
func checkPinned(fd int, c *trace.CreateMap) error {
	info, _, err := bpfsys.GetMapInfo(fd)
	if err != nil {
		return err
	}
	a := &c.Attr
	if a.Type == mapDevmap || a.Type == mapDevmapHash {
		info.MapFlags &^= fRdonlyProg // which the kernel adds
	}
	if info.Type != a.Type || info.KeySize != a.KeySize || info.ValueSize != a.ValueSize ||
		info.MaxEntries != a.MaxEntries || info.MapFlags != a.Flags || info.MapExtra != a.Extra {
		return fmt.Errorf("the map that is pinned under this name has another definition: %w", unix.EINVAL)
	}
	return nil
}

// Types of maps (enum bpf_map_type) to whose flags the kernel adds
// BPF_F_RDONLY_PROG.
const (
	mapDevmap     = 14
	mapDevmapHash = 25
	fRdonlyProg   = 1 << 7
)

// Pin pins the new maps that the object wants pinned. fds are those of the
// maps, in the order of the trace. On failure nothing new is pinned.
func (l *Load) Pin(s *Settled, fds []int) error {
	var done []string
	for i, m := range l.trace.Maps {
		if _, given := s.Given[l.trace.MapFD(i)]; given || !m.Pinned {
			continue
		}
		path := l.PinPath(m.Name)
		if err := bpfsys.Pin(fds[i], path); err != nil {
			for _, p := range done {
				_ = os.Remove(p)
			}
			return fmt.Errorf("map %s: pin at %s: %w", m.Name, path, err)
		}
		done = append(done, path)
	}
	return nil
}

// openArena makes an arena, maps it, and fills it. Programs that refer to it can
// be loaded only once it has an address.
//
// The object's data is in the last pages, so that programs have the first ones
// to themselves, or at the start on kernels where no instruction can refer to
// what is further in.
func (l *Load) openArena(s *Settled, name string, fd trace.FD, c *trace.CreateMap, data []byte) error {
	a := bpfsys.NewAttr(bpfsys.MapCreateSize(c.Attr.Fixed()))
	bpfsys.PutMapCreate(a.Bytes, c.Attr.Fixed())
	m, err := a.Call(bpfsys.MapCreate)
	if err != nil {
		return err
	}
	s.Given[fd] = m
	size := int(c.Attr.MaxEntries) * os.Getpagesize()
	memory, err := bpfsys.MapMemory(m, size, uintptr(c.Attr.Extra))
	if err != nil {
		return fmt.Errorf("map the arena's memory: %w", err)
	}
	s.Arenas[name] = memory
	if len(data) > len(memory) {
		return fmt.Errorf("%d bytes of data do not fit into the arena: %w", len(data), unix.E2BIG)
	}
	if len(data) == 0 {
		return nil
	}
	if l.target.hasFarValues() {
		at := size - (len(data)+os.Getpagesize()-1)/os.Getpagesize()*os.Getpagesize()
		s.globals[fd] = uint32(at)
		memory = memory[at:]
	}
	copy(memory, data)
	return nil
}
