package compare

import (
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/state"
)

// Normalise replaces values that differ at every load and that the kernel alone does not identify:
// the tag of a program, if it covers the file descriptor of a module's BTF. It changes s in place.
// If o is nil, it does nothing.
func Normalise(s *state.State, o *Facts) {
	if o == nil {
		return
	}
	for i := range s.Programs {
		p := &s.Programs[i]
		if p.Tag == "" || !coversFD(p, o.Programs[p.Name]) {
			continue
		}
		p.Tag = state.FDTag
		if len(p.Functions) == 1 { // the kernel computes the tags of several functions later, from resolved addresses
			p.Functions[0].Tag = state.FDTag
		}
	}
}

// coversFD reports whether a program takes the address of a typed symbol of a module. The address
// of a per-CPU variable is an offset in the dump, which no symbol matches, so such a program counts
// as well.
func coversFD(p *state.Program, f ProgramFacts) bool {
	modules := make(map[string]bool) // symbol to whether it belongs to a module
	for i := range p.Functions {
		for _, r := range p.Functions[i].Refs {
			if name, module, ok := strings.Cut(r.To, " ["); ok && r.Kind == state.RefAddr {
				modules[name] = module != "vmlinux]"
			}
		}
	}
	return slices.ContainsFunc(f.TypedKsyms, func(name string) bool {
		module, seen := modules[name]
		return module || !seen
	}) || slices.ContainsFunc(f.KfuncAddresses, func(name string) bool { return modules[name] })
}
