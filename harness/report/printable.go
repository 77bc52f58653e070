package report

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable returns a writer that passes on what can be seen: names and logs
// come from objects and guests, and must not drive the terminal that shows them.
// Control characters other than newline and tab, and what is not UTF-8, become
// \xNN; so does what GitHub's runner would take for a command at the beginning of
// a line. Each Write has whole lines.
func Printable(w io.Writer) io.Writer { return printableWriter{w} }

type printableWriter struct{ w io.Writer }

func (p printableWriter) Write(b []byte) (int, error) {
	if _, err := io.WriteString(p.w, harmless(printable(string(b)))); err != nil {
		return 0, err
	}
	return len(b), nil
}

// command is where GitHub's runner sees a workflow command, of today or of former
// days.
var command = regexp.MustCompile(`(?m)^[ \t]*::|##\[`)

func harmless(s string) string {
	return command.ReplaceAllStringFunc(s, func(m string) string {
		if rest, ok := strings.CutSuffix(m, "::"); ok {
			return rest + `\x3a:`
		}
		return `#\x23[`
	})
}

func printable(s string) string {
	if !strings.ContainsFunc(s, hidden) && utf8.ValidString(s) {
		return s
	}
	var out strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&out, `\x%02x`, s[0])
		case hidden(r) && r < 0x100:
			fmt.Fprintf(&out, `\x%02x`, r)
		case hidden(r):
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			out.WriteString(s[:n])
		}
		s = s[n:]
	}
	return out.String()
}

// hidden says whether a character is a control character, or one that changes
// the direction or is not seen at all.
func hidden(r rune) bool {
	return unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Cf, r)
}

// oneLine is printable text on one line.
func oneLine(s string) string {
	return strings.Join(strings.Fields(printable(s)), " ")
}
