package mutation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bpfreplay/bpfreplay/harness/compare"
	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/field"
	"github.com/bpfreplay/bpfreplay/harness/judge"
	"github.com/bpfreplay/bpfreplay/harness/mutate"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/run"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/harness/vm"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/internal/object"
)

// Report is the result of a run of mutations: out/<kernel>/mutate.json.
type Report struct {
	Schema      int                 `json:"schema"` // 1
	Kernel      result.KernelReport `json:"kernel"`
	Accelerator string              `json:"accelerator"`
	Engines     []string            `json:"engines"` // the engines that broken loads were compared with
	Started     time.Time           `json:"started"`
	Seconds     result.Seconds      `json:"seconds"`
	Mutations   []Result            `json:"mutations"`
	// Pairs are the results of changed states for each pair of engines; empty if states were not
	// changed.
	Pairs []PairUse `json:"pairs,omitempty"`
	// Rules are the rules that explained a difference between these engines; empty if states were
	// not changed.
	Rules   []RuleUse              `json:"rules,omitempty"`
	Summary map[mutate.Outcome]int `json:"summary"`
	Splats  []string               `json:"splats,omitempty"`
}

// PairUse counts the results of the changes of two engines' states, one change at a time. What one
// pair cannot tell, another must catch.
type PairUse struct {
	A       string `json:"a"`
	B       string `json:"b"`
	Strict  bool   `json:"strict"` // the engines must agree without a rule
	Changes int    `json:"changes"`
	Caught  int    `json:"caught"`
	// Apart are changes of fields that differ between the two anyway, which a rule explains, or
	// that one of the engines does not show.
	Apart int `json:"apart"`
	// CannotTell are changes that go undetected because the field is not compared between the two.
	CannotTell int `json:"cannot_tell"`
	// First is the first change that fails the run: for engines of ours one that is not caught, for
	// strict pairs one that cannot be detected.
	First string `json:"first,omitempty"`
}

// RuleUse is what a rule for explained differences explained, and the results of the changes aimed
// at it. Those are changes, in states between which the rule explained something, of a field that
// the rule is about or looks at.
type RuleUse struct {
	Rule  string `json:"rule"`
	Case  string `json:"case,omitempty"` // the first case in which it explained something
	Fired int    `json:"fired"`          // differences that it explained without a change
	Aimed int    `json:"aimed"`          // changes aimed at it
	// Caught counts those after which the field differs unexplained.
	Caught int `json:"caught"`
	// Hidden are kinds of changes that the rule explained as well, because it cannot distinguish
	// them from what it is for. One is allowed.
	Hidden []string `json:"hidden,omitempty"`
	// Idle is the rule's own case, if the rule explained nothing there.
	Idle string `json:"idle,omitempty"`
}

// OK reports whether a change aimed at the rule was caught, at most one kind is hidden, and the
// rule explained something in its case.
func (u *RuleUse) OK() bool { return u.Caught > 0 && len(u.Hidden) <= 1 && u.Idle == "" }

// Result is the result of one mutation.
type Result struct {
	Name    string         `json:"name"`
	Kind    mutate.Kind    `json:"kind"`
	About   string         `json:"about,omitempty"`
	Case    string         `json:"case,omitempty"`
	Want    string         `json:"want"`
	Outcome mutate.Outcome `json:"outcome"` // the worst of Against
	Text    string         `json:"text"`    // the evidence, or the reason
	Against []Against      `json:"against,omitempty"`
	Seconds float64        `json:"seconds"`

	strict bool // Outcome is that of a strict pair
}

// Against is the result of a mutation in the comparison with one engine.
type Against struct {
	Engine  string         `json:"engine"`
	Outcome mutate.Outcome `json:"outcome"`
	Text    string         `json:"text"`

	strict bool
}

// fails reports whether a change went undetected between two engines that must agree. libbpf's
// loader programs refer to maps by index, which is part of a tag, so their tags cannot be compared
// if programs refer to maps.
func (p *PairUse) fails() bool {
	light := p.A == enginename.LibbpfLight || p.B == enginename.LibbpfLight
	return p.Strict && !light && p.CannotTell > 0 || enginename.Ours(p.A) && enginename.Ours(p.B) && p.Apart > 0
}

