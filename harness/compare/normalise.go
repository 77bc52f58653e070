package compare

import (
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/state"
)

// Normalise replaces what differs at every load and cannot be told from the kernel alone:
// a program's tag, where it covers the file descriptor of a module's BTF. o may be nil.
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
		if len(p.Functions) == 1 { // those of several are taken later, of addresses
			p.Functions[0].Tag = state.FDTag
		}
	}
}

// coversFD reports whether a program takes the address of a typed symbol of a module. A
// per-CPU variable leaves an offset in the dump, that no symbol names.
func coversFD(p *state.Program, f ProgramFacts) bool {
	modules := make(map[string]bool) // by symbol, whether a module has it
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
