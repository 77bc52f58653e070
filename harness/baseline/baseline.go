package baseline

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

	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// Baseline holds the results of a suite on a kernel: what each engine did with each object, and
// each verdict.
type Baseline struct {
	File    string // path that it was read from
	Suite   string
	Kernel  string // name as users type it
	Release string
	Source  string // describes where the objects come from
	Engines []string
	Cases   map[string]Case
}

// Case is one case of a baseline.
type Case struct {
	Loads    map[string]string    // by engine: "ok", "refused:EACCES", "refused", "unsupported", "broken"
	Verdicts map[[2]string]string // by pair: a verdict, "different:FIELD+FIELD"
	Failures int
	Reason   string // comment by a person
}

// outcomeOf returns what an engine did, as one word.
func outcomeOf(l *result.LoadReport) string {
	if l.Result == wire.Refused && l.Errno != "" {
		return l.Result + ":" + l.Errno
	}
	return l.Result
}

// maxFields limits how many fields of a difference are listed.
const maxFields = 3

// separators replaces what separates the words and the items of a line.
var separators = strings.NewReplacer(",", "_", "+", "_", "#", "_", " ", "_")

func verdictOf(p *result.PairReport) string {
	if p.Verdict != result.Different {
		return string(p.Verdict)
	}
	var fields []string
	for _, d := range p.Differences {
		field := separators.Replace(d.Field.String())
		if len(d.ExplainedBy) == 0 && !slices.Contains(fields, field) {
			fields = append(fields, field)
		}
	}
	slices.Sort(fields)
	return string(result.Different) + ":" + strings.Join(fields[:min(len(fields), maxFields)], "+")
}

func baselineCase(c *result.CaseReport) Case {
	b := Case{Loads: make(map[string]string), Verdicts: make(map[[2]string]string), Failures: len(c.Failures)}
	for i := range c.Loads {
		b.Loads[c.Loads[i].Engine] = outcomeOf(&c.Loads[i])
	}
	for i := range c.Verdicts {
		p := &c.Verdicts[i]
		b.Verdicts[[2]string{p.A, p.B}] = verdictOf(p)
	}
	return b
}

// New returns the baseline for a report. It keeps from old, which may be nil, what the report does
// not cover: other cases, other engines, and comments.
func New(r *result.Report, old *Baseline) *Baseline {
	b := &Baseline{
		Suite: r.Suite, Kernel: r.Kernel.Name, Release: r.Kernel.Release, Source: r.Source,
		Engines: slices.Clone(r.Engines), Cases: make(map[string]Case),
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

// Prune removes cases that are missing in the report of a run of the whole suite. b may be nil.
func (b *Baseline) Prune(r *result.Report) {
	if b == nil {
		return
	}
	maps.DeleteFunc(b.Cases, func(name string, _ Case) bool {
		return !slices.ContainsFunc(r.Cases, func(c result.CaseReport) bool { return c.Name == name })
	})
}

// keep copies the results of engines that did not run.
func (b *Case) keep(was Case, ran []string) {
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

// Compare returns how a report differs from the baseline. A missing case is a change only if whole
// is set, which means that the report covers the whole suite.
func (b *Baseline) Compare(r *result.Report, whole bool) *result.BaselineReport {
	out := &result.BaselineReport{File: b.File, Source: b.Source, Changes: []result.Change{}}
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
			out.Changes = append(out.Changes, result.Change{Case: name, What: result.WhatCase, Was: "there", Is: result.IsGone, Worse: true})
		}
	}
	return out
}

// Known reports whether nothing in a case is worse than in the baseline.
func (b *Baseline) Known(c *result.CaseReport) bool {
	return !slices.ContainsFunc(b.changes(c), func(c result.Change) bool { return c.Worse })
}

func (b *Baseline) changes(c *result.CaseReport) []result.Change {
	was, ok := b.Cases[c.Name]
	if !ok {
		return []result.Change{{Case: c.Name, What: result.WhatCase, Was: "none", Is: string(c.Verdict()), Worse: !c.OK()}}
	}
	is := baselineCase(c)
	var out []result.Change
	add := func(what, before, now string, worse bool) {
		out = append(out, result.Change{Case: c.Name, What: what, Was: before, Is: now, Worse: worse})
	}
	for _, l := range c.Loads {
		before, ok := was.Loads[l.Engine]
		if now := is.Loads[l.Engine]; ok && now != before {
			add(l.Engine, before, now, before == wire.OK || now == wire.Broken)
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
			// This pair has no verdict in the baseline.
			add(p.A+"/"+p.B, "none", now, true)
		}
	}
	if is.Failures != was.Failures {
		add("failures", fmt.Sprint(was.Failures), fmt.Sprint(is.Failures), is.Failures > was.Failures)
	}
	return out
}

func bad(verdict string) bool {
	return strings.HasPrefix(verdict, string(result.Different)) || verdict == string(result.Broken)
}

func (b *Case) bad() bool {
	return slices.ContainsFunc(slices.Collect(maps.Values(b.Verdicts)), bad)
}

// worse reports whether a verdict has become worse. A difference has if it shows in another field
// than before.
func worse(was, is string) bool {
	a, fieldsWas, _ := strings.Cut(was, ":")
	b, fieldsIs, _ := strings.Cut(is, ":")
	if a != b {
		return result.Verdict(b).Worse(result.Verdict(a))
	}
	old := strings.Split(fieldsWas, "+")
	return slices.ContainsFunc(strings.Split(fieldsIs, "+"), func(f string) bool { return !slices.Contains(old, f) })
}

// File returns the path of a kernel's baseline in a directory.
func File(dir, kernel string) string {
	return filepath.Join(dir, result.KernelDir(kernel)+".txt")
}

// unknown is the verdict of a pair that no run has compared yet.
const unknown = "unknown"

// Read reads a baseline. It returns nil and no error if the file does not exist.
func Read(file string) (*Baseline, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("baseline %s: %w", file, err)
	}
	b.File = file
	return b, nil
}

