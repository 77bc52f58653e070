package judge

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/compare"
	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/kversion"
)

// knownRefusal is something that engines refuse in any object. It is the general form of
// Case.Known in the core suite. It explains why another engine loads the object, or refuses it for
// another reason. Each reason has a paragraph in docs/findings.md.
type knownRefusal struct {
	engines []string
	// text is a regular expression that matches the error or the last line of the verifier's log.
	// It must match nothing else.
	text   string
	reason string                // begins with the version in which it was seen, or with itsVersion
	when   func(r *refusal) bool // reports whether the reason is true; nil if it always is
}

// Engines that refuse the same. Libbpf and our engines, which follow it, are likeLibbpf.
var (
	direct     = []string{enginename.Direct}
	libbpf     = []string{enginename.Libbpf}
	light      = []string{enginename.LibbpfLight}
	anyLibbpf  = []string{enginename.Libbpf, enginename.LibbpfLight}
	likeLibbpf = slices.DeleteFunc(enginename.Names(), enginename.IsCilium)
)

// refusal is a refused load, and what a reason for it may depend on.
type refusal struct {
	load  *wire.Load
	other *wire.Load     // the load that it is compared with; nil if there is none
	facts *compare.Facts // zero if the object cannot be read
	match []string       // submatches of knownRefusal.text
}

// itsVersion in a reason stands for the version of the load's engine, and for bpfreplay if that is
// ours.
const itsVersion = "{version}"

