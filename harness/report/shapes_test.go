package report

import (
	"encoding/xml"
	"errors"
	"html"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/golden"

	"github.com/bpfreplay/bpfreplay/harness/compare"
	"github.com/bpfreplay/bpfreplay/harness/field"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/internal/visible"
)

// merged returns the real reports, merged.
func merged(t *testing.T) *result.Matrix {
	t.Helper()
	var parts []result.Part
	for _, path := range realReports(t) {
		m, err := Read(path)
		assert.NilError(t, err)
		parts = append(parts, result.Part{Name: path, Matrix: m})
	}
	m, err := result.Merge(parts)
	assert.NilError(t, err)
	return m
}

func source(c *result.CaseReport) string {
	return "selftests/bpf/" + strings.TrimSuffix(c.Object, ".o") + ".c"
}

func TestShapes(t *testing.T) {
	m := merged(t)
	dir := t.TempDir()
	junit, md := filepath.Join(dir, "junit.xml"), filepath.Join(dir, "summary.md")
	assert.NilError(t, WriteJUnit(junit, m, source))
	assert.NilError(t, WriteMarkdown(md, m))
	var text, annotations strings.Builder
	(&Text{W: Printable(&text)}).MatrixSummary(m)
	Annotations(&annotations, m, source)
	for name, path := range map[string]string{"merged.junit.xml": junit, "merged.md": md} {
		b, err := os.ReadFile(path)
		assert.NilError(t, err)
		golden.Assert(t, string(b), name)
	}
	golden.Assert(t, text.String(), "merged.txt")
	golden.Assert(t, annotations.String(), "merged.annotations")
	left, err := os.ReadDir(dir)
	assert.NilError(t, err)
	assert.Equal(t, len(left), 2)
}

const nasty = "\x1b[2J</testcase>]]>&\"'`|\x00\xff\n::error::<b>*x*</b>%0A\u202e"

// nastyMatrix has hostile text in every field that comes from an object.
func nastyMatrix() *result.Matrix {
	c := result.CaseReport{
		Name: nasty, Object: nasty, Failures: []string{nasty}, Notes: []string{nasty}, Console: []string{nasty},
		Loads: []result.LoadReport{{Engine: "direct", Result: "refused", Errno: "EPERM", Detail: nasty, Log: nasty}},
		Verdicts: []result.PairReport{{A: "direct", B: "replay", Verdict: result.Different, Reason: nasty, Differences: []compare.Difference{
			{Field: field.Map(nasty, nasty), A: nasty, B: nasty, Detail: nasty},
		}}},
	}
	r := &result.Report{Suite: nasty, Kernel: result.KernelReport{Name: nasty, Release: nasty, Origin: nasty}, Cases: []result.CaseReport{c}, Splats: []string{nasty}, Failures: 1}
	m := result.MatrixOf(r)
	m.Kernels = append(m.Kernels, result.KernelRun{Kernel: nasty, State: result.Failed, Reason: nasty})
	m.Missing = []string{nasty}
	return m
}

