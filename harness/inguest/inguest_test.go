package inguest

import (
	"os"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/need"
)

func TestHasParam(t *testing.T) {
	for _, c := range []struct {
		line string
		want bool
	}{
		{"console=ttyS0 " + Param + " panic=-1 -- " + InitArg + "\n", true},
		{Param, true},
		{"", false},
		{"quiet", false},
		{"bpfreplay.agent=0", false},
		{"bpfreplay.agent", false},
		{"x" + Param, false},
		{Param + "0", false},
		// Behind "--" are the arguments of an init, which may be anybody's.
		{"quiet -- " + Param, false},
	} {
		assert.Equal(t, hasParam(c.line), c.want, c.line)
	}
}

// What is read without a mounted /proc is what is read with it, and leaves no mount behind.
func TestDetached(t *testing.T) {
	need.Root(t)
	want, err := os.ReadFile("/proc/cmdline")
	assert.NilError(t, err)
	before, err := os.ReadFile("/proc/self/mountinfo")
	assert.NilError(t, err)
	f, err := openDetached()
	assert.NilError(t, err)
	defer f.Close()
	got := make([]byte, len(want)+1)
	n, err := f.Read(got)
	assert.NilError(t, err)
	assert.Equal(t, string(got[:n]), string(want))
	after, err := os.ReadFile("/proc/self/mountinfo")
	assert.NilError(t, err)
	assert.Equal(t, string(after), string(before))
}

// The first process of a guest is one by its arguments, too; a test is not.
func TestCheckInit(t *testing.T) {
	assert.ErrorContains(t, CheckInit([]string{"/init"}), InitArg)
	assert.Assert(t, CheckInit([]string{"/init", InitArg}) != nil)
	assert.Assert(t, !IsInit([]string{"bpfreplay", "help", InitArg}))
}

// A kernel that does not know a parameter hands it to its init, before our argument: Linux 7.3 has no
// noreplace-smp any more.
func TestIsInit(t *testing.T) {
	for _, c := range []struct {
		args []string
		pid  int
		want bool
	}{
		{[]string{"/init"}, 1, false},
		{[]string{"/init", InitArg}, 1, true},
		{[]string{"/init", "noreplace-smp", InitArg}, 1, true},
		{[]string{"/init", "noreplace-smp"}, 1, false},
		{[]string{"bpfreplay", InitArg}, 2, true}, // for CheckInit to refuse
		{[]string{"bpfreplay", "help", InitArg}, 2, false},
		{[]string{"bpfreplay", InitArg, "help"}, 1, true},
		{nil, 1, false},
	} {
		assert.Equal(t, isInit(c.args, c.pid), c.want, "%q as %d", c.args, c.pid)
	}
}
