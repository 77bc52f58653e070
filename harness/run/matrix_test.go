package run

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// noKernels opens stores whose kernels cannot be fetched.
func noKernels(t *testing.T) func(func(string)) (*vmimage.Store, error) {
	dir := t.TempDir()
	config := filepath.Join(dir, "kernels.yaml")
	assert.NilError(t, os.WriteFile(config, []byte(`kernels:
  - {name: a, arch: amd64, sources: [{file: none-a}]}
  - {name: b, arch: amd64, sources: [{file: none-b}]}
`), 0o644))
	return func(note func(string)) (*vmimage.Store, error) {
		return vmimage.Open(vmimage.Options{Config: config, Cache: filepath.Join(dir, "cache"), Progress: note})
	}
}

// A kernel that cannot be fetched is a row with the reason.
func TestMatrixUnavailable(t *testing.T) {
	out := t.TempDir()
	suite := &suite.Suite{Name: "s", Cases: []suite.Case{{Name: "one"}, {Name: "two"}}}
	var first []string
	m, err := Matrix(t.Context(), suite, MatrixOptions{
		Options: Options{Out: out, Budget: guest.NewBudget(2, 1024)}, Kernels: []string{"b", "a"}, Open: noKernels(t),
		Watch: func(e Event) {
			if e.Run.State == result.Waiting {
				first = append(first, e.Run.Kernel+" "+e.Run.Dir)
			}
		},
	})
	assert.NilError(t, err)
	assert.DeepEqual(t, first, []string{"b " + filepath.Join(out, "b"), "a " + filepath.Join(out, "a")})
	assert.Equal(t, len(m.Kernels), 2)
	for i, name := range []string{"b", "a"} {
		k := m.Kernels[i]
		assert.Equal(t, k.Kernel, name)
		assert.Equal(t, k.State, result.Unavailable)
		assert.Equal(t, k.Cases, 2)
		assert.ErrorContains(t, errors.New(k.Reason), "none-"+name)
	}
	assert.Assert(t, !m.OK())
	assert.Assert(t, !m.Different())
}

// A shard has rows for its own kernels only.
func TestMatrixShard(t *testing.T) {
	s := &suite.Suite{Name: "s", Cases: []suite.Case{{Name: "one"}, {Name: "two"}}}
	m, err := Matrix(t.Context(), s, MatrixOptions{
		Options: Options{Out: t.TempDir()}, Kernels: []string{"b", "a"}, Open: noKernels(t), Shard: suite.Shard{Index: 2, Count: 2},
	})
	assert.NilError(t, err)
	assert.DeepEqual(t, m.Shard, &suite.Shard{Index: 2, Count: 2})
	assert.Equal(t, len(m.Kernels), 1)
	assert.Equal(t, m.Kernels[0].Kernel, "b")
}

func TestMatrixInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Matrix(ctx, &suite.Suite{Cases: []suite.Case{{}}}, MatrixOptions{Kernels: []string{"a"}, Open: noKernels(t)})
	assert.ErrorIs(t, err, context.Canceled)
}

func TestRunDirs(t *testing.T) {
	taken := make(map[string]bool)
	for _, test := range [][2]string{{"6.12", "6.12"}, {"/a/bzImage", "bzImage"}, {"/b/bzImage", "bzImage-2"}, {"linux/", "linux"}, {"/c/bzImage", "bzImage-3"}} {
		assert.Equal(t, unused(taken, runDir(test[0])), test[1])
	}
}
