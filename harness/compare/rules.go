package compare

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/field"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/internal/kversion"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// Sides of rules. No rule applies to two of our own engines.
var (
	cilium       = Engines{"cilium/ebpf", enginename.IsCilium}
	libbpf       = Engines{"libbpf", func(e string) bool { return e == enginename.Libbpf }}
	light        = Engines{"libbpf's loader programs", func(e string) bool { return e == enginename.LibbpfLight }}
	anyLibbpf    = Engines{"libbpf", enginename.IsLibbpf}
	ours         = Engines{"ours", enginename.Ours}
	libbpfLike   = Engines{"libbpf and ours", func(e string) bool { return !enginename.IsCilium(e) }}
	notLibbpf    = Engines{"all but libbpf's direct load", func(e string) bool { return e != enginename.Libbpf }}
	notAnyLibbpf = Engines{"cilium/ebpf, ours", func(e string) bool { return !enginename.IsLibbpf(e) }}
	notLight     = Engines{"all but libbpf's loader programs", func(e string) bool { return e != enginename.LibbpfLight }}
)

// Engines is a set of engines: one side of a rule.
type Engines struct {
	Name string
	has  func(engine string) bool
}

// Rule predicts a difference between two engines.
type Rule struct {
	ID     string
	Reason string
	// Left and Right are the engines that the rule applies to: a pair with one of each.
	Left, Right Engines
	// Since is the first kernel that the rule applies to, "5.16", and Before the first that it no
	// longer applies to. If they are empty, there is no limit.
	Since, Before string
	// LibbpfSince and LibbpfBefore limit the versions of libbpf that the rule applies to. If they
	// are empty, there is no limit.
	LibbpfSince, LibbpfBefore string
	// Case is a case of the core suite in which the rule must explain a difference, on each kernel
	// that the rule applies to and that can load the case.
	Case   string
	Fields []field.Aspect // fields that the rule may explain
	// Effects are attributes of effects (package exercise) that may differ as a consequence if the
	// map is registered.
	Effects []string

	// match reports whether the rule explains the difference. It looks at the values of both sides.
	match func(left, right side) bool
	// slot reports whether the rule explains one instruction slot in which two listings of equal
	// length differ. A difference of listings is explained if every slot is; it lists all the rules
	// that were needed.
	slot func(s *slot) bool
}

// Rules returns all rules.
func Rules() []Rule { return slices.Clone(rules) }

// FindRule returns the rule with this ID.
func FindRule(id string) (Rule, bool) {
	i := slices.IndexFunc(rules, func(r Rule) bool { return r.ID == id })
	if i < 0 {
		return Rule{}, false
	}
	return rules[i], true
}

// RuleIDs are the IDs of the rules that together explain a difference.
type RuleIDs []string

// String returns the IDs, separated by commas.
func (ids RuleIDs) String() string { return strings.Join(ids, ", ") }

// MarshalJSON writes a list, which is empty if there is no rule.
func (ids RuleIDs) MarshalJSON() ([]byte, error) {
	return json.Marshal(append([]string{}, ids...))
}

// UnmarshalJSON reads a list, or the comma-separated text of older reports.
func (ids *RuleIDs) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) != nil {
		return json.Unmarshal(b, (*[]string)(ids))
	}
	*ids = strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
	return nil
}

// Reason returns the reasons of rules, separated by semicolons.
func Reason(ids ...string) string {
	var reasons []string
	for _, id := range ids {
		if r, ok := FindRule(id); ok && !slices.Contains(reasons, r.Reason) {
			reasons = append(reasons, r.Reason)
		}
	}
	return strings.Join(reasons, "; ")
}

// Following returns the rule that explains a different effect as a consequence of an explained
// difference of states. found are the differences of states.
func Following(effect field.Field, found []Difference) RuleIDs {
	for _, d := range found {
		if len(d.ExplainedBy) != 1 || d.Field.Of() != effect.Of() {
			continue
		}
		if r, ok := FindRule(d.ExplainedBy[0]); ok && slices.Contains(r.Effects, effect.Attribute) {
			return d.ExplainedBy
		}
	}
	return nil
}

// UnusedRules returns the rules that apply to a pair of these engines and explained nothing.
func UnusedRules(used, engines []string) []Rule {
	var unused []Rule
	for _, r := range rules {
		if !slices.Contains(used, r.ID) && r.appliesAmong(engines) {
			unused = append(unused, r)
		}
	}
	return unused
}

// RulesDue returns the rules that must explain a difference in a case of the core suite, on a
// kernel of this release, between some pair of these engines.
func RulesDue(name, release string, engines ...string) []string {
	var due []string
	for _, r := range rules {
		if r.Case == name && r.appliesAmong(engines) && r.coversKernel(release) {
			due = append(due, r.ID)
		}
	}
	return due
}