// Names from an object and messages that it causes stay text.
func TestNasty(t *testing.T) {
	m := nastyMatrix()
	path := filepath.Join(t.TempDir(), "junit.xml")
	assert.NilError(t, WriteJUnit(path, m, func(*result.CaseReport) string { return "" }))
	b, err := os.ReadFile(path)
	assert.NilError(t, err)
	var suites junitSuites
	assert.NilError(t, xml.Unmarshal(b, &suites))
	assert.Equal(t, suites.Tests, 3)
	assert.Equal(t, suites.Failures+suites.Errors, 3)
	assert.Equal(t, suites.Suites[0].Cases[0].Name, printable(nasty))
	assert.Assert(t, strings.Contains(suites.Suites[0].Cases[0].Failure.Text, harmless(printable(nasty))))

	var annotations, text strings.Builder
	Annotations(&annotations, m, func(*result.CaseReport) string { return nasty })
	for line := range strings.Lines(annotations.String()) {
		assert.Assert(t, strings.HasPrefix(line, "::error ") || strings.HasPrefix(line, "::warning title="), "%q", line)
	}
	assert.Equal(t, strings.Count(annotations.String(), "\n"), 4)
	(&Text{W: Printable(&text)}).MatrixSummary(m)
	md := Markdown(m)
	for _, s := range []string{string(b), annotations.String(), text.String(), md} {
		assert.Equal(t, visible.Text(s), s)
	}
	// The table has one line per kernel, and two of header.
	assert.Equal(t, strings.Count(md, "\n| "), 4)
	outside := md
	for {
		before, rest, ok := strings.Cut(outside, "```text\n")
		if !ok {
			break
		}
		_, after, ok := strings.Cut(rest, "\n```\n")
		assert.Assert(t, ok)
		outside = before + after
	}
	assert.Assert(t, !strings.Contains(outside, "<b>"), outside)
	assert.Assert(t, !strings.Contains(outside, "</testcase>"), outside)
}

func TestFences(t *testing.T) {
	text := details("title", "a\n```\n````\nb")
	assert.Equal(t, text, "\n<details><summary>title</summary>\n\n`````text\na\n```\n````\nb\n`````\n\n</details>\n")
}

func TestMarkdownIsBounded(t *testing.T) {
	c := nastyMatrix().Kernels[0].Report.Cases[0]
	c.Failures = []string{strings.Repeat("long ", 10000)}
	r := &result.Report{Suite: "s", Failures: 100}
	for range 100 {
		r.Cases = append(r.Cases, c)
	}
	md := Markdown(result.MatrixOf(r))
	assert.Assert(t, len(md) < 1<<20)
	assert.Assert(t, strings.HasSuffix(md, "more cases are in the report.\n"))
}

func TestAnnotationsAreBounded(t *testing.T) {
	r := &result.Report{Suite: "s"}
	for i := range 30 {
		r.Cases = append(r.Cases, result.CaseReport{Name: strings.Repeat("x", i+1), Failures: []string{"no"}})
	}
	var b strings.Builder
	Annotations(&b, result.MatrixOf(r), func(*result.CaseReport) string { return "" })
	assert.Equal(t, strings.Count(b.String(), "\n"), maxAnnotations)
	assert.Assert(t, strings.HasSuffix(b.String(), "21 more failures are in the summary\n"))
}

func TestRead(t *testing.T) {
	for _, test := range [][2]string{
		{"", "unexpected end of JSON input"}, {"[]", "cannot unmarshal array"}, {"{}", "neither a report.json nor a matrix.json"},
		{`{"schema":2,"cases":[]}`, "schema 2 is newer than this bpfreplay, which knows 1"},
		{`{"schema":1,"cases":[],"kernels":[]}`, "neither"},
		{`{"schema":1,"cases":{}}`, "cannot unmarshal object"},
		{`{"schema":1,"kernels":[{"kernel":"6.1","state":"done"}]}`, "kernel 6.1 is done and has no report"},
	} {
		path := filepath.Join(t.TempDir(), "r.json")
		assert.NilError(t, os.WriteFile(path, []byte(test[0]), 0o644))
		_, err := Read(path)
		assert.ErrorContains(t, err, test[1])
		assert.ErrorContains(t, err, path)
	}
	_, err := Read("none.json")
	assert.ErrorContains(t, err, "none.json")
}

