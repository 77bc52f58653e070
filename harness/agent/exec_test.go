package agent

import (
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"
)

// execRun runs a program on this machine and returns what the host would get.
func execRun(t *testing.T, command Command) (stdout, stderr string, ended *Ended) {
	t.Helper()
	guest, host := net.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- runCommand(NewConn(guest), &command)
		guest.Close()
	}()
	conn := NewConn(host)
	go func() { _ = conn.Send(&Input{EOF: true}) }()
	var out, err strings.Builder
	for {
		var o Output
		e := conn.Receive(&o)
		if e == io.EOF {
			break
		}
		assert.NilError(t, e)
		assert.Assert(t, ended == nil, "something follows the end")
		out.Write(o.Stdout)
		err.Write(o.Stderr)
		if ended = o.Ended; ended != nil {
			assert.NilError(t, conn.Send(&Input{Over: true}))
		}
	}
	assert.NilError(t, <-done)
	assert.Assert(t, ended != nil)
	return out.String(), err.String(), ended
}

func shell(script string, args ...string) Command {
	return Command{Path: "/bin/sh", Args: append([]string{"sh", "-c", script}, args...), Dir: "/", Env: []string{"WORD=two words"}}
}

func TestCommand(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "")
	assert.NilError(t, err)
	defer os.RemoveAll(dir)
	command := shell(`pwd; echo "[$0][$1][$WORD]"; echo oops >&2; read x || echo no input; exit 7`, "name", "a  b")
	command.Dir = dir
	stdout, stderr, ended := execRun(t, command)
	assert.Equal(t, stdout, dir+"\n[name][a  b][two words]\nno input\n")
	assert.Equal(t, stderr, "oops\n")
	assert.DeepEqual(t, ended, &Ended{Status: 7})

	_, _, ended = execRun(t, shell("kill -9 $$"))
	assert.DeepEqual(t, ended, &Ended{Signal: syscall.SIGKILL})

	_, _, ended = execRun(t, Command{Path: "/no/such/program", Args: []string{"x"}, Dir: "/"})
	assert.Check(t, is.Contains(ended.Error, "/no/such/program: no such file or directory"))
}

// More than fits into a pipe, and what is no text.
func TestCommandOutput(t *testing.T) {
	const lines = 40000
	stdout, _, ended := execRun(t, shell(`i=0; while [ $i -lt 40000 ]; do echo $i; i=$((i+1)); done; printf '\377\000'`))
	assert.DeepEqual(t, ended, &Ended{})
	all := strings.Split(stdout, "\n")
	assert.Equal(t, len(all), lines+1)
	assert.Equal(t, all[lines-1], "39999")
	assert.Equal(t, all[lines], "\xff\x00")
}

// What the program leaves running does not keep it from having ended.
func TestCommandLeavesChild(t *testing.T) {
	stdout, _, ended := execRun(t, shell("sleep 1000 & echo $!; exit 3"))
	assert.DeepEqual(t, ended, &Ended{Status: 3})
	child, err := strconv.Atoi(strings.TrimSpace(stdout))
	assert.NilError(t, err)
	assert.NilError(t, syscall.Kill(child, syscall.SIGKILL))
}
