package report

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/harness/compare"
	"github.com/bpfreplay/bpfreplay/harness/field"
	"github.com/bpfreplay/bpfreplay/harness/judge"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/internal/visible"
)

// loadsOf returns loads with these results, "ok" or an errno, one for each engine.
func loadsOf(results ...string) []result.LoadReport {
	var out []result.LoadReport
	for i, r := range results {
		l := result.LoadReport{Engine: []string{"direct", "trace", "replay"}[i], Result: r}
		if r != "ok" {
			l.Result, l.Errno = "refused", r
			l.Detail, l.Log = "program p: PROG_LOAD: "+r, "0: R1=ctx()\nR0 !read_ok\nprocessed 1 insns\n"
		}
		out = append(out, l)
	}
	return out
}

func pairOf(b string, v result.Verdict, differences ...compare.Difference) result.PairReport {
	return result.PairReport{A: "direct", B: b, Verdict: v, Differences: differences}
}

// changedReport returns a report with a case of each kind.
func changedReport() *result.Report {
	frozen := compare.Difference{Field: field.Map(".rodata", "frozen"), A: "true", B: "false"}
	named := compare.Difference{Field: field.Map(".data", "name"), A: ".data", B: "obj.data", ExplainedBy: compare.RuleIDs{"subprogram-order"}}
	return &result.Report{
		Suite: "kernel", Source: "linux-source-7.2 7.2.13-1", Engines: []string{"direct", "trace", "replay"},
		Kernel:   result.KernelReport{Name: "6.12", Release: "6.12.117"},
		Versions: map[string]string{"direct": "cilium/ebpf v0.22.0"},
		Cases: []result.CaseReport{
			{Name: "fine", Loads: loadsOf("ok", "ok", "ok"), Verdicts: []result.PairReport{pairOf("trace", result.Equal), pairOf("replay", result.Equal)}},
			{Name: "told", Loads: loadsOf("ok", "ok", "ok"), Verdicts: []result.PairReport{pairOf("trace", result.Explained, named), pairOf("replay", result.Explained, named)}},
			{Name: "refused_alike", Loads: loadsOf("EACCES", "EACCES", "EACCES"), Verdicts: []result.PairReport{pairOf("trace", result.Equal), pairOf("replay", result.Equal)}},
			{Name: "known_bad", Loads: loadsOf("EINVAL", "ok", "ok"), Verdicts: []result.PairReport{pairOf("trace", result.Different, compare.Difference{Field: field.Load(""), A: "refused: EINVAL", B: "ok"})}},
			{Name: "now_bad", Loads: loadsOf("ok", "ok", "ok"), Folder: "out/6.12/failed/now_bad",
				Verdicts: []result.PairReport{pairOf("trace", result.Different, frozen, named), pairOf("replay", result.Different, frozen, named)}},
		},
		Baseline: &result.BaselineReport{
			File: "6.12.txt", Source: "linux-source-7.1 7.1-1", Reasons: map[string]string{"known_bad": "nobody has looked"},
			Changes: []result.Change{
				{Case: "fine", What: "direct/trace", Was: "different:load", Is: "equal"},
				{Case: "now_bad", What: "direct/trace", Was: "equal", Is: "different:map_.rodata_frozen", Worse: true},
				{Case: "now_bad", What: "direct/replay", Was: "equal", Is: "different:map_.rodata_frozen", Worse: true},
				{Case: "lost", What: "case", Was: "there", Is: "gone", Worse: true},
			},
		},
	}
}

// textOf returns the text of a page without its elements.
func textOf(page []byte) string {
	_, body, _ := strings.Cut(string(page), "<body>")
	body, _, _ = strings.Cut(body, "<script>")
	text := regexp.MustCompile(`<[^>]*>`).ReplaceAllString(body, " ")
	return strings.Join(strings.Fields(text), " ")
}

// inOrderOf checks that a text contains the parts in this order.
func inOrderOf(t *testing.T, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, p := range parts {
		_, after, ok := strings.Cut(rest, p)
		assert.Assert(t, ok, "%q is not there, or not in its place, in:\n%s", p, text)
		rest = after
	}
}

