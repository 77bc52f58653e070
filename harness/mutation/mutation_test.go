package mutation

import (
	"context"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/agent"
	"github.com/bpfreplay/bpfreplay/harness/compare"
	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/field"
	"github.com/bpfreplay/bpfreplay/harness/judge"
	"github.com/bpfreplay/bpfreplay/harness/mutate"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/internal/need"
)

// host answers requests on this machine. It cannot load modules, and cannot tell leaked ids from
// those of other processes.
type host struct {
	server  *agent.Server
	release string
	suite   *suite.Suite
	engines []string
}

func (h host) Request(c *suite.Case) (*wire.CaseRequest, error) {
	data, err := h.suite.Read(c)
	if err != nil {
		return nil, err
	}
	req, err := h.suite.Request(c, data)
	if err == nil {
		req.Engines = h.engines
	}
	return req, err
}

func (h host) Judge(c *suite.Case) *judge.Judge {
	data, _ := h.suite.Read(c)
	return judge.New(h.release, func(string) bool { return false }, c.Object, data)
}

func (h host) Ask(_ context.Context, req *wire.CaseRequest) (*wire.Answer, error) {
	local := *req
	local.Modules = false
	answer, err := h.server.Answer(&local)
	if err != nil {
		return nil, err
	}
	for i := range answer.Loads {
		l := &answer.Loads[i]
		l.Leaks = slices.DeleteFunc(l.Leaks, func(leak string) bool { return strings.Contains(leak, " ids ") })
	}
	return answer, nil
}

// hostMutator runs mutations on this machine.
func hostMutator(t *testing.T, suite *suite.Suite, list []mutate.Mutation, states bool, engines ...string) *mutator {
	t.Helper()
	need.BPF(t)
	var u unix.Utsname
	assert.NilError(t, unix.Uname(&u))
	part := partFor(suite, list, states)
	engines = append(engines, enginename.Replay)
	return &mutator{
		loads: host{agent.NewServer(), unix.ByteSliceToString(u.Release[:]), part, engines}, suite: part, engines: engines, list: list, states: states, done: func(*Result) {},
		report: &Report{Summary: make(map[mutate.Outcome]int)},
	}
}

func coreSuite(t *testing.T) *suite.Suite {
	t.Helper()
	s, err := suite.Read("../../selftests/cases.yaml")
	assert.NilError(t, err)
	return s
}

// some are mutations of each kind that work on any kernel with loader programs. None leaks
// anything, because other tests on this machine would find it.
var some = []string{
	"drop-freeze", "value-bit", "slot-off-by-one", "prog-slot-drop", "map-access", "map-key-type", "freeze-early",
	"ref-offset", "refs-swapped", "call-in-subprogram", "functions-reordered", "func-info-swapped", "line-number",
	"types-member", "licence-lost", "program-drop", "blob-value", "blob-map-flags", "code-freeze",
	"code-programs-swapped", "code-step", "code-unchecked",
}

func named(t *testing.T, names ...string) []mutate.Mutation {
	t.Helper()
	var list []mutate.Mutation
	for _, n := range names {
		m, err := mutate.Find(n)
		assert.NilError(t, err)
		list = append(list, *m)
	}
	return list
}

func TestMutationsOnThisMachine(t *testing.T) {
	m := hostMutator(t, coreSuite(t), named(t, some...), false, enginename.Direct, enginename.Trace)
	assert.NilError(t, m.run(t.Context()))
	if all := m.report.Mutations; all[0].Outcome == mutate.Unsupported {
		t.Skip("this kernel cannot run loader programs: ", all[0].Text)
	}
	assert.Equal(t, len(m.report.Mutations), len(some))
	for _, r := range m.report.Mutations {
		assert.Check(t, r.Outcome == mutate.Caught, "%s: %s: %s %v", r.Name, r.Outcome, r.Text, r.Against)
		assert.Check(t, r.Text != "" && len(r.Against) > 0, r.Name)
	}
	assert.Assert(t, m.report.OK())
}