func (r *Rule) appliesAmong(engines []string) bool {
	return slices.ContainsFunc(engines, func(left string) bool {
		return slices.ContainsFunc(engines, func(right string) bool { return r.appliesTo(left, right) })
	})
}

// appliesTo reports whether the rule applies to this left and this right engine.
func (r *Rule) appliesTo(left, right string) bool {
	return left != right && r.Left.has(left) && r.Right.has(right) && !(enginename.Ours(left) && enginename.Ours(right))
}

// explain returns the first rule that predicts a difference of this aspect. For listings it returns
// all rules that together predict the difference. It returns nil if no rule does. No rule explains
// a program whose tag differs from the tag of its only function.
func explain(aspect field.Aspect, a, b side) RuleIDs {
	if aspect == ofFunction("function_tag") && onlyFunction(a, b) {
		return nil
	}
	if aspect == ofFunction("insns") && a.f != nil && b.f != nil {
		ids, _ := explainInsns(a, b, a.f, b.f)
		return ids
	}
	for i := range rules {
		r := &rules[i]
		if !slices.Contains(r.Fields, aspect) || r.match == nil {
			continue
		}
		if left, right, ok := r.sides(a, b); ok && r.match(left, right) {
			return RuleIDs{r.ID}
		}
	}
	return nil
}

// sides reports whether the rule applies to these two states, and which of them is left and which
// right.
func (r *Rule) sides(a, b side) (left, right side, ok bool) {
	if !r.coversKernel(a.Release) || !r.coversKernel(b.Release) {
		return a, b, false
	}
	if !r.coversVersion(a.Version) || !r.coversVersion(b.Version) {
		return a, b, false
	}
	switch {
	case r.appliesTo(a.Engine, b.Engine):
		return a, b, true
	case r.appliesTo(b.Engine, a.Engine):
		return b, a, true
	}
	return a, b, false
}

// coversKernel reports whether the rule applies to this kernel.
func (r *Rule) coversKernel(release string) bool {
	return atLeast(release, r.Since) && (r.Before == "" || !atLeast(release, r.Before))
}

// coversVersion reports whether the rule applies to this version. Versions other than libbpf's do
// not matter.
func (r *Rule) coversVersion(version string) bool {
	v, ok := strings.CutPrefix(version, "libbpf v")
	return !ok || atLeast(v, r.LibbpfSince) && (r.LibbpfBefore == "" || !atLeast(v, r.LibbpfBefore))
}

// atLeast reports whether a release of the kernel or of libbpf is version since or later.
func atLeast(release, since string) bool { return since == "" || kversion.Compare(release, since) >= 0 }

// rules is table under a second name, which breaks an initialisation cycle: functions in the table
// look up other rules, because a rule that explains instructions also explains the tag.
var rules []Rule

func init() { rules = table }

const traceUprobeMulti = uint32(uapi.AttachTraceUprobeMulti)