// The page shows first what became worse, then other failures, then the rest.
func TestHTML(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.html")
	assert.NilError(t, WriteHTML(path, changedReport()))
	page, err := os.ReadFile(path)
	assert.NilError(t, err)
	inOrderOf(t, textOf(page),
		"FAIL kernel on 6.12", "kernel 6.12.117", "objects linux-source-7.2 7.2.13-1", "engines direct (cilium/ebpf v0.22.0), trace, replay",
		"2 equal 1 explained 0 unsupported 2 different 0 broken 0 FAILED",
		"What has changed", "6.12.txt (linux-source-7.1 7.1-1): 4 changes, 3 for the worse", "Note: the baseline is of another source",
		"worse now_bad direct/trace, direct/replay equal different:map_.rodata_frozen map .rodata frozen: direct: true; trace, replay: false",
		"worse lost case there gone", "better fine direct/trace different:load equal",
		"Worse, different or broken", "different now_bad worse", "map .rodata frozen direct true trace, replay false", "map .data name direct .data trace, replay obj.data subprogram-order",
		"different known_bad as in the baseline", "The baseline says: nobody has looked", "direct refused EINVAL program p: PROG_LOAD: EINVAL R0 !read_ok trace, replay ok",
		"Explained differences", "subprogram-order 4×", judge.Reason("subprogram-order")[:20], "told now_bad",
		"Engines", "direct cilium/ebpf v0.22.0 3 1 1 0 0", "trace 4 1 0 0 0", "direct/trace 2 1 0 2 0",
		"All cases", "equal fine ok", "explained told ok subprogram-order", "equal refused_alike refused EACCES R0 !read_ok", "direct, trace, replay refused EACCES",
		"different known_bad direct refused EINVAL; trace, replay ok",
	)
	// Every link has a target.
	for _, m := range regexp.MustCompile(`href="#([^"]*)"`).FindAllSubmatch(page, -1) {
		assert.Check(t, is.Contains(string(page), fmt.Sprintf("id=%q", m[1])))
	}
	assert.Check(t, !strings.Contains(string(page), "is in report.json"))
}

// A folder has a link only if it is below the page.
func TestHTMLFolder(t *testing.T) {
	for _, test := range [][3]string{
		{"out/6.12/failed/a", "out/6.12", "failed/a/"}, {"/x/out/failed/a b#c", "/x/out", "failed/a%20b%23c/"},
		{"/x/other", "/x/out", ""}, {"/x/out", "rel", ""}, {"out/javascript:alert(1)", "out", "./javascript:alert%281%29/"},
	} {
		assert.Check(t, is.Equal(newFolder(test[0], test[1]).Link, test[2]))
	}
	assert.Check(t, newFolder("", "out") == nil)
}

