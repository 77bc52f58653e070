package harness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bpfreplay/bpfreplay/harness/agent"
	"github.com/bpfreplay/bpfreplay/harness/mutate"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/harness/vm"
	"github.com/bpfreplay/bpfreplay/loader"
)

// MutationReport is what became of mutations: out/<kernel>/mutate.json.
type MutationReport struct {
	Schema      int              `json:"schema"` // 1
	Kernel      KernelReport     `json:"kernel"`
	Accelerator string           `json:"accelerator"`
	Engines     []string         `json:"engines"` // that broken loads were compared with
	Started     time.Time        `json:"started"`
	Seconds     Seconds          `json:"seconds"`
	Mutations   []MutationResult `json:"mutations"`
	// Hiding are the rules for explained differences behind which changes of
	// states between two engines hid, and which: no rule may hide two.
	Hiding  map[string][]string    `json:"hiding,omitempty"`
	Summary map[mutate.Outcome]int `json:"summary"`
	Splats  []string               `json:"splats,omitempty"`
}

// MutationResult is what became of one mutation.
type MutationResult struct {
	Name    string         `json:"name"`
	Kind    mutate.Kind    `json:"kind"`
	About   string         `json:"about,omitempty"`
	Case    string         `json:"case,omitempty"`
	Want    string         `json:"want"`
	Outcome mutate.Outcome `json:"outcome"` // the worst of those below
	Text    string         `json:"text"`    // what told, or what is wrong
	Against []Against      `json:"against,omitempty"`
	Seconds float64        `json:"seconds"`
}

// Against is what became of a mutation in the comparison with one engine.
type Against struct {
	Engine  string         `json:"engine"`
	Outcome mutate.Outcome `json:"outcome"`
	Text    string         `json:"text"`
}

// OK says whether each mutation was caught, where the kernel can load its case.
func (r *MutationReport) OK() bool {
	for _, m := range r.Mutations {
		if m.Outcome != mutate.Caught && m.Outcome != mutate.Unsupported {
			return false
		}
	}
	for _, hidden := range r.Hiding {
		if len(hidden) > 1 {
			return false
		}
	}
	return len(r.Mutations) > 0
}

// outcomes are in the order from good to bad.
var outcomes = []mutate.Outcome{
	mutate.Caught, mutate.Unsupported, mutate.Hidden, mutate.Misnamed, mutate.Missed, mutate.Idle, mutate.Broken,
}

// add adds a comparison, the worst of which counts.
func (m *MutationResult) add(a Against) {
	m.Against = append(m.Against, a)
	if m.Outcome == "" || slices.Index(outcomes, a.Outcome) > slices.Index(outcomes, m.Outcome) {
		m.Outcome, m.Text = a.Outcome, a.Text
	}
}

// asker runs requests: a guest, or for tests this machine.
type asker interface {
	ask(ctx context.Context, req *agent.Request) (*agent.Answer, error)
}

// Mutate runs the mutations of loads, each in the case that it is for: the case
// is loaded once as it should be, with each of the engines, and once with the
// broken loader program, which is compared with each. With states, the fields
// of what the engines left are changed, too, one by one.
//
// An error means that the harness or its input failed.
func Mutate(ctx context.Context, suite *Suite, list []mutate.Mutation, states bool, o Options, done func(*MutationResult)) (*MutationReport, error) {
	start := time.Now()
	r := &runner{Options: o, suite: suite.only(list, states), used: make(map[string]bool)}
	r.Mutate, r.Repeat, r.Fresh = "", 0, false
	r.Engines = append(slices.DeleteFunc(slices.Clone(o.Engines), isReplay), state.EngineReplay)
	r.defaults()
	r.report = &Report{Kernel: KernelReport{Name: o.Kernel.Name, Release: o.Kernel.Release, SHA256: o.Kernel.SHA256, Origin: o.Kernel.Origin}}
	defer r.end()
	if err := r.prepare(); err != nil {
		return nil, err
	}
	m := &mutator{runner: r, asker: r, list: list, states: states, done: done, report: &MutationReport{
		Schema: 1, Started: start.UTC(), Engines: r.Engines[:len(r.Engines)-1], Mutations: []MutationResult{},
		Summary: make(map[mutate.Outcome]int), Hiding: make(map[string][]string),
	}}
	if err := m.run(ctx); err != nil {
		return nil, err
	}
	r.end()
	m.report.Kernel, m.report.Accelerator, m.report.Splats = r.report.Kernel, r.report.Accelerator, r.report.Splats
	m.report.Seconds = r.report.Seconds
	m.report.Seconds.Total = time.Since(start).Seconds()
	m.report.Seconds.Suite = m.report.Seconds.Total - m.report.Seconds.Boot
	return m.report, nil
}

func isReplay(engine string) bool { return engine == state.EngineReplay }

