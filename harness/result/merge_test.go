package result

import (
	"testing"
	"time"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/suite"
)

// shard returns the report of a shard: one case on one kernel.
func shard(index, count int, kernel, c string, change ...func(*Matrix)) Part {
	r := &Report{
		Schema: 1, Suite: "s", Engines: []string{"direct", "replay"}, Started: time.Unix(int64(100*index), 0),
		Kernel:  KernelReport{Name: kernel, Release: kernel + ".1", SHA256: "k" + kernel},
		Seconds: Seconds{Boot: 1, Suite: 2, Total: 4}, Accelerator: "tcg",
		Cases: []CaseReport{{Name: c, SHA256: "o" + c, Verdicts: []PairReport{{A: "direct", B: "replay", Verdict: Equal}}}},
	}
	r.Summarise()
	m := MatrixOf(r)
	if count > 0 {
		m.Shard = &suite.Shard{Index: index, Count: count}
		r.Shard = m.Shard
	}
	for _, f := range change {
		f(m)
	}
	return Part{Name: kernel + c + ".json", Matrix: m}
}

func TestMerge(t *testing.T) {
	parts := []Part{shard(3, 3, "6.1", "b"), shard(1, 3, "5.10", "a"), shard(2, 3, "6.1", "c", func(m *Matrix) {
		m.Kernels[0].Report.Cases[0].Verdicts[0].Verdict = Different
		m.Kernels = append(m.Kernels, KernelRun{Kernel: "5.10", State: Unavailable, Reason: "gone", Cases: 1})
	})}
	m, err := Merge(parts)
	assert.NilError(t, err)
	assert.Equal(t, m.Suite, "s")
	assert.Assert(t, m.Shard == nil)
	assert.Equal(t, len(m.Missing), 0)
	assert.DeepEqual(t, m.Summary, map[Verdict]int{Equal: 2, Explained: 0, Different: 1, Unsupported: 0, Broken: 0})
	assert.Equal(t, m.Started, time.Unix(100, 0))
	assert.Equal(t, m.Seconds, 204.0)
	assert.Equal(t, len(m.Kernels), 2)
	old, newer := m.Kernels[0], m.Kernels[1]
	assert.Equal(t, old.Kernel, "5.10")
	assert.Equal(t, old.State, Unavailable) // in one of the parts
	assert.Equal(t, old.Reason, "gone")
	assert.Equal(t, old.Cases, 2)
	assert.Equal(t, len(old.Report.Cases), 1)
	assert.Equal(t, newer.Report.Cases[0].Name, "b")
	assert.Equal(t, newer.Report.Cases[1].Name, "c")
	assert.Equal(t, newer.Report.Summary[Different], 1)
	assert.DeepEqual(t, newer.Report.Seconds, Seconds{Boot: 2, Suite: 4, Total: 8})
	assert.Assert(t, newer.Report.Shard == nil)
	assert.Assert(t, m.Different() && !m.OK())
	assert.Assert(t, parts[0].Matrix.Kernels[0].Report.Shard != nil, "an input was changed")

	// A merged matrix can be merged again, with other kernels.
	apart, err := Merge([]Part{shard(0, 0, "6.1", "a"), shard(0, 0, "6.12", "a")})
	assert.NilError(t, err)
	assert.Assert(t, apart.OK())
	again, err := Merge([]Part{{"one", apart}, shard(0, 0, "6.1", "b")})
	assert.NilError(t, err)
	assert.Equal(t, again.Summary[Equal], 3)
}

func TestMergeMissing(t *testing.T) {
	m, err := Merge([]Part{shard(2, 4, "6.1", "b"), shard(3, 4, "6.1", "c")})
	assert.NilError(t, err)
	assert.DeepEqual(t, m.Missing, []string{"1/4", "4/4"})
	assert.Assert(t, !m.OK() && !m.Different())
}

func TestMergeRefuses(t *testing.T) {
	for _, test := range []struct {
		what  string
		parts []Part
	}{
		{"there are no reports", nil},
		{"shard 1/2 is there twice: 6.1a.json and 6.1b.json", []Part{shard(1, 2, "6.1", "a"), shard(1, 2, "6.1", "b")}},
		{"6.1a.json is shard 1/2, 6.1b.json is shard 2/3", []Part{shard(1, 2, "6.1", "a"), shard(2, 3, "6.1", "b")}},
		{"6.1a.json is no shard, 6.1b.json is shard 2/3", []Part{shard(0, 0, "6.1", "a"), shard(2, 3, "6.1", "b")}},
		{"different suites: 6.1a.json of s, 6.1b.json of t", []Part{shard(1, 2, "6.1", "a"), shard(2, 2, "6.1", "b", func(m *Matrix) { m.Suite = "t" })}},
		{"different engines: direct, replay, and in 6.1b.json trace", []Part{shard(1, 2, "6.1", "a"), shard(2, 2, "6.1", "b", func(m *Matrix) {
			m.Kernels[0].Report.Engines = []string{"trace"}
		})}},
		{"case a on kernel 6.1 is there twice", []Part{shard(0, 0, "6.1", "a"), shard(0, 0, "6.1", "a")}},
		{"case a: the object in 6.12a.json is another one than in 6.1a.json", []Part{shard(1, 2, "6.1", "a"), shard(2, 2, "6.12", "a", func(m *Matrix) {
			m.Kernels[0].Report.Cases[0].SHA256 = "other"
		})}},
		{"kernel 6.1: in 6.1b.json it is 6.1.9 (SHA-256 other), elsewhere 6.1.1 (k6.1)", []Part{shard(1, 2, "6.1", "a"), shard(2, 2, "6.1", "b", func(m *Matrix) {
			m.Kernels[0].Report.Kernel.SHA256, m.Kernels[0].Report.Kernel.Release = "other", "6.1.9"
		})}},
	} {
		_, err := Merge(test.parts)
		assert.ErrorContains(t, err, test.what)
	}
}
