package suite

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"
)

// Shard is one machine's part of all pairs of kernel and case. The zero value is all of them.
type Shard struct {
	Index int `json:"index"` // counts from 1
	Count int `json:"count"`
}

// ParseShard reads "i/n".
func ParseShard(s string) (Shard, error) {
	var shard Shard
	if s == "" {
		return shard, nil
	}
	n, err := fmt.Sscanf(s, "%d/%d", &shard.Index, &shard.Count)
	if err != nil || n != 2 || shard.String() != s || shard.Index < 1 || shard.Index > shard.Count {
		return Shard{}, fmt.Errorf("shard %q: it is i/n, with i from 1 to n, such as 2/4", s)
	}
	return shard, nil
}

func (s Shard) String() string { return fmt.Sprintf("%d/%d", s.Index, s.Count) }

// Split returns for each kernel the suite with the cases of this shard.
//
// It sorts all pairs in an order that only depends on the names, and cuts them into pieces whose
// lengths differ by at most one. A piece has few kernels, because each costs a boot. Within a
// kernel the order is that of a hash, so that similar cases that take long are spread over the
// pieces.
func (s Shard) Split(kernels []string, suite *Suite) []*Suite {
	if s.Count <= 1 {
		return slices.Repeat([]*Suite{suite}, len(kernels))
	}
	out := make([]*Suite, len(kernels))
	cases := make([]int, len(suite.Cases))
	for i := range cases {
		cases[i] = i
	}
	slices.SortFunc(cases, func(a, b int) int {
		x, y := suite.Cases[a].Name, suite.Cases[b].Name
		return cmp.Or(cmp.Compare(hashOf(x), hashOf(y)), cmp.Compare(x, y))
	})
	rank := slices.Sorted(slices.Values(kernels))
	all := len(kernels) * len(cases)
	first, last := (s.Index-1)*all/s.Count, s.Index*all/s.Count
	for i, kernel := range kernels {
		out[i] = suite.with(nil)
		begin := slices.Index(rank, kernel) * len(cases)
		from, to := max(first, begin)-begin, min(last, begin+len(cases))-begin
		if from >= to {
			continue
		}
		for _, c := range slices.Sorted(slices.Values(cases[from:to])) {
			out[i].Cases = append(out[i].Cases, suite.Cases[c])
		}
	}
	return out
}

func hashOf(name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return h.Sum64()
}

// Pairs returns the number of pairs of kernel and case in a shard.
func Pairs(kernels []string, suite *Suite, s Shard) int {
	n := 0
	for _, part := range s.Split(kernels, suite) {
		n += len(part.Cases)
	}
	return n
}
