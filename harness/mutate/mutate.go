package mutate

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/emit"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// Kind is what a mutation changes.
type Kind string

// Kinds of mutations.
const (
	OfTrace  Kind = "trace"
	OfLoader Kind = "loader"
	OfState  Kind = "state"
)

// Mutation changes a trace or a loader program.
type Mutation struct {
	Name  string
	About string // the resulting defect, worded like a bug report
	Case  string // the case of the core suite that must catch it
	Want  Want

	do action
}

// action makes the defect: a change or an edit. It needs no kernel.
type action interface {
	kind() Kind
	apply(p *Program) error
}

// change is a mutation of a trace, from which the loader program is then made.
type change func(t *trace.Trace)

func (change) kind() Kind { return OfTrace }

func (c change) apply(p *Program) (err error) {
	c(p.Trace)
	p.Artefact, err = emit.Emit(p.Trace)
	return err
}

// edit is a mutation of a loader program.
type edit func(p *Program)

func (edit) kind() Kind { return OfLoader }

func (e edit) apply(p *Program) error {
	e(p)
	return nil
}

// Program is a loader program and the trace that it replays.
type Program struct {
	Trace *trace.Trace
	*artefact.Artefact
}

// Kind reports what the mutation changes.
func (m *Mutation) Kind() Kind { return m.do.kind() }

// All returns the mutations of traces and loader programs.
func All() []Mutation { return slices.Clone(table) }

// Names returns the names of All, sorted.
func Names() []string {
	var names []string
	for i := range table {
		names = append(names, table[i].Name)
	}
	slices.Sort(names)
	return names
}

// Find returns the mutation of this name, or an error that lists the names.
func Find(name string) (*Mutation, error) {
	i := slices.IndexFunc(table, func(m Mutation) bool { return m.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("no mutation %q: there are %s", name, strings.Join(Names(), ", "))
	}
	m := table[i]
	return &m, nil
}

// Generate makes a loader program of an object and applies the mutation. It reports whether the
// result differs from the loader program without the mutation.
func (m *Mutation) Generate(o *object.Object) (*Program, bool, error) {
	plain, err := generate(o)
	if err != nil {
		return nil, false, err
	}
	p, err := generate(o) // a second one, which shares nothing with the first
	if err != nil {
		return nil, false, err
	}
	if err := m.do.apply(p); err != nil {
		return nil, false, fmt.Errorf("mutation %s: %w", m.Name, err)
	}
	return p, !reflect.DeepEqual(plain.Artefact, p.Artefact), nil
}

func generate(o *object.Object) (*Program, error) {
	t, err := trace.Plan(o, trace.Options{})
	if err != nil {
		return nil, err
	}
	a, err := emit.Emit(t)
	return &Program{t, a}, err
}
