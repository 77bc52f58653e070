package state

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
)

// Handle is a map or program that a load returned. Name is its logical name:
// the map's variable or section, the program's function.
type Handle struct {
	Name string
	FD   int
	// Found: the fd was obtained later, by a pin or by id, not by the load. Its access mode then
	// says nothing about the load.
	Found bool
}

// ErrHandle is wrapped by the errors of Capture that are the engine's fault: a handle is not an
// open file descriptor, does not refer to a map or program, or refers to the same one as another
// handle.
var ErrHandle = errors.New("wrong handle")

// Capture reads everything about the given maps and programs, about the maps that the programs or
// other maps refer to, and about the types of all of them. It keeps no file descriptor open. The
// contents of maps in use change while they are read, so capture before programs run or after they
// have ended.
func Capture(ctx context.Context, maps, programs []Handle, k *Kernel) (*State, error) {
	c := newCapturer(k)
	defer k.stopLookup()
	defer k.stopPeek()
	if err := c.run(ctx, maps, programs); err != nil {
		return nil, fmt.Errorf("capture state: %w", err)
	}
	return c.state, nil
}

// capturer is the state of one Capture.
type capturer struct {
	kernel   *Kernel
	state    *State
	mapNames map[uint32]string // logical names by id
	progs    map[uint32]string
	btfs     map[uint32]*types
	strings  map[string]uint32 // index in State.Strings
	arenas   []arena
	texts    map[string]uint32 // index in State.Types
}

func newCapturer(k *Kernel) *capturer {
	return &capturer{
		kernel:   k,
		state:    &State{},
		mapNames: make(map[uint32]string),
		progs:    make(map[uint32]string),
		btfs:     make(map[uint32]*types),
		strings:  make(map[string]uint32),
		texts:    make(map[string]uint32),
	}
}

func (c *capturer) run(ctx context.Context, maps, programs []Handle) error {
	cpus, err := c.kernel.possibleCPUs()
	if err != nil {
		return err
	}
	c.state.CPUs = cpus
	raws, err := c.identify(ctx, maps, programs)
	if err != nil {
		return err
	}
	if err := c.foundMaps(raws); err != nil {
		return err
	}
	for _, h := range maps {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.addMap(h); err != nil {
			return err
		}
	}
	for _, raw := range raws {
		if err := ctx.Err(); err != nil {
			return err
		}
		p, err := c.program(raw)
		if err == nil {
			err = c.kernel.peekProgram(p, raw.fd)
		}
		if err != nil {
			return fmt.Errorf("program %s: %w", raw.name, err)
		}
		c.state.Programs = append(c.state.Programs, *p)
	}
	c.finish()
	return nil
}

// identify assigns a logical name to every id before anything refers to it.
func (c *capturer) identify(ctx context.Context, maps, programs []Handle) ([]*rawProgram, error) {
	for _, h := range maps {
		if err := c.check(h, "map", "anon_inode:bpf-map"); err != nil {
			return nil, err
		}
		info, _, err := bpfsys.GetMapInfo(h.FD)
		if err != nil {
			return nil, fmt.Errorf("map %s: %w", h.Name, err)
		}
		if err := give(c.mapNames, "map", info.ID, h.Name); err != nil {
			return nil, err
		}
	}
	raws := make([]*rawProgram, 0, len(programs))
	for _, h := range programs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := c.check(h, "program", "anon_inode:bpf-prog"); err != nil {
			return nil, err
		}
		raw, err := readProgram(h)
		if err != nil {
			return nil, err
		}
		if err := give(c.progs, "program", raw.info.ID, h.Name); err != nil {
			return nil, err
		}
		raws = append(raws, raw)
	}
	slices.SortFunc(raws, func(a, b *rawProgram) int { return strings.Compare(a.name, b.name) })
	return raws, nil
}

// check returns an error unless a handle refers to a map or a program, as wanted. The kernel does
// not check this: it answers queries about either as if it were the other.
func (c *capturer) check(h Handle, kind, want string) error {
	got, err := os.Readlink(filepath.Join(c.kernel.proc, "self/fd", strconv.Itoa(h.FD)))
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s %s: %w: fd %d is not open", kind, h.Name, ErrHandle, h.FD)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", kind, h.Name, err)
	}
	if got != want {
		return fmt.Errorf("%s %s: %w: fd %d is %s", kind, h.Name, ErrHandle, h.FD, got)
	}
	return nil
}

