package harness

import (
	"os"
	"path/filepath"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/harness/state"
)

// someReport is a report of three engines and three cases.
func someReport() *Report {
	load := func(engine, result, errno string) LoadReport {
		return LoadReport{Engine: engine, Result: result, Errno: errno}
	}
	pair := func(a, b string, v Verdict, fields ...string) PairReport {
		p := PairReport{A: a, B: b, Verdict: v}
		for _, f := range fields {
			p.Differences = append(p.Differences, state.Difference{Field: f})
		}
		return p
	}
	return &Report{
		Suite: "kernel", Source: "linux-source-7.2 1", Kernel: KernelReport{Name: "6.12", Release: "6.12.1"}, Engines: []string{"direct", "trace", "replay"},
		Cases: []CaseReport{
			{Name: "fine", Loads: []LoadReport{load("direct", "ok", ""), load("trace", "ok", ""), load("replay", "ok", "")},
				Verdicts: []PairReport{pair("direct", "trace", Equal), pair("direct", "replay", Equal)}},
			{Name: "other", Loads: []LoadReport{load("direct", "refused", ""), load("trace", "ok", ""), load("replay", "ok", "")},
				Verdicts: []PairReport{pair("direct", "trace", Different, "load"), pair("trace", "replay", Explained)}},
			{Name: "no", Loads: []LoadReport{load("direct", "refused", "EINVAL"), load("trace", "refused", "EINVAL"), load("replay", "refused", "EACCES")},
				Verdicts: []PairReport{pair("direct", "trace", Equal), pair("direct", "replay", Different, "load log", "load errno")}, Failures: []string{"a leak"}},
		},
	}
}

// TestBaselineVerdicts: what an engine has with all others is said once.
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
		b, err := parseBaseline([]byte("engines: direct trace replay libbpf\na ok " + text))
		assert.NilError(t, err)
		c := b.Cases["a"]
		assert.Equal(t, c.verdicts(engines), want)
	}
}

func TestBaselineRoundTrip(t *testing.T) {
	b := NewBaseline(someReport(), nil)
	c := b.Cases["other"]
	c.Reason = "somebody knows why"
	b.Cases["other"] = c
	file := filepath.Join(t.TempDir(), "new", "6.12.txt")
	assert.NilError(t, b.Write(file))
	got, err := ReadBaseline(file)
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
	none, err := ReadBaseline(filepath.Join(t.TempDir(), "none"))
	assert.NilError(t, err)
	assert.Check(t, none == nil)
}

func TestBaselineCompare(t *testing.T) {
	base := NewBaseline(someReport(), nil)
	for name, test := range map[string]struct {
		change func(r *Report)
		want   []Change
	}{
		"nothing": {func(*Report) {}, nil},
		"a load fails": {func(r *Report) { r.Cases[0].Loads[2].Result = "refused" },
			[]Change{{"fine", "replay", "ok", "refused", true}}},
		"a load works": {func(r *Report) { r.Cases[1].Loads[0].Result = "ok" },
			[]Change{{"other", "direct", "refused", "ok", false}}},
		"another errno": {func(r *Report) { r.Cases[2].Loads[0].Errno = "EPERM" },
			[]Change{{"no", "direct", "refused:EINVAL", "refused:EPERM", false}}},
		"a difference": {func(r *Report) {
			r.Cases[0].Verdicts[1].Verdict = Different
			r.Cases[0].Verdicts[1].Differences = []state.Difference{{Field: "map m flags"}}
		}, []Change{{"fine", "direct/replay", "equal", "different:map_m_flags", true}}},
		"another difference": {func(r *Report) {
			r.Cases[1].Verdicts[0].Differences = []state.Difference{{Field: "load"}, {Field: "program p tag"}}
		}, []Change{{"other", "direct/trace", "different:load", "different:load+program_p_tag", true}}},
		"one less": {func(r *Report) { r.Cases[2].Verdicts[1].Differences = r.Cases[2].Verdicts[1].Differences[:1] },
			[]Change{{"no", "direct/replay", "different:load_errno+load_log", "different:load_log", false}}},
		"explained at last": {func(r *Report) { r.Cases[1].Verdicts[0].Verdict = Explained },
			[]Change{{"other", "direct/trace", "different:load", "explained", false}}},
		"a guest breaks": {func(r *Report) { r.Cases[1].Verdicts[0].Verdict = Broken },
			[]Change{{"other", "direct/trace", "different:load", "broken", true}}},
		"another leak": {func(r *Report) { r.Cases[2].Failures = append(r.Cases[2].Failures, "one more") },
			[]Change{{"no", "failures", "1", "2", true}}},
		"a new case": {func(r *Report) { r.Cases[0].Name = "new" },
			[]Change{{"new", "case", "none", "equal", false}, {"fine", "case", "there", "gone", true}}},
		"a new case that fails": {func(r *Report) { r.Cases = append(r.Cases, CaseReport{Name: "new", Failures: []string{"x"}}) },
			[]Change{{"new", "case", "none", "equal", true}}},
		"another reference": {func(r *Report) {
			r.Cases[0].Verdicts = []PairReport{{A: "trace", B: "replay", Verdict: Different}}
		}, []Change{{"fine", "trace/replay", "none", "different:", true}}},
	} {
		r := someReport()
		test.change(r)
		got := base.Compare(r, true)
		assert.Check(t, is.DeepEqual(append([]Change{}, test.want...), got.Changes), name)
		r.Baseline, r.Failures = got, 1 // what was there before counts no more
		worse := false
		for _, c := range test.want {
			worse = worse || c.Worse
		}
		assert.Check(t, is.Equal(r.OK(), !worse), name)
		assert.Check(t, is.Equal(len(r.Failed()) > 0, worse), name)
	}
}