// OK reports whether each mutation was caught, except those whose case the kernel cannot load.
func (r *Report) OK() bool {
	failed := func(m Result) bool { return m.Outcome != mutate.Caught && m.Outcome != mutate.Unsupported }
	return len(r.Mutations) > 0 && !slices.ContainsFunc(r.Mutations, failed) &&
		!slices.ContainsFunc(r.Rules, func(u RuleUse) bool { return !u.OK() }) &&
		!slices.ContainsFunc(r.Pairs, func(p PairUse) bool { return p.fails() })
}

// outcomes are in order from good to bad.
var outcomes = []mutate.Outcome{
	mutate.Caught, mutate.Unsupported, mutate.Hidden, mutate.Misnamed, mutate.Missed, mutate.Idle, mutate.Broken,
}

// add adds a comparison. The worst outcome counts; once there is a strict comparison, only strict
// ones count.
func (m *Result) add(a Against) {
	m.Against = append(m.Against, a)
	if m.strict && !a.strict {
		return
	}
	if a.strict && !m.strict {
		m.strict, m.Outcome = true, ""
	}
	if m.Outcome == "" || slices.Index(outcomes, a.Outcome) > slices.Index(outcomes, m.Outcome) {
		m.Outcome, m.Text = a.Outcome, a.Text
	}
}

// loads loads and judges cases: in guests, or in tests on this machine.
type loads interface {
	Request(c *suite.Case) (*wire.CaseRequest, error)
	Ask(ctx context.Context, req *wire.CaseRequest) (*wire.Answer, error)
	Judge(c *suite.Case) *judge.Judge
}

// Run runs the mutations of loads, each in its case. The case is loaded once unchanged with each
// engine, and once with the broken loader program, which is compared with each. With states, Run
// also changes the fields of the engines' states, one by one.
//
// An error means that the harness or its input failed.
func Run(ctx context.Context, suite *suite.Suite, list []mutate.Mutation, states bool, o run.Options, done func(*Result)) (*Report, error) {
	start := time.Now()
	o.Mutate, o.Repeat, o.Fresh = "", 0, false
	o.LoadOnly = true // do not run or attach broken programs
	o.Engines = append(slices.DeleteFunc(slices.Clone(o.Engines), isReplay), enginename.Replay)
	part := partFor(suite, list, states)
	guests, err := run.NewGuests(ctx, part, o)
	if err != nil {
		return nil, err
	}
	defer guests.Close()
	m := &mutator{loads: guests, suite: part, engines: o.Engines, list: list, states: states, done: done, report: &Report{
		Schema: 1, Started: start.UTC(), Engines: o.Engines[:len(o.Engines)-1], Mutations: []Result{},
		Summary: make(map[mutate.Outcome]int),
	}}
	if err := m.run(ctx); err != nil {
		return nil, err
	}
	r := guests.Close()
	m.report.Kernel, m.report.Accelerator, m.report.Splats, m.report.Seconds = r.Kernel, r.Accelerator, r.Splats, r.Seconds
	m.report.Seconds.Total = time.Since(start).Seconds()
	m.report.Seconds.Suite = m.report.Seconds.Total - m.report.Seconds.Boot
	return m.report, nil
}

func isReplay(engine string) bool { return engine == enginename.Replay }

// partFor returns the cases of a suite that the mutations need, or all cases if states are to be
// changed.
func partFor(s *suite.Suite, list []mutate.Mutation, states bool) *suite.Suite {
	var names []string
	for _, c := range s.Cases {
		if states || slices.ContainsFunc(list, func(m mutate.Mutation) bool { return m.Case == c.Name }) {
			names = append(names, c.Name)
		}
	}
	part := s.Only(names)
	part.External = false
	return part
}

// mutator holds the state of a run.
type mutator struct {
	loads
	suite   *suite.Suite
	engines []string
	list    []mutate.Mutation
	states  bool
	report  *Report
	done    func(*Result)
	pairs   map[[2]string]*PairUse
	fields  map[string]*Result  // for states, by name of the change
	order   []*Result           // those of fields
	rules   map[string]*RuleUse // by ID
}

