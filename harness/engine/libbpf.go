package engine

import (
	"bytes"
	"cmp"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/internal/trace"
)

// libbpf is the engine that loads with libbpf's direct load, through `bpftool prog loadall`.
type libbpf struct{ tool Tool }

func (libbpf) Name() string { return "libbpf" }

// Open does not check the object: libbpf reads it when it loads it.
func (e libbpf) Open(obj Object) (Load, error) {
	if err := obj.cannotReplace(); err != nil {
		return nil, err
	}
	obj.Data = withoutAsked(obj.Data)
	return libbpfLoad{tool: e.tool, obj: obj, names: namesOf(obj)}, nil
}

// withoutAsked returns the object with the sections of programs that are only loaded on request
// ("?...") marked as not executable. libbpf then skips these sections; it would not load the
// programs anyway. Without this change bpftool fails, because it cannot pin programs that were not
// loaded.
func withoutAsked(data []byte) []byte {
	file, err := elf.NewFile(bytes.NewReader(data))
	if err != nil || file.Class != elf.ELFCLASS64 || file.ByteOrder != binary.LittleEndian {
		return data
	}
	const (
		tableAt, entrySize = 0x28, 0x3a // of the section headers, in struct elf64_hdr
		flagsAt            = 8          // struct elf64_shdr
	)
	table, size := binary.LittleEndian.Uint64(data[tableAt:]), uint64(binary.LittleEndian.Uint16(data[entrySize:]))
	out := data
	for i, s := range file.Sections {
		if s.Flags&elf.SHF_EXECINSTR == 0 || !strings.HasPrefix(s.Name, "?") || strings.HasPrefix(s.Name, "?struct_ops") {
			continue
		}
		if &out[0] == &data[0] {
			out = bytes.Clone(data)
		}
		at := table + uint64(i)*size + flagsAt
		binary.LittleEndian.PutUint64(out[at:], uint64(s.Flags&^elf.SHF_EXECINSTR))
	}
	return out
}

type libbpfLoad struct {
	tool  Tool
	obj   Object
	names names
}

func (libbpfLoad) Needs() []string { return nil }

// defaultPins is where libbpf pins maps that an object pins by name.
const defaultPins = "/sys/fs/bpf"

func (l libbpfLoad) Do(*target.Target) (*Loaded, error) {
	dir, err := os.MkdirTemp(cmp.Or(l.tool.Pins, defaultPins), "bpfreplay_")
	if err != nil {
		return nil, fmt.Errorf("%w: bpftool has nowhere to pin: %w", ErrEngine, err)
	}
	defer os.RemoveAll(dir)
	maps, programs := filepath.Join(dir, "maps"), filepath.Join(dir, "programs")
	for _, d := range []string{maps, programs} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrEngine, err)
		}
	}
	if l.names.pinned {
		maps = defaultPins
	}
	old, err := pinsIn(maps)
	if err != nil {
		return nil, err
	}
	err = l.obj.withFile(func(path string) error {
		_, err := l.tool.run("loading", "prog", "loadall", path, programs, "pinmaps", maps)
		return err
	})
	out := &Loaded{}
	out.close = out.closeFDs
	if err == nil {
		out.Programs, err = takePins(programs, nil, l.names.programs)
	}
	var errMaps error
	out.Maps, errMaps = takePins(maps, old, l.names.pins)
	if err := errors.Join(err, errMaps); err != nil {
		out.Close()
		return nil, err
	}
	return out, nil
}

// pinsIn lists the pins in a directory.
func pinsIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEngine, err)
	}
	var pins []string
	for _, e := range entries {
		if !e.IsDir() {
			pins = append(pins, e.Name())
		}
	}
	return pins, nil
}

// takePins opens and removes the pins in a directory, except those in old.
func takePins(dir string, old []string, table map[string]string) ([]state.Handle, error) {
	pins, err := pinsIn(dir)
	if err != nil {
		return nil, err
	}
	var handles []state.Handle
	var errs []error
	for _, pin := range pins {
		if slices.Contains(old, pin) {
			continue
		}
		path := filepath.Join(dir, pin)
		fd, err := bpfsys.Get(path)
		if err == nil {
			handles = append(handles, state.Handle{Name: translate(table, pin), FD: fd, Found: true})
			err = os.Remove(path)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%w: pin %s: %w", ErrEngine, pin, err))
		}
	}
	return handles, errors.Join(errs...)
}

