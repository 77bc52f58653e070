package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/replay"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// LoadOptions override what the object says. The zero value overrides nothing. A name that the
// object does not have is an error. The maps and programs stay the caller's.
type LoadOptions struct {
	// MaxEntries overrides max_entries, by map name. The size in bytes of a ring buffer is rounded
	// up to a power of two of whole pages, as the kernel requires.
	MaxEntries map[string]uint32
	// Variables sets initial values of variables in data sections, by variable name. A value's type
	// must have a fixed size, equal to the variable's size in memory: a uint32, a bool, a struct
	// without padding, a byte slice.
	Variables map[string]any
	// Values sets the initial values of whole data sections, by map name (".rodata"). Each must
	// have the section's size. Variables are applied after Values.
	Values map[string][]byte
	// Maps has maps to reuse instead of creating new ones, by map name. The load neither fills nor
	// freezes them. The Collection gets duplicates of their fds.
	Maps map[string]*ebpf.Map
	// Programs has the programs whose functions are replaced, by the name of the freplace program
	// that replaces one.
	Programs map[string]*ebpf.Program
	// PinPath is the directory, in a BPF file system, for maps that the object wants pinned by
	// name. Empty means "/sys/fs/bpf". If a map is already pinned there, the load reuses it and
	// fails if its definition differs; otherwise the load pins the new map.
	PinPath string
	// LogLevel is the verifier's log level for a program that the kernel refuses. At 0 the log is
	// at level 1, or has only the statistics if the verifier gave up for complexity.
	LogLevel uint32
	// Keyring requests a signed load (6.18): the kernel verifies the signature with the keys of
	// this keyring, given by its serial or one of [KeyringNames]. Of the options above a signed
	// load accepts only PinPath and LogLevel; the others change what was signed and give
	// [ErrSigned].
	//
	// Session, process and thread keyrings belong to threads, not to goroutines: after adding a key
	// to one of these, pass its serial. [NewKeyring] makes a keyring that every thread can use.
	Keyring string
}

// Collection holds what a load created. It owns its maps, programs and links.
type Collection struct {
	Maps     map[string]*ebpf.Map // by variable name, or by section name for data maps
	Programs map[string]*ebpf.Program
	// Links are the attachments that the load made ([GenerateOptions.Attach]), by program name.
	Links map[string]link.Link
	// Arenas is the mapped memory of arenas, by map name. It is valid until Close.
	Arenas map[string][]byte
}

// Close closes all maps, programs and links, and unmaps arenas. Closing a link detaches its
// program.
func (c *Collection) Close() {
	target.Unmap(c.Arenas)
	for _, l := range c.Links {
		l.Close()
	}
	for _, m := range c.Maps {
		m.Close()
	}
	for _, p := range c.Programs {
		p.Close()
	}
}

// DetachMap removes a map from the collection and returns it. The caller owns it from then on. It
// returns nil if the collection has no map of that name.
func (c *Collection) DetachMap(name string) *ebpf.Map {
	m := c.Maps[name]
	delete(c.Maps, name)
	return m
}

// DetachProgram removes a program from the collection and returns it. The caller owns it from then
// on. It returns nil if the collection has no program of that name.
func (c *Collection) DetachProgram(name string) *ebpf.Program {
	p := c.Programs[name]
	delete(c.Programs, name)
	return p
}

// Load runs the loader program on this kernel (5.14). It needs CAP_BPF and CAP_PERFMON, and what
// else the object's programs and maps need. Nil options mean the zero value.
//
// On failure Load leaves nothing open. The error wraps a [*StepError] if a step of the load failed,
// and a [*NeedError] if the kernel lacks something that the load needs.
func (p *Program) Load(opts *LoadOptions) (*Collection, error) {
	if opts == nil {
		opts = &LoadOptions{}
	}
	if err := p.uniqueNames(); err != nil {
		return nil, err
	}
	o := replay.Options{LogLevel: opts.LogLevel, Keyring: opts.Keyring, Options: target.Options{
		MaxEntries: opts.MaxEntries, Maps: make(map[string]int), Programs: make(map[string]int), PinPath: opts.PinPath,
	}}
	for name, m := range opts.Maps {
		if m == nil {
			return nil, fmt.Errorf("map %s: the map to use is nil: %w", name, unix.EINVAL)
		}
		o.Maps[name] = m.FD()
	}
	for name, prog := range opts.Programs {
		if prog == nil {
			return nil, fmt.Errorf("program %s: the program that it replaces is nil: %w", name, unix.EINVAL)
		}
		o.Programs[name] = prog.FD()
	}
	if opts.Keyring != "" {
		for _, name := range slices.Sorted(maps.Keys(opts.Variables)) {
			return nil, fmt.Errorf("variable %s: %w", name, ErrSigned) // values would blame the map
		}
	}
	var err error
	if o.Values, err = p.values(opts); err != nil {
		return nil, err
	}
	r, err := replay.Load(p.a, o)
	if err != nil {
		return nil, err
	}
	return p.collect(r)
}