func (m *mutator) run(ctx context.Context) error {
	for _, mu := range m.list {
		if !slices.ContainsFunc(m.suite.Cases, func(c suite.Case) bool { return c.Name == mu.Case }) {
			return fmt.Errorf("mutation %s: the suite has no case %q", mu.Name, mu.Case)
		}
	}
	m.fields, m.rules, m.pairs = make(map[string]*Result), make(map[string]*RuleUse), make(map[[2]string]*PairUse)
	for _, i := range m.suite.Order(nil) {
		if err := m.runCase(ctx, &m.suite.Cases[i]); err != nil {
			return err
		}
	}
	for _, r := range m.order {
		m.finish(r)
	}
	for _, id := range slices.Sorted(maps.Keys(m.rules)) {
		m.report.Rules = append(m.report.Rules, *m.rules[id])
	}
	for i, a := range m.engines {
		for _, b := range m.engines[i+1:] {
			if p := m.pairs[[2]string{a, b}]; p != nil {
				m.report.Pairs = append(m.report.Pairs, *p)
			}
		}
	}
	return nil
}

func (m *mutator) finish(result *Result) {
	m.report.Mutations = append(m.report.Mutations, *result)
	m.report.Summary[result.Outcome]++
	m.done(result)
}

// runCase runs a case unchanged, and then with each of its mutations.
func (m *mutator) runCase(ctx context.Context, c *suite.Case) error {
	req, err := m.Request(c)
	if err != nil {
		return err
	}
	plain, ending, err := m.load(ctx, req)
	if err != nil {
		return err
	}
	m.Judge(c).Normalise(plain)
	wrong := ""
	if ending != nil {
		wrong = ending.Error()
	} else {
		wrong = m.wrong(c, plain)
	}
	for i := range m.list {
		if m.list[i].Case != c.Name {
			continue
		}
		start := time.Now()
		result, err := m.mutation(ctx, c, &m.list[i], req, plain, wrong)
		if err != nil {
			return err
		}
		result.Seconds = time.Since(start).Seconds()
		m.finish(result)
	}
	if !m.states || wrong != "" {
		return nil
	}
	m.fired(c, plain)
	m.endings(c, plain)
	return m.changes(c, plain)
}

// load runs a request. If it breaks the guest, load returns the ending, and the next request gets a
// new guest.
func (m *mutator) load(ctx context.Context, req *wire.CaseRequest) ([]wire.Load, *vm.Ending, error) {
	answer, err := m.Ask(ctx, req)
	if ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	if ending, ok := errors.AsType[*vm.Ending](err); ok {
		return nil, ending, nil
	}
	if err != nil {
		return nil, nil, err
	}
	return answer.Loads, nil, nil
}

// wrong returns what is wrong with a case without any mutation, "" if nothing is. Differences
// between engines do not count: see comparable.
func (m *mutator) wrong(c *suite.Case, plain []wire.Load) string {
	j := m.Judge(c)
	replay := &plain[len(plain)-1]
	for i := range plain {
		if plain[i].Engine != enginename.Trace && !isReplay(plain[i].Engine) {
			continue
		}
		if failures := j.Expectations(c, plain[i:i+1]); len(failures) > 0 {
			return failures[0]
		}
		if p := j.Pair(c, &plain[i], replay); p.Verdict == result.Different || p.Verdict == result.Broken {
			return fmt.Sprintf("%s and %s are %s without it", p.A, p.B, p.Verdict)
		}
	}
	return ""
}

// comparable reports whether two loads without a mutation did what the case expects and left the
// same state, except for explained differences, which it returns.
func comparable(j *judge.Judge, c *suite.Case, a, b *wire.Load) ([]compare.Difference, bool) {
	if a.Result != c.Expect.Result || b.Result != c.Expect.Result {
		return nil, false
	}
	p := j.Pair(c, a, b)
	return p.Differences, p.Verdict == result.Equal || p.Verdict == result.Explained
}

