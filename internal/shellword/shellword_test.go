package shellword

import (
	"os/exec"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/need"
)

// TestJoin checks that a shell splits the line into the original words.
func TestJoin(t *testing.T) {
	sh := need.Program(t, "sh")
	words := []string{
		"plain/._-+:,@%^", "", "it's here", `"a" $HOME ` + "`id`" + ` \n \`, "--flag=value", "~", "#", "if", "!", "*?[a]{b,c}", ";|&<>()",
		"ä", "two\nlines", "a\ttab", "\x1b[1m", "\xff\xfe", "%s%d",
	}
	line := Join(words...)
	assert.Assert(t, !strings.ContainsAny(line, "\n\x1b"), "%q", line)
	out, err := exec.Command(sh, "-c", `printf '%s\0' `+line).Output()
	assert.NilError(t, err)
	assert.DeepEqual(t, strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"), words)
	assert.Equal(t, Quote("--kernel"), "--kernel")
}
