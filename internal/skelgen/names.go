package skelgen

import (
	"fmt"
	"go/token"
	"strings"
	"unicode"
)

// Identifier turns a C name into an exported Go name, like bpf2go's internal function:
// "handle_exec" becomes HandleExec, "foo_2x" Foo2x, ".rodata" Rodata. Unlike bpf2go's, the result
// is always an exported identifier.
func Identifier(name string) string {
	prev := rune(-1)
	id := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsLetter(r):
			if prev == -1 {
				r = unicode.ToUpper(r)
			}
		case r == '_':
			if prev == -1 || unicode.IsDigit(prev) || unicode.IsLower(prev) {
				r = -1 // and the next letter becomes upper case
			}
		case !unicode.IsDigit(r):
			return -1
		}
		prev = r
		return r
	}, name)
	if !token.IsIdentifier(id) || !token.IsExported(id) {
		id = "X" + id
	}
	return id
}

// scope is a set of used names.
type scope map[string]bool

// unique returns the name, or the first of name2, name3, … that is free, and marks it as used.
func (s scope) unique(name string) string {
	for i, try := 2, name; ; i++ {
		if !s[try] {
			s[try] = true
			return try
		}
		try = fmt.Sprintf("%s_%d", name, i)
	}
}
