package report

import (
	"strings"
	"testing"

	"gotest.tools/v3/assert"
)

func TestPrintable(t *testing.T) {
	for _, test := range [][2]string{
		{"plain\ttext\n", "plain\ttext\n"},
		{"größer ≤ 世", "größer ≤ 世"},
		{"\x1b[2Jgone", `\x1b[2Jgone`},
		{"a\rb\x00\x7f", `a\x0db\x00\x7f`},
		{"bad \xff\xc3", `bad \xff\xc3`},
		{"\u009b31m", `\x9b31m`},
		{"\u202egpj.exe", `\u202egpj.exe`},
	} {
		assert.Equal(t, printable(test[0]), test[1])
		var b strings.Builder
		n, err := Printable(&b).Write([]byte(test[0]))
		assert.NilError(t, err)
		assert.Equal(t, n, len(test[0]))
		assert.Equal(t, b.String(), test[1])
	}
	var b strings.Builder
	_, err := Printable(&b).Write([]byte("a::b\n  ::error::c\n::\n##[group]"))
	assert.NilError(t, err)
	assert.Equal(t, b.String(), "a::b\n  \\x3a:error::c\n\\x3a:\n#\\x23[group]")
	assert.Equal(t, oneLine(" a\n\tb\x07 "), `a b\x07`)
}
