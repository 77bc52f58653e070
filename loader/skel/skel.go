package skel

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/replay"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
	"github.com/bpfreplay/bpfreplay/loader/contract"
)

// These types describe the artefact in generated code.
type (
	Artefact  = artefact.Artefact
	Map       = artefact.Map
	Program   = artefact.Program
	Variable  = artefact.Variable
	Step      = artefact.Step
	Setting   = artefact.Setting
	Kconfig   = artefact.Kconfig
	StructOps = artefact.StructOps
	Member    = artefact.Member
	Need      = artefact.Need
	Range     = artefact.Range

	Signatures = artefact.Signatures
	Signature  = artefact.Signature
	Digest     = contract.Digest
)

// ErrSigned is wrapped by the error of a signed load if the caller has set something that the
// signature does not cover: a variable, a size, a map. The error names it.
var ErrSigned = replay.ErrSigned

// StepError reports which step of a load failed. Subject names the map or program, Log is the
// verifier's log, and the error wraps a unix.Errno. %+v prints the log, too.
type StepError = artefact.StepError

// NeedError reports that this kernel lacks a capability that the skeleton needs.
type NeedError = artefact.NeedError

// File is the embedded file of an artefact.
type File struct {
	Name        string // for errors
	Data        []byte
	Insns, Blob Range  // in Data
	Sum         uint32 // CRC-32 (IEEE) of the file that the code was generated with
}

var (
	errFile   = errors.New("it is not the file that its Go code was generated with: run go generate")
	errLoaded = errors.New("it is loaded already")
	errClosed = errors.New("it is closed, or was not opened")
)

// Skeleton is an artefact that is opened, loaded once and closed. It owns its maps, programs and
// memory until Close. Its methods must not be called concurrently.
type Skeleton struct {
	a        artefact.Artefact
	sections [][]byte // memory of data sections by map, whole pages; nil for none
	maps     []*ebpf.Map
	programs []*ebpf.Program
	arenas   map[string][]byte
	closed   bool
}

// Open allocates memory for the data sections of the maps with the given indexes and copies their
// initial values into it. It makes no bpf(2) call. The caller must Close the skeleton.
func Open(a *Artefact, f File, sections ...int) (*Skeleton, error) {
	if crc32.ChecksumIEEE(f.Data) != f.Sum {
		return nil, fmt.Errorf("skeleton of %s: %s: %w", a.Object, f.Name, errFile)
	}
	s := &Skeleton{a: *a, sections: make([][]byte, len(a.Maps))}
	s.a.Insns, s.a.Blob = f.Insns.Of(f.Data), f.Blob.Of(f.Data)
	for _, i := range sections {
		size := wholePages(int(a.Maps[i].ValueSize))
		memory, err := unix.MmapPtr(-1, 0, nil, uintptr(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("skeleton of %s: %d bytes for section %s: %w", a.Object, size, a.Maps[i].Name, err)
		}
		s.sections[i] = unsafe.Slice((*byte)(memory), size)
		copy(s.sections[i], s.initial(i))
	}
	return s, nil
}

// wholePages rounds up to whole pages of the running machine.
func wholePages(n int) int {
	page := os.Getpagesize()
	return (n + page - 1) / page * page
}

// initial returns a map's initial value in the object. It is empty for zeros.
func (s *Skeleton) initial(m int) []byte { return s.a.Maps[m].Value.Of(s.a.Blob) }

// value returns the current content of a section's memory.
func (s *Skeleton) value(m int) []byte { return s.sections[m][:s.a.Maps[m].ValueSize] }

// Section returns the memory of map i's data section, which must be one of those passed to Open.
func (s *Skeleton) Section(i int) unsafe.Pointer { return unsafe.Pointer(&s.sections[i][0]) }

// Options override what the object says. The slices are indexed like the artefact's lists, and may
// be shorter. Maps and programs in them stay the caller's.
type Options struct {
	MaxEntries []uint32        // 0 keeps the object's
	Reuse      []*ebpf.Map     // maps to reuse, nil to create one
	Replace    []*ebpf.Program // programs whose functions freplace programs replace
	PinPath    string          // directory for maps pinned by name; empty means "/sys/fs/bpf"
	LogLevel   uint32          // verifier log level for a program that failed; 0 means 1
	// Keyring requests a signed load (6.18): the kernel verifies the artefact's signature with the
	// keys of this keyring, given by its serial or a name that package keyring knows.
	Keyring string
}

// Load runs the loader program (5.14). After a failure nothing is open, and Load may be called
// again.
func (s *Skeleton) Load(o Options) error {
	if s == nil || s.closed {
		return fmt.Errorf("skeleton: %w", errClosed)
	}
	if err := s.load(o); err != nil {
		return fmt.Errorf("skeleton of %s: %w", s.a.Object, err)
	}
	return nil
}

func (s *Skeleton) load(o Options) error {
	if s.maps != nil {
		return errLoaded
	}
	r, err := replay.Load(&s.a, s.options(o))
	if err != nil {
		return err
	}
	if err := s.own(r); err != nil {
		s.release()
		return err
	}
	for i := range s.sections {
		if s.sections[i] == nil {
			continue
		}
		if err := s.mapSection(i); err != nil {
			err = fmt.Errorf("map %s: map its memory: %w", s.a.Maps[i].Name, err)
			return errors.Join(err, s.unmapSections(i), s.release())
		}
	}
	return nil
}

// options translates indexes to the names that package replay uses.
func (s *Skeleton) options(o Options) replay.Options {
	out := replay.Options{LogLevel: o.LogLevel, Keyring: o.Keyring, Options: target.Options{PinPath: o.PinPath,
		MaxEntries: make(map[string]uint32), Values: make(map[string][]byte), Maps: make(map[string]int), Programs: make(map[string]int)}}
	for i, n := range o.MaxEntries {
		if n != 0 {
			out.MaxEntries[s.a.Maps[i].Name] = n
		}
	}
	for i, m := range o.Reuse {
		if m != nil {
			out.Maps[s.a.Maps[i].Name] = m.FD()
		}
	}
	for i, p := range o.Replace {
		if p != nil {
			out.Programs[s.a.Programs[i].Name] = p.FD()
		}
	}
	for i := range s.sections {
		if s.sections[i] == nil {
			continue
		}
		initial := s.initial(i)
		if len(initial) == 0 {
			initial = make([]byte, s.a.Maps[i].ValueSize)
		}
		if v := s.value(i); !bytes.Equal(v, initial) {
			out.Values[s.a.Maps[i].Name] = bytes.Clone(v)
		}
	}
	return out
}

// own makes maps and programs from a load's fds. It takes ownership of all of them, even if it
// fails.
func (s *Skeleton) own(r *target.Result) error {
	s.arenas = r.Arenas
	s.maps, s.programs = make([]*ebpf.Map, len(r.Maps)), make([]*ebpf.Program, len(r.Programs))
	var failed error
	for i, fd := range r.Maps {
		m, err := ebpf.NewMapFromFD(fd) // closes fd on failure
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("map %s: %w", s.a.Maps[i].Name, err))
		}
		s.maps[i] = m
	}
	for i, fd := range r.Programs {
		p, err := ebpf.NewProgramFromFD(fd)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("program %s: %w", s.a.Programs[i].Name, err))
		}
		s.programs[i] = p
	}
	return failed
}