func (m *mutator) mutation(ctx context.Context, c *suite.Case, mu *mutate.Mutation, req *wire.CaseRequest, plain []wire.Load, wrong string) (*Result, error) {
	result := &Result{Name: mu.Name, Kind: mu.Kind(), About: mu.About, Case: c.Name, Want: mu.Want.String()}
	if wrong != "" {
		result.Outcome, result.Text = mutate.Broken, wrong
		return result, nil
	}
	replay := &plain[len(plain)-1]
	if replay.Result == wire.Unsupported {
		result.Outcome, result.Text = mutate.Unsupported, replay.Detail
		return result, nil
	}
	obj, err := object.Open(m.suite.Path(c))
	if err != nil {
		return nil, err
	}
	_, effective, err := mu.Generate(obj)
	if err != nil {
		return nil, err
	}
	if !effective {
		result.Outcome, result.Text = mutate.Idle, "it changes nothing in this case"
		return result, nil
	}
	broken := *req
	broken.Engines, broken.Mutate = []string{enginename.Replay}, mu.Name
	loads, ending, err := m.load(ctx, &broken)
	if err != nil {
		return nil, err
	}
	if ending != nil {
		result.Outcome, result.Text = mutate.Broken, ending.Error()
		return result, nil
	}
	m.compare(c, mu, result, plain, &loads[0])
	return result, nil
}

// compare judges a broken load against each engine that did what the case expects. The first of
// them is ours, or must agree with ours: compared with it, only the wanted fields may differ.
func (m *mutator) compare(c *suite.Case, mu *mutate.Mutation, result *Result, plain []wire.Load, broken *wire.Load) {
	j := m.Judge(c)
	j.Used = make(map[string]bool)
	found := mutate.Found{Failures: j.Expectations(c, []wire.Load{*broken})}
	if broken.Result == wire.Broken {
		result.Outcome, result.Text = mutate.Broken, broken.Detail
		return
	}
	if broken.Result == wire.Refused {
		found.Refused = broken.Detail
	}
	replay := &plain[len(plain)-1]
	for i := range plain[:len(plain)-1] {
		ref := &plain[i]
		without, ok := comparable(j, c, ref, replay)
		if !ok {
			continue // known not to load it, or to load it differently
		}
		found.Differences = j.Pair(c, ref, broken).Differences
		found.Strict = ref.Engine == enginename.Trace
		outcome, text := mu.Want.Judge(&found)
		if outcome == mutate.Caught || !cannotTell(without, found.Differences, mu.Want.Field) && !unseen(ref, mu.Want.Field) {
			result.add(Against{Engine: ref.Engine, Outcome: outcome, Text: text, strict: enginename.Strict(ref.Engine, replay.Engine)})
		}
	}
	if len(result.Against) == 0 {
		result.Outcome, result.Text = mutate.Broken, "there is no engine that it can be compared with"
	}
}

// cannotTell reports whether comparing a field with this engine says nothing about a mutation: the
// field differed without the mutation and does not with it, or the other side lacks the thing that
// has the field.
func cannotTell(without, with []compare.Difference, pattern field.Field) bool {
	return fieldDiffers(without, pattern) && !fieldDiffers(with, pattern) || fieldDiffers(without, pattern.Of())
}

// unseen reports whether a load's state lacks the field: bpftool pins what it loads and exits. Its
// file descriptors, which have the access rights of maps, are then gone.
func unseen(l *wire.Load, pattern field.Field) bool {
	return slices.ContainsFunc(l.State.Maps, func(m state.Map) bool {
		return m.Access == "" && field.Map(m.Name, "access").Matches(pattern)
	})
}

// rulesLibbpf is the version of libbpf that the rules describe.
const rulesLibbpf = "libbpf v1.1"

// fired records which rules explain something in a case without a change, and which do not although
// it is their own case.
func (m *mutator) fired(c *suite.Case, plain []wire.Load) {
	j := m.Judge(c)
	seen := make(map[string]bool)
	var due []string
	for i := range plain {
		for k := range i {
			p := j.Pair(c, &plain[k], &plain[i])
			if p.Verdict != result.Explained && p.Verdict != result.Equal {
				continue
			}
			for _, d := range p.Differences {
				for _, id := range d.ExplainedBy {
					m.rule(id, c).Fired++
					seen[id] = true
				}
			}
			if plain[k].Result == wire.OK && plain[i].Result == wire.OK && knownTool(&plain[k]) && knownTool(&plain[i]) {
				due = append(due, compare.RulesDue(c.Name, j.Release, plain[k].Engine, plain[i].Engine)...)
			}
		}
	}
	for _, id := range due {
		if !seen[id] {
			m.rule(id, nil).Idle = c.Name
		}
	}
}

// knownTool reports whether the rules describe this engine's version.
func knownTool(l *wire.Load) bool {
	return !strings.HasPrefix(l.Version, enginename.LibbpfCode+" ") || l.Version == rulesLibbpf
}

