package engine

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/target"
)

// direct is the engine that loads with cilium/ebpf.
type direct struct{}

func (direct) Name() string { return "direct" }

func (direct) Open(obj Object) (Load, error) {
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(obj.Data))
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(spec.Programs, func(name string, p *ebpf.ProgramSpec) bool {
		if p.Type == ebpf.UnspecifiedProgram {
			return true // a collection omits it, too
		}
		if obj.Only != "" {
			return name != obj.Only && !object.IsStructOps(p.SectionName)
		}
		// A struct_ops program that a map names is loaded if the map is.
		return obj.Autoload && strings.HasPrefix(p.SectionName, "?") && (!object.IsStructOps(p.SectionName) || p.AttachTo == "")
	})
	d := newDirectLoad(spec, programOrder(spec, obj), obj.Replaces)
	d.types = obj.Types
	d.attach = obj.Attach
	return d, nil
}

// programOrder returns the programs of a spec in the object's order, in which other engines load
// them. If several programs are refused, all engines then fail at the same one.
func programOrder(spec *ebpf.CollectionSpec, obj Object) []string {
	names := slices.Sorted(maps.Keys(spec.Programs))
	o, err := object.OpenReader(bytes.NewReader(obj.Data), int64(len(obj.Data)), obj.Name)
	if err != nil {
		return names // no other engine loads it
	}
	at := make(map[string]int)
	for i := range o.Functions {
		at[o.Functions[i].Name] = i
	}
	slices.SortStableFunc(names, func(a, b string) int { return at[a] - at[b] })
	return names
}

// directLoad loads maps and programs in a fixed order. A collection loads programs in the order in
// which Go iterates over a map. directLoad uses LoadAndAssign with a struct, whose fields have an
// order.
type directLoad struct {
	spec  *ebpf.CollectionSpec
	names []string     // maps, then programs
	shape reflect.Type // struct with a field for each name

	replaces map[string]int // Object.Replaces
	types    *btf.Cache     // Object.Types
	attach   bool           // Object.Attach
}

func newDirectLoad(spec *ebpf.CollectionSpec, programs []string, replaces map[string]int) directLoad {
	names := slices.Concat(slices.Sorted(maps.Keys(spec.Maps)), programs)
	return directLoad{spec: spec, names: names, shape: shape(names, len(spec.Maps)), replaces: replaces}
}

// shape returns a struct type for LoadAndAssign with these maps and programs.
func shape(names []string, nmaps int) reflect.Type {
	fields := make([]reflect.StructField, len(names))
	for i, name := range names {
		fields[i] = reflect.StructField{
			Name: fmt.Sprint("F", i), Type: reflect.TypeFor[*ebpf.Map](),
			Tag: reflect.StructTag(fmt.Sprintf("ebpf:%q", name)),
		}
		if i >= nmaps {
			fields[i].Type = reflect.TypeFor[*ebpf.Program]()
		}
	}
	return reflect.StructOf(fields)
}

func (directLoad) Needs() []string { return nil }

func (d directLoad) Do(*target.Target) (*Loaded, error) {
	done, err := d.replace()
	if err != nil {
		return nil, err
	}
	defer done()
	opts := ebpf.CollectionOptions{Cache: d.types}
	unpin := func() {}
	for _, m := range d.spec.Maps {
		if m.Pinning != ebpf.PinByName || opts.Maps.PinPath != "" {
			continue
		}
		var err error
		if opts.Maps.PinPath, unpin, err = pins("direct"); err != nil {
			return nil, err
		}
	}
	l, err := d.load(&opts)
	if err != nil {
		unpin()
		return nil, err
	}
	done = l.close
	l.close = func() { done(); unpin() }
	return l, nil
}

