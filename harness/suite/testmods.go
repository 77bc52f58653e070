package suite

import (
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/object"
)

// TestNames are names that kernels usually only have with modules that a guest may lack. A kernel
// may also have one without a module; the probes find that, too.
type TestNames struct {
	Modules     []string
	Functions   []string
	Variables   []string
	Tracepoints []string
	StructOps   []string
}

// Needing returns the suite with additional needs: the names without which a case's object cannot
// be loaded. These are functions and variables that are not weak, types of struct_ops maps, and
// attach targets. References by programs that are not loaded do not count.
func (s *Suite) Needing(names *TestNames) *Suite {
	out := *s
	out.Cases = slices.Clone(s.Cases)
	var o *object.Object
	var err error
	last := ""
	for i := range out.Cases {
		c := &out.Cases[i]
		if file := s.Path(c); file != last { // cases of one object, see Split, are consecutive
			o, err = object.Open(file)
			last = file
		}
		if err != nil {
			continue // the engines report it
		}
		c.Needs = append(slices.Clone(c.Needs), names.neededBy(o, c.Only)...)
	}
	return &out
}

// neededBy returns the probes for the names that an object needs, sorted. only is Case.Only.
func (n *TestNames) neededBy(o *object.Object, only string) []string {
	var needs []string
	seen := make([]bool, len(o.Functions))
	var visit func(i int)
	visit = func(i int) {
		if seen[i] {
			return
		}
		seen[i] = true
		for _, r := range o.Functions[i].Relocations {
			switch r.Kind {
			case object.RelocCall, object.RelocFunc:
				visit(r.Target)
			case object.RelocKsym, object.RelocKfunc:
				needs = append(needs, n.extern(&o.Externs[r.Target])...)
			}
		}
	}
	for i := range o.Functions {
		f := &o.Functions[i]
		if f.Subprog || only == "" && !f.Autoload || only != "" && f.Name != only {
			continue
		}
		visit(i)
		needs = append(needs, n.target(&f.Program)...)
	}
	if only == "" {
		for i := range o.Maps {
			if ops := o.Maps[i].StructOps; ops != nil && !ops.Optional && slices.Contains(n.StructOps, ops.Type) {
				needs = append(needs, "struct:bpf_struct_ops_"+ops.Type)
			}
		}
	}
	slices.Sort(needs)
	return slices.Compact(needs)
}

func (n *TestNames) extern(e *object.Extern) []string {
	name := e.EssentialName()
	switch {
	case e.Weak:
	case slices.Contains(n.Functions, name):
		return []string{"func:" + name}
	case slices.Contains(n.Variables, name):
		return []string{"var:" + name}
	}
	return nil
}

// target returns the probes for what a program attaches to at load time.
func (n *TestNames) target(p *object.ProgramType) []string {
	if !p.NeedsBTF || strings.ContainsAny(p.Attach, "*?") {
		return nil
	}
	module, name, explicit := strings.Cut(p.Attach, ":")
	if !explicit {
		module, name = "", p.Attach
	}
	var needs []string
	if slices.Contains(n.Modules, module) {
		needs = append(needs, "module:"+module)
	}
	switch {
	// Since 6.17 DECLARE_TRACE appends _tp to the name.
	case strings.HasPrefix(p.Pattern, "tp_btf"):
		if slices.Contains(n.Tracepoints, strings.TrimSuffix(name, "_tp")) {
			needs = append(needs, "typedef:btf_trace_"+name)
		}
	case slices.Contains(n.Functions, name):
		needs = append(needs, "func:"+name)
	}
	return needs
}

// UsesTestModules reports whether guests should have the test modules of the Linux selftests: the
// suite is those selftests, or a case needs something by name that such modules have.
func (s *Suite) UsesTestModules() bool {
	return s.External && s.Name == "kernel" || slices.ContainsFunc(s.Cases, func(c Case) bool {
		return slices.ContainsFunc(c.Needs, func(need string) bool { return strings.Contains(need, ":") })
	})
}
