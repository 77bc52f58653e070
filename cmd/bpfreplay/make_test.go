package main

import (
	"os/exec"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/internal/need"
)

// Arguments reach the command unchanged through make, whatever they mean to a shell.
func TestMakeQuotes(t *testing.T) {
	need.Program(t, "make")
	need.Program(t, "sh")
	for _, c := range []struct{ given, want []string }{
		{[]string{"OBJ=x'y.o a$$(id)b.o selftests/bpf/maps_has[h].bpf.o no*thing.o"},
			[]string{"check", "--kernel", "6.12", "x'y.o", "a$(id)b.o", "selftests/bpf/maps_hash.bpf.o", "no*thing.o"}},
		{[]string{"KERNEL=it's; here", "CASE=a'b !c*", "SHARD='", "JOBS=`", "ENGINES=a,b'", "BPFTOOL=my 'tool", "SUITE=s'", `ARGS=--one "of two"`},
			[]string{"vmtest", "--kernel", "it's; here", "--engines", "a,b'", "--bpftool", "my 'tool",
				"--case", "a'b", "--case", "!c*", "--shard", "'", "--jobs", "`", "--suite", "s'", "--one", "of two"}},
	} {
		make := exec.Command("make", append([]string{"--no-print-directory", "-n", "vmtest"}, c.given...)...)
		make.Dir = root(t)
		out, err := make.Output()
		assert.NilError(t, err)
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		line, ok := strings.CutPrefix(lines[len(lines)-1], "./bpfreplay ")
		assert.Assert(t, ok, "%q", lines)
		sh := exec.Command("sh", "-c", `printf '%s\n' `+line)
		sh.Dir = root(t)
		out, err = sh.Output()
		assert.NilError(t, err, line)
		assert.DeepEqual(t, strings.Split(strings.TrimSpace(string(out)), "\n"), c.want)

		help := exec.Command("make", append([]string{"help"}, c.given...)...)
		help.Dir = root(t)
		assert.NilError(t, help.Run())
	}
}

// For guests of other architectures, make requires their QEMU and the command built for them,
// however they are named.
func TestMakeArchs(t *testing.T) {
	need.Program(t, "make")
	dry := func(args ...string) string {
		make := exec.Command("make", append([]string{"--no-print-directory", "-n", "-W", "go.mod", "vmtest"}, args...)...)
		make.Dir = root(t)
		out, err := make.Output()
		assert.NilError(t, err)
		return string(out)
	}
	for _, a := range arch.All {
		for _, args := range [][]string{{"ARCH=" + a.Name}, {"KERNEL=6.1," + a.Name + "/6.12"}, {"KERNEL=" + a.Name + "/6.12 6.1"}} {
			out := dry(args...)
			foreign := a.Name != arch.Native
			assert.Equal(t, strings.Contains(out, "scripts/setup.sh "+a.Name+"\n"), foreign, "%v: %s", args, out)
			assert.Equal(t, strings.Contains(out, "-o bpfreplay."+a.Name+" "), foreign, "%v: %s", args, out)
		}
	}
	assert.Assert(t, !strings.Contains(dry(), "GOARCH"))
}
