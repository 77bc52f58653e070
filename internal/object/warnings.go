package object

import (
	"fmt"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/visible"
)

// Warning is a defect that, as with libbpf, does not prevent a load, and its consequence.
type Warning struct {
	Section     string
	Symbol      string // a map or a variable; "" if the defect concerns the whole section
	Defect      string // "cannot be read: magic is 0x1"
	Consequence string // "the object is loaded without types"
}

// String returns one line: `section ".BTF": cannot be read: magic is 0x1; the object is loaded
// without types`.
func (w Warning) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "section %q: ", w.Section)
	if w.Symbol != "" {
		fmt.Fprintf(&b, "%q: ", w.Symbol)
	}
	fmt.Fprintf(&b, "%s; %s", w.Defect, w.Consequence)
	return visible.Line(b.String())
}

func (o *opener) warn(w Warning) { o.obj.Warnings = append(o.obj.Warnings, w) }
