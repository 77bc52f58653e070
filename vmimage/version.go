package vmimage

import (
	"cmp"
	"strconv"
	"strings"

	"pault.ag/go/debian/version"
)

// kernelVersion is an upstream version, such as 6.12 or 6.12.107.
type kernelVersion []int

// parseVersion reads the numbers at the start of s: "6.12.107+deb12-cloud" is
// 6.12.107. It wants at least a major and a minor number.
func parseVersion(s string) (kernelVersion, bool) {
	end := strings.IndexFunc(s, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end >= 0 {
		s = s[:end]
	}
	var v kernelVersion
	for part := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil, false
		}
		v = append(v, n)
	}
	return v, len(v) >= 2
}

// compare orders versions; a missing number counts as zero.
func (v kernelVersion) compare(w kernelVersion) int {
	for i := range max(len(v), len(w)) {
		var a, b int
		if i < len(v) {
			a = v[i]
		}
		if i < len(w) {
			b = w[i]
		}
		if c := cmp.Compare(a, b); c != 0 {
			return c
		}
	}
	return 0
}

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
