package engine

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/mutate"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/internal/emit"
	"github.com/bpfreplay/bpfreplay/internal/issue"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/replay"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// Object is what an engine loads: the contents of an ELF file. Engines replay and signed also
// accept a loader program that gen has written.
type Object struct {
	Name string // base name of the file
	Data []byte
	// Attach makes the load attach the programs that gen --attach attaches. Not all engines can:
	// see [Attaches].
	Attach bool
	// Certs are certificates (X.509, DER) with which the kernel verifies a loader program that is
	// already signed. Engine signed uses them.
	Certs [][]byte
	// Mutate, if set, breaks the loader program of engine replay, to test that the comparison
	// notices. A mutation that finds nothing to change has no effect.
	Mutate *mutate.Mutation
	// Only names a program to load alone, as far as the object allows: struct_ops programs are
	// loaded with their maps. The libbpf engines ignore it.
	Only string
	// Autoload makes engine direct omit programs in sections named SEC("?..."), as libbpf does.
	// cilium/ebpf loads them.
	Autoload bool
	// Types is cilium/ebpf's cache of the kernel's types, which engine direct shares between loads.
	// If it is nil, each load reads the types.
	Types *btf.Cache
	// Replaces are the target programs of freplace programs, by the name of the freplace program.
	// The fds belong to the caller. The libbpf engines return [ErrCannot] if there are any.
	Replaces map[string]int
	// Sections are additional rules for section names, for engines trace and replay.
	Sections object.SectionRules
}

// options returns the options of a plan that loads what Only and Attach ask for.
func (o *Object) options(obj *object.Object) trace.Options {
	if o.Only == "" {
		return trace.Options{Attach: o.Attach}
	}
	load := make(map[string]bool)
	for _, f := range obj.Functions {
		if !f.Subprog && !object.IsStructOps(f.Section) {
			load[f.Name] = f.Name == o.Only
		}
	}
	return trace.Options{Autoload: load, Attach: o.Attach}
}

// cannotReplace returns an error if targets of freplace programs were named, which bpftool cannot
// be told.
func (o *Object) cannotReplace() error {
	for _, name := range slices.Sorted(maps.Keys(o.Replaces)) {
		return fmt.Errorf("%w: bpftool cannot be told what program %s replaces", ErrCannot, name)
	}
	return nil
}

// Loaded holds what a load has left in the kernel. The caller closes it.
type Loaded struct {
	Maps     []state.Handle
	Programs []state.Handle
	Links    []state.Handle // named like their programs; only with Object.Attach
	close    func()
}

// Close closes all fds and removes pins.
func (l *Loaded) Close() { l.close() }

// Engine is a way to load objects.
type Engine interface {
	Name() string
	// Open reads the object and does all work that needs no kernel. An error refuses the object,
	// unless it is ErrCannot or ErrEngine.
	Open(obj Object) (Load, error)
}

// Load is an object that is ready to be loaded. It can be loaded several times.
type Load interface {
	// Needs returns the capabilities that this engine needs to load this object, even if the kernel
	// could run the object without them.
	Needs() []string
	// Do loads the object. Its duration is the engine's load time.
	Do(tg *target.Target) (*Loaded, error)
}

// ByName returns the engines with these names. tool is for the libbpf engines and the skeletons.
func ByName(names []string, tool Tool) ([]Engine, error) {
	var out []Engine
	for _, n := range names {
		switch n {
		case "direct":
			out = append(out, direct{})
		case "trace":
			out = append(out, traced{})
		case "replay":
			out = append(out, replayed{})
		case "signed":
			out = append(out, signed{})
		case "libbpf":
			out = append(out, libbpf{tool})
		case "libbpf-light":
			out = append(out, libbpfLight{tool})
		case enginename.SkelGo, enginename.SkelC:
			out = append(out, lightSkeleton{n, tool.Skeletons, tool.Wait})
		default:
			return nil, fmt.Errorf("no engine %q: there are %s", n, strings.Join(enginename.Names(), ", "))
		}
	}
	return out, nil
}

// traced is the engine that issues our trace from user space.
type traced struct{}

func (traced) Name() string { return enginename.Trace }

func (traced) Open(obj Object) (Load, error) {
	t, err := plan(&obj)
	if err != nil {
		return nil, err
	}
	return tracedLoad{t, obj.Replaces}, nil
}

func plan(obj *Object) (*trace.Trace, error) {
	o, err := object.Options{SectionRules: obj.Sections}.OpenBytes(obj.Data, obj.Name)
	if err != nil {
		return nil, err
	}
	return trace.Plan(o, obj.options(o))
}

type tracedLoad struct {
	t        *trace.Trace
	replaces map[string]int
}

