// Package shellword quotes words for a POSIX shell.
package shellword

import (
	"fmt"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// Quote returns s as one word for a POSIX shell, on one line. A newline at the end of s is lost.
func Quote(s string) string {
	if quoted, err := syntax.Quote(s, syntax.LangPOSIX); err == nil {
		return quoted
	}
	// POSIX shells have no escapes for unprintable characters, but printf has.
	var octal strings.Builder
	for _, b := range []byte(s) {
		fmt.Fprintf(&octal, `\0%03o`, b)
	}
	return `"$(printf %b '` + octal.String() + `')"`
}

// Join returns a shell command line of these words.
func Join(words ...string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = Quote(w)
	}
	return strings.Join(quoted, " ")
}