// replace sets the attach targets of freplace programs in the spec. The caller calls done after the
// load.
func (d directLoad) replace() (done func(), err error) {
	var open []*ebpf.Program
	done = func() {
		for _, p := range open {
			p.Close()
		}
	}
	for name, fd := range d.replaces {
		spec := d.spec.Programs[name]
		if spec == nil {
			continue
		}
		fd, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err == nil {
			spec.AttachTarget, err = ebpf.NewProgramFromFD(fd)
		}
		if err != nil {
			done()
			return nil, fmt.Errorf("%w: what program %s replaces: %w", ErrEngine, name, err)
		}
		open = append(open, spec.AttachTarget)
	}
	return done, nil
}

func (d directLoad) load(opts *ebpf.CollectionOptions) (*Loaded, error) {
	all, err := d.assign(opts)
	if err != nil {
		return nil, err
	}
	var programs []*ebpf.Program
	var closers []func() error
	l := &Loaded{close: func() {
		for _, c := range closers {
			c()
		}
	}}
	for i, name := range d.names {
		switch x := all.Elem().Field(i).Interface().(type) {
		case *ebpf.Map:
			l.Maps = append(l.Maps, state.Handle{Name: name, FD: x.FD()})
			closers = append(closers, x.Close)
		case *ebpf.Program:
			l.Programs = append(l.Programs, state.Handle{Name: name, FD: x.FD()})
			closers = append(closers, x.Close)
			programs = append(programs, x)
		}
	}
	if !d.attach {
		return l, nil
	}
	// Attach after the loop, so that after a failure Close closes all programs, including those
	// after the failed one.
	for i, p := range programs {
		name := l.Programs[i].Name
		to, err := attach(p, d.spec.Programs[name])
		if err != nil {
			l.Close()
			return nil, fmt.Errorf("program %s: attach: %w", name, err)
		}
		if to, ok := to.(interface{ FD() int }); ok {
			l.Links = append(l.Links, state.Handle{Name: name, FD: to.FD()})
		}
		if to != nil {
			closers = append(closers, to.Close)
		}
	}
	return l, nil
}

// attach attaches a program if a loader program could do so. Otherwise it returns nil.
func attach(p *ebpf.Program, spec *ebpf.ProgramSpec) (link.Link, error) {
	switch {
	case spec.Type == ebpf.LSM && spec.AttachType == ebpf.AttachLSMMac:
		return link.AttachLSM(link.LSMOptions{Program: p})
	case spec.Type == ebpf.Tracing && spec.AttachType == ebpf.AttachTraceIter:
		if to := spec.AttachTo; to == "bpf_map_elem" || to == "bpf_sk_storage_map" {
			return nil, nil
		}
		l, err := link.AttachIter(link.IterOptions{Program: p})
		if err != nil {
			return nil, err
		}
		return l, nil
	case spec.Type == ebpf.Tracing:
		return link.AttachTracing(link.TracingOptions{Program: p})
	}
	return nil, nil
}

// assign loads the maps and programs into a struct. If the verifier refuses a program, assign loads
// again to get the log. cilium/ebpf is not left to do that: for a program that is too complex it
// would write the log of a million instructions, and twice if that does not fit.
func (d directLoad) assign(opts *ebpf.CollectionOptions) (reflect.Value, error) {
	load := func(log ebpf.ProgramOptions) (reflect.Value, error) {
		opts.Programs = log
		all := reflect.New(d.shape)
		return all, withoutField(d.spec.LoadAndAssign(all.Interface(), opts))
	}
	all, err := load(ebpf.ProgramOptions{LogDisabled: true})
	var verifier *ebpf.VerifierError
	if !errors.As(err, &verifier) {
		return all, err
	}
	log := ebpf.ProgramOptions{LogSizeStart: bpfsys.LogSize} // of the program that fails, by default
	if errors.Is(err, unix.E2BIG) {
		log.LogLevel = ebpf.LogLevel(bpfsys.LogLevel(err))
	}
	return load(log)
}

// withoutField removes what LoadAndAssign adds to an error about the field.
func withoutField(err error) error {
	if err == nil || !strings.HasPrefix(err.Error(), "assign values: field ") {
		return err
	}
	if inner := errors.Unwrap(errors.Unwrap(err)); inner != nil {
		return inner
	}
	return err
}