// TestBaselineMerge: a run of some cases and engines leaves the rest alone.
func TestBaselineMerge(t *testing.T) {
	old := NewBaseline(someReport(), nil)
	c := old.Cases["other"]
	c.Reason = "why"
	old.Cases["other"] = c
	r := someReport()
	r.Engines = []string{"direct", "libbpf"}
	r.Cases = []CaseReport{{
		Name: "other", Loads: []LoadReport{{Engine: "direct", Result: "ok"}, {Engine: "libbpf", Result: "ok"}},
		Verdicts: []PairReport{{A: "direct", B: "libbpf", Verdict: Explained}},
	}}
	b := NewBaseline(r, old)
	assert.Check(t, is.DeepEqual(b.Engines, []string{"direct", "trace", "replay", "libbpf"}))
	assert.Check(t, is.DeepEqual(b.Cases["fine"], old.Cases["fine"]))
	got := b.Cases["other"]
	assert.Check(t, is.DeepEqual(got.Loads, map[string]string{"direct": "ok", "trace": "ok", "replay": "ok", "libbpf": "ok"}))
	assert.Check(t, is.Equal(got.Verdicts[[2]string{"direct", "libbpf"}], "explained"))
	assert.Check(t, is.Equal(got.Verdicts[[2]string{"trace", "replay"}], "explained"))
	assert.Check(t, is.Equal(got.Reason, "why"))
}

// Of a case that is gone it is said why, if that is known; a baseline that is written
// anew has it no more.
func TestBaselineGone(t *testing.T) {
	base := NewBaseline(someReport(), nil)
	r := someReport()
	r.Cases = r.Cases[2:]
	got := base.Compare(r, true)
	got.explain(map[string]string{"other": "unknown type name", "no": "it is there"})
	assert.Check(t, is.DeepEqual(got.Changes, []Change{
		{"fine", "case", "there", "gone", true}, {"other", "case", "there", "gone: there is no object: unknown type name", true},
	}))
	base.Prune(r)
	b := NewBaseline(r, base)
	assert.Check(t, is.Len(b.Cases, 1))
	assert.Check(t, is.Len(b.Compare(r, true).Changes, 0))
	var none *Baseline
	none.Prune(r)
}

func FuzzParseBaseline(f *testing.F) {
	f.Add(NewBaseline(someReport(), nil).Text())
	f.Add([]byte("engines: direct\na ok none"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := parseBaseline(data)
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
		_, err := parseBaseline([]byte(text))
		assert.Check(t, is.ErrorContains(err, want), text)
	}
}
