package report

import (
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/result"
)

// casePage is the template data of a case.
type casePage struct {
	ID      string // anchor
	Name    string
	Verdict string
	Loads   string   // the engines' results, in a few words
	Says    string   // the most important message
	Tag     string   // comparison with the baseline
	Marks   []string // such as "retried", or the injected fault
	Seconds string
	Reason  string // comment in the baseline
	Open    bool
	// Elsewhere: the case is also listed among the failures.
	Elsewhere bool

	Failures    []string
	Broken      []brokenPage
	Said        []saidPage
	Differences []differencePage
	Left        int    // number of differences that are not shown
	First       string // problem of the first of two runs
	Notes       []string
	Console     string
	Folder      *folderPage
}

type brokenPage struct{ Pairs, Why string }

// saidPage is an error that several engines share.
type saidPage struct{ Engines, Result, Detail, Log string }

// differencePage is a field, with each engine's value.
type differencePage struct {
	Field  string
	Line   string // the whole difference on one line
	Have   []havePage
	Rule   string // "" if it is unexplained
	Anchor string
	Detail string
}

type havePage struct{ Engines, Value string }

type folderPage struct{ Path, Link, Again string }

// Limits for one case on a page: number of differences, and length of a value, an error and a diff
// in characters.
const (
	maxDifferences = 60
	maxValue       = 400
	maxError       = 600
	maxDiff        = 4 << 10
)

// newCase returns the case with this index; dir is the page's directory.
func newCase(r *result.Report, i int, dir string) *casePage {
	c := &r.Cases[i]
	out := &casePage{
		ID: fmt.Sprintf("case-%d", i+1), Name: c.Name, Verdict: verdictOf(c), Loads: outcomes(c), Says: says(c),
		Failures: c.Failures, Notes: c.Notes, Console: strings.Join(c.Console, "\n"), Folder: newFolder(c.Folder, dir),
	}
	if c.Seconds > 0 {
		out.Seconds = fmt.Sprintf("%.2f s", c.Seconds)
	}
	if c.First != nil {
		out.Marks, out.First = append(out.Marks, "run twice"), c.FirstTrouble()
	}
	if fault := r.Faults[c.Name]; fault != "" {
		out.Marks = append(out.Marks, "fault "+fault)
	}
	out.said(c)
	out.broken(c)
	for _, d := range c.Differences() {
		out.Differences = append(out.Differences, newDifference(&d))
	}
	out.Left = max(len(out.Differences)-maxDifferences, 0)
	out.Differences = out.Differences[:len(out.Differences)-out.Left]
	return out
}

// newFolder returns the folder of a case's artifacts, with a link if it is below the page.
func newFolder(folder, dir string) *folderPage {
	if folder == "" {
		return nil
	}
	out := &folderPage{Path: folder}
	if rel, err := filepath.Rel(dir, folder); err == nil && filepath.IsLocal(rel) {
		out.Link = (&url.URL{Path: filepath.ToSlash(rel) + "/"}).String()
		out.Again = (&url.URL{Path: filepath.ToSlash(rel) + "/again.sh"}).String()
	}
	return out
}

// grouped joins the keys that have the same value, in order of appearance.
func grouped[T any, V comparable](list []T, key func(*T) string, value func(*T) V) (keys []string, values []V) {
	for i := range list {
		k, v := key(&list[i]), value(&list[i])
		if j := slices.Index(values, v); j >= 0 {
			keys[j] += ", " + k
			continue
		}
		keys, values = append(keys, k), append(values, v)
	}
	return keys, values
}

func loadName(l *result.LoadReport) string { return l.Engine }
func loadWord(l *result.LoadReport) string {
	if l.Errno != "" {
		return l.Result + " " + l.Errno
	}
	return l.Result
}

// timed is an engine, and how long it took.
func timed(l *result.LoadReport) string {
	took := l.Took()
	if took == 0 {
		return l.Engine
	}
	return fmt.Sprintf("%s (%.3g ms)", l.Engine, took.Seconds()*1000)
}

// outcomes returns the engines' results: "ok", or "direct refused; trace, replay ok".
func outcomes(c *result.CaseReport) string {
	engines, words := grouped(c.Loads, loadName, loadWord)
	if len(words) == 1 {
		return words[0]
	}
	for i := range words {
		words[i] = engines[i] + " " + words[i]
	}
	return strings.Join(words, "; ")
}

// says returns the first line about a case.
func says(c *result.CaseReport) string {
	if text := problem(c); text != "" {
		return text
	}
	for _, l := range bySay(c) {
		if l.Loaded() {
			continue
		}
		if line := lastWord(l.Log); line != "" {
			return oneLine(cut(line, maxProblem))
		}
		if l.Detail != "" {
			return oneLine(cut(l.Detail, maxProblem))
		}
	}
	var rules []string
	for _, d := range c.Differences() {
		for _, rule := range d.Rules {
			if !slices.Contains(rules, rule) {
				rules = append(rules, rule)
			}
		}
	}
	return strings.Join(rules, ", ")
}

// said lists the errors of loads, equal ones once.
func (p *casePage) said(c *result.CaseReport) {
	if !slices.ContainsFunc(c.Loads, func(l result.LoadReport) bool { return !l.Loaded() }) {
		return
	}
	engines, said := grouped(c.Loads, timed, func(l *result.LoadReport) saidPage {
		s := saidPage{Result: loadWord(l), Detail: cut(l.Detail, maxError)}
		if !l.Loaded() {
			s.Log = cut(lastWord(l.Log), maxError)
		}
		return s
	})
	for i := range said {
		said[i].Engines = engines[i]
	}
	p.Said = said
}

// broken lists why pairs of engines could not be compared, equal reasons once.
func (p *casePage) broken(c *result.CaseReport) {
	broken := slices.DeleteFunc(slices.Clone(c.Verdicts), func(v result.PairReport) bool { return v.Verdict != result.Broken })
	pairs, reasons := grouped(broken, func(v *result.PairReport) string { return v.A + "/" + v.B },
		func(v *result.PairReport) string { return v.Reason })
	for i := range pairs {
		p.Broken = append(p.Broken, brokenPage{pairs[i], reasons[i]})
	}
}

func newDifference(d *result.FieldDifference) differencePage {
	out := differencePage{Field: cut(d.Field.String(), maxValue), Line: cut(d.String(), 2*maxValue), Detail: cut(d.Detail, maxDiff)}
	if len(d.Open) == 0 {
		out.Rule = strings.Join(d.Rules, ", ")
	}
	if out.Rule != "" {
		out.Anchor = ruleAnchor(d.Rules[0])
	}
	for _, g := range d.Groups {
		out.Have = append(out.Have, havePage{strings.Join(g.Engines, ", "), cut(g.Value, maxValue)})
	}
	return out
}