// knownRefusals are all known refusals. The first one that holds counts.
var knownRefusals = []knownRefusal{
	{direct, `: load BTF: load btf: `,
		"cilium/ebpf v0.22.0 does not do without types that the kernel refuses", kernelRefuses},
	{direct, `^program (\S+): .*: bad CO-RE relocation: `,
		"cilium/ebpf v0.22.0 takes the size and the id of a type that the kernel lacks for failed, and not for 0", needsType},
	{direct, `: kfunc "([^"]+)": .*incompatible types$`,
		"cilium/ebpf v0.22.0 refuses a weak kfunc whose prototype is not the kernel's, and does not do without it", weakKfunc},
	{libbpf, `extern \(func ksym\) '([^']+)': func_proto \[\d+\] incompatible with `,
		itsVersion + " refuses a weak kfunc whose prototype is not the kernel's, and does not do without it", weakKfunc},
	{direct, `: kfunc "\w+___\w*": not supported$`, flavours("cilium/ebpf v0.22.0"), loaded},
	{libbpf, `extern \(func ksym\) '\w+___\w*': not found in kernel`, flavours(itsVersion), loaded},
	{direct, `^program (\S+): load program: `, flavours("cilium/ebpf v0.22.0"), findsNoFlavour},
	{libbpf, `prog '([^']+)': BPF program load failed`, flavours(itsVersion), findsNoFlavour},
	{anyLibbpf, unresolved,
		itsVersion + " wants every kfunc and ksym that the object names, also those of programs that are not loaded", doesWithout},
	{light, crashed, itsVersion + " crashes as it generates loader programs with struct_ops",
		func(r *refusal) bool { return r.facts.HasStructOps }},
	{light, crashed, itsVersion + " crashes as it generates loader programs with arenas that have data",
		func(r *refusal) bool { return r.facts.ArenaData }},
	{light, crashed, "the bpftool of " + itsVersion + " crashes as it writes down how a program for a raw tracepoint is attached whose section names none",
		func(r *refusal) bool { return r.facts.BareRawTracepoint }},
	{light, `PROG_LOAD: EACCES: invalid (read from|write to) stack R10 off=\d+ size=4`,
		itsVersion + " has room for 32 programs in its loader programs, and does not say so",
		func(r *refusal) bool { return r.facts.Functions > 32 }},
	{light, `operation not supported while|Operation not supported$|generating a loader program, with status 161 and no reason`,
		itsVersion + " has no static slots of program arrays in its loader programs",
		func(r *refusal) bool { return r.facts.ProgramSlots }},

	// What libbpf and our engines refuse and cilium/ebpf loads. No reason holds if one of libbpf's or
	// our engines loads the object.
	{likeLibbpf, `legacy map definitions in (section "maps"|'maps' section) are not supported|` +
		`section "maps/[^"]*" holds neither maps nor data|bad map relo against '[^']+' in section 'maps/`,
		itsVersion + " has no maps in sections maps and maps/NAME", ciliumLoads},
	{likeLibbpf, `function is static: a program must be global|program '[^']+' is static and not supported`,
		itsVersion + " takes no static function outside of .text for a program", ciliumLoads},
	{likeLibbpf, `big-endian objects are not supported|loading non-native endianness is unsupported`,
		itsVersion + " takes objects in the machine's byte order only", ciliumLoads},
	{likeLibbpf, unknownSection,
		itsVersion + " refuses an object with a program whose section it does not know; cilium/ebpf v0.22.0 leaves the program out", leavesOut},
	{likeLibbpf, unknownSection, itsVersion + " does not know the section of a program", ciliumLoads},
	{likeLibbpf, `extern: malformed object: it is declared and not defined|failed to find BTF for extern '`,
		itsVersion + " takes an extern only if a section of the types lists it", ciliumLoads},
	// The verifier checks a struct_ops program against one member of one type.
	{likeLibbpf, `member \S+ of struct \S+ is program \S+, which is member \S+ of struct \S+ already|: invalid reuse of prog `,
		itsVersion + " loads no struct_ops program that maps want for different types or members", ciliumLoads},
	{anyLibbpf, unknownSection, itsVersion + " does not know the section of a program yet", olderLibbpf},

	{direct, `reference to "[^"]*" in section SHN_UNDEF\+\d+: not supported`,
		"cilium/ebpf v0.22.0 knows variables of .data, .bss and .rodata only, not of .bss.NAME nor of an arena's section", nil},
	{direct, `got '\.struct_ops' section: not supported`,
		"cilium/ebpf v0.22.0 knows .struct_ops.link only, not .struct_ops", nil},
	{direct, `data section \.ksyms: expected \S+ to be \*Void, not \*btf\.`,
		"cilium/ebpf v0.22.0 has no typed ksyms", nil},
	{direct, `: unsupported binding: STB_WEAK`,
		"cilium/ebpf v0.22.0 has no weak maps, functions and kconfig variables", nil},
	{direct, `ring map size \d+ not a multiple of page size`,
		"cilium/ebpf v0.22.0 does not round the size of a ring buffer up to a page", nil},
	{direct, `: Tracing programs must provide btf_id`,
		"cilium/ebpf v0.22.0 does not know the section's way to name an attach target", nil},
	{direct, `^arena's user address must be set via map_extra or mmap\(\)$`,
		"cilium/ebpf v0.22.0 does not map an arena before it loads programs", nil},
	{direct, `^invalid kptr access, R\d+ type=\S*ptr_\S+ expected=\S*ptr_`,
		"cilium/ebpf v0.22.0 loads types for each map and each program apart, and a program's own type is another one in the map then", nil},
	{direct, `^exception callback \S+ could not be found in BTF$`,
		"cilium/ebpf v0.22.0 does not load a function that only a tag names, as an exception callback's is", nil},
	{direct, `^map '[^']+' has no valid bpf_spin_lock$`,
		"cilium/ebpf v0.22.0 loads for a map no types that only a tag names, as __contains() does, so the kernel finds neither list nor tree nor lock in it", nil},
	{direct, `variable LINUX_KERNEL_VERSION must be a 32 bits integer, got Typedef:`,
		"cilium/ebpf v0.22.0 wants LINUX_KERNEL_VERSION to be an int, not a typedef of one", nil},
	{direct, `: initializing BTF map definitions: not supported`,
		"cilium/ebpf v0.22.0 has no definitions of maps with initialisers", nil},
	{direct, `: invalid immediate \d+, expected \d+ \(fixup: target_type_id=`,
		"cilium/ebpf v0.22.0 wants the id of a CO-RE relocation's type in the instruction, where another one may stand once types were merged", nil},
	{libbpf, `failed to guess program type from ELF section 'socket/`,
		"libbpf v1.0 and later take SEC(\"socket\") without a name only", nil},
	{direct, `^BPF_LD_IMM64 uses reserved fields$`,
		"cilium/ebpf v0.22.0 puts the slot of a module's BTF into the address of a kfunc of that module", nil},
	{[]string{enginename.SkelC}, `this kernel lacks core_no_func_info`, "bpfreplay's C skeletons do not probe how a kernel relocates functions without func_info: docs/skeletons.md", nil},
	{anyLibbpf, noVersion,
		itsVersion + " wants three numbers in the kernel's version", nil},
	{libbpf, `can't pin program that wasn't loaded`,
		itsVersion + " pins the programs of an object, which bpftool asks for, only if it has loaded all", nil},
	{light, `libbpf's loader program: a step of it: (E2BIG|EINVAL)$`,
		itsVersion + " does not say which step of its loader program failed; it neither sanitises types there nor does without those that the kernel refuses", nil},
	{light, `arena's user address must be set via map_extra or mmap\(\)$`,
		itsVersion + " does not map arenas in its loader programs", nil},
	{light, `no jump tables found for subprog`,
		itsVersion + " makes jump tables as it generates loader programs, and they are gone when one runs", nil},
	{light, `failed to auto-pin at '`,
		itsVersion + " pins maps as it generates loader programs, where there is no map yet", nil},
	{light, `error matching candidate #\d+ `,
		itsVersion + " leaves CO-RE to the kernel in its loader programs, which gives up on types nested deeper than it likes", nil},
}

