package harness

import "github.com/bpfreplay/bpfreplay/harness/state"

// likeLibbpf are refusals of libbpf, and of us who do as it does, of what
// cilium/ebpf takes.
var likeLibbpf = forEngines([]string{
	state.EngineTrace, state.EngineReplay, state.EngineSigned, state.EngineSkelGo, state.EngineSkelC, state.EngineLibbpf, state.EngineLibbpfLight,
}, []knownRefusal{
	{"", `legacy map definitions in (section "maps"|'maps' section) are not supported|` +
		`section "maps/[^"]*" holds neither maps nor data|bad map relo against '[^']+' in section 'maps/`,
		"libbpf v1.0 and later have no maps in sections maps and maps/NAME, nor have trace and replay"},
	{"", `function is static: a program must be global|program '[^']+' is static and not supported`,
		"libbpf v1.8 takes no static function outside of .text, nor do trace and replay"},
	{"", `big-endian objects are not supported|loading non-native endianness is unsupported`,
		"libbpf v1.8 takes objects in the machine's byte order only, as do trace and replay; cilium/ebpf v0.22.0 takes others if they have no program"},
	{"", `section "[^"]*" is of no known program type|failed to guess program type from ELF section|missing BPF prog type, check ELF section name`,
		"libbpf v1.8 refuses an object with a program whose section it does not know, as do trace and replay; cilium/ebpf v0.22.0 leaves the program out"},
	{"", `extern: malformed object: it is declared and not defined|failed to find BTF for extern '`,
		"libbpf v1.8 takes an extern only if a section of the types lists it, as do trace and replay; cilium/ebpf v0.22.0 takes one that is called for a kfunc"},
})

func forEngines(engines []string, refusals []knownRefusal) []knownRefusal {
	var out []knownRefusal
	for _, e := range engines {
		for _, r := range refusals {
			r.engine = e
			out = append(out, r)
		}
	}
	return out
}
