package main

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/internal/need"
)

// A program's output arrives while it runs. An interrupt is passed on to the program, and leaves
// nothing of it and its guest behind.
func TestExecInterrupted(t *testing.T) {
	s := startCommand(t, "", "exec", "--accel", "tcg", "--with", "/bin/sleep", "--", "sh", "-c", "echo ready; exec sleep 1000")
	assert.Equal(t, s.lines.Text(), "ready")
	guest := s.qemu()
	assert.DeepEqual(t, files(t, s.temp), []string(nil)) // so that even kill -9 leaves nothing behind
	assert.NilError(t, s.cmd.Process.Signal(syscall.SIGINT))
	code, rest := s.end()
	assert.Equal(t, code, 128+int(syscall.SIGINT), "%s", &s.stderr)
	assert.Equal(t, rest, "")
	assert.Equal(t, s.stderr.String(), "bpfreplay: sh was ended by a signal: interrupt\n")
	s.nothingLeft(guest)
}

// As go test -exec, the command runs tests where bpf(2) works, and passes on their exit status.
func TestExecOfGoTest(t *testing.T) {
	need.QEMU(t)
	need.Kernel(t, "6.12")
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", "-run", "^TestProgLoadInterrupted$",
		"-exec", command+" exec --kernel 6.12 --accel tcg --env "+need.BPFEnv+" --", "./internal/bpfsys")
	cmd.Dir = root(t)
	cmd.Env = append(os.Environ(), need.BPFEnv+"="+need.BPFMust)
	out, err := cmd.CombinedOutput()
	assert.NilError(t, err, string(out))
	assert.Assert(t, is.Contains(string(out), "--- PASS: TestProgLoadInterrupted"))
}