// table is the only table of explained differences. Each rule checks the values of both sides, so
// that a second difference in the same field does not hide behind the first.
var table = []Rule{
	{
		ID:     "mmapable-static-only",
		Reason: "cilium/ebpf makes every data section mappable, libbpf only one that has a variable which is not static",
		Left:   cilium, Right: libbpfLike,
		Case:   "data_static",
		Fields: []field.Aspect{ofMap("flags")},
		match:  staticMappable,
	},
	{
		ID:     "mmapable-static-only-libbpf",
		Reason: "libbpf up to that of Linux 6.1 makes every data section mappable, like cilium/ebpf; ours does what later ones do, and leaves out those with static variables only",
		Left:   anyLibbpf, Right: ours, LibbpfBefore: "1.2",
		Case:   "data_static",
		Fields: []field.Aspect{ofMap("flags")},
		match:  staticMappable,
	},
	{
		ID:     "hidden-variables",
		Reason: "libbpf makes global variables with hidden visibility static, cilium/ebpf leaves them global",
		Left:   cilium, Right: libbpfLike,
		Case:   "data_hidden",
		Fields: []field.Aspect{ofMap("value_type"), ofMap("types")}, // tags of variables are types
		match: func(left, right side) bool {
			return sameButHidden(left, right) && sameTagsButHidden(left, right)
		},
	},
	{
		ID:     "hidden-variables-libbpf",
		Reason: "libbpf before 1.8 (seen in 1.1) leaves global variables with hidden visibility global, ours makes them static as later ones do",
		Left:   anyLibbpf, Right: ours, LibbpfBefore: "1.8",
		Case:   "data_hidden",
		Fields: []field.Aspect{ofMap("value_type"), ofMap("btf"), ofProgram("btf")},
		match: func(left, right side) bool {
			if left.m != nil && left.m.Value != right.m.Value {
				return sameButHidden(left, right)
			}
			return right.Object != nil && len(right.Object.HiddenVariables) > 0 && sameNumberOfTypes(left, right, 0)
		},
	},
	{
		ID:     "enum-twins",
		Reason: "ours appends enums of the other width, for the kernel (since 5.17) to resolve CO-RE against; libbpf resolves itself",
		Left:   anyLibbpf, Right: ours, Since: "5.17",
		Case:   "core_enum64",
		Fields: []field.Aspect{ofMap("btf"), ofProgram("btf")},
		match: func(left, right side) bool {
			return right.Object != nil && right.Object.EnumCORE > 0 && sameNumberOfTypes(left, right, right.Object.EnumCORE)
		},
	},
	{
		ID:     "kconfig-not-mmapable",
		Reason: "libbpf makes .kconfig mappable, cilium/ebpf does not",
		Left:   cilium, Right: libbpfLike,
		Case:   "kconfig_version",
		Fields: []field.Aspect{ofMap("flags")},
		match: func(left, right side) bool {
			return left.m.Name == kconfig && right.m.Flags == left.m.Flags|flagMmapable && left.m.Flags&flagMmapable == 0
		},
	},
	{
		ID:     "kconfig-per-program",
		Reason: "cilium/ebpf creates a .kconfig map for every program that uses it, libbpf one for the object",
		Left:   cilium, Right: libbpfLike,
		Case:   "kconfig_programs",
		Fields: []field.Aspect{ofMap("copies")},
		match: func(left, right side) bool {
			return left.m.Name == kconfig && right.m.Copies == 1 && left.m.Copies == programsThatHold(left.state, kconfig)
		},
	},
	{
		ID:     "entries-clamped-to-cpus",
		Reason: "cilium/ebpf clamps max_entries of perf event arrays and CPU maps to the number of possible CPUs, libbpf only fills in 0",
		Left:   cilium, Right: libbpfLike,
		Case:   "maps_perf_event_array_sized",
		Fields: []field.Aspect{ofMap("max_entries")},
		match: func(left, right side) bool {
			return (left.m.Type == uapi.MapPerfEventArray || left.m.Type == uapi.MapCPUMap) && left.m.Type == right.m.Type &&
				int64(left.m.MaxEntries) == int64(left.state.CPUs) && right.m.MaxEntries > left.m.MaxEntries &&
				right.Object != nil && right.Object.Entries[right.m.Name] == right.m.MaxEntries
		},
	},
	{
		ID:     "not-autoloaded",
		Reason: `cilium/ebpf loads programs of SEC("?...") too, libbpf only if they are asked for`,
		Left:   cilium, Right: libbpfLike,
		Case:   "prog_autoload",
		Fields: []field.Aspect{ofProgram("")},
		match: func(left, right side) bool {
			return left.p != nil && right.p == nil && right.Object != nil &&
				slices.Contains(right.Object.NotAutoloaded, left.p.Name)
		},
	},
	{
		ID:     "usdt-one-by-one",
		Reason: "libbpf since 1.3 loads programs for USDT for uprobe_multi links if the kernel has them, and so do we; cilium/ebpf and older ones load them for one uprobe at a time",
		Left:   Engines{"cilium/ebpf, libbpf", func(e string) bool { return !enginename.Ours(e) }}, Right: libbpfLike,
		Since:  "6.6",
		Case:   "prog_usdt",
		Fields: []field.Aspect{ofProgram("attach_type")},
		match: func(left, right side) bool {
			return right.Object != nil && slices.Contains(right.Object.USDT, left.p.Name) &&
				left.p.AttachType != nil && *left.p.AttachType == 0 &&
				right.p.AttachType != nil && *right.p.AttachType == traceUprobeMulti
		},
	},
	{
		ID:     "rodata-bound",
		Reason: "libbpf since 0.2 binds every .rodata map to every program, which neither cilium/ebpf nor a loader program does",
		Left:   notLibbpf, Right: libbpf, LibbpfSince: "0.2",
		Case:   "maps_hash",
		Fields: []field.Aspect{ofProgram("bound")},
		match: func(left, right side) bool {
			return slices.Equal(left.p.Bound, slices.DeleteFunc(slices.Clone(right.p.Bound), func(name string) bool {
				return strings.HasPrefix(name, ".rodata") && !slices.Contains(left.p.Bound, name) && isFrozen(right.state, name)
			}))
		},
	},
	{
		ID:     "subprogram-order",
		Reason: "cilium/ebpf appends subprograms breadth first, libbpf depth first",
		Left:   cilium, Right: libbpfLike,
		Case:   "subprogs_static",
		Fields: []field.Aspect{ofProgram("function_order")},
		match: func(left, right side) bool {
			return sameFunctions(left.p, right.p) && mainOf(left.p) == mainOf(right.p) && inOrder(right.p, facts(right).Order)
		},
	},
	{
		ID:     "tag-subprogram-order",
		Reason: "a tag covers the distances of calls, and so the order in which subprograms were appended",
		Left:   cilium, Right: libbpfLike,
		Case:   "subprogs_static",
		Fields: []field.Aspect{ofProgram("tag"), ofFunction("function_tag")},
		match: func(left, right side) bool {
			if left.f != nil && !refersTo(left.f, state.RefCall, state.RefFunc) {
				return false
			}
			return sameFunctions(left.p, right.p) && sameCode(left, right) && inOrder(right.p, facts(right).Order) &&
				!slices.Equal(orderOf(left.p, right.p), orderOf(right.p, left.p))
		},
	},
	{
		ID:     "tag-removed-subprograms",
		Reason: "a tag covers the order in which subprograms were appended, those included that the verifier has removed since as nothing calls them",
		Left:   cilium, Right: libbpfLike,
		Case:   "subprogs_removed",
		Fields: []field.Aspect{ofProgram("tag"), ofFunction("function_tag")},
		match: func(left, right side) bool {
			f := facts(right)
			return sameFunctions(left.p, right.p) && sameCode(left, right) && len(right.p.Functions) < len(f.Order) &&
				inOrder(left.p, f.Breadth) && inOrder(right.p, f.Order) && !slices.Equal(f.Order, f.Breadth)
		},
	},
	{
		ID:     "tag-callback-behind",
		Reason: "a tag covers both halves of a callback's address, a distance; where the callback comes first it is negative, and cilium/ebpf fills the second half with its sign, libbpf with 0",
		Left:   cilium, Right: libbpfLike,
		Case:   "callbacks_behind",
		Fields: []field.Aspect{ofProgram("tag")},
		match: func(left, right side) bool {
			return sameCode(left, right) && slices.ContainsFunc(left.p.Functions, func(f state.Function) bool { return looksBack(left.p, &f) })
		},
	},
	{
		ID:     "module-kfunc-index",
		Reason: "cilium/ebpf gives each reference to a kfunc of a module its own slot in fd_array, from 1 on; others give each module one",
		Left:   cilium, Right: libbpfLike,
		Since:  "5.16",
		Case:   "kfunc_module",
		Fields: []field.Aspect{ofFunction("kfunc_index")},
		match:  otherSlots,
	},
	{
		ID:     "tag-module-kfunc-index",
		Reason: "a tag covers the slot in fd_array of a module's BTF",
		Left:   cilium, Right: libbpfLike,
		Since:  "5.16",
		Case:   "kfunc_module",
		Fields: []field.Aspect{ofProgram("tag"), ofFunction("function_tag")},
		match:  otherSlotsInTag,
	},
	{
		ID:     "module-kfunc-index-libbpf",
		Reason: "libbpf gives the modules of kfuncs slots in fd_array from 1 on, its loader programs from 64 on, ours behind those that they need themselves",
		Left:   anyLibbpf, Right: libbpfLike,
		Since:  "5.16",
		Case:   "kfunc_module",
		Fields: []field.Aspect{ofFunction("kfunc_index")},
		match:  otherSlots,
	},
	{
		ID:     "tag-module-kfunc-index-libbpf",
		Reason: "a tag covers the slot in fd_array of a module's BTF",
		Left:   anyLibbpf, Right: libbpfLike,
		Since:  "5.16",
		Case:   "kfunc_module",
		Fields: []field.Aspect{ofProgram("tag"), ofFunction("function_tag")},
		match:  otherSlotsInTag,
	},
	{
		ID:     "tag-map-index",
		Reason: "libbpf's loader programs (since 0.5) refer to maps by their index in fd_array, all others by fd: a tag leaves out an fd, but not an index, nor what the verifier puts in its place",
		Left:   light, Right: notLight, LibbpfSince: "0.5",
		Case:   "maps_array",
		Fields: []field.Aspect{ofProgram("tag"), ofFunction("function_tag")},
		match: func(left, right side) bool {
			if left.f != nil {
				return refersTo(left.f, state.RefMap, state.RefValue) && sameCode(left, right)
			}
			// Maps that the program holds without referring to them are referred to by dead code. A
			// tag that covers a file descriptor covers it with either engine.
			return len(left.p.Maps)+len(left.p.Bound) > 0 && sameCode(left, right) && left.p.Tag != state.FDTag && right.p.Tag != state.FDTag
		},
	},
	{
		ID:     "tag-weak-kfunc",
		Reason: "cilium/ebpf, libbpf (since 0.5) and loader programs mark the call of a weak kfunc that does not exist in different ways; the call is dead code, but the tag covers it",
		Left:   Engines{"cilium/ebpf, libbpf", func(e string) bool { return e == enginename.Direct || e == enginename.Libbpf }}, Right: libbpfLike,
		LibbpfSince: "0.5",
		Case:        "kfunc_weak_missing",
		Fields:      []field.Aspect{ofProgram("tag")},
		match: func(left, right side) bool {
			return sameCode(left, right) && slices.ContainsFunc(facts(right).WeakKfuncs, func(name string) bool {
				return !callsKfunc(left.p, name) && !callsKfunc(right.p, name)
			})
		},
	},
	{
		ID:     ruleLocalTypeID,
		Reason: "instructions hold ids of the program's own types (bpf_core_type_id_local), and may write them out; cilium/ebpf numbers the types of each program anew",
		Left:   cilium, Right: libbpfLike,
		Case:   "core_types",
		Fields: []field.Aspect{ofFunction("insns")},
		slot:   isLocalTypeID,
	},
	{
		ID:     "tag-local-type-id",
		Reason: "a tag covers ids of the program's own types (bpf_core_type_id_local); cilium/ebpf numbers the types of each program anew",
		Left:   cilium, Right: libbpfLike,
		Case:   "core_types",
		Fields: []field.Aspect{ofProgram("tag"), ofFunction("function_tag")},
		match: func(left, right side) bool {
			return sameCode(left, right) && explainedBy(left, right, ruleLocalTypeID)
		},
	},
	{
		ID:     "kfunc-address",
		Reason: "where a program takes the address of a kfunc that exists, cilium/ebpf 0.22 puts the BTF id of the function; only whether it is 0 is right",
		Left:   cilium, Right: libbpfLike,
		Case:   "kfunc_weak_present",
		Fields: []field.Aspect{ofFunction("insns")},
		slot:   isKfuncAddress,
	},
	{
		ID:     ruleKfuncTest,
		Reason: "the verifier of 7.2 takes out branches on constants, and cilium/ebpf 0.22 puts one where a kfunc's address belongs",
		Left:   cilium, Right: libbpfLike,
		Since:  "7.2",
		Case:   "kfunc_weak_present",
		Fields: []field.Aspect{ofFunction("line_info"), ofProgram("verified_insns")},
		match: func(left, right side) bool {
			if left.f == nil {
				return left.p.VerifiedInsns != nil && right.p.VerifiedInsns != nil &&
					sameCode(left, right) && explainedBy(left, right, ruleKfuncTest)
			}
			ids, ok := explainInsns(left, right, left.f, right.f)
			if !ok || !slices.Contains(ids, ruleKfuncTest) {
				return false
			}
			a, b := withoutTests(left, right, left.f, right.f)
			return slices.Equal(lineTable(left.state, a), lineTable(right.state, b))
		},
	},
	{
		ID:     "tag-kfunc-address",
		Reason: "a tag covers what stands in the place of a kfunc's address, which cilium/ebpf 0.22 and libbpf disagree about",
		Left:   cilium, Right: libbpfLike,
		Case:   "kfunc_weak_present",
		Fields: []field.Aspect{ofProgram("tag"), ofFunction("function_tag")},
		match: func(left, right side) bool {
			return sameCode(left, right) && explainedBy(left, right, "kfunc-address")
		},
	},
	{
		ID:     "kconfig-key-type",
		Reason: "cilium/ebpf types the key of .kconfig as an integer, libbpf not at all",
		Left:   cilium, Right: libbpfLike,
		Case:   "kconfig_version",
		Fields: []field.Aspect{ofMap("key_type"), ofMap("types")},
		match: func(left, right side) bool {
			without := slices.DeleteFunc(left.state.TypeTexts(left.m.Types), func(text string) bool { return text == left.m.Key })
			return left.m.Name == kconfig && isKconfigKey(left.m.Key) && right.m.Key == "void" &&
				slices.Equal(without, slices.DeleteFunc(right.state.TypeTexts(right.m.Types), func(text string) bool { return text == left.m.Key }))
		},
	},
	{
		ID:     "kconfig-layout",
		Reason: "libbpf sorts the variables of .kconfig by alignment, cilium/ebpf leaves them where the compiler put them",
		Left:   cilium, Right: libbpfLike,
		Case:   "kconfig_version",
		Fields: []field.Aspect{ofMap("value_type"), ofMap("value_size")},
		match: func(left, right side) bool {
			return left.m.Name == kconfig && sameBut(left.m, right.m) &&
				holdsLayout(left.m) && holdsLayout(right.m)
		},
	},
	{
		ID:     "kconfig-layout-contents",
		Reason: "libbpf sorts the variables of .kconfig by alignment, cilium/ebpf leaves them where the compiler put them",
		Left:   cilium, Right: libbpfLike,
		Case:   "kconfig_version",
		Fields: []field.Aspect{ofMap("contents")},
		match: func(left, right side) bool {
			return left.m.Name == kconfig && sameVariables(layout(left.m), layout(right.m)) &&
				left.m.Value != right.m.Value && sameValues(left.m, right.m, sameValue)
		},
	},
	{
		ID:     "kconfig-version",
		Reason: "libbpf before 1.2 takes LINUX_KERNEL_VERSION from the release, without the patch level where that is Debian's 6.1.0 (before 6.6); others take it from the version, 6.1.192",
		Left:   anyLibbpf, Right: notAnyLibbpf,
		Before: "6.6", LibbpfBefore: "1.2",
		Case:   "kconfig_version",
		Fields: []field.Aspect{ofMap("contents")},
		match: func(left, right side) bool {
			return left.m.Name == kconfig && sameVariables(layout(left.m), layout(right.m)) &&
				sameValues(left.m, right.m, func(variable string, x, y []byte) bool {
					return bytes.Equal(x, y) || strings.HasSuffix(variable, " LINUX_KERNEL_VERSION") && lacksPatchLevel(left.Release, x, y)
				})
		},
	},
	{
		ID:     "empty-section-libbpf",
		Reason: "kernels before 5.12 take no types with an empty data section: libbpf then loads no types, cilium/ebpf and ours replace the section",
		Left:   anyLibbpf, Right: notAnyLibbpf,
		Before: "5.12",
		Case:   "kfunc_module_weak_absent",
		Fields: []field.Aspect{ofProgram("func_info"), ofProgram("btf"), ofFunction("linkage"), ofFunction("prototype"), ofFunction("line_info")},
		match: func(left, right side) bool {
			return right.Object != nil && right.Object.EmptySection && left.p.BTF == "" && !left.p.FuncInfo && right.p.BTF != ""
		},
	},
	{
		ID:     "struct-ops-filled",
		Reason: "cilium/ebpf fills a struct_ops map with a link when it loads, libbpf when it attaches",
		Left:   cilium, Right: libbpfLike, Since: "6.4",
		Case:   "struct_ops_two",
		Fields: []field.Aspect{ofMap("contents")},
		match:  func(left, right side) bool { return isStructOpsFilled(left, right, false) },
	},
	{
		ID:     "struct-ops-mixed",
		Reason: "cilium/ebpf 0.22 sets a member of a struct_ops map to a program that another map of the type has there",
		Left:   cilium, Right: libbpfLike, Since: "6.4",
		Case:    "struct_ops_two",
		Fields:  []field.Aspect{ofMap("contents")},
		Effects: []string{"contents after trigger", "ran"},
		match:   func(left, right side) bool { return isStructOpsFilled(left, right, true) },
	},
	{
		ID:     "kconfig-layout-insns",
		Reason: "libbpf sorts the variables of .kconfig by alignment, cilium/ebpf leaves them where the compiler put them",
		Left:   cilium, Right: libbpfLike,
		Case:   "kconfig_version",
		Fields: []field.Aspect{ofFunction("insns")},
		slot:   isSameKconfigVariable,
	},
	{
		ID:     "unreferenced-section",
		Reason: "cilium/ebpf creates no map for a data section without symbols that nothing refers to, libbpf does",
		Left:   cilium, Right: libbpfLike,
		Case:   "maps_hash",
		Fields: []field.Aspect{ofMap("")},
		match: func(left, right side) bool {
			return left.m == nil && right.m != nil && right.Object != nil &&
				slices.Contains(right.Object.Unreferenced, right.m.Name) && !isReferenced(right.state, right.m.Name)
		},
	},
	{
		ID:     "tag-core-poison",
		Reason: "cilium/ebpf and libbpf mark a 64-bit constant whose CO-RE relocation has no target in different ways; it is dead code, but the tag covers it",
		Left:   cilium, Right: libbpfLike,
		Case:   "core_enums",
		Fields: []field.Aspect{ofProgram("tag")},
		match: func(left, right side) bool {
			return facts(right).WideCORE && sameCode(left, right) && !explainedBy(left, right, ruleLocalTypeID)
		},
	},
	{
		ID:     "core-poison-line",
		Reason: "cilium/ebpf gives an instruction whose CO-RE relocation has no target a line of its own, and the verifier keeps that of dead code for what is behind it",
		Left:   cilium, Right: libbpfLike,
		Case:   "core_poison_line",
		Fields: []field.Aspect{ofFunction("line_info")},
		match:  samePoisonedLines,
	},
	{
		ID:     "hidden-linkage",
		Reason: "libbpf makes global functions with hidden visibility static, cilium/ebpf leaves them global",
		Left:   cilium, Right: libbpfLike,
		Case:   "subprogs_hidden",
		Fields: []field.Aspect{ofFunction("linkage")},
		match: func(left, right side) bool {
			return left.f.Linkage == "global" && right.f.Linkage == "static" &&
				slices.Contains(facts(right).Hidden, left.f.Name)
		},
	},
	{
		ID:     "hidden-linkage-verified",
		Reason: "a static function is verified with its callers, a global one by itself: libbpf makes hidden ones static, cilium/ebpf does not",
		Left:   cilium, Right: libbpfLike,
		Since:  "5.16",
		Case:   "subprogs_hidden",
		Fields: []field.Aspect{ofProgram("verified_insns")},
		match: func(left, right side) bool {
			return left.p.VerifiedInsns != nil && right.p.VerifiedInsns != nil && slices.ContainsFunc(facts(right).Hidden, func(name string) bool {
				a, b := left.p.FindFunction(name), right.p.FindFunction(name)
				return a != nil && b != nil && a.Linkage == "global" && b.Linkage == "static"
			})
		},
	},
}

