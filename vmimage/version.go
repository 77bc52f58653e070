package vmimage

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
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
// (deb-version(7)): epoch, upstream version, revision.
func compareDebian(a, b string) int {
	epochA, restA := splitEpoch(a)
	epochB, restB := splitEpoch(b)
	if c := cmp.Compare(epochA, epochB); c != 0 {
		return c
	}
	upA, revA := splitRevision(restA)
	upB, revB := splitRevision(restB)
	if c := comparePart(upA, upB); c != 0 {
		return c
	}
	return comparePart(revA, revB)
}

func splitEpoch(v string) (int, string) {
	epoch, rest, ok := strings.Cut(v, ":")
	if !ok {
		return 0, v
	}
	n, err := strconv.Atoi(epoch)
	if err != nil {
		return 0, v
	}
	return n, rest
}

func splitRevision(v string) (upstream, revision string) {
	i := strings.LastIndexByte(v, '-')
	if i < 0 {
		return v, ""
	}
	return v[:i], v[i+1:]
}

// comparePart compares stretches of non-digits by [charOrder] and stretches of
// digits by value, in turn.
func comparePart(a, b string) int {
	isDigit := func(r rune) bool { return r >= '0' && r <= '9' }
	notDigit := func(r rune) bool { return !isDigit(r) }
	for a != "" || b != "" {
		var textA, textB, numA, numB string
		textA, a = span(a, isDigit)
		textB, b = span(b, isDigit)
		if c := compareText(textA, textB); c != 0 {
			return c
		}
		numA, a = span(a, notDigit)
		numB, b = span(b, notDigit)
		if c := compareNumber(numA, numB); c != 0 {
			return c
		}
	}
	return 0
}

// span cuts s before the first rune that stop holds for.
func span(s string, stop func(rune) bool) (before, rest string) {
	i := strings.IndexFunc(s, stop)
	if i < 0 {
		return s, ""
	}
	return s[:i], s[i:]
}

// compareNumber compares digits of any length, so that nothing overflows.
func compareNumber(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if c := cmp.Compare(len(a), len(b)); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}

func compareText(a, b string) int {
	order := func(s string) []int {
		keys := make([]int, 0, len(s)+1)
		for i := range len(s) {
			keys = append(keys, charOrder(s[i]))
		}
		// The end sorts after a tilde and before everything else.
		return append(keys, 0)
	}
	return slices.Compare(order(a), order(b))
}

// charOrder puts the tilde before the end of the string (so that 7.3~rc7 comes
// before 7.3), and letters before all other characters.
func charOrder(c byte) int {
	switch {
	case c == '~':
		return -1
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		return int(c)
	default:
		return int(c) + 256
	}
}
