package harness

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/bpfreplay/bpfreplay/harness/agent"
	"github.com/bpfreplay/bpfreplay/harness/suite"
)

// Baseline is what a suite of others' objects came to on a kernel when somebody
// last looked: what each engine did with each object, and each verdict. A run is
// compared with it and fails on what has become worse, and on nothing else.
type Baseline struct {
	File    string // where it was read from
	Suite   string
	Kernel  string // as users type it
	Release string
	Source  string // of the objects, in words
	Engines []string
	Cases   map[string]BaselineCase
}

// BaselineCase is one case of a baseline.
type BaselineCase struct {
	Loads    map[string]string    // by engine: "ok", "refused:EACCES", "refused", "unsupported", "broken"
	Verdicts map[[2]string]string // by pair: a verdict, "different:FIELD+FIELD"
	Failures int
	Reason   string // what somebody wrote about it
}

// Change is one difference between a run and its baseline.
type Change struct {
	Case  string `json:"case"`
	What  string `json:"what"` // an engine, a pair of engines, "failures", "case"
	Was   string `json:"was"`
	Is    string `json:"is"`
	Worse bool   `json:"worse"`
}

// BaselineReport is how a run compares with its baseline.
type BaselineReport struct {
	File    string   `json:"file"`
	Source  string   `json:"source"` // of the objects that it is about
	Changes []Change `json:"changes"`
	// Reasons are what people wrote in the baseline about cases that are not as they
	// should be, by case.
	Reasons map[string]string `json:"reasons,omitempty"`
}

// explain says of cases that are gone why they are, by name.
func (b *BaselineReport) explain(absent map[string]string) {
	for i := range b.Changes {
		c := &b.Changes[i]
		if why, ok := absent[c.Case]; ok && c.What == whatCase && c.Is == isGone {
			c.Is += ": there is no object: " + why
		}
	}
}

// Words of changes that are about a whole case.
const (
	whatCase = "case"
	isGone   = "gone"
)

// Worse is how many changes are for the worse.
func (b *BaselineReport) Worse() int {
	n := 0
	for _, c := range b.Changes {
		if c.Worse {
			n++
		}
	}
	return n
}

// with is what two parts of a run changed; either may be nil.
func (b *BaselineReport) with(other *BaselineReport) *BaselineReport {
	if b == nil || other == nil {
		return cmp.Or(b, other)
	}
	out := *b
	out.Changes = slices.Concat(b.Changes, other.Changes)
	out.Reasons = make(map[string]string)
	maps.Copy(out.Reasons, b.Reasons)
	maps.Copy(out.Reasons, other.Reasons)
	return &out
}

// outcomeOf is what an engine did, in one word.
func outcomeOf(l *LoadReport) string {
	if l.Result == agent.Refused && l.Errno != "" {
		return l.Result + ":" + l.Errno
	}
	return l.Result
}

// maxFields bounds what is said of a difference.
const maxFields = 3

func verdictOf(p *PairReport) string {
	if p.Verdict != Different {
		return string(p.Verdict)
	}
	var fields []string
	for _, d := range p.Differences {
		field := strings.ReplaceAll(strings.NewReplacer(",", "_", "+", "_", "#", "_").Replace(d.Field), " ", "_")
		if d.ExplainedBy == "" && !slices.Contains(fields, field) {
			fields = append(fields, field)
		}
	}
	slices.Sort(fields)
	return string(Different) + ":" + strings.Join(fields[:min(len(fields), maxFields)], "+")
}

func baselineCase(c *CaseReport) BaselineCase {
	b := BaselineCase{Loads: make(map[string]string), Verdicts: make(map[[2]string]string), Failures: len(c.Failures)}
	for i := range c.Loads {
		b.Loads[c.Loads[i].Engine] = outcomeOf(&c.Loads[i])
	}
	for i := range c.Verdicts {
		p := &c.Verdicts[i]
		b.Verdicts[[2]string{p.A, p.B}] = verdictOf(p)
	}
	return b
}

// NewBaseline makes a baseline of a report. What the report says nothing of (other
// cases, other engines, what people wrote) is that of old, which may be nil.
func NewBaseline(r *Report, old *Baseline) *Baseline {
	b := &Baseline{
		Suite: r.Suite, Kernel: r.Kernel.Name, Release: r.Kernel.Release, Source: r.Source,
		Engines: slices.Clone(r.Engines), Cases: make(map[string]BaselineCase),
	}
	if old != nil {
		maps.Copy(b.Cases, old.Cases)
		for _, e := range old.Engines {
			if !slices.Contains(b.Engines, e) {
				b.Engines = append(b.Engines, e)
			}
		}
		slices.SortFunc(b.Engines, func(x, y string) int {
			return slices.Index(suite.EngineNames, x) - slices.Index(suite.EngineNames, y)
		})
	}
	for i := range r.Cases {
		c := &r.Cases[i]
		now := baselineCase(c)
		if was, ok := b.Cases[c.Name]; ok {
			now.keep(was, r.Engines)
		}
		b.Cases[c.Name] = now
	}
	return b
}