// sameButHidden reports whether two types of data sections differ only in that hidden variables are
// global on the left and static on the right.
func sameButHidden(left, right side) bool {
	if right.Object == nil {
		return false
	}
	hidden := right.Object.HiddenVariables[left.m.Name]
	value := left.m.Value
	for _, name := range hidden {
		end := strings.Index(value, " "+name+";")
		if end < 0 {
			end = strings.Index(value, " "+name+"[")
		}
		if end < 0 {
			return false
		}
		begin := strings.LastIndex(value[:end], "global ")
		if begin < 0 {
			return false
		}
		value = value[:begin] + "static " + value[begin+len("global "):]
	}
	return len(hidden) > 0 && value == right.m.Value
}

// sameTagsButHidden reports whether the types that two data sections refer to differ only in that
// tags of hidden variables name them as global on the left and as static on the right.
func sameTagsButHidden(left, right side) bool {
	texts := left.state.TypeTexts(left.m.Types)
	for i, text := range texts {
		hidden := slices.ContainsFunc(right.Object.HiddenVariables[left.m.Name], func(name string) bool {
			return strings.HasSuffix(text, " "+name)
		})
		if tag, variable, ok := strings.Cut(text, ") global "); ok && hidden {
			texts[i] = tag + ") static " + variable
		}
	}
	want := right.state.TypeTexts(right.m.Types)
	slices.Sort(texts)
	slices.Sort(want)
	return slices.Equal(texts, want)
}

