package vmimage

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"pault.ag/go/debian/version"
)

// kernelVersion is an upstream version, such as 6.12 or 6.12.107. What is missing is zero.
type kernelVersion [8]int

// parseVersion reads the numbers at the start of s: "6.12.107+deb12-cloud" is
// 6.12.107. It wants at least a major and a minor number.
func parseVersion(s string) (v kernelVersion, ok bool) {
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
			return kernelVersion{}, false
		}
		v[i] = n
	}
	return v, true
}

func (v kernelVersion) compare(w kernelVersion) int { return slices.Compare(v[:], w[:]) }

// CompareVersions compares two kernel versions such as "5.14" and
// "6.12.107+deb12-cloud-amd64" by the numbers that they begin with. What
// begins with no version sorts first.
func CompareVersions(a, b string) int {
	va, _ := parseVersion(a)
	vb, _ := parseVersion(b)
	return va.compare(vb)
}

// compareDebian orders two Debian package versions as dpkg does
// (deb-version(7)). What is no version sorts by as much of it as is one.
func compareDebian(a, b string) int {
	va, _ := version.Parse(a)
	vb, _ := version.Parse(b)
	return cmp.Compare(version.Compare(va, vb), 0)
}
