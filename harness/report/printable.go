package report

import (
	"io"
	"regexp"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/visible"
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

func printable(s string) string { return visible.Text(s) }

// oneLine is printable text on one line.
func oneLine(s string) string {
	return strings.Join(strings.Fields(printable(s)), " ")
}