const (
	flagMmapable = 1 << 10 // BPF_F_MMAPABLE
	kconfig      = ".kconfig"
)

func programsThatHold(s *state.State, mapName string) int {
	n := 0
	for i := range s.Programs {
		if slices.Contains(s.Programs[i].Maps, mapName) || slices.Contains(s.Programs[i].Bound, mapName) {
			n++
		}
	}
	return n
}

func isFrozen(s *state.State, mapName string) bool {
	m := s.FindMap(mapName)
	return m != nil && m.Frozen != nil && *m.Frozen
}

// facts returns the facts about the program being compared. They are zero if unknown.
func facts(s side) ProgramFacts {
	if s.Object == nil || s.p == nil {
		return ProgramFacts{}
	}
	return s.Object.Programs[s.p.Name]
}

func sameFunctions(a, b *state.Program) bool {
	return len(a.Functions) == len(b.Functions) && len(orderOf(a, b)) == len(a.Functions)
}

// inOrder reports whether the functions of a program are in this order. The verifier may have
// removed some.
func inOrder(p *state.Program, order []string) bool {
	at := -1
	for i := range p.Functions {
		n := slices.Index(order, p.Functions[i].Name)
		if n <= at {
			return false
		}
		at = n
	}
	return true
}

// functionPairs pairs the functions of the same name in both programs: only the function being
// compared if there is one.
func functionPairs(left, right side) (pairs [][2]*state.Function) {
	for i := range left.p.Functions {
		f := &left.p.Functions[i]
		if left.f != nil && left.f != f {
			continue
		}
		if other := right.p.FindFunction(f.Name); other != nil {
			pairs = append(pairs, [2]*state.Function{f, other})
		}
	}
	return pairs
}