// values returns the initial values of data sections, with the variables set in them.
func (p *Program) values(opts *LoadOptions) (map[string][]byte, error) {
	values := make(map[string][]byte)
	for name, v := range opts.Values {
		values[name] = slices.Clone(v)
	}
	for name, v := range opts.Variables {
		m, at := p.variable(name)
		if m == nil {
			return nil, fmt.Errorf("object %s has no variable %q", p.a.Object, name)
		}
		if m.Arena {
			return nil, fmt.Errorf("variable %s: it is in an arena: set it in Collection.Arenas after the load: %w", name, unix.EINVAL)
		}
		if v == nil {
			return nil, fmt.Errorf("variable %s: nil has no size: %w", name, unix.EINVAL)
		}
		data, err := binary.Append(nil, binary.NativeEndian, v)
		if err != nil {
			return nil, fmt.Errorf("variable %s: %T has no fixed size: %w", name, v, err)
		}
		if len(data) != int(at.Size) {
			return nil, fmt.Errorf("variable %s: a value of %d bytes (%T) for a variable of %d: %w", name, len(data), v, at.Size, unix.EINVAL)
		}
		if values[m.Name] == nil {
			values[m.Name] = make([]byte, m.ValueSize)
			copy(values[m.Name], m.Value.Of(p.a.Blob))
		}
		if len(values[m.Name]) != int(m.ValueSize) {
			return nil, target.WrongSize(m, values[m.Name])
		}
		copy(values[m.Name][at.Offset:], data)
	}
	return values, nil
}

// variable finds a variable and its map.
func (p *Program) variable(name string) (*artefact.Map, artefact.Variable) {
	for i := range p.a.Maps {
		for _, v := range p.a.Maps[i].Variables {
			if v.Name == name {
				return &p.a.Maps[i], v
			}
		}
	}
	return nil, artefact.Variable{}
}

// collect makes a collection from a load's fds. It takes ownership of them, and closes them on
// failure.
func (p *Program) collect(r *target.Result) (*Collection, error) {
	c := &Collection{Maps: make(map[string]*ebpf.Map), Programs: make(map[string]*ebpf.Program), Links: make(map[string]link.Link), Arenas: r.Arenas}
	all := slices.Concat(r.Maps, r.Programs, r.Links)
	taken := 0 // of all: fds that c owns, or that a function that failed has closed
	fail := func(what, name string, err error) (*Collection, error) {
		for _, fd := range all[taken:] {
			if fd > 0 { // a program may have no link
				bpfsys.Close(fd)
			}
		}
		c.Close()
		return nil, fmt.Errorf("%s %s: %w", what, name, err)
	}
	for i, fd := range r.Maps {
		taken++
		m, err := ebpf.NewMapFromFD(fd)
		if err != nil {
			return fail("map", p.a.Maps[i].Name, err)
		}
		c.Maps[p.a.Maps[i].Name] = m
	}
	for i, fd := range r.Programs {
		taken++
		prog, err := ebpf.NewProgramFromFD(fd)
		if err != nil {
			return fail("program", p.a.Programs[i].Name, err)
		}
		c.Programs[p.a.Programs[i].Name] = prog
	}
	for i, fd := range r.Links {
		if taken++; fd <= 0 {
			continue
		}
		l, err := link.NewFromFD(fd)
		if err != nil {
			return fail("link of program", p.a.Programs[i].Name, err)
		}
		c.Links[p.a.Programs[i].Name] = l
	}
	return c, nil
}

// errTwice says that a load creates two maps, or two programs, of one name.
var errTwice = errors.New("a collection tells maps and programs apart by name: rename one, or make it static in a file of its own")

// uniqueNames checks that a Collection, which is keyed by name, can hold all maps and programs.
func (p *Program) uniqueNames() error {
	for what, names := range map[string][]string{"maps": p.Maps(), "programs": p.Programs()} {
		slices.Sort(names)
		for i := 1; i < len(names); i++ {
			if names[i] == names[i-1] {
				return fmt.Errorf("two %s have the name %s: %w", what, names[i], errTwice)
			}
		}
	}
	return nil
}