// only is the part of a suite that mutations are for, or all that loads if
// states are to be changed.
func (s *Suite) only(list []mutate.Mutation, states bool) *Suite {
	out := &Suite{Name: s.Name, dir: s.dir, part: true}
	for _, c := range s.Cases {
		wanted := slices.ContainsFunc(list, func(m mutate.Mutation) bool { return m.Case == c.Name })
		if wanted || states && c.Expect.Result == agent.OK && c.Issue == 0 {
			out.Cases = append(out.Cases, c)
		}
	}
	return out
}

// mutator runs mutations.
type mutator struct {
	*runner
	asker  asker
	list   []mutate.Mutation
	states bool
	report *MutationReport
	done   func(*MutationResult)
	fields map[string]*MutationResult // of states, by name of the change
	order  []string                   // of fields
}

func (m *mutator) run(ctx context.Context) error {
	for _, mu := range m.list {
		if !slices.ContainsFunc(m.suite.Cases, func(c Case) bool { return c.Name == mu.Case }) {
			return fmt.Errorf("mutation %s: the suite has no case %q", mu.Name, mu.Case)
		}
	}
	m.fields = make(map[string]*MutationResult)
	for _, c := range inOrder(m.suite.Cases) {
		if err := m.runCase(ctx, c); err != nil {
			return err
		}
	}
	for _, name := range m.order {
		m.finish(m.fields[name])
	}
	return nil
}

func (m *mutator) finish(result *MutationResult) {
	m.report.Mutations = append(m.report.Mutations, *result)
	m.report.Summary[result.Outcome]++
	m.done(result)
}

// runCase runs a case as it should be, and then with each of its mutations.
func (m *mutator) runCase(ctx context.Context, c *Case) error {
	req, err := m.request(c)
	if err != nil {
		return err
	}
	plain, ending, err := m.load(ctx, req)
	if err != nil {
		return err
	}
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
	if m.states && wrong == "" {
		return m.changes(c, plain)
	}
	return nil
}

// load runs a request. A guest that does not survive it is reported, and the
// next request gets a new one.
func (m *mutator) load(ctx context.Context, req *agent.Request) ([]agent.Load, *vm.Ending, error) {
	answer, err := m.asker.ask(ctx, req)
	var ending *vm.Ending
	switch {
	case ctx.Err() != nil:
		return nil, nil, ctx.Err()
	case errors.As(err, &ending):
		m.end()
		return nil, ending, nil
	case err != nil:
		return nil, nil, err
	}
	return answer.Loads, nil, nil
}

// wrong says what is wrong with a case without any mutation, "" if nothing is.
// Engines that other engines differ from are no reason: see comparable.
func (m *mutator) wrong(c *Case, plain []agent.Load) string {
	j := m.judge(c)
	replay := &plain[len(plain)-1]
	for i := range plain {
		if plain[i].Engine != state.EngineTrace && !isReplay(plain[i].Engine) {
			continue
		}
		if failures := j.expectations(c, plain[i:i+1]); len(failures) > 0 {
			return failures[0]
		}
		if p := j.pair(c, &plain[i], replay); p.Verdict == Different || p.Verdict == Broken {
			return fmt.Sprintf("%s and %s are %s without it", p.A, p.B, p.Verdict)
		}
	}
	return ""
}

// comparable says whether two loads without any mutation did what the case
// expects, and left the same but for what rules explain. It returns the
// differences that they explain.
func comparable(j *judge, c *Case, a, b *agent.Load) ([]state.Difference, bool) {
	if a.Result != c.Expect.Result || b.Result != c.Expect.Result {
		return nil, false
	}
	p := j.pair(c, a, b)
	return p.Differences, p.Verdict == Equal || p.Verdict == Explained
}

