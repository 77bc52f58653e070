package report

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// The elements of a JUnit report that GitLab, Jenkins and common actions of GitHub read. There is
// no standard; all of these, and no other attributes, are in the schema of Jenkins' xUnit plugin
// (junit-10.xsd). A case that passed when it was run once more has a flakyFailure or flakyError, as
// in Maven's Surefire. Readers that do not know these show its system-out.
type (
	junitSuites struct {
		XMLName xml.Name `xml:"testsuites"`
		Name    string   `xml:"name,attr"`
		junitCounts
		Suites []junitSuite `xml:"testsuite"`
	}
	junitCounts struct {
		Tests    int    `xml:"tests,attr"`
		Failures int    `xml:"failures,attr"`
		Errors   int    `xml:"errors,attr"`
		Time     string `xml:"time,attr"` // seconds
	}
	junitSuite struct {
		Name string `xml:"name,attr"`
		junitCounts
		Skipped    int             `xml:"skipped,attr"`
		Timestamp  string          `xml:"timestamp,attr,omitempty"`
		Properties []junitProperty `xml:"properties>property,omitempty"`
		Cases      []junitCase     `xml:"testcase"`
		// Output has messages that belong to no case, such as complaints of guests' kernels.
		Output string `xml:"system-out,omitempty"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Class        string       `xml:"classname,attr"`
		Name         string       `xml:"name,attr"`
		Time         string       `xml:"time,attr"`
		Failure      *junitResult `xml:"failure,omitempty"`
		Error        *junitResult `xml:"error,omitempty"`
		Skipped      *junitResult `xml:"skipped,omitempty"`
		FlakyFailure *junitResult `xml:"flakyFailure,omitempty"`
		FlakyError   *junitResult `xml:"flakyError,omitempty"`
		Output       string       `xml:"system-out,omitempty"`
	}
	junitResult struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

// WriteJUnit writes a matrix as JUnit XML, whole or not at all. Each kernel is a suite, and each
// case a test of the class KERNEL.SUITE, whose text has the differences between engines. source
// returns a case's source file, or "".
func WriteJUnit(path string, m *result.Matrix, source func(*result.CaseReport) string) error {
	out := junitSuites{Name: "bpfreplay " + printable(m.Suite)}
	for i := range m.Kernels {
		out.Suites = append(out.Suites, junitKernel(m, &m.Kernels[i], source))
	}
	for _, missing := range m.Missing {
		out.Suites = append(out.Suites, junitMissing("shard "+printable(missing), "the report of this shard is missing"))
	}
	for _, s := range out.Suites {
		out.Tests += s.Tests
		out.Failures += s.Failures
		out.Errors += s.Errors
	}
	out.Time = seconds(m.Seconds)
	return writeJUnit(path, out)
}

// add adds a case and counts it.
func (s *junitSuite) add(c junitCase) {
	s.Cases = append(s.Cases, c)
	s.Tests++
	switch {
	case c.Failure != nil:
		s.Failures++
	case c.Error != nil:
		s.Errors++
	case c.Skipped != nil:
		s.Skipped++
	}
}

func writeJUnit(path string, out junitSuites) error {
	var b bytes.Buffer
	b.WriteString(xml.Header)
	enc := xml.NewEncoder(&b)
	enc.Indent("", " ")
	if err := enc.Encode(out); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	b.WriteByte('\n')
	return write(path, b.Bytes())
}

func seconds(s float64) string { return fmt.Sprintf("%.3f", s) }

// junitMissing returns a suite for a kernel or a shard that did not run at all.
func junitMissing(name, why string) junitSuite {
	s := junitSuite{Name: name, junitCounts: junitCounts{Time: seconds(0)}}
	s.add(junitCase{Class: name, Name: "run", Time: seconds(0), Error: &junitResult{Message: oneLine(why), Text: printable(why)}})
	return s
}

func junitKernel(m *result.Matrix, k *result.KernelRun, source func(*result.CaseReport) string) junitSuite {
	name := printable(k.Kernel + "." + m.Suite)
	out := junitSuite{Name: name}
	if k.State != result.Done {
		out = junitMissing(name, string(k.State)+": "+k.Reason)
	}
	r := k.Report
	if r == nil {
		return out
	}
	out.Time, out.Timestamp = seconds(r.Seconds.Total), r.Started.UTC().Format(time.RFC3339)
	for _, p := range [][2]string{
		{"release", r.Kernel.Release}, {"kernel", r.Kernel.Origin}, {"kernel-sha256", r.Kernel.SHA256},
		{"accelerator", r.Accelerator}, {"engines", strings.Join(r.Engines, ",")}, {"broken-on-purpose", r.Broken()},
	} {
		if p[1] == "" {
			continue
		}
		out.Properties = append(out.Properties, junitProperty{p[0], printable(p[1])})
	}
	bad := failed(r)
	for i := range r.Cases {
		c := junitOf(name, r, &r.Cases[i], slices.Contains(bad, &r.Cases[i]))
		if file := source(&r.Cases[i]); file != "" && (c.Failure != nil || c.Error != nil) {
			c.Output = "source: " + printable(file) + "\n" + c.Output
		}
		out.add(c)
	}
	if n := len(r.NotRun); n > 0 && k.State == result.Done {
		rest := junitMissing(name, fmt.Sprintf("interrupted: %d cases have not run: %s", n, strings.Join(r.NotRun, ", ")))
		out.add(rest.Cases[0])
	}
	for _, line := range append(complaints(r.Splats), oddities(r)...) {
		out.Output += printable(line) + "\n"
	}
	return out
}

// complaints returns the complaints of guests' kernels outside of cases.
func complaints(splats []string) []string {
	var lines []string
	for _, s := range splats {
		lines = append(lines, "the guest's kernel complained: "+s)
	}
	return lines
}

func junitOf(class string, r *result.Report, c *result.CaseReport, bad bool) junitCase {
	out := junitCase{Class: class, Name: printable(c.Name), Time: seconds(c.Seconds), Output: refusedAfter(c)}
	became := &junitResult{Message: wrongWith(r, c), Type: verdictOf(c)}
	switch {
	case bad && c.Verdict() == result.Broken:
		out.Error = became
	case bad:
		out.Failure = became
	case skipped(c):
		out.Skipped = &junitResult{Message: oneLine(c.Verdicts[0].Reason)}
		return out
	case c.First != nil:
		became = &junitResult{Message: oneLine(cut(c.FirstTrouble(), maxProblem)), Type: verdictOf(c.First), Text: caseText(c.First)}
		if c.First.Verdict() == result.Broken {
			out.FlakyError = became
		} else {
			out.FlakyFailure = became
		}
		out.Output += "failed, and passed when it was run once more in a new guest:\n" + became.Text
		return out
	default:
		return out
	}
	became.Text = caseText(c)
	return out
}

// refusedAfter is how long the loads took that were refused.
func refusedAfter(c *result.CaseReport) string {
	var parts []string
	for i := range c.Loads {
		if l := &c.Loads[i]; l.Result == wire.Refused {
			parts = append(parts, timed(l))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "refused: " + printable(strings.Join(parts, ", ")) + "\n"
}

// skipped reports whether all pairs of engines were unsupported.
func skipped(c *result.CaseReport) bool {
	return len(c.Verdicts) > 0 && !slices.ContainsFunc(c.Verdicts, func(p result.PairReport) bool { return p.Verdict != result.Unsupported })
}

// caseText returns what the terminal would show of a case.
func caseText(c *result.CaseReport) string {
	var b bytes.Buffer
	t := Text{W: Printable(&b)}
	t.Case(c)
	return b.String()
}

// problem returns the first thing that is wrong with a case, on one line.
func problem(c *result.CaseReport) string {
	if len(c.Failures) > 0 {
		return oneLine(cut(c.Failures[0], maxProblem))
	}
	for _, p := range c.Verdicts {
		if p.Verdict == result.Broken {
			return oneLine(cut(brokenPair(c, &p), maxProblem))
		}
	}
	for _, d := range c.Differences() {
		if len(d.Open) > 0 {
			return oneLine(cut(d.String(), maxProblem))
		}
	}
	return ""
}

const maxProblem = 300

// ExecRow is the result of a program on one kernel, or of the check that Program describes.
type ExecRow struct {
	Kernel, Release, Program string

	Status  int    // exit status
	Error   string // why there is no status
	Seconds float64
	Output  string // the end of its output
}

// Result returns the result in a few words.
func (r *ExecRow) Result() string {
	switch {
	case r.Error != "":
		return "error: " + oneLine(cut(r.Error, maxProblem))
	case r.Status != 0:
		return fmt.Sprintf("exit status %d", r.Status)
	}
	return "ok"
}

// WriteExecJUnit writes the results of a program on several kernels as JUnit XML, whole or not at
// all: a suite with one test per row. name is the suite's name.
func WriteExecJUnit(path, name, program string, rows []ExecRow) error {
	s := junitSuite{Name: name, Properties: []junitProperty{{"program", printable(program)}}}
	var all float64
	for i := range rows {
		r := &rows[i]
		c := junitCase{Class: name + "." + printable(r.Kernel), Name: printable(cmp.Or(r.Program, program)), Time: seconds(r.Seconds)}
		all += r.Seconds
		result := &junitResult{Message: r.Result(), Text: printable(r.Output)}
		switch {
		case r.Error != "":
			c.Error = result
		case r.Status != 0:
			c.Failure = result
		default:
			c.Output = printable(r.Output)
		}
		s.add(c)
	}
	s.Time = seconds(all)
	return writeJUnit(path, junitSuites{Name: "bpfreplay " + name, junitCounts: s.junitCounts, Suites: []junitSuite{s}})
}