// Prune takes out cases that the report of a run of the whole suite does not have. b may be
// nil.
func (b *Baseline) Prune(r *Report) {
	if b == nil {
		return
	}
	maps.DeleteFunc(b.Cases, func(name string, _ BaselineCase) bool {
		return !slices.ContainsFunc(r.Cases, func(c CaseReport) bool { return c.Name == name })
	})
}

// keep takes over what a run of some engines does not tell.
func (b *BaselineCase) keep(was BaselineCase, ran []string) {
	for e, outcome := range was.Loads {
		if !slices.Contains(ran, e) {
			b.Loads[e] = outcome
		}
	}
	for pair, v := range was.Verdicts {
		if !slices.Contains(ran, pair[0]) || !slices.Contains(ran, pair[1]) {
			b.Verdicts[pair] = v
		}
	}
	b.Reason = was.Reason
}

// Compare says what of a report is not as it was. That a case is missing is a
// change only if whole is set: the report is of the whole suite.
func (b *Baseline) Compare(r *Report, whole bool) *BaselineReport {
	out := &BaselineReport{File: b.File, Source: b.Source, Changes: []Change{}}
	seen := make(map[string]bool)
	for i := range r.Cases {
		c := &r.Cases[i]
		seen[c.Name] = true
		out.Changes = append(out.Changes, b.changes(c)...)
		if reason := b.Cases[c.Name].Reason; reason != "" && !c.OK() {
			if out.Reasons == nil {
				out.Reasons = make(map[string]string)
			}
			out.Reasons[c.Name] = reason
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.Cases)) {
		if whole && !seen[name] {
			out.Changes = append(out.Changes, Change{Case: name, What: whatCase, Was: "there", Is: isGone, Worse: true})
		}
	}
	return out
}

// Known says whether nothing of a case is worse than it was.
func (b *Baseline) Known(c *CaseReport) bool {
	return !slices.ContainsFunc(b.changes(c), func(c Change) bool { return c.Worse })
}

func (b *Baseline) changes(c *CaseReport) []Change {
	was, ok := b.Cases[c.Name]
	if !ok {
		return []Change{{Case: c.Name, What: whatCase, Was: "none", Is: string(c.Verdict()), Worse: !c.OK()}}
	}
	is := baselineCase(c)
	var out []Change
	add := func(what, before, now string, worse bool) {
		out = append(out, Change{Case: c.Name, What: what, Was: before, Is: now, Worse: worse})
	}
	for _, l := range c.Loads {
		before, ok := was.Loads[l.Engine]
		if now := is.Loads[l.Engine]; ok && now != before {
			add(l.Engine, before, now, before == agent.OK || now == agent.Broken)
		}
	}
	for _, p := range c.Verdicts {
		pair := [2]string{p.A, p.B}
		now := is.Verdicts[pair]
		before, ok := was.Verdicts[pair]
		switch {
		case ok && now != before:
			add(p.A+"/"+p.B, before, now, worse(before, now))
		case !ok && bad(now) && !was.bad():
			// No run has judged it before.
			add(p.A+"/"+p.B, "none", now, true)
		}
	}
	if is.Failures != was.Failures {
		add("failures", fmt.Sprint(was.Failures), fmt.Sprint(is.Failures), is.Failures > was.Failures)
	}
	return out
}

func bad(verdict string) bool {
	return strings.HasPrefix(verdict, string(Different)) || verdict == string(Broken)
}

func (b *BaselineCase) bad() bool {
	for _, v := range b.Verdicts {
		if bad(v) {
			return true
		}
	}
	return false
}

// worse: of two differences the one that shows in another field is.
func worse(was, is string) bool {
	a, fieldsWas, _ := strings.Cut(was, ":")
	b, fieldsIs, _ := strings.Cut(is, ":")
	if a != b {
		return rank[Verdict(b)] > rank[Verdict(a)]
	}
	old := strings.Split(fieldsWas, "+")
	return slices.ContainsFunc(strings.Split(fieldsIs, "+"), func(f string) bool { return !slices.Contains(old, f) })
}

// BaselineFile is the file of a kernel's baseline in a directory.
func BaselineFile(dir, kernel string) string {
	return filepath.Join(dir, KernelDir(kernel)+".txt")
}

