package judge

import (
	"regexp"
	"slices"
	"sync"

	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
)

// knownRefusal is something that an engine refuses in any object. It is the general form of
// Case.Known in the core suite. It explains why another engine loads the object, or refuses it for
// another reason. Each reason has a paragraph in docs/findings.md.
type knownRefusal struct {
	engine string
	// text is a regular expression that matches the error or the last line of the verifier's log.
	// It must match nothing else.
	text   string
	reason string // begins with the version in which it was seen
}

var knownRefusals = []knownRefusal{
	{enginename.Direct, `reference to "[^"]*" in section SHN_UNDEF\+\d+: not supported`,
		"cilium/ebpf v0.22.0 knows variables of .data, .bss and .rodata only, not of .bss.NAME nor of an arena's section"},
	{enginename.Direct, `got '\.struct_ops' section: not supported`,
		"cilium/ebpf v0.22.0 knows .struct_ops.link only, not .struct_ops"},
	{enginename.Direct, `data section \.ksyms: expected \S+ to be \*Void, not \*btf\.`,
		"cilium/ebpf v0.22.0 has no typed ksyms"},
	{enginename.Direct, `: unsupported binding: STB_WEAK`,
		"cilium/ebpf v0.22.0 has no weak maps, functions and kconfig variables"},
	{enginename.Direct, `ring map size \d+ not a multiple of page size`,
		"cilium/ebpf v0.22.0 does not round the size of a ring buffer up to a page"},
	{enginename.Direct, `: load BTF: load btf: `,
		"cilium/ebpf v0.22.0 does not do without types that the kernel refuses"},
	{enginename.Direct, `: Tracing programs must provide btf_id`,
		"cilium/ebpf v0.22.0 does not know the section's way to name an attach target"},
	{enginename.Direct, `: bad CO-RE relocation: `,
		"cilium/ebpf v0.22.0 takes the size and the id of a type that the kernel lacks for failed, and not for 0"},
	{enginename.Direct, `^arena's user address must be set via map_extra or mmap\(\)$`,
		"cilium/ebpf v0.22.0 does not map an arena before it loads programs"},
	{enginename.Direct, `^invalid kptr access, R\d+ type=\S*ptr_\S+ expected=\S*ptr_`,
		"cilium/ebpf v0.22.0 loads types for each map and each program apart, and a program's own type is another one in the map then"},
	{enginename.Direct, `^exception callback \S+ could not be found in BTF$`,
		"cilium/ebpf v0.22.0 does not load a function that only a tag names, as an exception callback's is"},
	{enginename.Direct, `^map '[^']+' has no valid bpf_spin_lock$`,
		"cilium/ebpf v0.22.0 loads for a map no types that only a tag names, as __contains() does, so the kernel finds neither list nor tree nor lock in it"},
	{enginename.Direct, `variable LINUX_KERNEL_VERSION must be a 32 bits integer, got Typedef:`,
		"cilium/ebpf v0.22.0 wants LINUX_KERNEL_VERSION to be an int, not a typedef of one"},
	{enginename.Direct, `: initializing BTF map definitions: not supported`,
		"cilium/ebpf v0.22.0 has no definitions of maps with initialisers"},
	{enginename.Direct, `: invalid immediate \d+, expected \d+ \(fixup: target_type_id=`,
		"cilium/ebpf v0.22.0 wants the id of a CO-RE relocation's type in the instruction, where another one may stand once types were merged"},
	{enginename.Libbpf, `failed to guess program type from ELF section 'socket/`,
		"libbpf v1.0 and later take SEC(\"socket\") without a name only"},
	{enginename.Direct, `^BPF_LD_IMM64 uses reserved fields$`,
		"cilium/ebpf v0.22.0 puts the slot of a module's BTF into the address of a kfunc of that module"},
	{enginename.Trace, twoMembers, oneMember},
	{enginename.Replay, twoMembers, oneMember},
	{enginename.Signed, twoMembers, oneMember},
	{enginename.SkelGo, twoMembers, oneMember},
	{enginename.SkelC, twoMembers, oneMember},
	{enginename.SkelC, `^skeleton of \S+ in C: `, "bpfreplay's C skeletons do not probe how a kernel relocates functions without func_info: docs/skeletons.md"},
	{enginename.Libbpf, `: invalid reuse of prog `, oneMember},
	{enginename.Libbpf, `can't pin program that wasn't loaded`,
		"libbpf v1.8 pins the programs of an object, which bpftool asks for, only if it has loaded all"},
	{enginename.Libbpf, unresolved, wantsAll},
	{enginename.LibbpfLight, `killed by SIG(SEGV|BUS) while generating a loader program`,
		"libbpf v1.8 crashes as it generates loader programs with struct_ops and with arenas that have data, and its bpftool as it writes down how a program for a raw tracepoint is attached whose section names none"},
	{enginename.LibbpfLight, `PROG_LOAD: EACCES: invalid (read from|write to) stack R10 off=\d+ size=4`,
		"libbpf v1.8 has room for 32 programs in its loader programs, and does not say so"},
	{enginename.LibbpfLight, `libbpf's loader program: a step of it: (E2BIG|EINVAL)$`,
		"libbpf v1.8 neither sanitises types in its loader programs nor does without those that the kernel refuses"},
	{enginename.LibbpfLight, `operation not supported while|Operation not supported$|generating a loader program, with status 161 and no reason`,
		"libbpf v1.8 has no static slots of program arrays in its loader programs"},
	{enginename.LibbpfLight, `arena's user address must be set via map_extra or mmap\(\)$`,
		"libbpf v1.8 does not map arenas in its loader programs"},
	{enginename.LibbpfLight, `no jump tables found for subprog`,
		"libbpf v1.8 makes jump tables as it generates loader programs, and they are gone when one runs"},
	{enginename.LibbpfLight, `failed to auto-pin at '`,
		"libbpf v1.8 pins maps as it generates loader programs, where there is no map yet"},
	{enginename.LibbpfLight, unresolved, wantsAll},
	{enginename.LibbpfLight, `error matching candidate #\d+ `,
		"libbpf v1.8 leaves CO-RE to the kernel in its loader programs, which gives up on types nested deeper than it likes"},
}

