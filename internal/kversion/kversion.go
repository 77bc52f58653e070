// Package kversion compares versions of kernels, and other versions of the same form.
package kversion

import (
	"slices"
	"strconv"
	"strings"
)

// Version is an upstream version, such as 6.12 or 6.12.107. Missing numbers are zero.
type Version [8]int

// Parse reads the numbers at the start of s: "6.12.107+deb12-cloud" is 6.12.107. ok is false
// without a major and a minor number.
func Parse(s string) (v Version, ok bool) {
	end := strings.IndexFunc(s, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end >= 0 {
		s = s[:end]
	}
	parts := strings.Split(strings.TrimSuffix(s, "."), ".")
	if len(parts) < 2 || len(parts) > len(v) {
		return v, false
	}
	for i, part := range parts {
		n, err := strconv.Atoi(part)
		if err != nil {
			return Version{}, false
		}
		v[i] = n
	}
	return v, true
}

// Compare is [cmp.Compare] of two versions.
func (v Version) Compare(w Version) int { return slices.Compare(v[:], w[:]) }

// Compare compares two kernel versions such as "5.14" and "6.12.107+deb12-cloud-amd64" by the
// numbers at their start. A string without a version sorts first.
func Compare(a, b string) int {
	va, _ := Parse(a)
	vb, _ := Parse(b)
	return va.Compare(vb)
}
