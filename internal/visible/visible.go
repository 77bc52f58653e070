// Package visible makes text from objects, kernels and guests safe to print.
//
// Names, file names and logs come from outside. They must not control the terminal, hide part of a
// line, or forge a line. All code that prints them uses this package. Letters of any language stay
// as they are.
package visible

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text replaces every invisible character with \xNN or \uNNNN, except for newlines and tabs.
// Invalid UTF-8 becomes \xNN byte by byte.
func Text(s string) string {
	return replace(s, func(r rune) bool { return r != '\n' && r != '\t' && hidden(r) })
}

// Line is [Text] for a single line: it replaces newlines and tabs as well.
func Line(s string) string { return replace(s, hidden) }

// Name returns a name unchanged if all of it is visible, and as a quoted Go string otherwise.
func Name(s string) string {
	if plain(s, hidden) {
		return s
	}
	return strconv.Quote(s)
}

// hidden reports whether a rune is a control character, changes the direction of text, or is
// invisible.
func hidden(r rune) bool { return !unicode.IsPrint(r) && !unicode.Is(unicode.Zs, r) }

func plain(s string, hidden func(rune) bool) bool {
	return !strings.ContainsFunc(s, hidden) && utf8.ValidString(s)
}

func replace(s string, hidden func(rune) bool) string {
	if plain(s, hidden) {
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
		case hidden(r) && r > 0xffff:
			fmt.Fprintf(&out, `\U%08x`, r)
		case hidden(r):
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			out.WriteString(s[:n])
		}
		s = s[n:]
	}
	return out.String()
}