// sameCode reports whether two programs have the same functions with the same instructions, apart
// from what rules explain and in any order. It is false if a dump is incomplete.
func sameCode(left, right side) bool {
	if left.p.Unread || right.p.Unread || !sameFunctions(left.p, right.p) {
		return false
	}
	for i := range left.p.Functions {
		f := &left.p.Functions[i]
		if _, ok := explainInsns(left, right, f, right.p.FindFunction(f.Name)); !ok {
			return false
		}
	}
	return true
}

// explainedBy reports whether the rule explains an instruction of the function being compared, or
// of any function if a program is being compared.
func explainedBy(left, right side, rule string) bool {
	return slices.ContainsFunc(functionPairs(left, right), func(f [2]*state.Function) bool {
		ids, ok := explainInsns(left, right, f[0], f[1])
		return ok && slices.Contains(ids, rule)
	})
}

// poisoned is the source line that cilium/ebpf invents for a poisoned instruction.
const poisoned = ":0:0 instruction poisoned by CO-RE"

// samePoisonedLines reports whether two functions have the same lines, except where cilium/ebpf has
// marked an instruction as poisoned. There the other engine has another line or none.
func samePoisonedLines(left, right side) bool {
	at := make(map[uint32]bool)
	lines := func(s *state.State, f *state.Function) []string {
		var out []string
		for _, l := range f.Lines {
			if !at[l[0]] {
				out = append(out, fmt.Sprintf("%d: %s", l[0], lineText(s, l[1])))
			}
		}
		return out
	}
	for _, l := range left.f.Lines {
		if lineText(left.state, l[1]) == poisoned {
			at[l[0]] = true
		}
	}
	return len(at) > 0 && slices.Equal(lines(left.state, left.f), lines(right.state, right.f))
}

