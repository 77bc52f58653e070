package report

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bpfreplay/bpfreplay/harness/judge"
	"github.com/bpfreplay/bpfreplay/harness/result"
)

// Each page is one file that needs nothing else. A content security policy forbids the browser to
// load anything and to run any other script. So if the name of an object got through as markup, it
// could not be executed.

//go:embed page
var pageFiles embed.FS

// pages are parsed on first use, because the agent in a guest needs none.
var pages = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("").Funcs(template.FuncMap{
		"style":  func() pageStyle { return pageStyle{template.CSS(pageFile("page.css")), digestOf("page.css")} },
		"script": func() pageScript { return pageScript{template.JS(pageFile("page.js")), digestOf("page.js")} },
	}).ParseFS(pageFiles, "page/*.html"))
})

type (
	pageStyle struct {
		CSS    template.CSS
		Digest template.HTMLAttr
	}
	pageScript struct {
		JS     template.JS
		Digest template.HTMLAttr
	}
)

func pageFile(name string) string {
	b, err := pageFiles.ReadFile("page/" + name)
	if err != nil {
		panic(err) // impossible: the files are embedded
	}
	return string(b)
}

// digestOf returns the name of a script or a style in a content security policy.
func digestOf(name string) template.HTMLAttr {
	sum := sha256.Sum256([]byte(pageFile(name)))
	return template.HTMLAttr("sha256-" + base64.StdEncoding.EncodeToString(sum[:]))
}

// maxPage is the size, in bytes, above which a page omits the engines' output for cases that
// passed.
const maxPage = 1800 << 10

// WriteHTML writes the report of a run as a page to a file, whole or not at all.
func WriteHTML(path string, r *result.Report) error {
	b, err := kernelPage(r, filepath.Dir(path))
	if err != nil {
		return err
	}
	return write(path, b)
}

// WriteMatrixHTML writes a page with a table of kernels to a file, whole or not at all. link
// returns the relative address of a kernel's own page, or "".
func WriteMatrixHTML(path string, m *result.Matrix, link func(*result.KernelRun) string) error {
	b, err := rendered("matrix.html", matrixPage(m, link))
	if err != nil {
		return err
	}
	return write(path, b)
}

// kernelPage returns the page of a run, for a file in directory dir.
func kernelPage(r *result.Report, dir string) ([]byte, error) {
	p := newPage(r, dir)
	b, err := rendered("kernel.html", p)
	if err == nil && len(b) > maxPage {
		p.Brief = true
		b, err = rendered("kernel.html", p)
	}
	return b, err
}

func rendered(name string, data any) ([]byte, error) {
	var b bytes.Buffer
	if err := pages().ExecuteTemplate(&b, name, data); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return []byte(printable(b.String())), nil
}

// page is the template data of a run.
type page struct {
	Report        *result.Report
	Title, Result string

	Facts         []fact
	Links         []link
	Odd           []string
	Times         []fact
	Groups        []*groupPage
	Counts        []count
	Baseline      *baselinePage
	Wrong         []*casePage
	Rules         []*rulePage
	Unused        string
	EngineColumns []string
	Engines       []numbers
	PairColumns   []result.Verdict
	Pairs         []numbers
	Cases         []*casePage
	Brief         bool // without the engines' output for cases that passed
}

type fact struct{ Name, Value string }

type link struct{ Name, Address string }

// groupPage is an unexplained difference that several cases share.
type groupPage struct {
	differencePage
	Cases []*casePage
}

type count struct {
	Name string
	N    int
}

// numbers is a row of a table of numbers.
type numbers struct {
	Name, Version string
	Counts        []int
}

type baselinePage struct {
	File, Source, Sum, Other string

	Rows []changePage
	Left int
}

type changePage struct{ Mark, ID, Case, What, Was, Is, Says string }

type rulePage struct {
	ID, Anchor, Reason string

	N     int
	More  []string // descriptions of known refusals
	Cases []int    // indices of the cases
}

// maxChanges bounds the rows of the table of changes.
const maxChanges = 1000

// maxOpen is how many of the cases that became worse are initially open.
const maxOpen = 5

