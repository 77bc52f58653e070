// Package policy restricts which BPF programs may be loaded. A BPF LSM program admits a program if
// the kernel has verified its signature with a key from a listed keyring, or if an admitted program
// loads it. A signed loader program can therefore load its object, and nothing else can be loaded.
//
// A policy is pinned in a directory of a BPF file system. It lasts until it is removed or the
// machine reboots. Removing a policy loads no program, so a policy does not protect itself from
// users who may write to that directory.
//
// [Load] installs a policy, [Open] finds an installed one, [Remove] removes it.
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

// DefaultDir is the directory in which a policy is pinned by default.
const DefaultDir = "/sys/fs/bpf/bpfreplay-policy"

// Options say what a policy admits.
type Options struct {
	// Keyrings whose keys may sign programs: builtin, secondary, platform, or serials. Load refuses
	// names of keyrings that belong to threads or users, because the policy cannot tell these
	// apart.
	Keyrings []keyring.ID
	// Enforce is how long the policy refuses programs. After that it only logs, unless
	// [Policy.Confirm] is called in time. 0 means that it only logs from the start.
	Enforce time.Duration
}

// Policy is a pinned policy. It holds fds until Close.
type Policy struct {
	dir                                string
	config, keyrings, counts, refusals *ebpf.Map
}

// Close closes the fds. The policy stays in force.
func (p *Policy) Close() {
	for _, m := range []*ebpf.Map{p.config, p.keyrings, p.counts, p.refusals} {
		if m != nil {
			m.Close()
		}
	}
}

// ErrNotAsked is wrapped by the error of Load if the kernel does not call BPF LSM programs.
var ErrNotAsked = errors.New("the kernel does not ask BPF programs about security: boot it with bpf in lsm= (see /sys/kernel/security/lsm)")

// Load loads a policy, attaches it, and pins it in dir, which must not exist and which Load
// creates. An empty dir means [DefaultDir]. Load needs a kernel that verifies signatures (6.18). On
// failure it leaves nothing behind. The caller must Close the policy.
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
	return emit.Generate(obj, trace.Options{})
}

// install pins what was loaded, attaches it, and checks that the kernel calls it.
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

// loadUnsigned loads an unsigned program, which a policy counts as refused.
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

// Open opens the policy that is pinned in dir. An empty dir means [DefaultDir]. The error wraps
// os.ErrNotExist if there is none. The caller must Close the policy.
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

// Remove removes the policy that is pinned in dir. From then on the kernel admits programs as
// before. An empty dir means [DefaultDir].
func Remove(dir string) error {
	p, err := Open(dir)
	if err != nil {
		return err
	}
	p.Close()
	// Remove the link first: after that the rest has no effect.
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

// Mode says what a policy does with a program that it does not admit.
type Mode struct {
	Enforcing bool
	// Left is the time until the policy stops enforcing and only logs. 0 means that it enforces
	// until it is removed.
	Left time.Duration
}

// Mode returns the policy's current mode.
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

// ErrNotEnforcing is returned by Confirm if the policy does not enforce, or no longer does.
var ErrNotEnforcing = errors.New("the policy only logs: load one that enforces, and confirm it in time")

// Confirm makes an enforcing policy enforce until it is removed.
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

// Keyrings returns the keyrings whose keys may sign programs.
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

// Counts are numbers of programs since the policy was loaded.
type Counts struct {
	Signed    uint64
	ByProgram uint64 // loaded by a program that was admitted, or by the kernel
	Refused   uint64 // or would have been, if the policy enforced
}

// Counts returns the counters.
func (p *Policy) Counts() (Counts, error) {
	var c Counts
	for i, to := range []*uint64{&c.Signed, &c.ByProgram, &c.Refused} {
		if err := p.counts.Lookup(uint32(i), to); err != nil {
			return Counts{}, err
		}
	}
	return c, nil
}

// Refusal is a program that the policy did not admit.
type Refusal struct {
	Since    time.Duration // since boot
	PID      uint32
	Command  string
	Program  string // its name
	Type     string // of enum bpf_prog_type, without BPF_PROG_TYPE_
	Why      string
	Keyring  keyring.ID // meaningful only if the program was signed
	Enforced bool
}

var whys = map[uint8]string{1: "it is not signed", 2: "its signature was not verified", 3: "it is signed by a key of a keyring that is not listed"}

// Refusals reads the refusals since the last call, which may have been another process's. The
// kernel keeps about a thousand.
func (p *Policy) Refusals() ([]Refusal, error) {
	reader, err := ringbuf.NewReader(p.refusals)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	reader.SetDeadline(time.Now().Add(-time.Second)) // return what is buffered, do not wait
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
