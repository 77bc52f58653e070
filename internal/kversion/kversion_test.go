package kversion

import (
	"testing"

	"gotest.tools/v3/assert"
)

func TestCompare(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"5.14", "5.14", 0},
		{"5.14", "5.14.0", 0},
		{"5.4", "5.14", -1},
		{"6.12.107+deb12-cloud-amd64", "6.12", 1},
		{"6.12-rc1", "6.12", 0},
		{"nonsense", "1.0", -1},
	} {
		assert.Equal(t, Compare(test.a, test.b), test.want, "%q %q", test.a, test.b)
		assert.Equal(t, Compare(test.b, test.a), -test.want, "%q %q", test.b, test.a)
	}
}
