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
		// What follows "--" are arguments of an init, which may be any program.
		{"quiet -- " + Param, false},
	} {
		assert.Equal(t, hasParam(c.line), c.want, c.line)
	}
}

// TestDetached: commandLine returns the same without a mounted /proc, and leaves no mount behind.
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

// TestCheckInit: the init of a guest needs the argument, too. A test is not one.
func TestCheckInit(t *testing.T) {
	assert.ErrorContains(t, CheckInit([]string{"/init"}), InitArg)
	assert.Assert(t, CheckInit([]string{"/init", InitArg}) != nil)
	assert.Assert(t, !IsInit([]string{"bpfreplay", "help", InitArg}))
}

// TestIsInit: a kernel passes parameters that it does not know to init, before our argument. Linux
// 7.3, for example, no longer has noreplace-smp.
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
		{[]string{"bpfreplay", InitArg}, 2, true}, // CheckInit refuses it
		{[]string{"bpfreplay", "help", InitArg}, 2, false},
		{[]string{"bpfreplay", InitArg, "help"}, 1, true},
		{nil, 1, false},
	} {
		assert.Equal(t, isInit(c.args, c.pid), c.want, "%q as %d", c.args, c.pid)
	}
}