func (l tracedLoad) Needs() (needs []string) {
	for _, n := range issue.Needs(l.t) {
		needs = append(needs, n.Capability)
	}
	return needs
}

func (l tracedLoad) Do(tg *target.Target) (*Loaded, error) {
	a := emit.Describe(l.t)
	dir, unpin, err := pinsOf(enginename.Trace, a)
	if err != nil {
		return nil, err
	}
	r, err := issue.Issue(l.t, tg, target.Options{PinPath: dir, Programs: l.replaces})
	if err != nil {
		unpin()
		return nil, err
	}
	return Handles(a, r, unpin), nil
}

// replayed is the engine that runs a loader program, with the bytes that gen writes.
type replayed struct{}

func (replayed) Name() string { return enginename.Replay }

func (replayed) Open(obj Object) (Load, error) {
	if obj.Mutate != nil {
		o, err := object.OpenBytes(obj.Data, obj.Name)
		if err != nil {
			return nil, err
		}
		p, _, err := obj.Mutate.Generate(o)
		if err != nil {
			return nil, err
		}
		return replayedLoad{a: p.Artefact}, nil
	}
	if artefact.IsArtefact(obj.Data) {
		a, err := artefact.Parse(obj.Data)
		return replayedLoad{a, obj.Replaces}, err
	}
	a, err := generate(&obj)
	if err != nil {
		return nil, err
	}
	if a, err = reread(a); err != nil {
		return nil, err
	}
	return replayedLoad{a, obj.Replaces}, nil
}

func generate(obj *Object) (*artefact.Artefact, error) {
	t, err := plan(obj)
	if err != nil {
		return nil, err
	}
	return emit.Emit(t)
}

// reread returns the artefact after writing it to a file and parsing that.
func reread(a *artefact.Artefact) (*artefact.Artefact, error) {
	file, err := a.MarshalBinary()
	if err != nil {
		return nil, err
	}
	return artefact.Parse(file)
}

type replayedLoad struct {
	a        *artefact.Artefact
	replaces map[string]int
}

func (l replayedLoad) Needs() []string {
	needs := []string{"syscall_prog"}
	for _, n := range l.a.Needs {
		needs = append(needs, n.Capability)
	}
	return needs
}

func (l replayedLoad) Do(tg *target.Target) (*Loaded, error) {
	return l.load(enginename.Replay, replay.Options{Target: tg, Options: target.Options{Programs: l.replaces}})
}

func (l replayedLoad) load(engine string, o replay.Options) (*Loaded, error) {
	dir, unpin, err := pinsOf(engine, l.a)
	if err != nil {
		return nil, err
	}
	o.PinPath = dir
	r, err := replay.Load(l.a, o)
	if err != nil {
		unpin()
		return nil, err
	}
	return Handles(l.a, r, unpin), nil
}

// Handles names the result of a loader program, which it takes over. Close also calls done.
func Handles(a *artefact.Artefact, r *target.Result, done func()) *Loaded {
	l := &Loaded{close: func() { r.Close(); done() }}
	for i, fd := range r.Maps {
		l.Maps = append(l.Maps, state.Handle{Name: a.Maps[i].Name, FD: fd})
	}
	for i, fd := range r.Programs {
		l.Programs = append(l.Programs, state.Handle{Name: a.Programs[i].Name, FD: fd})
	}
	for i, fd := range r.Links {
		if fd > 0 {
			l.Links = append(l.Links, state.Handle{Name: a.Programs[i].Name, FD: fd})
		}
	}
	return l
}

// Attaches reports whether an engine supports Object.Attach.
func Attaches(name string) bool {
	return slices.Contains([]string{enginename.Direct, enginename.Trace, enginename.Replay, enginename.Signed}, name)
}

// Errno returns the name of the errno in an error, or "".
func Errno(err error) string {
	var e unix.Errno
	if !errors.As(err, &e) {
		return ""
	}
	return unix.ErrnoName(e)
}

// Log returns the verifier's log in an error, or "".
func Log(err error) string {
	var step *artefact.StepError
	if errors.As(err, &step) {
		return step.Log
	}
	var tool *ToolError
	if errors.As(err, &tool) {
		return tool.Log
	}
	var ve *ebpf.VerifierError
	if errors.As(err, &ve) {
		return strings.Join(ve.Log, "\n")
	}
	return ""
}

// Time runs a load and returns how long it took. If the load has a Warm method, that runs first and
// is not measured.
func Time(l Load, tg *target.Target) (*Loaded, time.Duration, error) {
	if w, ok := l.(interface{ Warm(*target.Target) error }); ok {
		if err := w.Warm(tg); err != nil {
			return nil, 0, err
		}
	}
	start := time.Now()
	r, err := l.Do(tg)
	return r, time.Since(start), err
}