// readBaseline reads what the run is compared with.
func (r *runner) readBaseline() (err error) {
	if r.Baselines == "" {
		return nil
	}
	file := BaselineFile(r.Baselines, r.Kernel.Name)
	r.baseline, err = ReadBaseline(file)
	if err == nil && r.baseline == nil {
		r.Note(fmt.Sprintf("there is no baseline %s: the run fails on every difference; --update-baseline writes one", file))
	}
	return err
}

// pairsOf are all pairs of engines, in their order.
func pairsOf(engines []string) (pairs [][2]string) {
	for i, a := range engines {
		for _, b := range engines[i+1:] {
			pairs = append(pairs, [2]string{a, b})
		}
	}
	return pairs
}

// unknown is the verdict of a pair that no run has judged yet.
const unknown = "unknown"

// ReadBaseline reads a baseline. One that is not there is nil.
func ReadBaseline(file string) (*Baseline, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b, err := parseBaseline(data)
	if err != nil {
		return nil, fmt.Errorf("baseline %s: %w", file, err)
	}
	b.File = file
	return b, nil
}

// parseBaseline reads what [Baseline.Text] writes.
func parseBaseline(data []byte) (*Baseline, error) {
	b := &Baseline{Cases: make(map[string]BaselineCase)}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		if key, value, ok := strings.Cut(line, ": "); ok && !strings.Contains(key, " ") {
			if err := b.header(key, value); err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
			continue
		}
		if err := b.line(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	return b, lines.Err()
}

func (b *Baseline) header(key, value string) error {
	switch key {
	case "suite":
		b.Suite = value
	case "kernel":
		b.Kernel = value
	case "release":
		b.Release = value
	case "source":
		b.Source = value
	case "engines":
		b.Engines = strings.Fields(value)
	default:
		return fmt.Errorf("unknown key %q", key)
	}
	return nil
}

// line reads a case: its name, what engines did, verdicts, and perhaps more.
func (b *Baseline) line(line string) error {
	line, reason, _ := strings.Cut(line, " # ")
	words := strings.Fields(line)
	if len(words) < 3 || len(b.Engines) == 0 {
		return fmt.Errorf("%q is no case: name, loads and verdicts are wanted, behind the header", line)
	}
	c := BaselineCase{Loads: make(map[string]string), Verdicts: make(map[[2]string]string), Reason: reason}
	all, but, err := exceptions(words[1])
	if err != nil {
		return err
	}
	for _, e := range b.Engines {
		c.Loads[e] = all
	}
	maps.Copy(c.Loads, but)
	if all, but, err = exceptions(words[2]); err != nil {
		return err
	}
	for pair := range but {
		if !strings.Contains(pair, "/") {
			return fmt.Errorf("%q is no pair of engines", pair)
		}
	}
	for _, pair := range pairsOf(b.Engines) {
		// A pair itself, or an engine with all others: a more special one counts.
		v := cmp.Or(but[pair[0]+"/"+pair[1]], but[pair[0]+"/*"], but[pair[1]+"/*"], all)
		if v != unknown {
			c.Verdicts[pair] = v
		}
	}
	for _, w := range words[3:] {
		if _, err := fmt.Sscanf(w, "failures=%d", &c.Failures); err != nil {
			return fmt.Errorf("%q is not understood", w)
		}
	}
	if _, twice := b.Cases[words[0]]; twice {
		return fmt.Errorf("case %s is there twice", words[0])
	}
	b.Cases[words[0]] = c
	return nil
}

// exceptions reads "ok,direct=refused": what holds for all, and for whom it does not.
func exceptions(text string) (all string, but map[string]string, err error) {
	but = make(map[string]string)
	for i, item := range strings.Split(text, ",") {
		who, what, ok := strings.Cut(item, "=")
		switch {
		case i == 0 && !ok && item != "":
			all = item
		case i > 0 && ok && who != "" && what != "":
			but[who] = what
		default:
			return "", nil, fmt.Errorf("%q is not understood", text)
		}
	}
	return all, but, nil
}

// mostly is the value that is there most often, of several the first; "" counts
// nothing.
func mostly(values []string) string {
	count, best := make(map[string]int), ""
	for _, v := range values {
		count[v]++
	}
	for _, v := range values {
		if v != "" && (best == "" || count[v] > count[best]) {
			best = v
		}
	}
	return best
}

// Text is the baseline as a file.
func (b *Baseline) Text() []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "# What the objects of suite %s came to. `bpfreplay vmtest --update-baseline` writes it;\n", b.Suite)
	fmt.Fprintf(&out, "# only what is behind \" # \" on a line is for people to write.\n")
	fmt.Fprintf(&out, "suite: %s\nkernel: %s\nrelease: %s\nsource: %s\nengines: %s\n#\n", b.Suite, b.Kernel, b.Release, b.Source, strings.Join(b.Engines, " "))
	for _, line := range b.Totals() {
		fmt.Fprintf(&out, "# %s\n", line)
	}
	fmt.Fprintln(&out)
	for _, name := range slices.Sorted(maps.Keys(b.Cases)) {
		c := b.Cases[name]
		var outcomes []string
		for _, e := range b.Engines {
			outcomes = append(outcomes, c.Loads[e])
		}
		all := mostly(outcomes)
		fmt.Fprintf(&out, "%s %s", name, all)
		for i, e := range b.Engines {
			if o := outcomes[i]; o != "" && o != all {
				fmt.Fprintf(&out, ",%s=%s", e, o)
			}
		}
		fmt.Fprintf(&out, " %s", c.verdicts(b.Engines))
		if c.Failures > 0 {
			fmt.Fprintf(&out, " failures=%d", c.Failures)
		}
		if c.Reason != "" {
			fmt.Fprintf(&out, " # %s", c.Reason)
		}
		fmt.Fprintln(&out)
	}
	return out.Bytes()
}