// TestChangesOnThisMachine changes the states of a few objects, field by field.
func TestChangesOnThisMachine(t *testing.T) {
	suite, err := coreSuite(t).Select([]string{"maps_of_maps", "subprogs_nested", "callbacks_map"})
	assert.NilError(t, err)
	m := hostMutator(t, suite, nil, true, enginename.Direct, enginename.Trace)
	assert.NilError(t, m.run(t.Context()))
	assert.Assert(t, len(m.report.Mutations) > 40, "%d kinds of changes", len(m.report.Mutations))
	for _, r := range m.report.Mutations {
		assert.Check(t, r.Outcome == mutate.Caught, "%s: %s: %v", r.Name, r.Outcome, r.Against)
		assert.Equal(t, r.Kind, mutate.OfState)
	}
	assert.Assert(t, m.report.OK(), "%+v", m.report.Rules)
}

// forgetful ignores the requested mutation, like a harness that detects nothing.
type forgetful struct{ loads }

func (f forgetful) Ask(ctx context.Context, req *wire.CaseRequest) (*wire.Answer, error) {
	plain := *req
	plain.Mutate = ""
	return f.loads.Ask(ctx, &plain)
}

func TestMutationMissed(t *testing.T) {
	m := hostMutator(t, coreSuite(t), named(t, "drop-freeze"), false, enginename.Trace)
	m.loads = forgetful{m.loads}
	assert.NilError(t, m.run(t.Context()))
	r := m.report.Mutations[0]
	assert.Equal(t, r.Outcome, mutate.Missed)
	assert.Equal(t, r.Against[0].Engine, enginename.Trace)
	assert.Assert(t, !m.report.OK())
}

func TestMutationIdle(t *testing.T) {
	list := named(t, "drop-freeze")
	list[0].Case = "license_other" // it has no map
	m := hostMutator(t, coreSuite(t), list, false, enginename.Trace)
	assert.NilError(t, m.run(t.Context()))
	assert.Equal(t, m.report.Mutations[0].Outcome, mutate.Idle)
	assert.Assert(t, !m.report.OK())
}

// TestMutationOfBrokenCase: a case that fails without a mutation says nothing about one.
func TestMutationOfBrokenCase(t *testing.T) {
	suite := coreSuite(t)
	for i := range suite.Cases {
		if suite.Cases[i].Name == "data_sections" {
			suite.Cases[i].Run[0].Retval = new(uint32)
		}
	}
	m := hostMutator(t, suite, named(t, "drop-freeze"), false, enginename.Trace)
	assert.NilError(t, m.run(t.Context()))
	r := m.report.Mutations[0]
	assert.Equal(t, r.Outcome, mutate.Broken)
	assert.Assert(t, strings.Contains(r.Text, "returned 4, not 0"), r.Text)
}

func TestMutationWithoutCase(t *testing.T) {
	list := named(t, "drop-freeze")
	list[0].Case = "no_such_case"
	m := &mutator{suite: partFor(coreSuite(t), list, false), list: list}
	assert.ErrorContains(t, m.run(t.Context()), `mutation drop-freeze: the suite has no case "no_such_case"`)
}

// TestRulesHaveCases: the suite has each rule's own case.
func TestRulesHaveCases(t *testing.T) {
	s := coreSuite(t)
	for _, r := range compare.Rules() {
		assert.Check(t, slices.ContainsFunc(s.Cases, func(c suite.Case) bool { return c.Name == r.Case }), "%s: no case %q", r.ID, r.Case)
	}
}

// TestRuleOfNoUse: a rule that explains nothing in its own case fails the run.
func TestRuleOfNoUse(t *testing.T) {
	s := &state.State{}
	load := func(engine, version string) wire.Load {
		return wire.Load{Engine: engine, Version: version, Result: wire.OK, State: s}
	}
	for version, want := range map[string]string{"libbpf v1.1": "maps_array", "libbpf v1.5": ""} {
		m := &mutator{loads: host{release: "6.12.1", suite: coreSuite(t)}, rules: make(map[string]*RuleUse)}
		m.fired(&suite.Case{Name: "maps_array", Object: "maps_array.bpf.o", Expect: suite.Expect{Result: wire.OK}},
			[]wire.Load{load("libbpf-light", version), load("replay", "")})
		assert.Equal(t, m.rule("tag-map-index", nil).Idle, want, version)
	}
}

