package engine

import (
	"fmt"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
)

func TestEnds(t *testing.T) {
	const text = "0123456789abcdefghijklmnopqrstuvwxyz"
	for n := range len(text) + 1 {
		for size := 1; size <= n; size++ {
			e := ends{keep: 4}
			for from := 0; from < n; from += size {
				p := text[from:min(from+size, n)]
				wrote, err := e.Write([]byte(p))
				assert.NilError(t, err)
				assert.Equal(t, wrote, len(p))
			}
			got := e.String()
			if e.dropped == 0 {
				assert.Equal(t, got, text[:n])
				assert.Assert(t, n <= 3*e.keep)
				continue
			}
			head, rest, ok := strings.Cut(got, fmt.Sprintf("\n[%d bytes left out]\n", e.dropped))
			assert.Assert(t, ok, got)
			assert.Equal(t, head, text[:e.keep])
			assert.Equal(t, rest, text[e.keep+e.dropped:n])
			assert.Assert(t, len(rest) >= e.keep && len(rest) <= 2*e.keep, got)
		}
	}
}
