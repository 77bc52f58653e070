// Package policy decides by a BPF LSM program who may load BPF programs: one that has a
// signature that the kernel has verified by the keys of a keyring that is listed, or one that
// such a program loads. So a signed loader program loads its object, and nothing else loads.
//
// A policy is pinned in a directory of a BPF file system, and lasts until it is removed or the
// machine is booted. Removing it loads no program: a policy does not protect itself from
// those who may write to that directory.
package policy

import (
	"bytes"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/emit"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/replay"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
	"github.com/bpfreplay/bpfreplay/loader/keyring"
)

//go:embed bpf/policy.bpf.o
var objectFile []byte

// DefaultDir is where a policy is pinned.
const DefaultDir = "/sys/fs/bpf/bpfreplay-policy"

// Options are what a policy admits.
type Options struct {
	// Keyrings by whose keys a program may be signed: builtin, secondary, platform, or
	// serials. Keyrings that belong to threads and users cannot be told apart by the
	// kernel's answer, and are refused.
	Keyrings []keyring.ID
	// Enforce is for how long the policy refuses programs; after that it only logs, until
	// Confirm. 0 is to log only.
	Enforce time.Duration
}

// Policy is one that is pinned.
type Policy struct {
	dir                                string
	config, keyrings, counts, refusals *ebpf.Map
}

// Close closes what is open. The policy stays.
func (p *Policy) Close() {
	for _, m := range []*ebpf.Map{p.config, p.keyrings, p.counts, p.refusals} {
		if m != nil {
			m.Close()
		}
	}
}

// ErrNotAsked is the reason of a policy that the kernel does not ask.
var ErrNotAsked = errors.New("the kernel does not ask BPF programs about security: boot it with bpf in lsm= (see /sys/kernel/security/lsm)")

// Load loads a policy and pins it in a directory that it makes, DefaultDir if it is empty. On
// failure nothing is left.
func Load(dir string, o Options) (*Policy, error) {
	if dir == "" {
		dir = DefaultDir
	}
	if o.Enforce < 0 {
		return nil, fmt.Errorf("policy: it cannot be enforced for %s", o.Enforce)
	}
	for _, id := range o.Keyrings {
		if id < 0 {
			return nil, fmt.Errorf("policy: keyring %s is another one for each thread or user: name it by its serial, which /proc/keys has (in hexadecimal, put 0x before it)", id)
		}
	}
	t := target.New()
	if _, err := t.Contract(); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	a, err := generate()
	if err != nil {
		return nil, err
	}
	r, err := replay.Load(a, replay.Options{Target: t})
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	defer r.Close()
	if err := os.Mkdir(dir, 0o700); err != nil {
		if errors.Is(err, os.ErrExist) {
			return nil, fmt.Errorf("policy: %s is there: remove that policy, or name another directory: %w", dir, err)
		}
		return nil, fmt.Errorf("policy: a directory to pin it in (is that on a BPF file system?): %w", err)
	}
	p, err := install(dir, o, a, r)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("policy: %w", err), os.RemoveAll(dir))
	}
	return p, nil
}

func generate() (*artefact.Artefact, error) {
	obj, err := object.OpenBytes(objectFile, "policy.bpf.o")
	if err != nil {
		return nil, err
	}
	plan, err := trace.Plan(obj, trace.Options{})
	if err != nil {
		return nil, err
	}
	return emit.Emit(plan)
}