// sameNumberOfTypes reports whether the right side's BTF of the map or program being compared has
// exactly `more` types more than the left side's.
func sameNumberOfTypes(left, right side, more int) bool {
	types := func(s side) *state.BTF {
		if s.m != nil {
			return s.state.FindBTF(s.m.BTF)
		}
		return s.state.FindBTF(s.p.BTF)
	}
	a, b := types(left), types(right)
	return a != nil && b != nil && a.Types+more == b.Types
}

// refersTo reports whether a function has a reference of one of these kinds.
func refersTo(f *state.Function, kinds ...state.RefKind) bool {
	return slices.ContainsFunc(f.Refs, func(r state.Ref) bool { return slices.Contains(kinds, r.Kind) })
}

// looksBack reports whether a function takes the address of itself or of an earlier function of the
// program.
func looksBack(p *state.Program, f *state.Function) bool {
	at := func(name string) int {
		return slices.IndexFunc(p.Functions, func(g state.Function) bool { return g.Name == name })
	}
	return slices.ContainsFunc(f.Refs, func(r state.Ref) bool { return r.Kind == state.RefFunc && at(r.To) <= at(f.Name) })
}

// kfuncsOf pairs the kfunc calls of the function being compared, or of all functions if a program
// is being compared.
func kfuncsOf(left, right side) (pairs [][2]state.Ref) {
	for _, f := range functionPairs(left, right) {
		pairs = append(pairs, kfuncPairs(f[0], f[1])...)
	}
	return pairs
}

