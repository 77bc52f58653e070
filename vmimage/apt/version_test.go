package apt

import (
	"testing"

	"gotest.tools/v3/assert"
)

func TestCompareDebian(t *testing.T) {
	// Each is less than the next.
	ascending := []string{
		"0~", "0", "5.10.223-1", "5.10.262-1", "6.1.101-1", "6.1.101-1+b1", "6.1.101-1.1", "7.3~rc6-1~exp1", "7.3~rc7-1~exp1",
		"7.3.4-1~bpo13+1", "7.3.4-1", "7.3.10-1", "7.10-1", "10-1", "1:0-1",
	}
	for i, a := range ascending {
		for j, b := range ascending {
			want := 0
			switch {
			case i < j:
				want = -1
			case i > j:
				want = 1
			}
			assert.Equal(t, Compare(a, b), want, "%q %q", a, b)
		}
	}
	assert.Equal(t, Compare("1.0", "1.00"), 0)
	assert.Equal(t, Compare("1a", "1+"), -1, "letters come before other characters")
}
