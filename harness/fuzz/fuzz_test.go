package fuzz

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/fs"

	"github.com/bpfreplay/bpfreplay/harness/compare"
	"github.com/bpfreplay/bpfreplay/harness/field"
	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/random"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/run"
	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// fake returns a load function in which engine replay fails with the objects for which wrong
// returns differences.
func fake(wrong func(*random.Object) []compare.Difference) func(context.Context, *random.Object) (*result.CaseReport, error) {
	return func(_ context.Context, o *random.Object) (*result.CaseReport, error) {
		c := &result.CaseReport{Name: o.Name(), Loads: []result.LoadReport{{Engine: "trace", Result: wire.OK}, {Engine: "replay", Result: wire.OK}}}
		p := result.PairReport{A: "trace", B: "replay", Verdict: result.Equal, Differences: wrong(o)}
		if len(p.Differences) > 0 {
			p.Verdict = result.Different
		}
		c.Verdicts = []result.PairReport{p}
		return c, nil
	}
}

func options(t *testing.T) Options {
	return Options{Options: run.Options{Config: guest.Config{Note: func(string) {}}, Out: fs.NewDir(t, "fuzz").Path(), Engines: []string{"trace", "replay"}}, Seed: 11, N: 60}
}

// notFrozen makes engine replay forget to freeze the first .rodata map.
func notFrozen(o *random.Object) []compare.Difference {
	for _, v := range o.Vars {
		if strings.HasPrefix(v.Section, ".rodata") {
			return []compare.Difference{
				{Field: field.Map(".bss", "name"), A: "x", B: "y", ExplainedBy: compare.RuleIDs{"some-rule"}},
				{Field: field.Map(v.Section, "frozen"), A: "true", B: "false"},
			}
		}
	}
	return nil
}

// TestFuzzFinds: a fault of one engine is found, and shrinking removes everything that the fault
// does not need.
func TestFuzzFinds(t *testing.T) {
	o := options(t)
	f := newFuzzer(o, fake(notFrozen))
	assert.NilError(t, f.run(t.Context()))
	r := f.report
	assert.Assert(t, !r.OK())
	assert.Assert(t, !r.Broken())
	assert.Equal(t, r.Objects, 60)
	assert.Equal(t, r.Loaded, 60)
	assert.Equal(t, r.Summary[result.Different], len(r.Findings))
	var dirs int
	for _, found := range r.Findings {
		assert.Assert(t, strings.HasPrefix(found.What.String(), "trace and replay: map .rodata"), found.What.String())
		if found.Like != nil {
			continue
		}
		dirs++
		assert.Equal(t, found.Left, 2) // the variable and a program
		assert.Assert(t, found.Parts > found.Left)
		assert.Equal(t, found.Dir, filepath.Join(o.Out, "fuzz-11-"+number.FindString(found.Case.Name)))
		about, err := os.ReadFile(filepath.Join(found.Dir, "about.txt"))
		assert.NilError(t, err)
		assert.Assert(t, strings.Contains(string(about), " frozen\n    trace: true\n    replay: false"), "%s", about)
		assert.Assert(t, strings.Contains(string(about), "bytes in .rodata"), "%s", about)
		_, err = os.Stat(filepath.Join(found.Dir, found.Case.Name+".bpf.o"))
		assert.NilError(t, err)
	}
	assert.Equal(t, dirs, 2) // .rodata and .rodata.y
}

// TestFuzzKeepsTheSame: a smaller object must show the same disagreement, not another one.
func TestFuzzKeepsTheSame(t *testing.T) {
	f := newFuzzer(options(t), fake(func(o *random.Object) []compare.Difference {
		if d := notFrozen(o); d != nil {
			return d
		}
		return []compare.Difference{{Field: field.Program("p0", "tag"), A: "1", B: "2"}}
	}))
	assert.NilError(t, f.run(t.Context()))
	for _, found := range f.report.Findings {
		assert.Equal(t, found.What, disagreements(&found.Case)[0])
	}
}

func TestFuzzAgrees(t *testing.T) {
	o := options(t)
	f := newFuzzer(o, fake(func(*random.Object) []compare.Difference { return nil }))
	assert.NilError(t, f.run(t.Context()))
	assert.Assert(t, f.report.OK())
	assert.Equal(t, f.report.Summary[result.Equal], 60)
	assert.Assert(t, f.report.Features["maps"].Objects > 10)
	left, err := os.ReadDir(o.Out)
	assert.NilError(t, err)
	assert.Equal(t, len(left), 0)
}

// TestFuzzLoadsEnough: a run is not OK if all engines refuse too many of its objects.
func TestFuzzLoadsEnough(t *testing.T) {
	refused := 0
	f := newFuzzer(options(t), func(_ context.Context, o *random.Object) (*result.CaseReport, error) {
		became := wire.OK
		if o.Index%4 == 0 {
			became = wire.Refused
			refused++
		}
		return &result.CaseReport{Loads: []result.LoadReport{
			{Engine: "trace", Result: became, Detail: "map m7: MAP_CREATE: EINVAL"}, {Engine: "replay", Result: became},
		}}, nil
	})
	assert.NilError(t, f.run(t.Context()))
	assert.Equal(t, f.report.Refused, refused)
	assert.Equal(t, len(f.report.Refusals["map m*: MAP_CREATE: EINVAL"]), refused)
	assert.Assert(t, !f.report.LoadsEnough())
	assert.Assert(t, !f.report.OK())
}

func TestDisagreements(t *testing.T) {
	ok, no, broken := result.LoadReport{Engine: "trace", Result: wire.OK}, result.LoadReport{Engine: "libbpf", Result: wire.Refused}, result.LoadReport{Engine: "libbpf", Result: wire.Broken}
	load := []result.PairReport{{A: "trace", B: "libbpf", Verdict: result.Different, Differences: []compare.Difference{
		{Field: field.Load(""), A: "ok", B: "refused EINVAL: map m3: no"},
	}}}
	leaks := ok
	leaks.Leaks = []string{"map ids [7]"}
	for name, c := range map[string]struct {
		report result.CaseReport
		want   []string
	}{
		"nothing":       {result.CaseReport{Loads: []result.LoadReport{ok, ok}}, nil},
		"who refuses":   {result.CaseReport{Loads: []result.LoadReport{ok, no}, Verdicts: load}, []string{"trace and libbpf: load (ok, refused EINVAL)"}},
		"broken, first": {result.CaseReport{Loads: []result.LoadReport{leaks, broken}, Verdicts: load}, []string{"libbpf: broken"}},
		"leak":          {result.CaseReport{Loads: []result.LoadReport{leaks, ok}}, []string{"trace: left something behind"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, d := range disagreements(&c.report) {
				got = append(got, d.String())
			}
			assert.DeepEqual(t, got, c.want)
		})
	}
}

func TestFuzzHarnessFails(t *testing.T) {
	gone := errors.New("no more guests")
	loads := 0
	f := newFuzzer(options(t), func(ctx context.Context, o *random.Object) (*result.CaseReport, error) {
		if loads++; loads > 1 {
			return nil, gone
		}
		return fake(func(*random.Object) []compare.Difference {
			return []compare.Difference{{Field: field.Map("*", "name")}}
		})(ctx, o)
	})
	err := f.run(t.Context())
	assert.Assert(t, errors.Is(err, gone))
	assert.ErrorContains(t, err, "object 0 of seed 11, made smaller: ")
}
