package engine

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/mutate"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/loader"
	"github.com/bpfreplay/bpfreplay/loader/issue"
	"github.com/bpfreplay/bpfreplay/loader/object"
	"github.com/bpfreplay/bpfreplay/loader/target"
	"github.com/bpfreplay/bpfreplay/loader/trace"
)

// Object is what an engine is given: a file, as bytes.
type Object struct {
	Name string // base name of the file
	Data []byte
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
}

// options are those of a plan that loads what is wanted of an object.
func (o *Object) options(obj *object.Object) trace.Options {
	if o.Only == "" {
		return trace.Options{}
	}
	load := make(map[string]bool)
	for _, f := range obj.Functions {
		if !f.Subprog && !IsStructOps(f.Section) {
			load[f.Name] = f.Name == o.Only
		}
	}
	return trace.Options{Autoload: load}
}

// IsStructOps says whether the programs of a section belong to struct_ops maps.
func IsStructOps(section string) bool {
	return strings.HasPrefix(strings.TrimPrefix(section, "?"), "struct_ops")
}

// Loaded is what a load left behind.
type Loaded struct {
	Maps     []state.Handle
	Programs []state.Handle
	close    func()
}

// Close gives everything back.
func (l *Loaded) Close() { l.close() }

// Engine is one way to load objects.
type Engine interface {
	Name() string
	// Open reads the object and does all that needs no kernel. Its errors are
	// refusals of the object.
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

// Names are the names of all engines.
func Names() []string { return []string{"direct", "trace", "replay", "libbpf", "libbpf-light"} }

// Defaults are the names of the engines that need nothing that is not here, in
// the order in which they are run.
func Defaults() []string { return Names()[:3] }

// UseTool says whether one of the engines needs bpftool.
func UseTool(names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "libbpf") })
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
			out = append(out, replay{})
		case "libbpf":
			out = append(out, libbpf{tool})
		case "libbpf-light":
			out = append(out, libbpfLight{tool})
		default:
			return nil, fmt.Errorf("no engine %q: there are %s", n, strings.Join(Names(), ", "))
		}
	}
	return out, nil
}

// traced issues our trace from user space.
type traced struct{}

func (traced) Name() string { return "trace" }

func (traced) Open(obj Object) (Load, error) {
	o, err := object.OpenReader(bytes.NewReader(obj.Data), int64(len(obj.Data)), obj.Name)
	if err != nil {
		return nil, err
	}
	t, err := trace.Plan(o, obj.options(o))
	if err != nil {
		return nil, err
	}
	return tracedLoad{t}, nil
}

type tracedLoad struct{ t *trace.Trace }

func (tracedLoad) Needs() []string { return nil }

func (l tracedLoad) Do(tg *target.Target) (*Loaded, error) {
	dir, unpin, err := pinsOf("trace", l.t)
	if err != nil {
		return nil, err
	}
	r, err := issue.Issue(l.t, tg, target.Options{PinPath: dir})
	if err != nil {
		unpin()
		return nil, err
	}
	return loaded(l.t, r.Maps, r.Programs, func() { r.Close(); unpin() }), nil
}

// replay runs our loader program.
type replay struct{}

func (replay) Name() string { return "replay" }

func (replay) Open(obj Object) (Load, error) {
	o, err := object.OpenReader(bytes.NewReader(obj.Data), int64(len(obj.Data)), obj.Name)
	if err != nil {
		return nil, err
	}
	if obj.Mutate != nil {
		return broken(o, obj.Mutate)
	}
	p, err := loader.Generate(o, &loader.Options{Options: obj.options(o)})
	if err != nil {
		return nil, err
	}
	return replayLoad{p}, nil
}

type replayLoad struct{ p *loader.Program }

func (l replayLoad) Needs() []string {
	needs := []string{"syscall_prog"}
	for _, s := range l.p.Trace.Symbols {
		if s.Kind == trace.SymbolAddress {
			return append(needs, "kallsyms_helper")
		}
	}
	return needs
}

func (l replayLoad) Do(tg *target.Target) (*Loaded, error) {
	dir, unpin, err := pinsOf("replay", l.p.Trace)
	if err != nil {
		return nil, err
	}
	fds, err := l.p.LoadFDs(&loader.LoadOptions{Target: tg, Options: target.Options{PinPath: dir}})
	if err != nil {
		unpin()
		return nil, err
	}
	return loaded(l.p.Trace, fds.Maps, fds.Programs, func() { fds.Close(); unpin() }), nil
}

func loaded(t *trace.Trace, maps, programs []int, done func()) *Loaded {
	l := &Loaded{close: done}
	for i, fd := range maps {
		l.Maps = append(l.Maps, state.Handle{Name: t.Maps[i].Name, FD: fd})
	}
	for i, fd := range programs {
		if fd < 0 {
			continue
		}
		l.Programs = append(l.Programs, state.Handle{Name: t.Programs[i].Name, FD: fd})
	}
	return l
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
	var step *trace.StepError
	if errors.As(err, &step) {
		return step.Log
	}
	var tool *ToolError
	if errors.As(err, &tool) {
		return tool.Log
	}
	var run *loader.RunError
	if errors.As(err, &run) {
		return run.Log
	}
	var ve *ebpf.VerifierError
	if errors.As(err, &ve) {
		return strings.Join(ve.Log, "\n")
	}
	return ""
}

// Time runs a load and measures it.
func Time(l Load, tg *target.Target) (*Loaded, time.Duration, error) {
	start := time.Now()
	r, err := l.Do(tg)
	return r, time.Since(start), err
}