// noVersion matches libbpf's complaint about a release such as Debian's 7.3-cloud-amd64.
const noVersion = `'LINUX_KERNEL_VERSION': failed to get kernel version`

// dependsOnRelease reports whether an engine refuses an object because of the name of the kernel's
// release, so that a case of the core suite cannot know it.
func dependsOnRelease(l *wire.Load) bool { return strings.Contains(l.Detail, noVersion) }

// crashed matches a crash of libbpf's generator.
const crashed = `killed by SIG(SEGV|BUS) while generating a loader program`

// unresolved matches libbpf's complaint about an extern. libbpf resolves all externs of an object,
// whether or not a program refers to them.
const unresolved = `extern (?:\(func ksym\) '([^']+)': not found in kernel or module BTFs|'([^']+)' \(strong\): not resolved)`

func flavours(version string) string {
	return version + " looks for kfuncs with the flavour in their names, and finds none"
}

// loaded reports whether the other engine loads the object.
func loaded(r *refusal) bool { return r.other == nil || r.other.Result == wire.OK }

// kernelRefuses reports whether the kernel found fault with what it got, and did not run out of
// something.
func kernelRefuses(r *refusal) bool {
	return r.load.Errno != unix.ErrnoName(unix.ENOMEM) && r.load.Errno != unix.ErrnoName(unix.EPERM)
}

// needsType reports whether the program has a CO-RE relocation for the size or the id of a type of
// the kernel.
func needsType(r *refusal) bool { return r.facts.Programs[r.match[1]].TypeCORE }

// weakKfunc reports whether the kfunc is weak.
func weakKfunc(r *refusal) bool {
	for _, p := range r.facts.Programs {
		if slices.Contains(p.Weak, r.match[1]) {
			return true
		}
	}
	return false
}

// findsNoFlavour reports whether the verifier refuses a program that refers to a weak kfunc under a
// name with a flavour, and the other engine, which finds the kfunc, loads it.
func findsNoFlavour(r *refusal) bool {
	return loaded(r) && slices.ContainsFunc(r.facts.Programs[r.match[1]].Weak, func(name string) bool {
		essential := btf.EssentialName(name)
		return essential != name && r.other != nil && refersTo(r.other.State.FindProgram(r.match[1]), essential)
	})
}

// refersTo reports whether a program calls a kfunc or takes its address.
func refersTo(p *state.Program, kfunc string) bool {
	return p != nil && slices.ContainsFunc(p.Functions, func(f state.Function) bool {
		return slices.ContainsFunc(f.Refs, func(ref state.Ref) bool {
			return (ref.Kind == state.RefKfunc || ref.Kind == state.RefAddr) && strings.HasPrefix(ref.To, kfunc+" [")
		})
	})
}

