package mutate

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/compare"
	"github.com/bpfreplay/bpfreplay/harness/field"
)

// Want declares how a mutation must be detected. In a pattern of a text, a star stands for any
// text.
type Want struct {
	// Field is the pattern of a field that differs. If it is zero, the load is refused or fails the
	// case in another way.
	Field field.Field
	// Also are patterns of further fields that differ as a consequence.
	Also []field.Field
	// Refused is the pattern of the error with which the kernel refuses the load. If Field is also
	// set, either will do, because kernels differ.
	Refused string
	// Failure is the pattern of a failed expectation that is required as well: something is left
	// behind, or an error names the wrong thing.
	Failure string
}

// orRefused declares that some kernels refuse the load instead.
func (w Want) orRefused(pattern string) Want {
	w.Refused = pattern
	return w
}

// String returns the text for reports.
func (w *Want) String() string {
	var parts []string
	for _, p := range []struct{ what, pattern string }{{"", w.Field.String()}, {"refused: ", w.Refused}, {"", w.Failure}} {
		if p.pattern != "" {
			parts = append(parts, p.what+p.pattern)
		}
	}
	return strings.Join(parts, " or ")
}

// Outcome is the result of a mutation.
type Outcome string

// Outcomes, from good to bad.
const (
	Caught      Outcome = "caught"
	Unsupported Outcome = "unsupported" // this kernel cannot load the case
	Hidden      Outcome = "hidden"      // a rule explained the difference
	Misnamed    Outcome = "misnamed"    // detected, but in the wrong field
	Missed      Outcome = "missed"
	Idle        Outcome = "idle"   // it changed nothing
	Broken      Outcome = "broken" // the guest, or the case without it
)

// Found is what the harness detected about one load, compared with another.
type Found struct {
	Refused     string // the error, empty if the load went through
	Differences []compare.Difference
	Failures    []string // failed expectations of the case
	// Strict: no other field may differ. Without it others may: a rule looks at more than one
	// field, so a mutation can make it fail to explain another difference.
	Strict bool
}

// consequences are fields in which any mutation may also show: the effects of programs, hashes of
// their instructions, and types.
var consequences = []field.Field{
	field.Program(field.Any, "run returns"), field.Program(field.Any, "run data"), field.Map(field.Any, "contents after runs"),
	field.Program(field.Any, "tag"), field.Function(field.Any, field.Any, "function_tag"), field.Program(field.Any, "verified_insns"),
	field.Map(field.Any, "types"), field.Program(field.Any, "types"),
}

var none field.Field

// leftBehind is the prefix of a failed expectation about leaks.
const leftBehind = "left behind"

// Judge compares the declaration with what was found. The text is the evidence, or the reason why
// the mutation is not caught.
func (w *Want) Judge(f *Found) (Outcome, string) {
	is := func(s string) bool { return strings.Contains(s, leftBehind) } // no mutation wants a leak here
	if w.Failure != "" {
		is = func(s string) bool { return match(w.Failure, s) }
	}
	i := slices.IndexFunc(f.Failures, is)
	switch {
	case w.Failure == "" && i >= 0:
		return Misnamed, f.Failures[i]
	case w.Failure != "" && i < 0:
		return Missed, "not noticed: " + w.Failure
	case w.Failure != "" && w.Field == none && w.Refused == "":
		return w.others(f, f.Failures[i])
	}
	if f.Refused != "" {
		if w.Refused == "" || !match(w.Refused, f.Refused) {
			return Misnamed, "refused: " + f.Refused
		}
		return Caught, "refused: " + f.Refused
	}
	if w.Field == none {
		if text := w.stray(f); text != "" {
			return Misnamed, text
		}
		return Missed, "loaded, and nothing differs"
	}
	return w.field(f)
}

// field judges the field that must differ.
func (w *Want) field(f *Found) (Outcome, string) {
	hidden := ""
	for _, d := range f.Differences {
		switch {
		case !d.Field.Matches(w.Field):
		case len(d.ExplainedBy) == 0:
			return w.others(f, show(d))
		default:
			hidden = d.ExplainedBy.String()
		}
	}
	if hidden != "" {
		return Hidden, fmt.Sprintf("%s is explained by %s", w.Field, hidden)
	}
	for _, d := range f.Differences {
		if len(d.ExplainedBy) == 0 {
			return Misnamed, show(d)
		}
	}
	return Missed, "loaded, and nothing differs"
}

// others returns Caught, unless an unwanted field differs.
func (w *Want) others(f *Found, told string) (Outcome, string) {
	if text := w.stray(f); text != "" && f.Strict {
		return Misnamed, text
	}
	return Caught, told
}

// stray returns the first unexplained difference that is not wanted, as text, or "".
func (w *Want) stray(f *Found) string {
	for _, d := range f.Differences {
		if len(d.ExplainedBy) > 0 || d.Field.Matches(w.Field) ||
			slices.ContainsFunc(slices.Concat(w.Also, consequences), d.Field.Matches) {
			continue
		}
		return show(d)
	}
	return ""
}

func show(d compare.Difference) string { return fmt.Sprintf("%s: %s, not %s", d.Field, d.B, d.A) }

// match reports whether text matches the pattern, in which a star stands for any text, including
// none.
func match(pattern, text string) bool {
	expr := strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, ".*")
	return regexp.MustCompile("(?s)^" + expr + "$").MatchString(text)
}
