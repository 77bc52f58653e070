package mutate

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/loader"
	"github.com/bpfreplay/bpfreplay/loader/emit"
	"github.com/bpfreplay/bpfreplay/loader/object"
	"github.com/bpfreplay/bpfreplay/loader/trace"
)

// Kind says what a mutation changes.
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
	About string // what is wrong after it, as one would report a bug
	Case  string // of the core suite, in which it has to be caught
	Want  Want

	// One of these is set. Neither needs a kernel.
	onTrace  func(t *trace.Trace)
	onLoader func(p *loader.Program)
}

// Kind says what the mutation changes.
func (m *Mutation) Kind() Kind {
	if m.onLoader != nil {
		return OfLoader
	}
	return OfTrace
}

// All returns the mutations of traces and loader programs.
func All() []Mutation { return slices.Clone(table) }

// Names are the names of All, sorted.
func Names() []string {
	var names []string
	for i := range table {
		names = append(names, table[i].Name)
	}
	slices.Sort(names)
	return names
}

// Find returns the mutation of this name.
func Find(name string) (*Mutation, error) {
	i := slices.IndexFunc(table, func(m Mutation) bool { return m.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("no mutation %q: there are %s", name, strings.Join(Names(), ", "))
	}
	m := table[i]
	return &m, nil
}

// Generate makes a loader program of an object, as loader.Generate does, and
// applies the mutation. It says whether anything is different then from what
// it would be without. A loader program that is changed itself is one that says
// which step failed.
func (m *Mutation) Generate(o *object.Object) (*loader.Program, bool, error) {
	opts := &loader.Options{Steps: m.onLoader != nil}
	plain, err := loader.Generate(o, opts)
	if err != nil {
		return nil, false, err
	}
	p, err := loader.Generate(o, opts) // a second one: nothing in it is shared with the first
	if err != nil {
		return nil, false, err
	}
	if m.onLoader != nil {
		p.Loader = &emit.Loader{Insns: bytes.Clone(p.Insns), Blob: bytes.Clone(p.Blob), Cells: p.Cells, Steps: p.Steps}
		m.onLoader(p)
	} else {
		m.onTrace(p.Trace)
		if p, err = loader.FromTrace(p.Trace, false); err != nil {
			return nil, false, fmt.Errorf("mutation %s: %w", m.Name, err)
		}
	}
	return p, differ(plain, p), nil
}

// differ says whether two loader programs are different, or what is said of
// what they leave behind.
func differ(a, b *loader.Program) bool {
	return !bytes.Equal(a.Insns, b.Insns) || !bytes.Equal(a.Blob, b.Blob) ||
		!slices.Equal(a.Trace.Maps, b.Trace.Maps) || !slices.Equal(a.Trace.Programs, b.Trace.Programs)
}
