package target

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/core"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// Options override what an object says. Fds stay the caller's.
type Options struct {
	MaxEntries map[string]uint32 // by map
	Values     map[string][]byte // by data map: initial value, of the map's size
	Maps       map[string]int    // by map: fd of a map to reuse
	Programs   map[string]int    // by freplace program: fd of the program that it replaces
	// PinPath is the directory, in a BPF file system, for maps that the object wants pinned by
	// name. Empty means "/sys/fs/bpf". A map that is pinned there is reused, a new one is pinned.
	PinPath string
}

// Prepared is a load's input from its machine and its caller. Indexes are those of the artefact's
// lists.
type Prepared struct {
	Settings [][]byte         // values; each has its setting's size
	Maps     map[int]int      // fds of reused maps and arenas; owned by Prepared
	Replaced map[int]Function // by freplace program

	MaxEntries map[int]uint32
	Values     map[int][]byte

	Arenas  map[string][]byte // mapped memory, by name
	Globals map[int]uint32    // by arena: offset in bytes of its data

	a       *artefact.Artefact
	target  *Target
	options Options
}

// Function is a function of a loaded program.
type Function struct {
	ID uint32 // of its FUNC in the program's BTF
	FD int    // of the program; the caller's
}

// Prepare checks options and needs, finds the values of the settings, and opens the maps that exist
// before the load. It calls create to create an arena. On failure nothing is left open.
func (t *Target) Prepare(a *artefact.Artefact, types *btf.Spec, o Options, create func(m int) (int, error)) (*Prepared, error) {
	o.PinPath = cmp.Or(o.PinPath, "/sys/fs/bpf")
	p := &Prepared{
		a: a, target: t, options: o, Settings: make([][]byte, len(a.Settings)),
		Maps: make(map[int]int), Replaced: make(map[int]Function), MaxEntries: make(map[int]uint32), Values: make(map[int][]byte),
		Arenas: make(map[string][]byte), Globals: make(map[int]uint32),
	}
	err := p.names()
	if err == nil {
		err = t.Check(a.Needs)
	}
	for i := range a.Settings {
		if err == nil {
			err = p.setting(i, types)
		}
	}
	for i := range a.Programs {
		if err == nil && a.Programs[i].Replaces != "" {
			err = p.replaced(i)
		}
	}
	for i := range a.Maps {
		if err == nil {
			err = p.open(i, create)
		}
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Close closes the maps and unmaps arenas. Call it only if the load fails; otherwise they belong to
// the Result.
func (p *Prepared) Close() {
	for _, fd := range p.Maps {
		bpfsys.Close(fd)
	}
	p.Maps = nil
	Unmap(p.Arenas)
	p.Arenas = nil
}

// Unmap unmaps the memory of arenas.
func Unmap(arenas map[string][]byte) {
	for _, m := range arenas {
		bpfsys.UnmapMemory(m)
	}
}

// names resolves the names in options to indexes.
func (p *Prepared) names() error {
	find := func(name string) (int, error) {
		i := slices.IndexFunc(p.a.Maps, func(m artefact.Map) bool { return m.Name == name })
		if i < 0 {
			return 0, fmt.Errorf("object %s has no map %q", p.a.Object, name)
		}
		return i, nil
	}
	for name, n := range p.options.MaxEntries {
		i, err := find(name)
		if err != nil {
			return err
		}
		if m := &p.a.Maps[i]; m.Type == "RINGBUF" || m.Type == "USER_RINGBUF" {
			n = RingSize(n)
		}
		p.MaxEntries[i] = n
	}
	for name, v := range p.options.Values {
		i, err := find(name)
		if err != nil {
			return err
		}
		if m := &p.a.Maps[i]; uint32(len(v)) != m.ValueSize {
			return WrongSize(m, v)
		} else if m.Kind == "user" || m.Kind == "struct_ops" {
			return fmt.Errorf("map %s: it is no data section, so it has no initial value: %w", name, unix.EINVAL)
		}
		p.Values[i] = v
	}
	for name := range p.options.Maps {
		if _, err := find(name); err != nil {
			return err
		}
	}
	for name := range p.options.Programs {
		i := slices.IndexFunc(p.a.Programs, func(p artefact.Program) bool { return p.Name == name })
		switch {
		case i < 0:
			return fmt.Errorf("object %s has no program %q", p.a.Object, name)
		case p.a.Programs[i].Replaces == "":
			return fmt.Errorf("program %s replaces no other: %w", name, unix.EINVAL)
		}
	}
	return nil
}

// WrongSize returns the error of an initial value that does not have a map's size.
func WrongSize(m *artefact.Map, value []byte) error {
	return fmt.Errorf("map %s: initial value of %d bytes for a map of %d: %w", m.Name, len(value), m.ValueSize, unix.EINVAL)
}

// setting finds the value of a setting. types are the object's.
func (p *Prepared) setting(i int, types *btf.Spec) error {
	s := &p.a.Settings[i]
	var v uint32
	var err error
	switch s.Kind {
	case "kconfig":
		m := slices.IndexFunc(p.a.Maps, func(m artefact.Map) bool { return m.Kind == "kconfig" })
		if override, ok := p.Values[m]; ok {
			p.Settings[i] = override
			return nil
		}
		if p.Settings[i], err = p.target.Kconfig(s.Kconfig, uint32(s.Size)); err != nil {
			return fmt.Errorf("map .kconfig: %w", err)
		}
		return nil
	case "cpus":
		v, err = CPUs()
	case "usdt":
		var found bool
		if found, err = p.target.hasUprobeMulti(); found {
			v = uint32(uapi.AttachTraceUprobeMulti)
		}
	case "member":
		v, err = p.target.memberIndex(s.StructOps, s.Member)
	case "value_size":
		v, err = p.target.valueSize(s.StructOps)
	case "mismatch":
		v, err = p.target.mismatch(s, types)
	default:
		err = fmt.Errorf("this version of bpfreplay does not know what it is: %w", unix.EINVAL)
	}
	if err != nil {
		return fmt.Errorf("setting %s: %w", s.Kind, err)
	}
	p.Settings[i] = binary.NativeEndian.AppendUint32(nil, v)
	return nil
}

// mismatch returns 1 if the kernel's function has another prototype than the object declares. A
// missing function is no mismatch: the loader program's lookup notices it.
func (t *Target) mismatch(s *artefact.Setting, types *btf.Spec) (uint32, error) {
	id, fd, err := t.FindType(s.Function, uint32(btf.KindFunc), "")
	if err != nil || types == nil {
		return 0, nil
	}
	if fd >= 0 {
		defer bpfsys.Close(fd)
	}
	kernel, err := t.specOf(fd)
	if err != nil {
		return 0, err
	}
	fn, err := kernel.Type(btf.TypeID(id))
	if err != nil {
		return 0, err
	}
	same, err := core.Compatible(types, btf.TypeID(s.Prototype), kernel, fn.Ref)
	if same {
		return 0, err
	}
	return 1, err
}

// replaced finds the function that an freplace program replaces, in the program that the caller
// passes for it.
func (p *Prepared) replaced(i int) error {
	prog := &p.a.Programs[i]
	fd, ok := p.options.Programs[prog.Name]
	if !ok {
		return fmt.Errorf("program %s: it replaces function %s of another program: say which, with --replace %s=… or LoadOptions.Programs: %w",
			prog.Name, prog.Replaces, prog.Name, unix.EINVAL)
	}
	id, err := functionOf(fd, prog.Replaces)
	if err != nil {
		return fmt.Errorf("program %s: the program that it replaces: %w", prog.Name, err)
	}
	p.Replaced[i] = Function{ID: id, FD: fd}
	return nil
}

func functionOf(fd int, name string) (uint32, error) {
	info, _, err := bpfsys.GetProgInfo(fd)
	if err != nil {
		return 0, err
	}
	if info.BTFID == 0 {
		return 0, fmt.Errorf("it has no types, so its functions have no names: %w", unix.EINVAL)
	}
	types, err := bpfsys.FDByID(bpfsys.BTFGetFDByID, info.BTFID)
	if err != nil {
		return 0, err
	}
	defer bpfsys.Close(types)
	_, _, raw, err := bpfsys.GetBTFInfo(types, true)
	if err != nil {
		return 0, err
	}
	spec, err := btf.Parse(raw)
	if err != nil {
		return 0, err
	}
	id, err := spec.First(name, btf.KindFunc)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", err, unix.ENOENT)
	}
	return uint32(id), nil
}

// open opens map i if it exists before the load: the caller's, a pinned one, an arena.
func (p *Prepared) open(i int, create func(m int) (int, error)) error {
	m := &p.a.Maps[i]
	fail := func(err error) error { return fmt.Errorf("map %s: %w", m.Name, err) }
	if reused, ok := p.options.Maps[m.Name]; ok {
		dup, err := unix.FcntlInt(uintptr(reused), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return fail(fmt.Errorf("the map to use: %w", err))
		}
		p.Maps[i] = dup
		return nil
	}
	if m.Pinned {
		pinned, err := bpfsys.Get(p.pin(m))
		if err == nil {
			p.Maps[i] = pinned
			if err := p.checkPinned(pinned, i); err != nil {
				return fail(err)
			}
			return nil
		}
		if !errors.Is(err, unix.ENOENT) {
			return fail(fmt.Errorf("what is pinned at %s: %w", p.pin(m), err))
		}
	}
	if m.Arena {
		fd, err := create(i)
		if err != nil {
			return &artefact.StepError{Subject: "map " + m.Name, Op: bpfsys.MapCreate.String(), Err: err}
		}
		p.Maps[i] = fd
		if err := p.fillArena(i, fd); err != nil {
			return fail(err)
		}
	}
	return nil
}

func (p *Prepared) pin(m *artefact.Map) string { return filepath.Join(p.options.PinPath, m.Name) }

// checkPinned checks that a pinned map has the object's definition.
func (p *Prepared) checkPinned(fd, i int) error {
	info, _, err := bpfsys.GetMapInfo(fd)
	if err != nil {
		return err
	}
	m := &p.a.Maps[i]
	if m.Type == "DEVMAP" || m.Type == "DEVMAP_HASH" {
		info.MapFlags &^= fRdonlyProg // the kernel adds it
	}
	entries := m.MaxEntries
	if n, ok := p.MaxEntries[i]; ok {
		entries = n
	}
	switch m.Type {
	case "RINGBUF", "USER_RINGBUF":
		entries = RingSize(entries)
	case "PERF_EVENT_ARRAY":
		if entries == 0 {
			if entries, err = CPUs(); err != nil {
				return err
			}
		}
	}
	if info.Type.String() != m.Type || info.KeySize != m.KeySize || info.ValueSize != m.ValueSize ||
		info.MaxEntries != entries || info.MapFlags != m.Flags || info.MapExtra != m.Extra {
		return fmt.Errorf("the map that is pinned at %s has another definition: remove it, or name another directory for pins: %w", p.pin(m), unix.EINVAL)
	}
	return nil
}

// fRdonlyProg is BPF_F_RDONLY_PROG of map_flags.
const fRdonlyProg = 1 << 7

// fillArena maps an arena and copies its data into it. The kernel loads programs that refer to an
// arena only after it is mapped.
//
// The data goes to the last pages, so that programs can use the first ones, or to the start on
// kernels where instructions cannot refer to offsets that large.
func (p *Prepared) fillArena(i, fd int) error {
	info, _, err := bpfsys.GetMapInfo(fd)
	if err != nil {
		return err
	}
	m := &p.a.Maps[i]
	size := int(info.MaxEntries) * os.Getpagesize()
	memory, err := bpfsys.MapMemory(fd, size, uintptr(info.MapExtra))
	if err != nil {
		return fmt.Errorf("map the arena's memory: %w", err)
	}
	p.Arenas[m.Name] = memory
	data := m.Data.Of(p.a.Blob)
	if len(data) > len(memory) {
		return fmt.Errorf("%d bytes of data do not fit into the arena: %w", len(data), unix.E2BIG)
	}
	if len(data) == 0 {
		return nil
	}
	far, err := p.target.hasFarValues()
	if err != nil {
		return err
	}
	if far {
		at := size - (len(data)+os.Getpagesize()-1)/os.Getpagesize()*os.Getpagesize()
		p.Globals[i] = uint32(at)
		memory = memory[at:]
	}
	copy(memory, data)
	return nil
}

// Finish completes a load after its commands: it sets initial values of maps that the commands
// leave zeroed, checks the modules of attach targets, and pins maps. maps and programs are all fds
// of the load, including Prepared's. On failure nothing new stays pinned.
func (p *Prepared) Finish(maps, programs []int) error {
	for i, v := range p.Values {
		_, reused := p.Maps[i]
		if m := &p.a.Maps[i]; m.Value.Size == 0 && !reused {
			if err := bpfsys.UpdateElem(maps[i], make([]byte, 4), v, 0); err != nil {
				return &artefact.StepError{Subject: "map " + m.Name, Op: bpfsys.MapUpdateElem.String(), Err: err}
			}
		}
	}
	for i := range p.a.Programs {
		if prog := &p.a.Programs[i]; prog.Module != "" {
			if err := checkModule(programs[i], prog.Module); err != nil {
				return fmt.Errorf("program %s: %w", prog.Name, err)
			}
		}
	}
	return p.pinNew(maps)
}

// checkModule checks that a program's target is in the module that the object names. Kernels before
// 6.0 do not report it.
func checkModule(prog int, module string) error {
	info, _, err := bpfsys.GetProgInfo(prog)
	if err != nil || info.AttachBTFObjID == 0 {
		return err
	}
	fd, err := bpfsys.FDByID(bpfsys.BTFGetFDByID, info.AttachBTFObjID)
	if err != nil {
		return err
	}
	defer bpfsys.Close(fd)
	_, name, _, err := bpfsys.GetBTFInfo(fd, false)
	if err == nil && name != module {
		err = fmt.Errorf("its target was found in %s, not in module %s: %w", name, module, unix.ENOENT)
	}
	return err
}

func (p *Prepared) pinNew(maps []int) error {
	var done []string
	for i := range p.a.Maps {
		m := &p.a.Maps[i]
		if _, reused := p.Maps[i]; reused && !m.Arena || !m.Pinned {
			continue
		}
		path := p.pin(m)
		if err := bpfsys.Pin(maps[i], path); err != nil {
			for _, path := range done {
				_ = os.Remove(path)
			}
			return fmt.Errorf("map %s: pin at %s (is that on a BPF file system?): %w", m.Name, path, err)
		}
		done = append(done, path)
	}
	return nil
}

// Result is what a load created. The caller owns it.
type Result struct {
	Maps, Programs []int             // fds, in the artefact's order
	Links          []int             // fds by program, 0 for programs that the load does not attach
	Arenas         map[string][]byte // memory of arenas, by map
}

// Close closes all fds and unmaps arenas.
func (r *Result) Close() {
	for _, fd := range slices.Concat(r.Maps, r.Programs) {
		if fd >= 0 {
			bpfsys.Close(fd)
		}
	}
	for _, fd := range r.Links {
		if fd > 0 {
			bpfsys.Close(fd)
		}
	}
	Unmap(r.Arenas)
	r.Maps, r.Programs, r.Links, r.Arenas = nil, nil, nil, nil
}
