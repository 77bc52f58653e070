package visible

import (
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"
)

func TestVisible(t *testing.T) {
	for _, test := range []struct{ in, text, line, name string }{
		{"plain", "plain", "plain", "plain"},
		{"", "", "", ""},
		{"größer ≤ 世", "größer ≤ 世", "größer ≤ 世", "größer ≤ 世"},
		{"a\tb\n", "a\tb\n", `a\x09b\x0a`, `"a\tb\n"`},
		{"\x1b[2Jgone", `\x1b[2Jgone`, `\x1b[2Jgone`, `"\x1b[2Jgone"`},
		{"a\rb\x00\x7f", `a\x0db\x00\x7f`, `a\x0db\x00\x7f`, `"a\rb\x00\x7f"`},
		{"bad \xff\xc3", `bad \xff\xc3`, `bad \xff\xc3`, `"bad \xff\xc3"`},
		{"\u009b31m", `\x9b31m`, `\x9b31m`, `"\u009b31m"`},
		{"\u202egpj.exe", `\u202egpj.exe`, `\u202egpj.exe`, `"\u202egpj.exe"`},
		{"one\u2028two", `one\u2028two`, `one\u2028two`, `"one\u2028two"`},
		{"tag\U000e0041", `tag\U000e0041`, `tag\U000e0041`, `"tag\U000e0041"`},
	} {
		assert.Check(t, is.Equal(Text(test.in), test.text))
		assert.Check(t, is.Equal(Line(test.in), test.line))
		assert.Check(t, is.Equal(Name(test.in), test.name))
	}
}