// mapSection maps the value of map i over the memory of its section.
func (s *Skeleton) mapSection(i int) error {
	access := unix.PROT_READ | unix.PROT_WRITE
	if s.a.Maps[i].ReadOnly {
		access = unix.PROT_READ
	}
	_, err := unix.MmapPtr(s.maps[i].FD(), 0, s.Section(i), uintptr(len(s.sections[i])), access, unix.MAP_SHARED|unix.MAP_FIXED)
	return err
}

// unmapSections replaces the first n sections' mappings with ordinary memory of the same content.
func (s *Skeleton) unmapSections(n int) error {
	for i := range n {
		if s.sections[i] == nil {
			continue
		}
		v := bytes.Clone(s.value(i))
		if _, err := unix.MmapPtr(-1, 0, s.Section(i), uintptr(len(s.sections[i])), unix.PROT_READ|unix.PROT_WRITE,
			unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED); err != nil {
			return err
		}
		copy(s.sections[i], v)
	}
	return nil
}

// Map returns map i after Load, nil before.
func (s *Skeleton) Map(i int) *ebpf.Map { return at(s.maps, i) }

// Program returns program i after Load, nil before.
func (s *Skeleton) Program(i int) *ebpf.Program { return at(s.programs, i) }

func at[T any](list []T, i int) (none T) {
	if i < len(list) {
		return list[i]
	}
	return none
}

// Arena returns the memory of map i, an arena, after Load. It is valid until Close.
func (s *Skeleton) Arena(i int) []byte { return s.arenas[s.a.Maps[i].Name] }

// release closes maps and programs, and unmaps arenas.
func (s *Skeleton) release() error {
	var all []error
	for _, m := range s.maps {
		if m != nil {
			all = append(all, m.Close())
		}
	}
	for _, p := range s.programs {
		if p != nil {
			all = append(all, p.Close())
		}
	}
	target.Unmap(s.arenas)
	s.maps, s.programs, s.arenas = nil, nil, nil
	return errors.Join(all...)
}

// Close closes maps and programs and unmaps all memory. It does nothing on a nil or closed
// Skeleton.
func (s *Skeleton) Close() error {
	if s == nil || s.closed {
		return nil
	}
	s.closed = true
	err := s.release()
	for _, memory := range s.sections {
		if memory != nil {
			err = errors.Join(err, unix.MunmapPtr(unsafe.Pointer(&memory[0]), uintptr(len(memory))))
		}
	}
	s.sections = nil
	return err
}

// String returns a copy of the text in a C char array, up to the first NUL.
func String[T ~int8 | ~uint8](chars []T) string {
	b := Bytes(chars)
	if n := bytes.IndexByte(b, 0); n >= 0 {
		b = b[:n]
	}
	return string(b)
}

// Bytes returns the memory of a C char array. It does not copy.
func Bytes[T ~int8 | ~uint8](chars []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(chars))), len(chars))
}