// libbpf resolves all externs of an object, whether or not a program refers to them.
const wantsAll = "libbpf v1.8 wants every kfunc and ksym that the object names, also those of programs that are not loaded"

const unresolved = `extern (\(func ksym\) '[^']+': not found in kernel or module BTFs|'[^']+' \(strong\): not resolved)`

// The verifier checks a struct_ops program against one member of one type. A program that several
// maps use for different members can only be loaded for one of them.
const oneMember = "cilium/ebpf v0.22.0 loads a struct_ops program that maps want for different types or members, others refuse it"

const twoMembers = `member \S+ of struct \S+ is program \S+, which is member \S+ of struct \S+ already`

// knownLeak returns the reason why an engine is known to leave something behind, or "".
func knownLeak(l *wire.Load, leak string) string {
	if l.Engine == enginename.Direct && l.Result == wire.Refused && leak == "1 file descriptors" && noMember.MatchString(l.Detail) {
		return "cilium/ebpf v0.22.0 does not close a module's BTF when the module's type has no member that a program implements"
	}
	return ""
}

var noMember = regexp.MustCompile(`^program \S+: member "[^"]+" not found in \S+$`)

// refusalTexts returns all known refusals and their compiled expressions. They are compiled at the
// first refusal, because most loads need none of them.
var refusalTexts = sync.OnceValues(func() ([]knownRefusal, []*regexp.Regexp) {
	known := slices.Concat(knownRefusals, likeLibbpf)
	var texts []*regexp.Regexp
	for _, k := range known {
		texts = append(texts, regexp.MustCompile(k.text))
	}
	return known, texts
})

// knownReason returns the reason why an engine is known to refuse an object with this error, or "".
func knownReason(l *wire.Load) string {
	if l.Result != wire.Refused {
		return ""
	}
	known, texts := refusalTexts()
	last := bpfsys.LastLine(l.Log)
	for i, k := range known {
		if k.engine == l.Engine && (texts[i].MatchString(l.Detail) || texts[i].MatchString(last)) {
			return k.reason
		}
	}
	return ""
}

// missingKfunc matches the ways to report a missing kfunc: the verifier's message for cilium/ebpf's
// poison value and for libbpf's (POISON_CALL_KFUNC_BASE and up), libbpf's rewritten message, and
// the verifier's message for kfunc id 0.
var missingKfunc = regexp.MustCompile(`^(invalid func unknown#(233685214|20020\d{5})|kfunc '[^']+' is referenced but wasn't resolved|` +
	`invalid kernel function call not eliminated in verifier pass)$`)

// sameWords are sets of messages with the same meaning. If the kernel lacks something, an engine
// writes a poison value into the instruction, so that the verifier refuses the program if that
// instruction is reachable. Poison values differ between engines, and libbpf also rewrites the log.
var sameWords = []*regexp.Regexp{
	missingKfunc,
	// A failed CO-RE relocation. Engines replace the instruction by a call with the same poison
	// value. For a 64-bit constant, cilium/ebpf writes a load into R10 instead.
	regexp.MustCompile(`^(invalid func unknown#195896080|frame pointer is read only|failed to resolve CO-RE relocation .*)$`),
}

func sameSaid(x, y string) bool {
	return slices.ContainsFunc(sameWords, func(r *regexp.Regexp) bool { return r.MatchString(x) && r.MatchString(y) })
}

// likeLibbpf are objects that libbpf and our engines, which follow it, refuse and cilium/ebpf
// loads.
var likeLibbpf = forEngines([]string{
	enginename.Trace, enginename.Replay, enginename.Signed, enginename.SkelGo, enginename.SkelC, enginename.Libbpf, enginename.LibbpfLight,
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