// doesWithout reports whether the other engine does not miss the extern that libbpf does not find.
func doesWithout(r *refusal) bool {
	name := cmp.Or(r.match[1], r.match[2])
	return loaded(r) || !strings.Contains(r.other.Detail+r.other.Log, name)
}

// knownLeak returns the reason why an engine is known to leave something behind, or "".
func knownLeak(l *wire.Load, leak string) string {
	if l.Engine == enginename.Direct && l.Result == wire.Refused && leak == "1 file descriptors" && noMember.MatchString(l.Detail) {
		return "cilium/ebpf v0.22.0 does not close a module's BTF when the module's type has no member that a program implements"
	}
	return ""
}

var noMember = regexp.MustCompile(`^program \S+: member "[^"]+" not found in \S+$`)

// refusalTexts returns the compiled expressions of knownRefusals. They are compiled at the first
// refusal, because most loads need none of them.
var refusalTexts = sync.OnceValue(func() []*regexp.Regexp {
	texts := make([]*regexp.Regexp, len(knownRefusals))
	for i, k := range knownRefusals {
		texts[i] = regexp.MustCompile(k.text)
	}
	return texts
})

// knownReason returns the reason why an engine is known to refuse an object with this error, or "".
// other is the load that it is compared with, or nil.
func (j *Judge) knownReason(l, other *wire.Load) string {
	if l.Result != wire.Refused {
		return ""
	}
	r := refusal{load: l, other: other, facts: j.facts}
	if r.facts == nil {
		r.facts = new(compare.Facts)
	}
	version := cmp.Or(l.Version, "libbpf")
	if enginename.Ours(l.Engine) {
		version = "bpfreplay"
	}
	for i, k := range knownRefusals {
		if !slices.Contains(k.engines, l.Engine) {
			continue
		}
		for _, text := range []string{l.Detail, bpfsys.LastLine(l.Log)} {
			r.match = refusalTexts()[i].FindStringSubmatch(text)
			if r.match != nil && (k.when == nil || k.when(&r)) {
				return strings.ReplaceAll(k.reason, itsVersion, version)
			}
		}
	}
	return ""
}

// excuse returns the reason why an engine other than ours is known to refuse an object that another
// of these loads has loaded, or that no other engine was to load. The object is the user's, unless
// the refusal dependsOnRelease.
func (j *Judge) excuse(c *suite.Case, l *wire.Load, loads []wire.Load) string {
	if !c.Own && !dependsOnRelease(l) || l.Result != wire.Refused || enginename.Ours(l.Engine) {
		return ""
	}
	if len(loads) == 1 {
		return j.knownReason(l, nil)
	}
	for i := range loads {
		if loads[i].Result == wire.OK {
			if reason := j.knownReason(l, &loads[i]); reason != "" {
				return reason
			}
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

const unknownSection = `section "[^"]*" is of no known program type|failed to guess program type from ELF section|missing BPF prog type, check ELF section name`

// ciliumLoads reports whether the other engine is cilium/ebpf, or refuses the object as well.
func ciliumLoads(r *refusal) bool {
	return r.other == nil || enginename.IsCilium(r.other.Engine) || r.other.Result != wire.OK
}

// leavesOut reports whether cilium/ebpf has loaded the object without one of its programs.
func leavesOut(r *refusal) bool {
	if r.other == nil || !enginename.IsCilium(r.other.Engine) || r.other.State == nil {
		return false
	}
	for name := range r.facts.Programs {
		if r.other.State.FindProgram(name) == nil {
			return true
		}
	}
	return false
}

// olderLibbpf reports whether the load is by a libbpf older than the one that bpfreplay follows,
// and the other one loads the object.
func olderLibbpf(r *refusal) bool {
	v, ok := strings.CutPrefix(r.load.Version, enginename.LibbpfCode+" v")
	return ok && kversion.Compare(v, "1.8") < 0 && loaded(r)
}
