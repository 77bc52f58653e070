package judge

import (
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/harness/compare"
	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// TestRefusals: which refusals of one object are equal, explained or different.
func TestRefusals(t *testing.T) {
	refused := func(engine, errno string) *wire.Load {
		return &wire.Load{Engine: engine, Result: wire.Refused, Errno: errno, Detail: "why"}
	}
	for name, test := range map[string]struct {
		a, b    *wire.Load
		verdict result.Verdict
		by      string
	}{
		"same errno":          {refused("direct", "EINVAL"), refused("libbpf", "EINVAL"), result.Equal, ""},
		"one without":         {refused("direct", ""), refused("libbpf", "EINVAL"), result.Equal, ""},
		"another errno":       {refused("direct", "EACCES"), refused("libbpf", "EINVAL"), result.Different, ""},
		"libbpf's ESRCH":      {refused("libbpf", "ESRCH"), refused("trace", "ENOENT"), result.Explained, ruleESRCH},
		"the other way round": {refused("replay", "ENOENT"), refused("libbpf-light", "ESRCH"), result.Explained, ruleESRCH},
		"our ESRCH":           {refused("libbpf", "ENOENT"), refused("trace", "ESRCH"), result.Different, ""},
		"ESRCH and EINVAL":    {refused("libbpf", "ESRCH"), refused("trace", "EINVAL"), result.Different, ""},
		"one loads":           {&wire.Load{Engine: "trace", Result: wire.OK}, refused("libbpf", "EINVAL"), result.Different, ""},
		"it is known to": {
			&wire.Load{Engine: "trace", Result: wire.OK}, refused("libbpf-light", "EINVAL"), result.Explained, result.RuleKnown,
		},
	} {
		j := Judge{Used: make(map[string]bool)}
		p := j.Pair(&suite.Case{Known: map[string]string{"libbpf-light": "a limit"}}, test.a, test.b)
		assert.Equal(t, p.Verdict, test.verdict, name)
		if test.by != "" {
			assert.Equal(t, p.Differences[0].ExplainedBy.String(), test.by, name)
			assert.Assert(t, Reason(test.by) != "")
		}
	}
}

// TestKnownLeaks: a known leak is a note. Any other leak is a failure.
func TestKnownLeaks(t *testing.T) {
	const detail = `program refcounted: member "test_refcounted" not found in bpf_testmod_ops`
	for name, test := range map[string]struct {
		load            wire.Load
		failures, notes int
	}{
		"known":          {wire.Load{Engine: "direct", Detail: detail, Leaks: []string{"1 file descriptors"}}, 0, 1},
		"more":           {wire.Load{Engine: "direct", Detail: detail, Leaks: []string{"2 file descriptors"}}, 1, 0},
		"something else": {wire.Load{Engine: "direct", Detail: detail, Leaks: []string{"program ids [1]"}}, 1, 0},
		"and a program":  {wire.Load{Engine: "direct", Detail: detail, Leaks: []string{"1 file descriptors", "program ids [1]"}}, 1, 1},
		"another error":  {wire.Load{Engine: "direct", Detail: "program refcounted: member", Leaks: []string{"1 file descriptors"}}, 1, 0},
		"ours":           {wire.Load{Engine: "trace", Detail: detail, Leaks: []string{"1 file descriptors"}}, 1, 0},
	} {
		test.load.Result = wire.Refused
		var j Judge
		failures := j.Expectations(&suite.Case{Expect: suite.Expect{Result: suite.AnyResult}}, []wire.Load{test.load})
		assert.Equal(t, len(failures), test.failures, name)
		assert.Equal(t, len(j.Notes), test.notes, name)
	}
}

// TestKnownVersions: if an engine loads an object that it is known to refuse, the entry is out of
// date, but only if the engine has the version that the entry names.
func TestKnownVersions(t *testing.T) {
	c := &suite.Case{Expect: suite.Expect{Result: wire.OK}, Known: map[string]string{"libbpf": "libbpf v1.1 has no such thing"}}
	for version, test := range map[string]struct{ failures, notes int }{
		"libbpf v1.1":  {1, 0},
		"libbpf v1.10": {0, 1},
		"libbpf v1.5":  {0, 1},
		"":             {1, 0}, // version unknown
	} {
		var j Judge
		failures := j.Expectations(c, []wire.Load{{Engine: "libbpf", Version: version, Result: wire.OK}})
		assert.Equal(t, len(failures), test.failures, version)
		assert.Equal(t, len(j.Notes), test.notes, version)
	}
}

func TestKnownWithoutVersion(t *testing.T) {
	c := suite.Case{Name: "a", Object: "a.bpf.o", Known: map[string]string{"libbpf": "there is no such thing"}}
	assert.ErrorContains(t, c.Check(false), `does not begin with a version, such as "cilium/ebpf v0.22.0"`)
	c.Known["libbpf"] = "libbpf v1.1 has no such thing"
	assert.NilError(t, c.Check(false))
}

// TestLikeLibbpf: refusals by libbpf and by our engines of objects that cilium/ebpf loads are
// known.
func TestLikeLibbpf(t *testing.T) {
	for engine, detail := range map[string]string{
		"trace":  `object "x": section "maps": legacy map definitions in section "maps" are not supported; define maps with BTF`,
		"replay": `object "x": instruction 8: relocation against "m": malformed object: section "maps/m" holds neither maps nor data`,
		"libbpf": "bpftool: elf: legacy map definitions in 'maps' section are not supported by libbpf v1.0+",
	} {
		l := &wire.Load{Engine: engine, Result: wire.Refused, Detail: detail}
		assert.Assert(t, new(Judge).knownReason(l, nil) != "", engine)
		l.Engine = "direct"
		assert.Equal(t, new(Judge).knownReason(l, nil), "", engine)
	}
}

// TestReasonsAreTrue: a reason is given only if what it says is true of the two loads and the object.
func TestReasonsAreTrue(t *testing.T) {
	refused := func(engine, detail string) wire.Load {
		l := wire.Load{Engine: engine, Result: wire.Refused, Errno: "EINVAL", Detail: detail}
		if enginename.IsLibbpf(engine) {
			l.Version = "libbpf v1.8"
		}
		return l
	}
	loads := func(engine string, programs ...string) wire.Load {
		l := wire.Load{Engine: engine, Result: wire.OK, State: new(state.State)}
		for _, name := range programs {
			l.State.Programs = append(l.State.Programs, state.Program{Name: name, Functions: []state.Function{
				{Name: name, Refs: []state.Ref{{Kind: state.RefKfunc, To: "bpf_foo [vmlinux]"}}},
			}})
		}
		return l
	}
	old := func(l wire.Load) wire.Load {
		l.Version = "libbpf v1.1"
		return l
	}
	run := func(p compare.ProgramFacts) compare.Facts {
		return compare.Facts{Programs: map[string]compare.ProgramFacts{"run": p}}
	}
	const (
		prototype = `program run: fixing up kfuncs: kfunc "bpf_foo": function param mismatch: incompatible types`
		verifier  = "program run: load program: permission denied: R1 invalid mem access 'scalar'"
		section   = "bpftool: prog 'run': missing BPF prog type, check ELF section name 'foo'"
		crash     = "bpftool: killed by SIGSEGV while generating a loader program"
		twice     = "map ops: member b of struct s is program run, which is member a of struct s already"
	)
	for name, test := range map[string]struct {
		load, other wire.Load
		facts       compare.Facts
		want        string
	}{
		"another prototype": {refused("direct", prototype), loads("trace"), run(compare.ProgramFacts{Weak: []string{"bpf_foo"}}),
			"cilium/ebpf v0.22.0 refuses a weak kfunc whose prototype is not the kernel's, and does not do without it"},
		"of a strong kfunc":  {refused("direct", prototype), loads("trace"), run(compare.ProgramFacts{}), ""},
		"of another kfunc":   {refused("direct", prototype), loads("trace"), run(compare.ProgramFacts{Weak: []string{"bpf_bar"}}), ""},
		"in libbpf, too":     {old(refused("libbpf", "bpftool: extern (func ksym) 'bpf_foo': func_proto [19] incompatible with kernel [5]")), loads("trace"), run(compare.ProgramFacts{Weak: []string{"bpf_foo"}}), "libbpf v1.1 refuses a weak kfunc whose prototype is not the kernel's, and does not do without it"},
		"a flavour":          {refused("direct", verifier), loads("trace", "run"), run(compare.ProgramFacts{Weak: []string{"bpf_foo___v1"}}), "cilium/ebpf v0.22.0 looks for kfuncs with the flavour in their names, and finds none"},
		"a flavour, libbpf":  {old(refused("libbpf", "bpftool: prog 'run': BPF program load failed: x")), loads("trace", "run"), run(compare.ProgramFacts{Weak: []string{"bpf_foo___v1"}}), "libbpf v1.1 looks for kfuncs with the flavour in their names, and finds none"},
		"no flavour":         {refused("direct", verifier), loads("trace", "run"), run(compare.ProgramFacts{Weak: []string{"bpf_foo"}}), ""},
		"of another program": {refused("direct", "program other: load program: x"), loads("trace", "run"), run(compare.ProgramFacts{Weak: []string{"bpf_foo___v1"}}), ""},
		"nobody finds it":    {refused("direct", verifier), loads("trace", "run"), run(compare.ProgramFacts{Weak: []string{"bpf_bar___v1"}}), ""},
		"both refuse it":     {refused("direct", verifier), refused("trace", verifier), run(compare.ProgramFacts{Weak: []string{"bpf_foo___v1"}}), ""},
		"a strong flavour":   {refused("direct", `program run: fixing up kfuncs: kfunc "bpf_foo___v1": not supported`), loads("trace"), compare.Facts{}, "cilium/ebpf v0.22.0 looks for kfuncs with the flavour in their names, and finds none"},
		"it is not there":    {refused("direct", `program run: fixing up kfuncs: kfunc "bpf_foo": not supported`), loads("trace"), compare.Facts{}, ""},

		"a section":                 {refused("libbpf", section), loads("direct", "other"), run(compare.ProgramFacts{}), "libbpf v1.8 refuses an object with a program whose section it does not know; cilium/ebpf v0.22.0 leaves the program out"},
		"a section of ours":         {refused("trace", `section "foo" is of no known program type`), loads("direct"), run(compare.ProgramFacts{}), "bpfreplay refuses an object with a program whose section it does not know; cilium/ebpf v0.22.0 leaves the program out"},
		"cilium/ebpf knows it":      {refused("libbpf", section), loads("direct", "run"), run(compare.ProgramFacts{}), "libbpf v1.8 does not know the section of a program"},
		"we know it":                {refused("libbpf", section), loads("trace", "run"), run(compare.ProgramFacts{}), ""},
		"we know it, libbpf is old": {old(refused("libbpf", section)), loads("trace", "run"), run(compare.ProgramFacts{}), "libbpf v1.1 does not know the section of a program yet"},
		"libbpf knows it":           {refused("trace", `section "foo" is of no known program type`), loads("libbpf", "run"), run(compare.ProgramFacts{}), ""},
		"we load such maps":         {refused("libbpf", "legacy map definitions in 'maps' section are not supported"), loads("replay"), compare.Facts{}, ""},

		"two members":           {refused("trace", twice), loads("direct"), compare.Facts{}, "bpfreplay loads no struct_ops program that maps want for different types or members"},
		"libbpf takes them":     {refused("replay", twice), loads("libbpf"), compare.Facts{}, ""},
		"a type's size":         {refused("direct", "program run: load program: bad CO-RE relocation: x"), loads("trace"), run(compare.ProgramFacts{TypeCORE: true}), "cilium/ebpf v0.22.0 takes the size and the id of a type that the kernel lacks for failed, and not for 0"},
		"a member's offset":     {refused("direct", "program run: load program: bad CO-RE relocation: x"), loads("trace"), run(compare.ProgramFacts{}), ""},
		"no memory for types":   {wire.Load{Engine: "direct", Result: wire.Refused, Errno: "ENOMEM", Detail: "map m: load BTF: load btf: cannot allocate memory"}, loads("trace"), compare.Facts{}, ""},
		"an unused extern":      {refused("libbpf", "extern 'x' (strong): not resolved"), loads("trace"), compare.Facts{}, "libbpf v1.8 wants every kfunc and ksym that the object names, also those of programs that are not loaded"},
		"a used extern":         {refused("libbpf", "extern 'x' (strong): not resolved"), refused("trace", "ksym x: not found"), compare.Facts{}, ""},
		"a crash with an arena": {refused("libbpf-light", crash), loads("trace"), compare.Facts{ArenaData: true}, "libbpf v1.8 crashes as it generates loader programs with arenas that have data"},
		"a crash for no reason": {refused("libbpf-light", crash), loads("trace"), compare.Facts{}, ""},
		"many functions":        {refused("libbpf-light", "PROG_LOAD: EACCES: invalid write to stack R10 off=8 size=4"), loads("trace"), compare.Facts{Functions: 33}, "libbpf v1.8 has room for 32 programs in its loader programs, and does not say so"},
		"few functions":         {refused("libbpf-light", "PROG_LOAD: EACCES: invalid write to stack R10 off=8 size=4"), loads("trace"), compare.Facts{Functions: 3}, ""},
		"a program's slot":      {refused("libbpf-light", "bpftool: Operation not supported"), loads("trace"), compare.Facts{ProgramSlots: true}, "libbpf v1.8 has no static slots of program arrays in its loader programs"},
		"not supported":         {refused("libbpf-light", "bpftool: Operation not supported"), loads("trace"), compare.Facts{}, ""},
	} {
		j := Judge{facts: &test.facts}
		assert.Check(t, is.Equal(j.knownReason(&test.load, &test.other), test.want), name)
	}
}

// TestExcuses: a known refusal excuses an engine for an object of the user's only if another engine
// loads it.
func TestExcuses(t *testing.T) {
	c := &suite.Case{Own: true, Expect: suite.Expect{Result: wire.OK}}
	direct := wire.Load{Engine: "direct", Result: wire.Refused, Detail: "x", Log: "map 'm' has no valid bpf_spin_lock"}
	for name, test := range map[string]struct {
		loads           []wire.Load
		failures, notes int
	}{
		"alone":          {[]wire.Load{direct}, 0, 1},
		"another loads":  {[]wire.Load{direct, {Engine: "trace", Result: wire.OK}}, 0, 1},
		"all refuse":     {[]wire.Load{direct, {Engine: "trace", Result: wire.Refused, Detail: "x", Log: direct.Log}}, 2, 0},
		"not all refuse": {[]wire.Load{{Engine: "trace", Result: wire.Refused}, direct, {Engine: "replay", Result: wire.OK}}, 1, 1},
	} {
		var j Judge
		failures := j.Expectations(c, test.loads)
		assert.Check(t, is.Len(failures, test.failures), name)
		assert.Check(t, is.Len(j.Notes, test.notes), name)
	}
}

// TestDependsOnRelease: a refusal that comes from the kernel's name is known in cases of the core
// suite, too.
func TestDependsOnRelease(t *testing.T) {
	c := &suite.Case{Name: "a", Object: "a.bpf.o", Expect: suite.Expect{Result: wire.OK}}
	loads := []wire.Load{
		{Engine: enginename.Replay, Result: wire.OK, State: &state.State{CPUs: 1}},
		{Engine: enginename.Libbpf, Version: "libbpf v1.1", Result: wire.Refused, Detail: "bpftool: extern (kcfg) 'LINUX_KERNEL_VERSION': failed to get kernel version"},
	}
	j := New("7.3-cloud-amd64", func(string) bool { return true }, "a.bpf.o", nil)
	pairs, failures := j.Case(c, loads)
	assert.Equal(t, len(failures), 0, "%v", failures)
	assert.Equal(t, pairs[0].Verdict, result.Explained)
	loads[1].Detail = "bpftool: something else"
	pairs, failures = j.Case(c, loads)
	assert.Equal(t, len(failures), 1)
	assert.Equal(t, pairs[0].Verdict, result.Different)
}

// TestSizedRings: the size of a ring buffer's values explains EINVAL for that map, and nothing else.
func TestSizedRings(t *testing.T) {
	j := Judge{facts: &compare.Facts{SizedRings: []string{"events"}}}
	for detail, test := range map[string]struct {
		errno string
		want  bool
	}{
		"map events: MAP_CREATE: EINVAL":                                       {"EINVAL", true},
		"bpftool: map 'events': failed to create: Invalid argument(-22)":       {"EINVAL", true},
		"bpftool: map 'events': failed to create: Cannot allocate memory(-12)": {"ENOMEM", false},
		"map others: MAP_CREATE: EINVAL":                                       {"EINVAL", false},
	} {
		l := wire.Load{Engine: "libbpf", Result: wire.Refused, Errno: test.errno, Detail: detail}
		assert.Equal(t, j.sizedRing(&l), test.want, detail)
	}
}