// Strings from an object are never more than text, and the policy only allows our script.
func TestHTMLNasty(t *testing.T) {
	const markup = `"><img src=x onerror=alert(1)></script><script>alert(2)</script></style></pre></details>` + nasty
	m := nastyMatrix()
	r := m.Kernels[0].Report
	c := &r.Cases[0]
	c.Name, c.Folder, c.Console, r.Source = markup, markup, []string{markup}, markup
	c.Loads[0].Log, c.Loads[0].Detail, c.Verdicts[0].Differences[0].Detail = markup, markup, markup
	r.Engines, r.Versions = []string{markup}, map[string]string{markup: markup}
	r.Baseline = &result.BaselineReport{File: markup, Source: markup, Changes: []result.Change{{Case: markup, What: markup, Was: markup, Is: markup, Worse: true}}, Reasons: map[string]string{markup: markup}}
	known := c.Verdicts[0]
	known.Differences = []compare.Difference{{Field: field.Map(markup, markup), A: markup, B: markup, ExplainedBy: compare.RuleIDs{markup}, Detail: markup}}
	c.Verdicts = append(c.Verdicts, known)

	one, err := kernelPage(r, ".")
	assert.NilError(t, err)
	all, err := rendered("matrix.html", matrixPage(m, func(*result.KernelRun) string { return "javascript:" + markup }))
	assert.NilError(t, err)
	for _, page := range []string{string(one), string(all)} {
		assert.Check(t, is.Contains(page, "&lt;img src=x onerror=alert(1)&gt;"))
		assert.Check(t, visible.Text(page) == page)
		for _, element := range []string{"<img", "<script>alert", "<b>*x*", `href="javascript:`} {
			assert.Check(t, !strings.Contains(page, element), element)
		}
		for element, n := range map[string]int{"script": 1, "style": 1, "body": 1, "html": 1} {
			assert.Check(t, is.Equal(strings.Count(page, "<"+element), n), element)
			assert.Check(t, is.Equal(strings.Count(page, "</"+element), n), element)
		}
		assert.Check(t, is.Equal(strings.Count(page, "<details"), strings.Count(page, "</details")))
		for _, element := range []string{"script", "style"} {
			_, text, _ := strings.Cut(page, "<"+element+">")
			text, _, _ = strings.Cut(text, "</"+element+">")
			sum := sha256.Sum256([]byte(text))
			policy := fmt.Sprintf("%s-src 'sha256-%s'", element, base64.StdEncoding.EncodeToString(sum[:]))
			assert.Check(t, strings.Contains(html.UnescapeString(page), policy), policy)
		}
	}
}

// With a thousand cases a page shows less of each, and stays small enough for a browser.
func TestHTMLSize(t *testing.T) {
	r := changedReport()
	big := r.Cases[2]
	for i := range big.Loads {
		big.Loads[i].Detail = strings.Repeat(fmt.Sprint(i), 2000)
	}
	last := r.Cases[4]
	r.Cases = r.Cases[:4]
	for i := range 1200 {
		big.Name = fmt.Sprintf("big_%d", i)
		r.Cases = append(r.Cases, big)
	}
	r.Cases = append(r.Cases, last)
	page, err := kernelPage(r, ".")
	assert.NilError(t, err)
	assert.Check(t, len(page) < maxPage, "%d bytes", len(page))
	inOrderOf(t, textOf(page), "worse now_bad", "map .rodata frozen direct true trace, replay false", "All cases", "big_0 refused EACCES", "big_1199", "What engines said of cases that are as they should be is in report.json.")
}

// A page of several kernels has a row for each, and lists what became worse.
func TestMatrixHTML(t *testing.T) {
	m := result.MatrixOf(changedReport())
	m.Kernels = append(m.Kernels, result.KernelRun{Kernel: "5.10", State: result.Unavailable, Reason: "no such package"})
	path := filepath.Join(t.TempDir(), "report.html")
	assert.NilError(t, WriteMatrixHTML(path, m, func(k *result.KernelRun) string { return k.Kernel + "/report.html" }))
	page, err := os.ReadFile(path)
	assert.NilError(t, err)
	inOrderOf(t, textOf(page), "FAIL kernel", "6.12 6.12.117 FAIL 5 0 0 0 0 0 0 3 0.0 0.0", "5.10 unavailable no such package", "6.12 different now_bad map .rodata frozen")
	assert.Check(t, !strings.Contains(textOf(page), "known_bad"))
	assert.Check(t, is.Contains(string(page), `href="6.12/report.html#case-5"`))
}

func FuzzHTML(f *testing.F) {
	data, err := json.Marshal(changedReport())
	assert.NilError(f, err)
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parse(data)
		if err != nil {
			return
		}
		for i := range m.Kernels {
			if r := m.Kernels[i].Report; r != nil {
				page, err := kernelPage(r, ".")
				assert.NilError(t, err)
				assert.Equal(t, strings.Count(string(page), "<script"), 1)
			}
		}
		_, err = rendered("matrix.html", matrixPage(m, func(*result.KernelRun) string { return "x" }))
		assert.NilError(t, err)
	})
}
