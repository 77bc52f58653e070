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

// Object is what an engine is given: a file, as bytes. Engines replay and signed also take
// a loader program that gen wrote.
type Object struct {
	Name string // base name of the file
	Data []byte
	// Attach has the load attach the programs that gen --attach does. Only engines that
	// say so can: see [Attaches].
	Attach bool
	// Certs are certificates (X.509, DER) by which engine signed has the kernel verify a
	// file that was signed before.
	Certs [][]byte
	// Mutate, if set, breaks the loader program of engine replay, to see that
	// it is noticed. One that finds nothing to change leaves it as it is.
	Mutate *mutate.Mutation
	// Only names a program that is loaded alone, as far as the object allows it:
	// programs of struct_ops maps go with their maps. libbpf's engines do not do
	// that.
	Only string
	// Autoload: engine direct leaves out what libbpf does not load by itself, the
	// programs of SEC("?..."), which cilium/ebpf loads.
	Autoload bool
	// Types are the kernel's types as cilium/ebpf has read them, for engine direct to share
	// between loads; nil has each load read them.
	Types *btf.Cache
	// Replaces are the programs that freplace programs replace, by name: fds of the
	// caller's. The engines of libbpf cannot do this: see [ErrCannot].
	Replaces map[string]int
	// Sections are the rules for names of sections of engines trace and replay.
	Sections object.SectionRules
}

// options are those of a plan that loads what is wanted of an object.
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

// cannotReplace is why bpftool does not load an object with freplace programs whose
// targets were named.
func (o *Object) cannotReplace() error {
	for _, name := range slices.Sorted(maps.Keys(o.Replaces)) {
		return fmt.Errorf("%w: bpftool cannot be told what program %s replaces", ErrCannot, name)
	}
	return nil
}

// Loaded is what a load left behind.
type Loaded struct {
	Maps     []state.Handle
	Programs []state.Handle
	Links    []state.Handle // by the names of programs, if Object.Attach
	close    func()
}

// Close gives everything back.
func (l *Loaded) Close() { l.close() }

// Engine is one way to load objects.
type Engine interface {
	Name() string
	// Open reads the object and does all that needs no kernel. Its errors are
	// refusals of the object, but for ErrCannot and ErrTrouble.
	Open(obj Object) (Load, error)
}

// Load is an object that is ready to be loaded.
type Load interface {
	// Needs are the capabilities without which this engine cannot load this
	// object, though the kernel may be able to run it.
	Needs() []string
	// Do loads the object. The time that it takes is the engine's time.
	Do(tg *target.Target) (*Loaded, error)
}

// ByName returns the engines of the given names. Those of libbpf drive tool.
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

// traced issues our trace from user space.
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

// Needs are those that a trace has as well: symbols it finds by itself.
func (l tracedLoad) Needs() (needs []string) {
	for _, n := range l.t.Needs {
		if n.Capability != artefact.NeedKallsyms {
			needs = append(needs, n.Capability)
		}
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
	return loaded(a, r, unpin), nil
}

// replayed runs a loader program: the bytes that gen writes.
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

// reread is the artefact that a file of it holds.
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
	return loaded(l.a, r, unpin), nil
}

func loaded(a *artefact.Artefact, r *target.Result, done func()) *Loaded {
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

// Attaches reports whether an engine heeds Object.Attach.
func Attaches(name string) bool {
	return slices.Contains([]string{enginename.Direct, enginename.Trace, enginename.Replay, enginename.Signed}, name)
}

// Errno is the name of the errno in an error, empty if there is none.
func Errno(err error) string {
	var e unix.Errno
	if !errors.As(err, &e) {
		return ""
	}
	return unix.ErrnoName(e)
}

// Log is the verifier's log in an error, empty if there is none.
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

// Time runs a load and measures it.
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