func newPage(r *result.Report, dir string) *page {
	p := &page{
		Report: r, Title: fmt.Sprintf("%s: %s on %s", passOrFail(r.OK()), oneLine(r.Suite), oneLine(r.Kernel.Name)),
		Result: passOrFail(r.OK()), Unused: strings.Join(r.UnusedRules, ", "), Odd: oddities(r), Links: linksOf(dir, "report.json"),
	}
	worse := make(map[string]bool)
	if r.Baseline != nil {
		for _, c := range r.Baseline.Changes {
			worse[c.Case] = worse[c.Case] || c.Worse
		}
	}
	byName := make(map[string]*casePage)
	var others []*casePage // that are wrong, and were before
	for i := range r.Cases {
		c := newCase(r, i, dir)
		p.Cases = append(p.Cases, c)
		byName[c.Name] = c
		c.Elsewhere = worse[c.Name] || !r.Cases[i].OK()
		switch {
		case worse[c.Name]:
			c.Tag = "worse"
			p.Wrong = append(p.Wrong, c)
		case c.Elsewhere:
			if r.Baseline != nil {
				c.Tag, c.Reason = "as in the baseline", r.Baseline.Reasons[c.Name]
			}
			others = append(others, c)
		}
	}
	p.Wrong = append(p.Wrong, others...)
	for i, c := range p.Wrong {
		c.Open = i < maxOpen && (c.Tag == "worse" || r.Baseline == nil)
	}
	p.facts(r)
	p.times(r)
	p.counts(r)
	p.groups()
	p.Baseline = changesPage(r, byName)
	p.Rules = rulesOf(r)
	slices.SortStableFunc(p.Rules, func(a, b *rulePage) int { return b.N - a.N })
	p.engines(r)
	return p
}

func (p *page) facts(r *result.Report) {
	add := func(name, value string) {
		if value != "" {
			p.Facts = append(p.Facts, fact{name, value})
		}
	}
	add("kernel", r.Kernel.Release)
	add("from", r.Kernel.Origin)
	add("objects", r.Source)
	var engines []string
	for _, e := range r.Engines {
		if v := r.Versions[e]; v != "" {
			e += " (" + v + ")"
		}
		engines = append(engines, e)
	}
	add("engines", strings.Join(engines, ", "))
	if r.Shard != nil {
		add("shard", r.Shard.String())
	}
	add("guest", r.Accelerator+", "+r.Guest())
	if !r.Started.IsZero() {
		add("begun", r.Started.UTC().Format(time.DateTime)+" UTC")
	}
}

// linksOf returns links to the report and to the guests' consoles in the page's directory.
func linksOf(dir, report string) []link {
	links := []link{{report, report}}
	consoles, err := filepath.Glob(filepath.Join(dir, "console*.log"))
	if err != nil || dir == "" {
		return links
	}
	for i, path := range consoles {
		if i == maxConsoles {
			break
		}
		name := filepath.Base(path)
		links = append(links, link{name, (&url.URL{Path: name}).String()})
	}
	return links
}

// maxConsoles is how many consoles a page links; there is one for each guest.
const maxConsoles = 12

// times adds the times of the phases of a run.
func (p *page) times(r *result.Report) {
	add := func(name string, seconds float64) {
		if seconds > 0 {
			p.Times = append(p.Times, fact{name, duration(seconds)})
		}
	}
	add("guest booted and saved", r.Seconds.Saving)
	start := "first guest booted"
	if r.Restored {
		start = "first guest restored"
	}
	add(start, r.Seconds.Boot)
	add("cases, one after the other", r.Seconds.Suite)
	for _, s := range shares(r) {
		p.Times = append(p.Times, fact{"of these: " + s.name, fmt.Sprintf("%s, %.0f %%", duration(s.seconds), s.percent)})
	}
	add("all", r.Seconds.Total)
	if r.Before != nil {
		add("all, in the run before", r.Before.Seconds.Total)
	}
}

// groups collects unexplained differences that several cases share.
func (p *page) groups() {
	var all []*groupPage
	for _, c := range p.Cases {
		for _, d := range c.Differences {
			if d.Rule != "" {
				continue
			}
			d.Detail = ""
			i := slices.IndexFunc(all, func(g *groupPage) bool { return g.Line == d.Line })
			if i < 0 {
				i, all = len(all), append(all, &groupPage{differencePage: d})
			}
			if cases := all[i].Cases; len(cases) == 0 || cases[len(cases)-1] != c {
				all[i].Cases = append(cases, c)
			}
		}
	}
	p.Groups = slices.DeleteFunc(all, func(g *groupPage) bool { return len(g.Cases) < 2 })
	slices.SortStableFunc(p.Groups, func(a, b *groupPage) int { return len(b.Cases) - len(a.Cases) })
}

// counts counts cases by verdict, from good to bad.
func (p *page) counts(r *result.Report) {
	n := make(map[string]int)
	for i := range r.Cases {
		n[verdictOf(&r.Cases[i])]++
	}
	for _, v := range verdicts {
		p.Counts = append(p.Counts, count{string(v), n[string(v)]})
	}
	p.Counts = append(p.Counts, count{wordFailed, n[wordFailed]})
}