func (m *mutator) mutation(ctx context.Context, c *Case, mu *mutate.Mutation, req *agent.Request, plain []agent.Load, wrong string) (*MutationResult, error) {
	result := &MutationResult{Name: mu.Name, Kind: mu.Kind(), About: mu.About, Case: c.Name, Want: mu.Want.String()}
	if wrong != "" {
		result.Outcome, result.Text = mutate.Broken, wrong
		return result, nil
	}
	replay := &plain[len(plain)-1]
	if replay.Result == agent.Unsupported {
		result.Outcome, result.Text = mutate.Unsupported, replay.Detail
		return result, nil
	}
	bites, err := m.bites(c, mu)
	if err != nil {
		return nil, err
	}
	if !bites {
		result.Outcome, result.Text = mutate.Idle, "it changes nothing in this case"
		return result, nil
	}
	broken := *req
	broken.Engines, broken.Mutate = []string{state.EngineReplay}, mu.Name
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

func (m *mutator) bites(c *Case, mu *mutate.Mutation) (bool, error) {
	obj, err := loader.Open(m.suite.path(c))
	if err != nil {
		return false, err
	}
	_, bites, err := mu.Generate(obj)
	return bites, err
}

// compare judges a broken load against each engine that did what the case
// expects. The first of them is ours or as good as ours: nothing may differ from
// it but what is wanted.
func (m *mutator) compare(c *Case, mu *mutate.Mutation, result *MutationResult, plain []agent.Load, broken *agent.Load) {
	j := m.judge(c)
	j.used = make(map[string]bool)
	found := mutate.Found{Failures: j.expectations(c, []agent.Load{*broken})}
	if broken.Result == agent.Broken {
		result.Outcome, result.Text = mutate.Broken, broken.Detail
		return
	}
	if broken.Result == agent.Refused {
		found.Refused = broken.Detail
	}
	replay := &plain[len(plain)-1]
	for i := range plain[:len(plain)-1] {
		ref := &plain[i]
		without, ok := comparable(j, c, ref, replay)
		if !ok {
			continue // known not to load it, or not as the others do
		}
		found.Differences = j.pair(c, ref, broken).Differences
		found.Strict = ref.Engine == state.EngineTrace
		outcome, text := mu.Want.Judge(&found)
		if outcome == mutate.Caught || !cannotTell(without, found.Differences, mu.Want.Field) {
			result.add(Against{Engine: ref.Engine, Outcome: outcome, Text: text})
		}
	}
	if len(result.Against) == 0 {
		result.Outcome, result.Text = mutate.Broken, "there is no engine that it can be compared with"
	}
}

// cannotTell says whether the comparison of a field with this engine says nothing
// about a mutation: it differed without it, and does not with it; what it is of
// is not there on the other side; or the other side does not know it.
func cannotTell(without, with []state.Difference, pattern string) bool {
	words := strings.SplitN(pattern, " ", 3)
	return fieldDiffers(without, pattern) && !fieldDiffers(with, pattern) ||
		len(words) > 1 && fieldDiffers(without, words[0]+" "+words[1]) ||
		slices.ContainsFunc(without, func(d state.Difference) bool {
			return mutate.Match(pattern, d.Field) && (d.A == state.Unknown || d.B == state.Unknown)
		})
}

// changes changes each field of what each engine left, and compares that with
// what each other one left.
func (m *mutator) changes(c *Case, plain []agent.Load) error {
	j := m.judge(c)
	for i := range plain {
		if plain[i].State == nil {
			continue
		}
		without := make([][]state.Difference, len(plain))
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

// change judges one change of what one engine left, compared with what another
// did.
func (m *mutator) change(c *Case, j *judge, ref, load *agent.Load, change mutate.Change, changed *state.State, without []state.Difference) {
	result, ok := m.fields[change.Name]
	if !ok {
		result = &MutationResult{Name: change.Name, Kind: mutate.OfState, Want: change.Pattern(), Outcome: mutate.Caught}
		m.fields[change.Name] = result
		m.order = append(m.order, change.Name)
	}
	ca := state.Context{Engine: ref.Engine, Release: j.release, Object: j.facts}
	cb := state.Context{Engine: load.Engine, Release: j.release, Object: j.facts}
	found := mutate.Found{Differences: state.Compare(ref.State, changed, ca, cb)}
	outcome, text := change.Want.Judge(&found)
	where := strings.TrimSpace(fmt.Sprintf("%s %s: %s, %s", c.Name, change.At, load.Engine, text))
	switch {
	case outcome == mutate.Caught && result.Text == "":
		result.Text = where
	case outcome == mutate.Caught, cannotTell(without, found.Differences, change.Want.Field):
	case outcome == mutate.Hidden:
		m.hidden(&found, change, ref.Engine, where, result)
	default:
		result.add(Against{Engine: ref.Engine, Outcome: outcome, Text: where})
	}
}

// hidden notes which rules a change hid behind. A program's and its functions'
// tags are hashes of the same things, and count as one.
func (m *mutator) hidden(f *mutate.Found, change mutate.Change, engine, where string, result *MutationResult) {
	name := strings.Replace(change.Name, " functions ", " ", 1)
	for _, d := range f.Differences {
		if d.ExplainedBy == "" || !mutate.Match(change.Want.Field, d.Field) {
			continue
		}
		if rule := d.ExplainedBy; !slices.Contains(m.report.Hiding[rule], name) {
			m.report.Hiding[rule] = append(m.report.Hiding[rule], name)
			result.Against = append(result.Against, Against{Engine: engine, Outcome: mutate.Hidden, Text: where})
		}
	}
}

func fieldDiffers(list []state.Difference, pattern string) bool {
	return slices.ContainsFunc(list, func(d state.Difference) bool { return mutate.Match(pattern, d.Field) })
}