// verdicts are those of all pairs, as short as can be said.
func (c *BaselineCase) verdicts(engines []string) string {
	short := "none"
	for i, p := range pairsOf(engines) {
		if text := c.but(cmp.Or(c.Verdicts[p], unknown), engines); i == 0 || len(text) < len(short) {
			short = text
		}
	}
	return short
}

// but is a verdict, and behind it those that are others: of an engine that has the same with
// all others once.
func (c *BaselineCase) but(most string, engines []string) string {
	of := func(p [2]string) string { return cmp.Or(c.Verdicts[p], unknown) }
	pairs, text := pairsOf(engines), most
	for _, e := range engines {
		with := slices.DeleteFunc(slices.Clone(pairs), func(p [2]string) bool { return p[0] != e && p[1] != e })
		if len(with) < 2 || of(with[0]) == most || slices.ContainsFunc(with, func(p [2]string) bool { return of(p) != of(with[0]) }) {
			continue
		}
		text += fmt.Sprintf(",%s/*=%s", e, of(with[0]))
		pairs = slices.DeleteFunc(pairs, func(p [2]string) bool { return slices.Contains(with, p) })
	}
	for _, p := range pairs {
		if of(p) != most {
			text += fmt.Sprintf(",%s/%s=%s", p[0], p[1], of(p))
		}
	}
	return text
}

// Write writes the baseline to a file, whole or not at all.
func (b *Baseline) Write(file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return renameio.WriteFile(file, b.Text(), 0o644)
}

// Totals are lines that sum the baseline up: how many objects each engine loads,
// and how verdicts are spread.
func (b *Baseline) Totals() []string {
	loaded := make(map[string]int)
	pairs := make(map[Verdict]int)
	libbpf, replayed, alike, direct := 0, 0, 0, 0
	for _, c := range b.Cases {
		anyone, refused := false, true
		for _, e := range b.Engines {
			if c.Loads[e] == agent.OK {
				loaded[e]++
				anyone = true
			}
			refused = refused && strings.HasPrefix(c.Loads[e], agent.Refused)
		}
		if anyone {
			direct++
		}
		if refused && !c.bad() {
			alike++
		}
		if c.Loads["libbpf"] == agent.OK {
			libbpf++
			if c.Loads["replay"] == agent.OK {
				replayed++
			}
		}
		for _, v := range c.Verdicts {
			v, _, _ := strings.Cut(v, ":")
			pairs[Verdict(v)]++
		}
	}
	var ok []string
	for _, e := range b.Engines {
		ok = append(ok, fmt.Sprintf("%s %d", e, loaded[e]))
	}
	out := []string{
		fmt.Sprintf("%d cases; loaded by any engine %d: %s", len(b.Cases), direct, strings.Join(ok, ", ")),
		fmt.Sprintf("refused alike by all: %d", alike),
	}
	if libbpf > 0 {
		out = append(out, fmt.Sprintf("of the %d that libbpf loads directly, replayed: %d (%.1f %%)", libbpf, replayed, 100*float64(replayed)/float64(libbpf)))
	}
	var verdicts []string
	for _, v := range []Verdict{Equal, Explained, Unsupported, Different, Broken} {
		verdicts = append(verdicts, fmt.Sprintf("%d %s", pairs[v], v))
	}
	return append(out, "verdicts by pair of engines: "+strings.Join(verdicts, ", "))
}
