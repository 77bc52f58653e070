package judge

import (
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/harness/wire"
)

func TestForeignRefusals(t *testing.T) {
	refused := func(engine, errno, detail, log string) wire.Load {
		return wire.Load{Engine: engine, Result: wire.Refused, Errno: errno, Detail: detail, Log: log}
	}
	ok := func(engine string) wire.Load { return wire.Load{Engine: engine, Result: wire.OK} }
	const noKfunc = `1: call
kfunc 'bpf_x' is referenced but wasn't resolved
processed 1 insns (limit 1000000)`
	for name, test := range map[string]struct {
		a, b wire.Load
		want map[string]string // fields and the rules that explain them
	}{
		"alike": {refused("direct", "EACCES", "program p: load program: x", "a\nR1 is bad\nprocessed 3 insns"),
			refused("trace", "EACCES", "program p: PROG_LOAD: x", "R1 is bad\nprocessed 4 insns"), nil},
		"another line": {refused("trace", "EACCES", "program p: PROG_LOAD: x", "R1 is bad"),
			refused("replay", "EACCES", "program p: PROG_LOAD: x", "R2 is bad"), map[string]string{"load log": ""}},
		"another errno": {refused("trace", "EACCES", "program p: PROG_LOAD: x", ""),
			refused("replay", "EINVAL", "program p: PROG_LOAD: x", ""), map[string]string{"load errno": ""}},
		"another program": {refused("trace", "EACCES", "program p: PROG_LOAD: x", "R1 is bad"),
			refused("replay", "EACCES", "program q: PROG_LOAD: x", "R2 is bad"), map[string]string{"load log": ""}},
		"numbers for a kfunc": {refused("direct", "EINVAL", "program p: x", "invalid func unknown#233685214"),
			refused("libbpf", "EINVAL", "prog 'p': x", noKfunc), map[string]string{"load log": ruleWords}},
		"a kfunc with id 0": {refused("libbpf-light", "EACCES", "program p: x", "R0 !read_ok"),
			refused("libbpf", "EINVAL", "prog 'p': x", noKfunc), map[string]string{"load errno": ruleZero, "load log": ruleZero}},
		"ours does not": {refused("replay", "EACCES", "program p: x", "R0 !read_ok"),
			refused("libbpf", "EINVAL", "prog 'p': x", noKfunc), map[string]string{"load errno": "", "load log": ""}},
		"another number": {refused("direct", "EINVAL", "program p: x", "invalid func unknown#7"),
			refused("libbpf", "EINVAL", "prog 'p': x", noKfunc), map[string]string{"load log": ""}},
		"known": {refused("direct", "", `section ".struct_ops": got '.struct_ops' section: not supported`, ""), ok("trace"),
			map[string]string{"load": result.RuleKnown}},
		"known of another engine": {refused("trace", "", `section ".struct_ops": got '.struct_ops' section: not supported`, ""), ok("replay"),
			map[string]string{"load": ""}},
		"not known": {refused("direct", "", "out of order", ""), ok("trace"), map[string]string{"load": ""}},
	} {
		j := Judge{Used: make(map[string]bool)}
		c := suite.Case{Name: "c", Expect: suite.Expect{Result: suite.AnyResult}}
		got := make(map[string]string)
		for _, d := range j.refusals(&c, &test.a, &test.b) {
			got[d.Field.String()] = d.ExplainedBy.String()
			assert.Check(t, len(d.ExplainedBy) == 0 || Reason(d.ExplainedBy...) != "", name)
		}
		if test.want == nil {
			test.want = map[string]string{}
		}
		assert.Check(t, is.DeepEqual(got, test.want), name)
		failures := j.Expectations(&c, []wire.Load{test.a, test.b})
		assert.Check(t, is.Len(failures, 0), name)
	}
	// In our own suite, a known refusal explains nothing unless the case lists it.
	j := Judge{Used: make(map[string]bool)}
	a, b := refused("direct", "", `got '.struct_ops' section: not supported`, ""), ok("trace")
	diffs := j.refusals(&suite.Case{Expect: suite.Expect{Result: wire.OK}}, &a, &b)
	assert.Check(t, is.Len(diffs[0].ExplainedBy, 0))
}

// TestStrictRefusals: no rule explains a difference between two of our engines. Between one of ours
// and libbpf, only libbpf's known refusals count.
func TestStrictRefusals(t *testing.T) {
	const static = "function is static: a program must be global"
	refused := func(engine, detail string) wire.Load {
		return wire.Load{Engine: engine, Result: wire.Refused, Detail: detail}
	}
	ok := func(engine string) wire.Load { return wire.Load{Engine: engine, Result: wire.OK} }
	for name, test := range map[string]struct {
		a, b wire.Load
		want string
	}{
		"cilium/ebpf takes it":       {ok("direct"), refused("trace", static), result.RuleKnown},
		"one of ours takes it":       {refused("trace", static), ok("replay"), ""},
		"libbpf takes it, too":       {refused("trace", static), ok("libbpf"), ""},
		"libbpf is known to refuse":  {ok("replay"), refused("libbpf", "can't pin program that wasn't loaded"), result.RuleKnown},
		"a skeleton is one of ours":  {ok("replay"), refused("skel-go", static), ""},
		"known to the suite, strict": {ok("replay"), refused("trace", "x"), ""},
	} {
		j := Judge{Used: make(map[string]bool)}
		c := suite.Case{Expect: suite.Expect{Result: suite.AnyResult}, Known: map[string]string{"trace": "why"}}
		if name == "cilium/ebpf takes it" {
			c.Known = nil
		}
		assert.Check(t, is.Equal(j.refusals(&c, &test.a, &test.b)[0].ExplainedBy.String(), test.want), name)
	}
}