// parse reads the output of [Baseline.Text].
func parse(data []byte) (*Baseline, error) {
	b := &Baseline{Cases: make(map[string]Case)}
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
	if key == "engines" {
		b.Engines = strings.Fields(value)
		return nil
	}
	to, ok := map[string]*string{"suite": &b.Suite, "kernel": &b.Kernel, "release": &b.Release, "source": &b.Source}[key]
	if !ok {
		return fmt.Errorf("unknown key %q", key)
	}
	*to = value
	return nil
}

// line reads the line of a case: its name, the outcomes of engines, the verdicts, and optional
// words.
func (b *Baseline) line(line string) error {
	line, reason, _ := strings.Cut(line, " # ")
	words := strings.Fields(line)
	if len(words) < 3 || len(b.Engines) == 0 {
		return fmt.Errorf("%q is no case: name, loads and verdicts are wanted, behind the header", line)
	}
	c := Case{Loads: make(map[string]string), Verdicts: make(map[[2]string]string), Reason: reason}
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
	for _, pair := range result.PairsOf(b.Engines) {
		// Exceptions name a pair, or an engine with all others ("direct/*"). The more specific one
		// applies.
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

// exceptions parses "ok,direct=refused": a value for all, and exceptions with their values.
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

// mostly returns the most frequent value, and of several the first. It ignores "".
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

// Text returns the contents of the baseline's file.
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

// verdicts returns the verdicts of all pairs in the shortest form.
func (c *Case) verdicts(engines []string) string {
	short := "none"
	for i, p := range result.PairsOf(engines) {
		if text := c.but(cmp.Or(c.Verdicts[p], unknown), engines); i == 0 || len(text) < len(short) {
			short = text
		}
	}
	return short
}

// but returns a verdict followed by the exceptions to it. An engine that has the same verdict with
// all others is one exception.
func (c *Case) but(most string, engines []string) string {
	of := func(p [2]string) string { return cmp.Or(c.Verdicts[p], unknown) }
	pairs, text := result.PairsOf(engines), most
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

// Write writes the baseline to a file, atomically.
func (b *Baseline) Write(file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return renameio.WriteFile(file, b.Text(), 0o644)
}

// Totals returns lines that summarise the baseline: how many objects each engine loads, and how
// often each verdict occurs.
func (b *Baseline) Totals() []string {
	loaded := make(map[string]int)
	pairs := make(map[result.Verdict]int)
	libbpf, replayed, alike, direct := 0, 0, 0, 0
	for _, c := range b.Cases {
		anyone, refused := false, true
		for _, e := range b.Engines {
			if c.Loads[e] == wire.OK {
				loaded[e]++
				anyone = true
			}
			refused = refused && strings.HasPrefix(c.Loads[e], wire.Refused)
		}
		if anyone {
			direct++
		}
		if refused && !c.bad() {
			alike++
		}
		if c.Loads["libbpf"] == wire.OK {
			libbpf++
			if c.Loads["replay"] == wire.OK {
				replayed++
			}
		}
		for _, v := range c.Verdicts {
			v, _, _ := strings.Cut(v, ":")
			pairs[result.Verdict(v)]++
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
	for _, v := range []result.Verdict{result.Equal, result.Explained, result.Unsupported, result.Different, result.Broken} {
		verdicts = append(verdicts, fmt.Sprintf("%d %s", pairs[v], v))
	}
	return append(out, "verdicts by pair of engines: "+strings.Join(verdicts, ", "))
}