// give assigns a name to an id. If a name or an id occurs twice, the handles are wrong; that must
// not be reported as a difference.
func give(names map[uint32]string, kind string, id uint32, name string) error {
	if have, ok := names[id]; ok {
		return fmt.Errorf("%s %s: %w: it is %s %s too", kind, name, ErrHandle, kind, have)
	}
	for _, have := range names {
		if have == name {
			return fmt.Errorf("%s %s: %w: there are two of that name", kind, name, ErrHandle)
		}
	}
	names[id] = name
	return nil
}

// foundMaps captures the maps that programs hold and that have no handle, such as the .kconfig maps
// of cilium/ebpf. Identical maps become one, with Copies.
func (c *capturer) foundMaps(raws []*rawProgram) error {
	for _, raw := range raws {
		for _, id := range raw.arrays.MapIDs {
			if _, ok := c.mapNames[id]; ok {
				continue
			}
			if err := c.foundMap(id); err != nil {
				return fmt.Errorf("map %d of program %s: %w", id, raw.name, err)
			}
		}
	}
	return nil
}

func (c *capturer) foundMap(id uint32) error {
	fd, err := bpfsys.FDByID(bpfsys.MapGetFDByID, id)
	if err != nil {
		return err
	}
	defer bpfsys.Close(fd)
	info, _, err := bpfsys.GetMapInfo(fd)
	if err != nil {
		return err
	}
	name := FoundName(bpfsys.CString(info.Name[:]))
	m, err := c.mapByFD(Handle{Name: name, FD: fd, Found: true})
	if err != nil {
		return err
	}
	c.mapNames[id] = c.addFound(m)
	return nil
}

// FoundName derives a logical name from a map's kernel name: names of data sections lose the
// object's prefix.
func FoundName(kernelName string) string {
	if i := strings.IndexByte(kernelName, '.'); i >= 0 {
		return kernelName[i:]
	}
	return kernelName
}

// addFound adds a found map to the state and returns its name there: that of an identical map, or
// its own name made unique.
func (c *capturer) addFound(m *Map) string {
	base := m.Name
	for n := 2; ; n++ {
		have := c.state.FindMap(m.Name)
		if have == nil && !c.named(m.Name) {
			c.state.Maps = append(c.state.Maps, *m)
			return m.Name
		}
		if have != nil && sameButCopies(have, m) {
			have.Copies++
			return m.Name
		}
		m.Name = fmt.Sprintf("%s (%d)", base, n)
	}
}

// named reports whether a handle has this name.
func (c *capturer) named(name string) bool {
	for _, have := range c.mapNames {
		if have == name {
			return c.state.FindMap(name) == nil
		}
	}
	return false
}

func sameButCopies(a, b *Map) bool {
	x, y := *a, *b
	x.Copies, y.Copies = 0, 0
	return reflect.DeepEqual(x, y)
}

func (c *capturer) addMap(h Handle) error {
	m, err := c.mapByFD(h)
	if err != nil {
		return err
	}
	c.state.Maps = append(c.state.Maps, *m)
	return nil
}

func (c *capturer) mapName(id uint32) string {
	if name, ok := c.mapNames[id]; ok {
		return name
	}
	return "(unknown map)"
}

// finish sorts the state and adds the types that it refers to.
func (c *capturer) finish() {
	s := c.state
	slices.SortFunc(s.Maps, func(a, b Map) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Programs, func(a, b Program) int { return strings.Compare(a.Name, b.Name) })
	for _, t := range c.btfs {
		i := slices.IndexFunc(s.BTF, func(b BTF) bool { return b.Hash == t.entry.Hash })
		if i < 0 {
			i = len(s.BTF)
			s.BTF = append(s.BTF, t.entry)
		}
		if t.users == 1 && s.BTF[i].Names == nil {
			s.BTF[i].Names = t.names()
		}
	}
	slices.SortFunc(s.BTF, func(a, b BTF) int { return strings.Compare(a.Hash, b.Hash) })
}
