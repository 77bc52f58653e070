package effects

import (
	"encoding/json"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/field"
)

func samples(values ...string) []Sample {
	var out []Sample
	for _, v := range values {
		s := Sample{}
		if v != "" {
			s.Set(field.Program("run", "ran"), v)
		}
		out = append(out, s)
	}
	return out
}

func TestCompare(t *testing.T) {
	for name, test := range map[string]struct {
		a, b   []Sample
		differ bool
	}{
		"equal":                           {samples("1"), samples("1"), false},
		"different":                       {samples("1"), samples("2"), true},
		"only one":                        {samples("1"), samples(""), true},
		"different each time":             {samples("1", "1", "1"), samples("2", "2"), true},
		"one value in common":             {samples("1", "2"), samples("2"), false},
		"noise on one side":               {samples("812", "840"), samples("799"), false},
		"noise on both":                   {samples("812", "840"), samples("799", "803"), false},
		"noise, and never":                {samples("812", "840"), samples("", ""), true},
		"never, and noise":                {samples("", ""), samples("812", "840"), true},
		"noise that may be missing":       {samples("812", ""), samples("", ""), false},
		"sometimes there, always there":   {samples("1", ""), samples("2", "2"), false},
		"varies here, constant elsewhere": {samples("1", "3"), samples("2", "2"), false},
	} {
		got := Compare(test.a, test.b)
		assert.Equal(t, len(got) > 0, test.differ, "%s: %v", name, got)
		assert.Equal(t, len(Compare(test.b, test.a)) > 0, test.differ, "%s, the other way round", name)
	}
}

func TestCompareWithoutSamples(t *testing.T) {
	assert.Equal(t, len(Compare(nil, samples("1"))), 0)
	assert.Equal(t, len(Compare(samples("1"), nil)), 0)
}

func TestCompareShows(t *testing.T) {
	a := Sample{
		{Field: field.Program("run", "attached")}: "ok", {Field: field.Program("run", "ran")}: "1",
		{field.Map("m", "contents after trigger"), "[0]+0"}: "01 00", {field.Map("m", "contents after trigger"), "[0]+8"}: "02 00",
		{field.Map("n", "contents after trigger"), "[0]+0"}: "07 00",
	}
	b := Sample{
		{Field: field.Program("run", "attached")}:           "EINVAL",
		{field.Map("m", "contents after trigger"), "[0]+8"}: "03 00",
		{field.Map("n", "contents after trigger"), "[0]+0"}: "07 00",
	}
	assert.DeepEqual(t, Compare([]Sample{a}, []Sample{b}), []Difference{
		{
			Field: field.Map("m", "contents after trigger"), A: "[0]+0 01 00", B: "[0]+0 nothing",
			Detail: "[0]+0 01 00, [0]+0 nothing\n[0]+8 02 00, [0]+8 03 00\n",
			Pairs:  []Pair{{"01 00", ""}, {"02 00", "03 00"}},
		},
		{Field: field.Program("run", "attached"), A: "ok", B: "EINVAL", Pairs: []Pair{{"ok", "EINVAL"}}},
		{Field: field.Program("run", "ran"), A: "1", B: "nothing", Pairs: []Pair{{"1", ""}}},
	})
	several := Compare(samples("1", "3"), samples("", ""))
	assert.DeepEqual(t, several[0].Pairs, []Pair{{"1", ""}, {"3", ""}})
}

// TestCompareNotLoaded: the effects of a program that one engine did not load are not compared,
// because the states differ already. Those of other programs are.
func TestCompareNotLoaded(t *testing.T) {
	a := Sample{{Field: field.Program("run", "attached")}: "ok", {Field: field.Program("run", "run tcp4 returns")}: "1", {Field: field.Program("runs", "attached")}: "ok"}
	b := Sample{{Field: field.Program("run", "")}: NotLoaded, {Field: field.Program("runs", "attached")}: "EPERM"}
	attached := field.Program("runs", "attached")
	assert.DeepEqual(t, Compare([]Sample{a}, []Sample{b}), []Difference{{Field: attached, A: "ok", B: "EPERM", Pairs: []Pair{{"ok", "EPERM"}}}})
	assert.DeepEqual(t, Compare([]Sample{b}, []Sample{a}), []Difference{{Field: attached, A: "EPERM", B: "ok", Pairs: []Pair{{"EPERM", "ok"}}}})
}

// TestNamesWithSpaces: a name with spaces stays one name when a sample is encoded and decoded.
func TestNamesWithSpaces(t *testing.T) {
	with := func(said string) Sample {
		return Sample{{Field: field.Program("run", "")}: NotLoaded, {field.Program("run \"2\" \t*", "ran"), "[0]+8"}: said}
	}
	text, err := json.Marshal(with("1"))
	assert.NilError(t, err)
	var back Sample
	assert.NilError(t, json.Unmarshal(text, &back))
	assert.DeepEqual(t, back, with("1"))
	assert.Equal(t, len(Compare([]Sample{back}, []Sample{with("2")})), 1, "another program is not loaded")
	assert.ErrorContains(t, json.Unmarshal([]byte(`{"program run": "1"}`), &back), "invalid character")
}

func TestNoise(t *testing.T) {
	a := []Sample{
		{{field.Map("m", "contents after trigger"), "[0]+0"}: "01", {Field: field.Program("run", "ran")}: "1"},
		{{field.Map("m", "contents after trigger"), "[0]+0"}: "02", {Field: field.Program("run", "ran")}: "1"},
	}
	assert.DeepEqual(t, Noise(a), []string{"map m contents after trigger [0]+0"})
	assert.Equal(t, len(Noise(a[:1])), 0)
	assert.DeepEqual(t, a[0].Text(), map[string]string{"map m contents after trigger [0]+0": "01", "program run ran": "1"})
}

func TestShort(t *testing.T) {
	long := make([]byte, 300)
	for i := range long {
		long[i] = 'x'
	}
	got := Compare(samples(string(long)), samples("1"))
	assert.Equal(t, len(got), 1)
	assert.Assert(t, len(got[0].A) < 110)
	assert.Equal(t, got[0].B, "1")
	assert.Equal(t, got[0].Detail, string(long)+"\n1\n")
}