// mark returns the word for a change.
func mark(c *result.Change) string {
	word := func(s string) result.Verdict { v, _, _ := strings.Cut(s, ":"); return result.Verdict(v) }
	bad := func(s string) bool {
		return !slices.Contains([]result.Verdict{"ok", result.Equal, result.Explained, "0"}, word(s))
	}
	switch {
	case c.Worse:
		return "worse"
	case c.What == "case":
		return "new"
	case bad(c.Was) && !bad(c.Is) || c.What == "failures":
		return "better"
	default:
		return "other"
	}
}

// marks are in display order.
var marks = []string{"worse", "new", "better", "other"}

// changesPage returns the changes since the baseline. A change that is the same for several pairs
// of engines is listed once.
func changesPage(r *result.Report, cases map[string]*casePage) *baselinePage {
	b := r.Baseline
	if b == nil {
		return nil
	}
	out := &baselinePage{File: b.File, Source: b.Source, Other: otherSource(r), Sum: "nothing has changed"}
	if n := len(b.Changes); n > 0 {
		out.Sum = fmt.Sprintf("%d changes, %d for the worse", n, b.Worse())
	}
	for i := range b.Changes {
		c := &b.Changes[i]
		row := changePage{Mark: mark(c), Case: c.Case, What: c.What, Was: c.Was, Is: c.Is}
		j := slices.IndexFunc(out.Rows, func(other changePage) bool {
			return other.Case == row.Case && other.Mark == row.Mark && other.Was == row.Was && other.Is == row.Is
		})
		if j >= 0 {
			out.Rows[j].What += ", " + row.What
			continue
		}
		if of := cases[c.Case]; of != nil {
			row.ID, row.Says = of.ID, of.Says
		}
		out.Rows = append(out.Rows, row)
	}
	slices.SortStableFunc(out.Rows, func(a, b changePage) int { return slices.Index(marks, a.Mark) - slices.Index(marks, b.Mark) })
	out.Left = max(len(out.Rows)-maxChanges, 0)
	out.Rows = out.Rows[:len(out.Rows)-out.Left]
	return out
}

// rulesOf returns the rules that explained something, in order of appearance.
func rulesOf(r *result.Report) []*rulePage {
	var rules []*rulePage
	byID := make(map[string]*rulePage)
	for i := range r.Cases {
		for _, v := range r.Cases[i].Verdicts {
			for _, d := range v.Differences {
				if len(d.ExplainedBy) == 0 {
					continue
				}
				by := d.ExplainedBy.String()
				rule := byID[by]
				if rule == nil {
					rule = &rulePage{ID: by, Anchor: ruleAnchor(by), Reason: judge.Reason(d.ExplainedBy...)}
					byID[by] = rule
					rules = append(rules, rule)
				}
				rule.N++
				if by == result.RuleKnown && !slices.Contains(rule.More, d.Detail) {
					rule.More = append(rule.More, d.Detail)
				}
				if !slices.Contains(rule.Cases, i) {
					rule.Cases = append(rule.Cases, i)
				}
			}
		}
	}
	return rules
}

// ruleAnchor is the id of a rule in the page.
func ruleAnchor(id string) string { return "rule-" + notInAnchors.ReplaceAllString(id, "-") }

var notInAnchors = regexp.MustCompile(`[^A-Za-z0-9_-]`)

// engines counts the results of each engine, and the verdicts of each pair.
func (p *page) engines(r *result.Report) {
	p.EngineColumns = []string{"loads", "refused by all", "refused, another loads", "unsupported", "broken"}
	for _, e := range r.Engines {
		row := numbers{Name: e, Version: r.Versions[e], Counts: make([]int, len(p.EngineColumns))}
		for i := range r.Cases {
			loads := r.Cases[i].Loads
			j := slices.IndexFunc(loads, func(l result.LoadReport) bool { return l.Engine == e })
			if j < 0 {
				continue
			}
			l := &loads[j]
			column := 1
			switch {
			case l.Loaded():
				column = 0
			case l.Broken():
				column = 4
			case !l.Applies():
				column = 3
			case slices.ContainsFunc(loads, func(l result.LoadReport) bool { return l.Loaded() }):
				column = 2
			}
			row.Counts[column]++
		}
		p.Engines = append(p.Engines, row)
	}
	p.PairColumns = verdicts
	for _, pair := range countPairs(r) {
		row := numbers{Name: pair.name}
		for _, v := range verdicts {
			row.Counts = append(row.Counts, pair.n[v])
		}
		p.Pairs = append(p.Pairs, row)
	}
}
