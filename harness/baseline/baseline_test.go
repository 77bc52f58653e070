package baseline

import (
	"os"
	"path/filepath"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/harness/compare"
	"github.com/bpfreplay/bpfreplay/harness/field"
	"github.com/bpfreplay/bpfreplay/harness/result"
)

// someReport returns a report of three engines and three cases.
func someReport() *result.Report {
	load := func(engine, became, errno string) result.LoadReport {
		return result.LoadReport{Engine: engine, Result: became, Errno: errno}
	}
	pair := func(a, b string, v result.Verdict, fields ...field.Field) result.PairReport {
		p := result.PairReport{A: a, B: b, Verdict: v}
		for _, f := range fields {
			p.Differences = append(p.Differences, compare.Difference{Field: f})
		}
		return p
	}
	return &result.Report{
		Suite: "kernel", Source: "linux-source-7.2 1", Kernel: result.KernelReport{Name: "6.12", Release: "6.12.1"}, Engines: []string{"direct", "trace", "replay"},
		Cases: []result.CaseReport{
			{Name: "fine", Loads: []result.LoadReport{load("direct", "ok", ""), load("trace", "ok", ""), load("replay", "ok", "")},
				Verdicts: []result.PairReport{pair("direct", "trace", result.Equal), pair("direct", "replay", result.Equal)}},
			{Name: "other", Loads: []result.LoadReport{load("direct", "refused", ""), load("trace", "ok", ""), load("replay", "ok", "")},
				Verdicts: []result.PairReport{pair("direct", "trace", result.Different, field.Load("")), pair("trace", "replay", result.Explained)}},
			{Name: "no", Loads: []result.LoadReport{load("direct", "refused", "EINVAL"), load("trace", "refused", "EINVAL"), load("replay", "refused", "EACCES")},
				Verdicts: []result.PairReport{pair("direct", "trace", result.Equal), pair("direct", "replay", result.Different, field.Load("log"), field.Load("errno"))}, Failures: []string{"a leak"}},
		},
	}
}

// TestBaselineVerdicts: a verdict that an engine has with all others is written once.
func TestBaselineVerdicts(t *testing.T) {
	engines := []string{"direct", "trace", "replay", "libbpf"}
	for text, want := range map[string]string{
		"equal":                                    "equal",
		"equal,direct/*=explained":                 "equal,direct/*=explained",
		"equal,replay/*=different:load":            "equal,replay/*=different:load",
		"equal,direct/*=explained,libbpf/*=broken": "equal,direct/*=explained,libbpf/*=broken",
		"unknown,trace/replay=equal":               "unknown,trace/replay=equal",
		"equal,direct/trace=explained,direct/replay=explained,direct/libbpf=explained": "equal,direct/*=explained",
	} {
		b, err := parse([]byte("engines: direct trace replay libbpf\na ok " + text))
		assert.NilError(t, err)
		c := b.Cases["a"]
		assert.Equal(t, c.verdicts(engines), want)
	}
}

func TestBaselineRoundTrip(t *testing.T) {
	b := New(someReport(), nil)
	c := b.Cases["other"]
	c.Reason = "somebody knows why"
	b.Cases["other"] = c
	file := filepath.Join(t.TempDir(), "new", "6.12.txt")
	assert.NilError(t, b.Write(file))
	got, err := Read(file)
	assert.NilError(t, err)
	b.File = file
	assert.Check(t, is.DeepEqual(got, b))
	entries, err := os.ReadDir(filepath.Dir(file))
	assert.NilError(t, err)
	assert.Check(t, is.Len(entries, 1))

	text := string(b.Text())
	for _, line := range []string{
		"\nfine ok unknown,direct/*=equal\n",
		"\nno refused:EINVAL,replay=refused:EACCES different:load_errno+load_log,direct/trace=equal,trace/replay=unknown failures=1\n",
		"\nother ok,direct=refused unknown,direct/trace=different:load,trace/replay=explained # somebody knows why\n",
	} {
		assert.Check(t, is.Contains(text, line))
	}
	none, err := Read(filepath.Join(t.TempDir(), "none"))
	assert.NilError(t, err)
	assert.Check(t, none == nil)
}