func (m *mutator) rule(id string, c *suite.Case) *RuleUse {
	u, ok := m.rules[id]
	if !ok {
		u = &RuleUse{Rule: id}
		m.rules[id] = u
	}
	if u.Case == "" && c != nil {
		u.Case = c.Name
	}
	return u
}

// aim records at which rules a change was aimed, and whether it was caught. A change is aimed at
// the rules about its field that explain something between the same two engines, and at those whose
// explanation no longer holds after the change.
func (m *mutator) aim(c *suite.Case, aspect field.Aspect, without, with []compare.Difference, caught bool) {
	about := func(id string) bool { return slices.Contains(judge.Fields(id), aspect) }
	for _, id := range rulesOf(without) {
		gone := slices.ContainsFunc(without, func(d compare.Difference) bool {
			return slices.Contains(d.ExplainedBy, id) && unexplained(with, d.Field)
		})
		if !gone && !about(id) {
			continue
		}
		u := m.rule(id, c)
		u.Aimed++
		if gone || caught && about(id) {
			u.Caught++
		}
	}
}

// unexplained reports whether the field differs, and no rule explains it.
func unexplained(list []compare.Difference, f field.Field) bool {
	return slices.ContainsFunc(list, func(d compare.Difference) bool { return d.Field == f && len(d.ExplainedBy) == 0 })
}