// onlyModuleIndexes reports whether indexes differ only for kfuncs of modules, and those kfuncs
// have an index on both sides.
func onlyModuleIndexes(pairs [][2]state.Ref) bool {
	for _, p := range pairs {
		if p[0].Index == p[1].Index {
			continue
		}
		if p[0].Index == 0 || p[1].Index == 0 || strings.HasSuffix(p[0].To, " [vmlinux]") || !strings.HasSuffix(p[0].To, "]") {
			return false
		}
	}
	return len(pairs) > 0
}

// ownSlots reports whether each kfunc of a module has its own slot in fd_array, and all its calls
// use that slot. Our loader does it that way. For other engines, which use a slot for each module
// or for each call, ownSlots returns true.
func ownSlots(s side) bool {
	if !enginename.Ours(s.Engine) {
		return true
	}
	slots, kfuncs := make(map[string]uint16), make(map[uint16]string)
	for i := range s.p.Functions {
		for _, r := range s.p.Functions[i].Refs {
			if r.Kind != state.RefKfunc || r.Index == 0 {
				continue
			}
			if slot, ok := slots[r.To]; ok && slot != r.Index {
				return false
			}
			if kfunc, ok := kfuncs[r.Index]; ok && kfunc != r.To {
				return false
			}
			slots[r.To], kfuncs[r.Index] = r.Index, r.To
		}
	}
	return true
}

func callsKfunc(p *state.Program, name string) bool {
	return slices.ContainsFunc(p.Functions, func(f state.Function) bool {
		return slices.ContainsFunc(f.Refs, func(r state.Ref) bool {
			return r.Kind == state.RefKfunc && strings.HasPrefix(r.To, name+" [")
		})
	})
}

// staticMappable reports whether only the left engine makes a data section mappable that has static
// variables only.
func staticMappable(left, right side) bool {
	return right.Object != nil && slices.Contains(right.Object.StaticOnly, left.m.Name) &&
		left.m.Flags == right.m.Flags|flagMmapable && right.m.Flags&flagMmapable == 0
}

// otherSlots reports whether kfuncs of modules have different slots in fd_array, and nothing else
// differs in the calls.
func otherSlots(left, right side) bool {
	return onlyModuleIndexes(kfuncPairs(left.f, right.f)) && ownSlots(right) && ownSlots(left)
}

// otherSlotsInTag reports whether the code is the same except for such slots, which a tag covers.
func otherSlotsInTag(left, right side) bool {
	pairs := kfuncsOf(left, right)
	return sameCode(left, right) && onlyModuleIndexes(pairs) &&
		slices.ContainsFunc(pairs, func(p [2]state.Ref) bool { return p[0].Index != p[1].Index })
}