func TestMutationReport(t *testing.T) {
	with := func(outcomes ...mutate.Outcome) *Report {
		r := &Report{}
		for _, o := range outcomes {
			r.Mutations = append(r.Mutations, Result{Outcome: o})
		}
		return r
	}
	assert.Assert(t, with(mutate.Caught, mutate.Unsupported).OK())
	assert.Assert(t, !with().OK())
	for _, bad := range outcomes[2:] {
		assert.Assert(t, !with(mutate.Caught, bad).OK(), bad)
	}
	r := with(mutate.Caught)
	r.Rules = []RuleUse{{Fired: 1, Aimed: 2, Caught: 1, Hidden: []string{"x"}}, {Fired: 1, Aimed: 1, Caught: 1}}
	assert.Assert(t, r.OK())
	r.Rules[0].Hidden = append(r.Rules[0].Hidden, "y")
	assert.Assert(t, !r.OK(), "two changes hide behind one rule")
	r.Rules[0] = RuleUse{Fired: 1, Aimed: 1}
	assert.Assert(t, !r.OK(), "no change aimed at a rule is caught")
	r.Rules[0] = RuleUse{Fired: 1, Aimed: 1, Caught: 1, Idle: "a"}
	assert.Assert(t, !r.OK(), "a rule explains nothing")

	var m Result
	m.add(Against{Engine: "direct", Outcome: mutate.Caught, Text: "1"})
	m.add(Against{Engine: "trace", Outcome: mutate.Missed, Text: "2"})
	m.add(Against{Engine: "libbpf", Outcome: mutate.Caught, Text: "3"})
	assert.Equal(t, m.Outcome, mutate.Missed)
	assert.Equal(t, m.Text, "2")
	assert.Equal(t, len(m.Against), 3)
}

func TestCannotTell(t *testing.T) {
	differs := func(f field.Field, a, b string) []compare.Difference {
		return []compare.Difference{{Field: f, A: a, B: b}}
	}
	for name, test := range map[string]struct {
		without, with []compare.Difference
		want          bool
	}{
		"differs with it":        {nil, differs(field.Map("a", "flags"), "0x0", "0x1"), false},
		"differs in either case": {differs(field.Map("a", "flags"), "0x0", "0x1"), differs(field.Map("a", "flags"), "0x0", "0x2"), false},
		"agrees with it":         {differs(field.Map("a", "flags"), "0x0", "0x1"), nil, true},
		"never differs":          {nil, nil, false},
		"is not there":           {differs(field.Map("a", ""), "absent", "present"), differs(field.Map("a", ""), "absent", "present"), true},
		"another is not there":   {differs(field.Map("b", ""), "absent", "present"), differs(field.Map("b", ""), "absent", "present"), false},
	} {
		assert.Check(t, cannotTell(test.without, test.with, field.Map("a", "flags")) == test.want, name)
	}
}

// An undetected change fails the run if the engines must agree. Tags of libbpf's loader programs
// cannot be compared.
func TestPairFails(t *testing.T) {
	for _, test := range []struct {
		pair PairUse
		want bool
	}{
		{PairUse{A: enginename.Trace, B: enginename.Replay, Strict: true, Caught: 9}, false},
		{PairUse{A: enginename.Trace, B: enginename.Replay, Strict: true, CannotTell: 1}, true},
		{PairUse{A: enginename.Trace, B: enginename.Replay, Strict: true, Apart: 1}, true},
		{PairUse{A: enginename.Trace, B: enginename.Libbpf, Strict: true, CannotTell: 1}, true},
		{PairUse{A: enginename.Trace, B: enginename.Libbpf, Strict: true, Apart: 1}, false},
		{PairUse{A: enginename.Trace, B: enginename.LibbpfLight, Strict: true, CannotTell: 1}, false},
		{PairUse{A: enginename.Direct, B: enginename.Replay, CannotTell: 1}, false},
	} {
		assert.Equal(t, test.pair.fails(), test.want, "%+v", test.pair)
	}
}
