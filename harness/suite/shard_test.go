package suite

import (
	"fmt"
	"slices"
	"testing"

	"gotest.tools/v3/assert"
)

func TestParseShard(t *testing.T) {
	s, err := ParseShard("2/4")
	assert.NilError(t, err)
	assert.Equal(t, s, Shard{2, 4})
	s, err = ParseShard("")
	assert.NilError(t, err)
	assert.Equal(t, s, Shard{})
	for _, bad := range []string{"0/4", "5/4", "1", "1/", "/2", "a/b", "1/2/3", "-1/2", "01/2", "1/2 ", "+1/2", "1/0"} {
		_, err := ParseShard(bad)
		assert.ErrorContains(t, err, "such as 2/4", "%q", bad)
	}
}

// Shards cover each pair of kernel and case once, have the same length, and do not depend on the
// order of the kernels and cases.
func TestShardSplit(t *testing.T) {
	for _, test := range []struct{ kernels, cases, count int }{{1, 1, 1}, {1, 10, 3}, {8, 143, 4}, {3, 7, 20}, {5, 1, 3}, {2, 0, 2}} {
		s, backwards := &Suite{Name: "s"}, &Suite{Name: "s"}
		for i := range test.cases {
			s.Cases = append(s.Cases, Case{Name: fmt.Sprintf("case%d", i)})
		}
		backwards.Cases = slices.Clone(s.Cases)
		slices.Reverse(backwards.Cases)
		var kernels []string
		for i := range test.kernels {
			kernels = append(kernels, fmt.Sprintf("%d.1", 9-i))
		}
		other := slices.Sorted(slices.Values(kernels))
		seen := make(map[string]int)
		for i := 1; i <= test.count; i++ {
			shard := Shard{i, test.count}
			length := 0
			again := make(map[string]bool)
			for k, part := range shard.Split(other, backwards) {
				for _, c := range part.Cases {
					again[other[k]+" "+c.Name] = true
				}
			}
			for k, part := range shard.Split(kernels, s) {
				length += len(part.Cases)
				for _, c := range part.Cases {
					seen[kernels[k]+" "+c.Name]++
					assert.Assert(t, again[kernels[k]+" "+c.Name])
				}
				assert.Assert(t, slices.IsSortedFunc(part.Cases, func(a, b Case) int {
					return slices.IndexFunc(s.Cases, func(c Case) bool { return c.Name == a.Name }) -
						slices.IndexFunc(s.Cases, func(c Case) bool { return c.Name == b.Name })
				}))
			}
			assert.Equal(t, len(again), length)
			assert.Equal(t, length, Pairs(kernels, s, shard))
			all := test.kernels * test.cases
			assert.Assert(t, length >= all/test.count && length <= (all+test.count-1)/test.count, "%d of %d", length, all)
		}
		assert.Equal(t, len(seen), test.kernels*test.cases)
		for name, n := range seen {
			assert.Equal(t, n, 1, name)
		}
	}
}