func TestBaselineCompare(t *testing.T) {
	base := New(someReport(), nil)
	for name, test := range map[string]struct {
		change func(r *result.Report)
		want   []result.Change
	}{
		"nothing": {func(*result.Report) {}, nil},
		"a load fails": {func(r *result.Report) { r.Cases[0].Loads[2].Result = "refused" },
			[]result.Change{{Case: "fine", What: "replay", Was: "ok", Is: "refused", Worse: true}}},
		"a load works": {func(r *result.Report) { r.Cases[1].Loads[0].Result = "ok" },
			[]result.Change{{Case: "other", What: "direct", Was: "refused", Is: "ok", Worse: false}}},
		"another errno": {func(r *result.Report) { r.Cases[2].Loads[0].Errno = "EPERM" },
			[]result.Change{{Case: "no", What: "direct", Was: "refused:EINVAL", Is: "refused:EPERM", Worse: false}}},
		"a difference": {func(r *result.Report) {
			r.Cases[0].Verdicts[1].Verdict = result.Different
			r.Cases[0].Verdicts[1].Differences = []compare.Difference{{Field: field.Map("m", "flags")}}
		}, []result.Change{{Case: "fine", What: "direct/replay", Was: "equal", Is: "different:map_m_flags", Worse: true}}},
		"another difference": {func(r *result.Report) {
			r.Cases[1].Verdicts[0].Differences = []compare.Difference{{Field: field.Load("")}, {Field: field.Program("p", "tag")}}
		}, []result.Change{{Case: "other", What: "direct/trace", Was: "different:load", Is: "different:load+program_p_tag", Worse: true}}},
		"one less": {func(r *result.Report) { r.Cases[2].Verdicts[1].Differences = r.Cases[2].Verdicts[1].Differences[:1] },
			[]result.Change{{Case: "no", What: "direct/replay", Was: "different:load_errno+load_log", Is: "different:load_log", Worse: false}}},
		"explained at last": {func(r *result.Report) { r.Cases[1].Verdicts[0].Verdict = result.Explained },
			[]result.Change{{Case: "other", What: "direct/trace", Was: "different:load", Is: "explained", Worse: false}}},
		"a guest breaks": {func(r *result.Report) { r.Cases[1].Verdicts[0].Verdict = result.Broken },
			[]result.Change{{Case: "other", What: "direct/trace", Was: "different:load", Is: "broken", Worse: true}}},
		"another leak": {func(r *result.Report) { r.Cases[2].Failures = append(r.Cases[2].Failures, "one more") },
			[]result.Change{{Case: "no", What: "failures", Was: "1", Is: "2", Worse: true}}},
		"a new case": {func(r *result.Report) { r.Cases[0].Name = "new" },
			[]result.Change{{Case: "new", What: "case", Was: "none", Is: "equal", Worse: false}, {Case: "fine", What: "case", Was: "there", Is: "gone", Worse: true}}},
		"a new case that fails": {func(r *result.Report) {
			r.Cases = append(r.Cases, result.CaseReport{Name: "new", Failures: []string{"x"}})
		},
			[]result.Change{{Case: "new", What: "case", Was: "none", Is: "equal", Worse: true}}},
		"another reference": {func(r *result.Report) {
			r.Cases[0].Verdicts = []result.PairReport{{A: "trace", B: "replay", Verdict: result.Different}}
		}, []result.Change{{Case: "fine", What: "trace/replay", Was: "none", Is: "different:", Worse: true}}},
	} {
		r := someReport()
		test.change(r)
		got := base.Compare(r, true)
		assert.Check(t, is.DeepEqual(append([]result.Change{}, test.want...), got.Changes), name)
		r.Baseline, r.Failures = got, 1 // with a baseline, only changes count
		worse := false
		for _, c := range test.want {
			worse = worse || c.Worse
		}
		assert.Check(t, is.Equal(r.OK(), !worse), name)
		assert.Check(t, is.Equal(len(r.Failed()) > 0, worse), name)
	}
}

// TestBaselineMerge: a run of some cases and engines leaves the rest of the baseline unchanged.
func TestBaselineMerge(t *testing.T) {
	old := New(someReport(), nil)
	c := old.Cases["other"]
	c.Reason = "why"
	old.Cases["other"] = c
	r := someReport()
	r.Engines = []string{"direct", "libbpf"}
	r.Cases = []result.CaseReport{{
		Name: "other", Loads: []result.LoadReport{{Engine: "direct", Result: "ok"}, {Engine: "libbpf", Result: "ok"}},
		Verdicts: []result.PairReport{{A: "direct", B: "libbpf", Verdict: result.Explained}},
	}}
	b := New(r, old)
	assert.Check(t, is.DeepEqual(b.Engines, []string{"direct", "trace", "replay", "libbpf"}))
	assert.Check(t, is.DeepEqual(b.Cases["fine"], old.Cases["fine"]))
	got := b.Cases["other"]
	assert.Check(t, is.DeepEqual(got.Loads, map[string]string{"direct": "ok", "trace": "ok", "replay": "ok", "libbpf": "ok"}))
	assert.Check(t, is.Equal(got.Verdicts[[2]string{"direct", "libbpf"}], "explained"))
	assert.Check(t, is.Equal(got.Verdicts[[2]string{"trace", "replay"}], "explained"))
	assert.Check(t, is.Equal(got.Reason, "why"))
}

// TestBaselineGone: a missing case is reported with its comment, if there is one. A baseline that
// is written anew omits the case.
func TestBaselineGone(t *testing.T) {
	base := New(someReport(), nil)
	r := someReport()
	r.Cases = r.Cases[2:]
	got := base.Compare(r, true)
	got.Explain(map[string]string{"other": "unknown type name", "no": "it is there"})
	assert.Check(t, is.DeepEqual(got.Changes, []result.Change{
		{Case: "fine", What: "case", Was: "there", Is: "gone", Worse: true}, {Case: "other", What: "case", Was: "there", Is: "gone: there is no object: unknown type name", Worse: true},
	}))
	base.Prune(r)
	b := New(r, base)
	assert.Check(t, is.Len(b.Cases, 1))
	assert.Check(t, is.Len(b.Compare(r, true).Changes, 0))
	var none *Baseline
	none.Prune(r)
}

func FuzzParseBaseline(f *testing.F) {
	f.Add(New(someReport(), nil).Text())
	f.Add([]byte("engines: direct\na ok none"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := parse(data)
		if err != nil {
			return
		}
		_ = b.Text()
		_ = b.Totals()
	})
}

func TestParseBaselineErrors(t *testing.T) {
	for text, want := range map[string]string{
		"color: red\n":                            `line 1: unknown key "color"`,
		"a ok equal\n":                            "behind the header",
		"engines: direct\na ok\n":                 "is no case",
		"engines: direct\na =ok equal\n":          "not understood",
		"engines: direct\na ok x=y\n":             "not understood",
		"engines: direct\na ok equal,b=c\n":       "no pair of engines",
		"engines: direct\na ok equal more\n":      "not understood",
		"engines: direct\na ok none\na ok none\n": "there twice",
	} {
		_, err := parse([]byte(text))
		assert.Check(t, is.ErrorContains(err, want), text)
	}
}
