package apt

import (
	"cmp"

	"pault.ag/go/debian/version"
)

// Compare orders two Debian package versions as dpkg does (deb-version(7)). Text that is no
// version sorts by its longest prefix that is one.
func Compare(a, b string) int {
	va, _ := version.Parse(a)
	vb, _ := version.Parse(b)
	return cmp.Compare(version.Compare(va, vb), 0)
}