func FuzzRead(f *testing.F) {
	files, err := filepath.Glob("testdata/shard-*.json")
	assert.NilError(f, err)
	for _, path := range files {
		b, err := os.ReadFile(path)
		assert.NilError(f, err)
		f.Add(b)
	}
	f.Add([]byte(`{"schema":1,"kernels":[{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parse(data)
		if err != nil {
			return
		}
		m, err = result.Merge([]result.Part{{Name: "x", Matrix: m}})
		if err != nil {
			return
		}
		var b strings.Builder
		(&Text{W: Printable(&b)}).MatrixSummary(m)
		Annotations(&b, m, source)
		_ = Markdown(m)
	})
}

// If there is a baseline, every format reports only what became worse as failing, and nothing else
// fails the run.
func TestShapesWithBaseline(t *testing.T) {
	r := changedReport()
	m := result.MatrixOf(r)
	assert.Check(t, m.Different() && !m.OK())
	shapes := func() (string, string, string) {
		var annotations, text strings.Builder
		path := filepath.Join(t.TempDir(), "junit.xml")
		none := func(*result.CaseReport) string { return "" }
		assert.NilError(t, WriteJUnit(path, m, none))
		b, err := os.ReadFile(path)
		assert.NilError(t, err)
		Annotations(&annotations, m, none)
		(&Text{W: &text}).MatrixSummary(m)
		return string(b), annotations.String() + Markdown(m), text.String()
	}
	for _, s := range func() []string { a, b, c := shapes(); return []string{a, b, c} }() {
		assert.Check(t, strings.Contains(s, "now_bad") && !strings.Contains(s, "known_bad: ") && !strings.Contains(s, "different known"), s)
	}
	junit, _, text := shapes()
	assert.Check(t, strings.Contains(junit, ` failures="1" `), junit)
	assert.Check(t, strings.Contains(text, "  - now_bad direct/trace: equal -> different:map_.rodata_frozen\n"), text)

	r.Baseline.Changes = r.Baseline.Changes[:1]
	assert.Check(t, !m.Different() && m.OK())
	junit, marks, text := shapes()
	assert.Check(t, strings.Contains(junit, ` failures="0" `), junit)
	assert.Check(t, !strings.Contains(marks, "_bad") && !strings.Contains(text, "_bad"), marks+text)
	assert.Check(t, strings.HasSuffix(text, "\nPASS\n"))

	// A case may become worse without its verdict becoming worse.
	r.Baseline.Changes = []result.Change{{Case: "refused_alike", What: "direct", Was: "ok", Is: "refused:EACCES", Worse: true}}
	junit, _, _ = shapes()
	assert.Check(t, strings.Contains(junit, `<failure message="direct was ok and is refused:EACCES" type="equal">`), junit)
}

// oddMatrix passes, but one case passed only when it was run once more, guests' kernels complained
// outside of cases, and something was broken on purpose.
func oddMatrix() *result.Matrix {
	first := result.CaseReport{Name: "flaky", Verdicts: []result.PairReport{{A: "trace", B: "replay", Verdict: result.Broken, Reason: "the guest's kernel panicked"}}}
	cases := []result.CaseReport{
		{Name: "fine", Verdicts: []result.PairReport{{A: "trace", B: "replay", Verdict: result.Equal}}},
		{Name: "flaky", First: &first, Verdicts: []result.PairReport{{A: "trace", B: "replay", Verdict: result.Equal}}},
	}
	r := &result.Report{
		Suite: "core", Kernel: result.KernelReport{Name: "6.12"}, Engines: []string{"trace", "replay"}, Cases: cases,
		Splats: []string{"kasan: BUG: KASAN: in boot"}, Faults: map[string]string{"flaky": "panic:once"}, Command: "bpfreplay vmtest",
	}
	return result.MatrixOf(r)
}

// A passing run shows in every format that a case failed at first, that a guest's kernel
// complained, and that something was broken on purpose.
func TestOddities(t *testing.T) {
	m := oddMatrix()
	assert.Assert(t, m.OK())
	none := func(*result.CaseReport) string { return "" }
	junit := filepath.Join(t.TempDir(), "junit.xml")
	assert.NilError(t, WriteJUnit(junit, m, none))
	xmlText, err := os.ReadFile(junit)
	assert.NilError(t, err)
	page, err := kernelPage(m.Kernels[0].Report, "")
	assert.NilError(t, err)
	var summary, several, annotations strings.Builder
	(&Text{W: &summary}).Summary(m.Kernels[0].Report)
	(&Text{W: &several}).MatrixSummary(m)
	Annotations(&annotations, m, none)
	for name, text := range map[string]string{
		"JUnit": string(xmlText), "Markdown": Markdown(m), "summary": summary.String(), "matrix": several.String(),
		"annotations": annotations.String(), "page": string(page),
	} {
		text = html.UnescapeString(text)
		assert.Check(t, strings.Contains(text, "the guest's kernel panicked"), "%s: %s", name, text)
		assert.Check(t, strings.Contains(text, "BUG: KASAN: in boot"), "%s: %s", name, text)
		if name != "annotations" {
			assert.Check(t, strings.Contains(text, "fault panic:once in case flaky"), "%s: %s", name, text)
		}
	}
	assert.Check(t, strings.Contains(string(xmlText), "<flakyError "))
	assert.Check(t, !strings.Contains(annotations.String(), "::error"))

	// An interrupted run does not pass.
	r := m.Kernels[0].Report
	r.NotRun = []string{"other"}
	assert.Check(t, !m.OK() && !m.Different())
	summary.Reset()
	(&Text{W: &summary}).Summary(r)
	assert.Check(t, strings.Contains(summary.String(), "interrupted: 1 of 3 cases have not run; to run them, add --resume: bpfreplay vmtest --resume\nFAIL\n"), summary.String())
	assert.NilError(t, WriteJUnit(junit, m, none))
	xmlText, err = os.ReadFile(junit)
	assert.NilError(t, err)
	assert.Check(t, strings.Contains(string(xmlText), `errors="1"`))
}

// junitAttributes are the attributes in the schema of Jenkins' xUnit plugin (junit-10.xsd), by
// element.
var junitAttributes = map[string]string{
	"testsuites": "name time tests failures disabled errors", "properties": "", "property": "name value",
	"testsuite": "name tests failures errors group time skipped timestamp hostname id package file log url version",
	"testcase":  "name time group classname status class assertions url", "failure": "message type", "error": "message type", "skipped": "message type",
	"flakyFailure": "message type", "flakyError": "message type", "system-out": "",
}

// A report has no element or attribute that the schema lacks.
func TestJUnitSchema(t *testing.T) {
	for _, m := range []*result.Matrix{merged(t), oddMatrix(), nastyMatrix()} {
		path := filepath.Join(t.TempDir(), "junit.xml")
		assert.NilError(t, WriteJUnit(path, m, source))
		f, err := os.Open(path)
		assert.NilError(t, err)
		defer f.Close()
		for dec := xml.NewDecoder(f); ; {
			token, err := dec.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			assert.NilError(t, err)
			if e, ok := token.(xml.StartElement); ok {
				known, ok := junitAttributes[e.Name.Local]
				assert.Check(t, ok, e.Name.Local)
				for _, a := range e.Attr {
					assert.Check(t, slices.Contains(strings.Fields(known), a.Name.Local), "%s/@%s", e.Name.Local, a.Name.Local)
				}
			}
		}
	}
}

// A failing run ends with the failures, and the commands that repeat them.
func TestFailedAtEnd(t *testing.T) {
	r := nastyMatrix().Kernels[0].Report
	r.Cases[0].Name, r.Cases[0].Failures, r.Cases[0].Folder = "bad", []string{"it leaks"}, "out/6.12/failed/bad"
	var text strings.Builder
	(&Text{W: &text}).Summary(r)
	_, end, ok := strings.Cut(text.String(), "not as they should be (1 of 1 cases):\n")
	assert.Assert(t, ok, text.String())
	assert.Equal(t, end, "  FAILED       bad: it leaks\n               run it once more: out/6.12/failed/bad/again.sh\nFAIL\n")
}