// rulesOf returns the rules that explain these differences.
func rulesOf(list []compare.Difference) []string {
	var ids []string
	for _, d := range list {
		ids = append(ids, d.ExplainedBy...)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// changes changes each field of each engine's state, and compares the result with each other
// engine's state.
func (m *mutator) changes(c *suite.Case, plain []wire.Load) error {
	j := m.Judge(c)
	for i := range plain {
		if plain[i].State == nil {
			continue
		}
		without := make([][]compare.Difference, len(plain))
		with := make([]bool, len(plain))
		for k := range plain {
			if k != i {
				without[k], with[k] = comparable(j, c, &plain[k], &plain[i])
			}
		}
		for n, change := range mutate.Changes(plain[i].State) {
			changed, err := mutate.Apply(plain[i].State, n)
			if err != nil {
				return err
			}
			for k := range plain {
				if with[k] {
					m.change(c, j, &plain[k], &plain[i], change, changed, without[k])
				}
			}
		}
	}
	return nil
}

// change judges one change of an engine's state, compared with another engine's.
func (m *mutator) change(c *suite.Case, j *judge.Judge, ref, load *wire.Load, change mutate.Change, changed *state.State, without []compare.Difference) {
	unseenInRef, unseenInLoad := unseen(ref, change.Want.Field), unseen(load, change.Want.Field)
	if unseenInRef && unseenInLoad {
		return // no load shows the changed field
	}
	result := m.result(change.Name, change.Pattern().String())
	found := mutate.Found{Differences: compare.States(ref.State, changed, j.Context(ref), j.Context(load))}
	outcome, text := change.Want.Judge(&found)
	where := fmt.Sprintf("%s: %s, %s", strings.TrimSpace(c.Name+" "+change.At.String()), load.Engine, text)
	untold := outcome != mutate.Caught && (unseenInRef || unseenInLoad || cannotTell(without, found.Differences, change.Want.Field))
	if !untold {
		m.aim(c, change.Want.Field.Aspect, without, found.Differences, outcome == mutate.Caught)
	}
	pair := m.pair(ref.Engine, load.Engine)
	pair.Changes++
	switch {
	case outcome == mutate.Caught:
		pair.Caught++
	case untold || fieldDiffers(without, change.Want.Field):
		pair.Apart++
	default:
		pair.CannotTell++
	}
	if pair.First == "" && pair.fails() {
		pair.First = fmt.Sprintf("%s, of %s", where, change.Want.Field)
	}
	switch {
	case outcome == mutate.Caught && result.Text == "":
		result.Text = where
	case outcome == mutate.Caught, untold:
	case outcome == mutate.Hidden:
		m.hidden(c, &found, change, ref.Engine, where, result)
	case pair.Strict:
		result.add(Against{Engine: ref.Engine, Outcome: outcome, Text: where, strict: true})
	}
}

// pair returns the counters of two engines.
func (m *mutator) pair(a, b string) *PairUse {
	if slices.Index(m.engines, a) > slices.Index(m.engines, b) {
		a, b = b, a
	}
	p := m.pairs[[2]string{a, b}]
	if p == nil {
		p = &PairUse{A: a, B: b, Strict: enginename.Strict(a, b)}
		m.pairs[[2]string{a, b}] = p
	}
	return p
}

// result returns the result of the changes of this name.
func (m *mutator) result(name, want string) *Result {
	r, ok := m.fields[name]
	if !ok {
		r = &Result{Name: name, Kind: mutate.OfState, Want: want, Outcome: mutate.Caught}
		m.fields[name] = r
		m.order = append(m.order, r)
	}
	return r
}

// hidden records which rules explained a change. The tags of a program and of its functions hash
// the same things and count as one field; so does the BTF of maps and programs.
func (m *mutator) hidden(c *suite.Case, f *mutate.Found, change mutate.Change, engine, where string, result *Result) {
	name := change.Name
	switch change.Want.Field.Attribute {
	case "btf":
		name = "btf " + change.What
	case "function_tag":
		name = "program tag " + change.What
	}
	for _, d := range f.Differences {
		if !d.Field.Matches(change.Want.Field) {
			continue
		}
		for _, id := range d.ExplainedBy {
			if u := m.rule(id, c); !slices.Contains(u.Hidden, name) {
				u.Hidden = append(u.Hidden, name)
				result.Against = append(result.Against, Against{Engine: engine, Outcome: mutate.Hidden, Text: where})
			}
		}
	}
}

func fieldDiffers(list []compare.Difference, pattern field.Field) bool {
	return slices.ContainsFunc(list, func(d compare.Difference) bool { return d.Field.Matches(pattern) })
}

// otherErrno is an errno that no load returns.
const otherErrno = "EXFULL"

// endings changes the results of loads; the comparison must detect each change.
func (m *mutator) endings(c *suite.Case, plain []wire.Load) {
	for i := range plain {
		changed := plain[i]
		switch plain[i].Result {
		case wire.OK:
			changed.Result, changed.Errno, changed.State = wire.Refused, otherErrno, nil
			m.ending(c, "result", result.FieldLoad, plain, i, &changed)
		case wire.Refused:
			if changed.Errno = otherErrno; plain[i].Errno != "" {
				m.ending(c, "errno", result.FieldErrno, plain, i, &changed)
			}
			if changed.Errno, changed.Log = plain[i].Errno, "something else"; plain[i].Log != "" {
				m.ending(c, "log", result.FieldLog, plain, i, &changed)
			}
			changed.Result, changed.Errno, changed.Log, changed.State = wire.OK, "", "", &state.State{}
			m.ending(c, "result", result.FieldLoad, plain, i, &changed)
		}
	}
}

// ending compares the changed load i with the other loads, except those for which the suite expects
// another result. It also checks the expectations of the case.
func (m *mutator) ending(c *suite.Case, what string, f field.Field, plain []wire.Load, i int, changed *wire.Load) {
	j := m.Judge(c)
	became := m.result("load "+what+" other", f.String())
	expected := j.Expectations(c, []wire.Load{*changed})
	for k := range plain {
		other := &plain[k]
		if k == i || other.Result != wire.OK && other.Result != wire.Refused ||
			f == result.FieldErrno && other.Errno == "" || f == result.FieldLog && other.Log == "" {
			continue
		}
		p := j.Pair(c, other, changed)
		detected := slices.Clone(expected)
		for _, d := range p.Differences {
			if len(d.ExplainedBy) == 0 {
				detected = append(detected, fmt.Sprintf("%s: %s, not %s", d.Field, d.B, d.A))
			}
		}
		m.aim(c, f.Aspect, j.Pair(c, other, &plain[i]).Differences, p.Differences, len(detected) > 0)
		switch {
		case len(detected) > 0:
			became.Text = cmp.Or(became.Text, fmt.Sprintf("%s: %s", c.Name, detected[0]))
		case c.Known[other.Engine] == "" && c.Known[changed.Engine] == "":
			became.add(Against{Engine: other.Engine, Outcome: mutate.Missed, Text: fmt.Sprintf("%s: %s", c.Name, judge.Outcome(changed)), strict: enginename.Strict(other.Engine, changed.Engine)})
		}
	}
}