// install pins what was loaded, attaches it, and looks whether it is asked.
func install(dir string, o Options, a *artefact.Artefact, r *target.Result) (p *Policy, err error) {
	for i := range a.Maps {
		if err := bpfsys.Pin(r.Maps[i], filepath.Join(dir, a.Maps[i].Name)); err != nil {
			return nil, fmt.Errorf("pin %s: %w", a.Maps[i].Name, err)
		}
	}
	if p, err = Open(dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	for _, id := range o.Keyrings {
		if err := p.keyrings.Put(int32(id), uint32(1)); err != nil {
			return nil, fmt.Errorf("list keyring %s: %w", id, err)
		}
	}
	fd, err := unix.FcntlInt(uintptr(r.Programs[0]), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	prog, err := ebpf.NewProgramFromFD(fd)
	if err != nil {
		return nil, err
	}
	defer prog.Close()
	l, err := link.AttachLSM(link.LSMOptions{Program: prog})
	if err != nil {
		return nil, fmt.Errorf("attach: %w", err)
	}
	defer l.Close()
	before, err := p.Counts()
	if err != nil {
		return nil, err
	}
	loadUnsigned()
	after, err := p.Counts()
	if err != nil {
		return nil, err
	}
	if after.Refused == before.Refused {
		return nil, ErrNotAsked
	}
	if err := l.Pin(filepath.Join(dir, linkName)); err != nil {
		return nil, fmt.Errorf("pin the link: %w", err)
	}
	if o.Enforce > 0 {
		until, err := now()
		if err != nil {
			return nil, err
		}
		return p, p.setConfig(true, until+uint64(o.Enforce))
	}
	return p, nil
}

const linkName = "link"

// loadUnsigned loads a program that a policy has something to say about.
func loadUnsigned() {
	var m bpfsys.Memory
	defer m.Release()
	fd, err := bpfsys.Call(bpfsys.ProgLoad, &bpfsys.ProgLoadAttr{
		Type: uapi.ProgSocketFilter, Insns: m.At([]byte{0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0}), InsnCount: 2,
		License: m.String("GPL"), Name: bpfsys.Name("policy_probe"),
	})
	if err == nil {
		bpfsys.Close(fd)
	}
}

func now() (uint64, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0, err
	}
	return uint64(t.Nano()), nil
}

// Open opens a policy that is pinned, DefaultDir if dir is empty.
func Open(dir string) (*Policy, error) {
	if dir == "" {
		dir = DefaultDir
	}
	p := &Policy{dir: dir}
	for name, to := range map[string]**ebpf.Map{"config": &p.config, "keyrings": &p.keyrings, "counts": &p.counts, "refusals": &p.refusals} {
		m, err := ebpf.LoadPinnedMap(filepath.Join(dir, name), nil)
		if err != nil {
			p.Close()
			if errors.Is(err, os.ErrNotExist) {
				return nil, fmt.Errorf("there is no policy in %s: %w", dir, err)
			}
			return nil, fmt.Errorf("policy in %s: %w", dir, err)
		}
		*to = m
	}
	return p, nil
}

// Remove removes a policy: programs are admitted as before.
func Remove(dir string) error {
	p, err := Open(dir)
	if err != nil {
		return err
	}
	p.Close()
	// The link first: what is left then decides nothing.
	if err := os.Remove(filepath.Join(p.dir, linkName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, name := range []string{"config", "keyrings", "counts", "refusals"} {
		if err := os.Remove(filepath.Join(p.dir, name)); err != nil {
			return err
		}
	}
	return os.Remove(p.dir)
}

// config is struct config of bpf/policy.bpf.c.
type config struct {
	Enforce uint32
	_       uint32
	Until   uint64 // ns since boot
}

func (p *Policy) setConfig(enforce bool, until uint64) error {
	c := config{Until: until}
	if enforce {
		c.Enforce = 1
	}
	return p.config.Put(uint32(0), c)
}

// Mode is what a policy does with a program that it does not admit.
type Mode struct {
	Enforcing bool
	// Left is how long it goes on, 0 for always. After that it only logs.
	Left time.Duration
}

// Mode is what the policy does now.
func (p *Policy) Mode() (Mode, error) {
	var c config
	if err := p.config.Lookup(uint32(0), &c); err != nil {
		return Mode{}, err
	}
	at, err := now()
	if err != nil {
		return Mode{}, err
	}
	switch {
	case c.Enforce == 0, c.Until != 0 && c.Until <= at:
		return Mode{}, nil
	case c.Until == 0:
		return Mode{Enforcing: true}, nil
	}
	return Mode{true, time.Duration(c.Until - at)}, nil
}

// ErrNotEnforcing is the reason of a Confirm that comes too late, or has nothing to confirm.
var ErrNotEnforcing = errors.New("the policy only logs: load one that enforces, and confirm it in time")

// Confirm has a policy that enforces go on until it is removed.
func (p *Policy) Confirm() error {
	m, err := p.Mode()
	if err != nil {
		return err
	}
	if !m.Enforcing {
		return ErrNotEnforcing
	}
	return p.setConfig(true, 0)
}

// Keyrings are those by whose keys a program may be signed.
func (p *Policy) Keyrings() ([]keyring.ID, error) {
	var out []keyring.ID
	var id int32
	var one uint32
	all := p.keyrings.Iterate()
	for all.Next(&id, &one) {
		out = append(out, keyring.ID(id))
	}
	return out, all.Err()
}

// Counts are programs since the policy was loaded.
type Counts struct {
	Signed    uint64
	ByProgram uint64 // loaded by a program that was admitted, or by the kernel
	Refused   uint64 // or would have been
}

// Counts counts programs.
func (p *Policy) Counts() (Counts, error) {
	var c Counts
	for i, to := range []*uint64{&c.Signed, &c.ByProgram, &c.Refused} {
		if err := p.counts.Lookup(uint32(i), to); err != nil {
			return Counts{}, err
		}
	}
	return c, nil
}

// Refusal is a program that was not admitted.
type Refusal struct {
	Since    time.Duration // boot
	PID      uint32
	Command  string
	Program  string // its name
	Type     string // of enum bpf_prog_type
	Why      string
	Keyring  keyring.ID // if it was signed
	Enforced bool
}

var whys = map[uint8]string{1: "it is not signed", 2: "its signature was not verified", 3: "it is signed by a key of a keyring that is not listed"}

// Refusals reads the refusals that nobody has read yet. The kernel keeps about a thousand.
func (p *Policy) Refusals() ([]Refusal, error) {
	reader, err := ringbuf.NewReader(p.refusals)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	reader.SetDeadline(time.Now().Add(-time.Second)) // what is there, and no more
	var out []Refusal
	for {
		record, err := reader.Read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		var raw struct {
			Time          uint64
			PID, Type     uint32
			Keyring       int32
			Why, Enforced uint8
			_             [2]byte
			Comm, Name    [16]byte
		}
		if err := binary.Read(bytes.NewReader(record.RawSample), binary.NativeEndian, &raw); err != nil {
			return out, err
		}
		out = append(out, Refusal{
			Since: time.Duration(raw.Time), PID: raw.PID, Command: bpfsys.CString(raw.Comm[:]), Program: bpfsys.CString(raw.Name[:]),
			Type: uapi.ProgType(raw.Type).String(), Why: whys[raw.Why], Keyring: keyring.ID(raw.Keyring), Enforced: raw.Enforced != 0,
		})
	}
}
