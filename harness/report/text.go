package report

import (
	"cmp"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// Text writes a run to a terminal.
type Text struct {
	W       io.Writer
	Verbose bool // also show explained differences
}

// lines writes each of these with a prefix.
func (t *Text) lines(prefix string, lines []string) {
	for _, l := range lines {
		fmt.Fprintf(t.W, "%s%s\n", prefix, l)
	}
}

// Case writes the line of one case, and below it its problems.
func (t *Text) Case(c *result.CaseReport) {
	fmt.Fprintf(t.W, "%-11s  %-28s  %s\n", verdictOf(c), c.Name, t.loads(c))
	t.broken(c)
	for _, d := range c.Differences() {
		t.difference(&d)
	}
	t.lines("    ", c.Failures)
	t.lines("    note: ", c.Notes)
	t.lines("    | ", c.Console)
	if c.Folder != "" {
		fmt.Fprintf(t.W, "    kept: %s\n", c.Folder)
	}
}

// verdictOf returns the word for a case.
func verdictOf(c *result.CaseReport) string {
	if len(c.Failures) > 0 {
		return wordFailed
	}
	return string(c.Verdict())
}

// wordFailed marks a case that fails for another reason than a verdict.
const wordFailed = "FAILED"

// loads returns the engines' results in short form.
func (t *Text) loads(c *result.CaseReport) string {
	var parts []string
	same := true
	for i := range c.Loads {
		l := &c.Loads[i]
		same = same && loadWord(l) == loadWord(&c.Loads[0])
		parts = append(parts, l.Engine+" "+loadWord(l))
	}
	s := strings.Join(parts, ", ")
	if same && len(c.Loads) > 0 {
		s = c.Loads[0].Result
	}
	for _, l := range bySay(c) {
		if d := reason(l); d != "" {
			return s + ": " + d
		}
	}
	return s
}

// bySay returns the loads of a case, the most informative ones first: ours, and cilium/ebpf's last.
func bySay(c *result.CaseReport) []*result.LoadReport {
	var ours, others []*result.LoadReport
	for i := range slices.Backward(c.Loads) {
		if l := &c.Loads[i]; enginename.Ours(l.Engine) {
			ours = append(ours, l)
		} else {
			others = append(others, l)
		}
	}
	return append(ours, others...)
}

// reason returns why a load failed.
func reason(l *result.LoadReport) string {
	if l.Loaded() || l.Broken() {
		return ""
	}
	return cut(l.Detail, 160)
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// broken writes the reasons why pairs could not be compared, each once.
func (t *Text) broken(c *result.CaseReport) {
	said := ""
	for _, p := range c.Verdicts {
		if p.Verdict == result.Broken && p.Reason != said {
			said = p.Reason
			fmt.Fprintf(t.W, "    %s\n", brokenPair(c, &p))
		}
	}
}

// brokenPair is why a pair could not be compared. One reason for all pairs of a case, such
// as a guest that died, is not about this pair.
func brokenPair(c *result.CaseReport, p *result.PairReport) string {
	if len(c.Verdicts) > 1 && !slices.ContainsFunc(c.Verdicts, func(o result.PairReport) bool { return o.Reason != p.Reason }) {
		return p.Reason
	}
	return fmt.Sprintf("%s/%s: %s", p.A, p.B, p.Reason)
}

func (t *Text) difference(d *result.FieldDifference) {
	if len(d.Open) == 0 && !t.Verbose {
		return
	}
	fmt.Fprintf(t.W, "    %s%s\n", d, explained(d))
	if len(d.Open) > 0 && d.Detail != "" {
		t.lines("        ", strings.Split(strings.TrimRight(d.Detail, "\n"), "\n"))
	}
}

func explained(d *result.FieldDifference) string {
	switch {
	case len(d.Rules) == 0:
		return ""
	case len(d.Open) == 0:
		return " (" + strings.Join(d.Rules, ", ") + ")"
	}
	return fmt.Sprintf(" (%s explains it, but not between %s)", strings.Join(d.Rules, ", "), strings.Join(d.Open, ", "))
}

// Summary writes the results of a whole run.
func (t *Text) Summary(r *result.Report) {
	fmt.Fprintf(t.W, "\nkernel %s (%s), %s, engines %s\n", r.Kernel.Name, r.Kernel.Release, r.Accelerator, strings.Join(r.Engines, ", "))
	t.lines("  ", agreement(r.Engines, countPairs(r)))
	if line := sharesLine(r); line != "" {
		fmt.Fprintf(t.W, "  time of cases:         %s\n", line)
	}
	if t.Verbose {
		t.rules(r)
	}
	if r.Agreement {
		t.reasons(r)
	}
	t.lines("  ", complaints(r.Splats))
	if len(r.Engines) > 2 && t.Verbose {
		t.pairs(r)
	}
	fmt.Fprintf(t.W, "%d cases in %.1f s (%s): %s; %d failed expectations\n", len(r.Cases), r.Seconds.Total, r.Guest(), tally(r.Summary), r.Failures)
	if r.Source != "" {
		fmt.Fprintln(t.W, times(r))
	}
	t.baseline(r)
	t.failed(r)
	t.lines("", oddities(r))
	fmt.Fprintln(t.W, passOrFail(r.OK()))
}

// tally returns the number of each verdict: "verdicts by pair of engines: 3 equal 0 explained ...".
func tally(summary map[result.Verdict]int) string {
	text := "verdicts by pair of engines:"
	for _, v := range verdicts {
		text += fmt.Sprintf(" %d %s", summary[v], v)
	}
	return text
}

// maxFailed is how many failed cases are listed at the end.
const maxFailed = 50

// failed lists the failed cases, because their own lines may be pages above.
func (t *Text) failed(r *result.Report) {
	bad := failed(r)
	if len(bad) > 0 {
		fmt.Fprintf(t.W, "not as they should be (%d of %d cases):\n", len(bad), len(r.Cases))
	}
	for i, c := range bad {
		if i == maxFailed {
			fmt.Fprintf(t.W, "  and %d more\n", len(bad)-i)
			break
		}
		fmt.Fprintf(t.W, "  %-11s  %s: %s\n", verdictOf(c), c.Name, wrongWith(r, c))
		if c.Folder != "" {
			fmt.Fprintf(t.W, "  %-11s  run it once more: %s\n", "", filepath.Join(c.Folder, "again.sh"))
		}
	}
}

// oddities lists what a user should know although no case failed because of it: cases that failed
// only once, injected faults, and cases that did not run.
func oddities(r *result.Report) []string {
	var lines []string
	for _, c := range r.Retried() {
		lines = append(lines, fmt.Sprintf("%s failed, and passed when it was run once more in a new guest: %s", c.Name, oneLine(cut(c.FirstTrouble(), maxProblem))))
	}
	if what := r.Broken(); what != "" {
		lines = append(lines, "broken on purpose: "+what)
	}
	if n := len(r.NotRun); n > 0 {
		line := fmt.Sprintf("interrupted: %d of %d cases have not run", n, n+len(r.Cases))
		if r.Command != "" {
			line += "; to run them, add --resume: " + withResume(r.Command)
		}
		lines = append(lines, line)
	}
	return lines
}

// withResume returns the command line that continues an interrupted run.
func withResume(command string) string {
	if strings.Contains(command+" ", " --resume ") {
		return command
	}
	return command + " --resume"
}

// share is a part of the time that the cases took.
type share struct {
	name             string
	seconds, percent float64
}

// shares returns the shares of the phases, the longest first. The phases count each attempt of a
// case and the suite's time only the last one, so they may be longer than that together.
func shares(r *result.Report) (list []share) {
	phases := 0.0
	for name, s := range r.Seconds.Phases {
		list = append(list, share{name: name, seconds: s})
		phases += s
	}
	whole := max(r.Seconds.Suite, phases)
	if len(list) == 0 || whole == 0 {
		return nil
	}
	list = append(list, share{name: "host, messages", seconds: whole - phases})
	for i := range list {
		list[i].percent = 100 * list[i].seconds / whole
	}
	slices.SortFunc(list, func(a, b share) int {
		return cmp.Or(cmp.Compare(b.seconds, a.seconds), strings.Compare(a.name, b.name))
	})
	return list
}

// sharesLine returns the shares on one line.
func sharesLine(r *result.Report) string {
	var parts []string
	for _, s := range shares(r) {
		if s.percent >= 1 {
			parts = append(parts, fmt.Sprintf("%s %.0f %%", s.name, s.percent))
		}
	}
	return strings.Join(parts, ", ")
}

// reasons lists why engines refuse objects, or differ in it: each reason once, with all of its
// objects.
func (t *Text) reasons(r *result.Report) {
	var order []string
	objects := make(map[string][]string)
	add := func(why, name string) {
		if len(objects[why]) == 0 {
			order = append(order, why)
		}
		if !slices.Contains(objects[why], name) {
			objects[why] = append(objects[why], name)
		}
	}
	for i := range r.Cases {
		c := &r.Cases[i]
		for _, d := range c.Differences() {
			switch {
			case len(d.Open) > 0:
				add("engines differ: "+d.String(), c.Name)
			case slices.Contains(d.Rules, result.RuleKnown):
				add(d.Detail, c.Name)
			}
		}
		if len(c.Loads) > 0 && !slices.ContainsFunc(c.Loads, func(l result.LoadReport) bool { return l.Result != wire.Refused }) {
			l := bySay(c)[0]
			add("refused by all: "+oneLine(cut(l.Detail, maxProblem)), c.Name)
		}
	}
	if len(order) > 0 {
		fmt.Fprintln(t.W, "reasons:")
	}
	for _, why := range order {
		fmt.Fprintf(t.W, "  %s: %s\n", why, strings.Join(objects[why], ", "))
	}
}

// times returns how long a run took, and the previous one.
func times(r *result.Report) string {
	n := 0
	for _, of := range r.Summary {
		n += of
	}
	took := func(s result.Seconds) string {
		if s.Saving == 0 {
			return duration(s.Total)
		}
		return fmt.Sprintf("%s, %s of which went into saving a guest", duration(s.Total), duration(s.Saving))
	}
	line := fmt.Sprintf("%d verdicts in %s", n, took(r.Seconds))
	if r.Before != nil {
		line += "; the run before took " + took(r.Before.Seconds)
	}
	return line
}

// duration formats a time for people.
func duration(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// baseline prints the changes since the baseline.
func (t *Text) baseline(r *result.Report) {
	b := r.Baseline
	if b == nil {
		return
	}
	fmt.Fprintf(t.W, "compared with %s (%s): %d changes, %d for the worse\n", b.File, b.Source, len(b.Changes), b.Worse())
	if other := otherSource(r); other != "" {
		fmt.Fprintf(t.W, "  note: %s\n", other)
	}
	for _, c := range b.Changes {
		if !c.Worse && !t.Verbose {
			continue // shown on the page, and with --verbose
		}
		mark := " "
		if c.Worse {
			mark = "-"
		}
		fmt.Fprintf(t.W, "  %s %s %s: %s -> %s\n", mark, c.Case, c.What, c.Was, c.Is)
	}
}

// otherSource returns a note if a run and its baseline have objects from different sources,
// otherwise "". The changes may then be those of the objects.
func otherSource(r *result.Report) string {
	if r.Baseline == nil || r.Source == "" || r.Baseline.Source == "" || r.Baseline.Source == r.Source {
		return ""
	}
	return fmt.Sprintf("the baseline is of another source; here the objects are of %s, and what has changed may be they", r.Source)
}

// verdicts are in order from good to bad.
var verdicts = []result.Verdict{result.Equal, result.Explained, result.Unsupported, result.Different, result.Broken}

// agreement returns the most important result: how far replay agrees with each engine.
func agreement(engines []string, counts []pairCount) []string {
	line := func(name string, n map[result.Verdict]int) string {
		text := fmt.Sprintf("%-22s %d of %d equal", name, n[result.Equal], n[result.Equal]+n[result.Explained]+n[result.Different])
		for _, v := range verdicts[1:] {
			if n[v] > 0 {
				text += fmt.Sprintf(", %d %s", n[v], v)
			}
		}
		return text
	}
	var strict, others []string
	for _, e := range engines {
		i := slices.IndexFunc(counts, func(p pairCount) bool {
			return p.name == e+"/"+enginename.Replay || p.name == enginename.Replay+"/"+e
		})
		switch {
		case i < 0:
		case e == enginename.Direct:
			others = append(others, line("replay = cilium/ebpf:", counts[i].n))
		default:
			strict = append(strict, line("replay = "+e+":", counts[i].n))
		}
	}
	return append(strict, others...)
}

// pairs counts the verdicts of each pair of engines.
func (t *Text) pairs(r *result.Report) {
	fmt.Fprintf(t.W, "%-22s", "engines compared")
	for _, v := range verdicts {
		fmt.Fprintf(t.W, "  %11s", v)
	}
	fmt.Fprintln(t.W)
	for _, p := range countPairs(r) {
		fmt.Fprintf(t.W, "  %-20s", p.name)
		for _, v := range verdicts {
			fmt.Fprintf(t.W, "  %11d", p.n[v])
		}
		fmt.Fprintln(t.W)
	}
}

// pairCount counts the verdicts of a pair of engines.
type pairCount struct {
	name string
	n    map[result.Verdict]int
}

// countPairs counts the verdicts of each pair of engines, in the engines' order.
func countPairs(reports ...*result.Report) []pairCount {
	count := make(map[string]map[result.Verdict]int)
	var engines []string
	for _, r := range reports {
		engines = r.Engines // the same for all
		for _, c := range r.Cases {
			for _, p := range c.Verdicts {
				name := p.A + "/" + p.B
				if count[name] == nil {
					count[name] = make(map[result.Verdict]int)
				}
				count[name][p.Verdict]++
			}
		}
	}
	var out []pairCount
	for _, a := range engines {
		for _, b := range engines {
			if n, ok := count[a+"/"+b]; ok {
				out = append(out, pairCount{a + "/" + b, n})
			}
		}
	}
	return out
}

// rules lists the rules that explained differences, each with its reason.
func (t *Text) rules(r *result.Report) {
	rules := rulesOf(r)
	if len(rules) > 0 {
		fmt.Fprintln(t.W, "explained differences:")
	}
	for _, rule := range rules {
		fmt.Fprintf(t.W, "  %-22s %4d×  %s\n", rule.ID, rule.N, rule.Reason)
	}
	for _, id := range r.UnusedRules {
		fmt.Fprintf(t.W, "  %-22s    0×  not needed by any case on this kernel\n", id)
	}
}