func (l *Loaded) closeFDs() {
	closeHandles(l.Maps)
	closeHandles(l.Programs)
}

func closeHandles(handles []state.Handle) {
	for _, h := range handles {
		bpfsys.Close(h.FD)
	}
}

// names translates libbpf's and bpftool's names of maps and programs to logical names.
type names struct {
	object   string            // name of the object
	pins     map[string]string // maps by name of the pin
	members  map[string]string // maps by member of the skeleton
	programs map[string]string // programs by pin or member
	pinned   bool              // the object pins maps by name
}

// namesOf reads the names from the object with our reader. If our reader refuses the object, maps
// and programs keep libbpf's names.
func namesOf(obj Object) names {
	n := names{pins: make(map[string]string), members: make(map[string]string), programs: make(map[string]string)}
	o, err := object.OpenBytes(obj.Data, obj.Name)
	if err != nil {
		return n
	}
	n.object = o.Name
	for i := range o.Maps {
		m := &o.Maps[i]
		logical := trace.LogicalName(m)
		// The pin of a data section starts with the object's name, unless it is a custom section.
		// The member of the skeleton has neither the object's name nor the leading dot.
		n.pins[sanitise(m.Name)] = logical
		n.pins[sanitise(logical)] = logical
		n.members[sanitise(strings.TrimPrefix(logical, "."))] = logical
		n.pinned = n.pinned || m.Pinning == pinByName
	}
	for i := range o.Functions {
		f := o.Functions[i].Name
		n.programs[sanitise(f)] = f
	}
	return n
}

const pinByName = 1 // LIBBPF_PIN_BY_NAME

// sanitise replaces the characters that pins and C identifiers cannot have by underscores.
func sanitise(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, name)
}

func translate(table map[string]string, name string) string {
	if logical, ok := table[sanitise(name)]; ok {
		return logical
	}
	return name
}

// libbpfLight is the engine for libbpf's own loader program. bpftool generates it, runLight runs
// it.
type libbpfLight struct{ tool Tool }

func (libbpfLight) Name() string { return "libbpf-light" }

// Open makes bpftool generate the loader program. It runs in the guest, so that libbpf asks the
// right kernel for its configuration and the number of its CPUs.
func (e libbpfLight) Open(obj Object) (Load, error) {
	if err := obj.cannotReplace(); err != nil {
		return nil, err
	}
	n := namesOf(obj)
	var header []byte
	err := obj.withFile(func(path string) (err error) {
		args := []string{"gen", "skeleton", "-L", path}
		if n.object != "" {
			// Here, unlike libbpf on a load, bpftool would use the whole file name as the object's
			// name.
			args = append(args, "name", n.object)
		}
		header, err = e.tool.run("generating a loader program", args...)
		return err
	})
	if err != nil {
		return nil, err
	}
	s, err := parseSkeleton(header)
	if err != nil {
		return nil, fmt.Errorf("bpftool: %w", err)
	}
	return lightLoad{skeleton: s, names: n}, nil
}

type lightLoad struct {
	skeleton *skeleton
	names    names
}

func (lightLoad) Needs() []string { return []string{"syscall_prog"} }

func (l lightLoad) Do(*target.Target) (*Loaded, error) {
	fds, err := runLight(l.skeleton)
	if err != nil {
		return nil, err
	}
	out := &Loaded{}
	out.close = out.closeFDs
	out.Maps = handles(l.skeleton.maps, fds.maps, l.names.members)
	out.Programs = handles(l.skeleton.programs, fds.programs, l.names.programs)
	return out, nil
}

// handles names fds. The fd is 0 if the loader program created nothing.
func handles(members []string, fds []int, table map[string]string) []state.Handle {
	var out []state.Handle
	for i, m := range members {
		if fds[i] > 0 {
			out = append(out, state.Handle{Name: translate(table, m), FD: fds[i]})
		}
	}
	return out
}
