package report

import (
	"io"
	"regexp"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/visible"
)

// Printable returns a writer that escapes names and logs, which come from objects and guests and
// must not control the terminal. Control characters other than newline and tab, and invalid UTF-8,
// become \xNN. Text at the start of a line that GitHub's runner would take for a command is
// escaped, too. Each Write must have whole lines.
func Printable(w io.Writer) io.Writer { return printableWriter{w} }

type printableWriter struct{ w io.Writer }

func (p printableWriter) Write(b []byte) (int, error) {
	if _, err := io.WriteString(p.w, harmless(printable(string(b)))); err != nil {
		return 0, err
	}
	return len(b), nil
}

// command matches what GitHub's runner takes for a workflow command, in the current or an older
// syntax.
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

// oneLine returns s as printable text on one line.
func oneLine(s string) string {
	return strings.Join(strings.Fields(printable(s)), " ")
}
