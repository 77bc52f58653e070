package agent

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// execRun runs a program on this machine and returns what the host would receive.
func execRun(t *testing.T, command wire.Command) (stdout, stderr string, ended *wire.Ended) {
	t.Helper()
	guest, host := net.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- runCommand(wire.NewConn(guest), &command)
		guest.Close()
	}()
	conn := wire.NewConn(host)
	go func() { _ = conn.Send(&wire.Input{EOF: true}) }()
	var out, err strings.Builder
	for {
		var o wire.Output
		e := conn.Receive(&o)
		if e == io.EOF {
			break
		}
		assert.NilError(t, e)
		assert.Assert(t, ended == nil, "something follows the end")
		out.Write(o.Stdout)
		err.Write(o.Stderr)
		if ended = o.Ended; ended != nil {
			assert.NilError(t, conn.Send(&wire.Input{Over: true}))
		}
	}
	assert.NilError(t, <-done)
	assert.Assert(t, ended != nil)
	return out.String(), err.String(), ended
}

func shell(script string, args ...string) wire.Command {
	return wire.Command{Path: "/bin/sh", Args: append([]string{"sh", "-c", script}, args...), Dir: "/", Env: []string{"WORD=two words"}}
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
	assert.DeepEqual(t, ended, &wire.Ended{Status: 7})

	_, _, ended = execRun(t, shell("kill -9 $$"))
	assert.DeepEqual(t, ended, &wire.Ended{Signal: syscall.SIGKILL})

	_, _, ended = execRun(t, wire.Command{Path: "/no/such/program", Args: []string{"x"}, Dir: "/"})
	assert.Check(t, is.Contains(ended.Error, "/no/such/program: no such file or directory"))
}

// TestCommandOutput: output larger than a pipe's buffer, and bytes that are not text, arrive
// unchanged.
func TestCommandOutput(t *testing.T) {
	const lines = 40000
	stdout, _, ended := execRun(t, shell(`i=0; while [ $i -lt 40000 ]; do echo $i; i=$((i+1)); done; printf '\377\000'`))
	assert.DeepEqual(t, ended, &wire.Ended{})
	all := strings.Split(stdout, "\n")
	assert.Equal(t, len(all), lines+1)
	assert.Equal(t, all[lines-1], "39999")
	assert.Equal(t, all[lines], "\xff\x00")
}

// TestCommandLeavesChild: a child that goes on running does not delay the report that the program
// has ended.
func TestCommandLeavesChild(t *testing.T) {
	stdout, _, ended := execRun(t, shell("sleep 1000 & echo $!; exit 3"))
	assert.DeepEqual(t, ended, &wire.Ended{Status: 3})
	child, err := strconv.Atoi(strings.TrimSpace(stdout))
	assert.NilError(t, err)
	assert.NilError(t, syscall.Kill(child, syscall.SIGKILL))
}

// TestCommandFiles: if a file cannot be created, its contents are still received, because the
// host's next message follows them.
func TestCommandFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	assert.NilError(t, os.Symlink("elsewhere", file("taken")))
	assert.NilError(t, os.Mkdir(file("full"), 0o700))
	assert.NilError(t, os.WriteFile(file("full/of"), nil, 0o600))
	files := []wire.File{
		{Path: file("new"), Mode: os.ModeDir | 0o555},
		{Path: file("new/inline"), Mode: 0o755, Data: []byte("inline")},
		{Path: file("taken"), Mode: 0o622, Size: 4},
		{Path: file("link"), Mode: os.ModeSymlink | 0o777, Data: []byte("taken")},
		{Path: file("full"), Mode: 0o600, Size: 3},
		{Path: file("late"), Mode: 0o600, Size: 2},
	}
	rest := "{\"name\":\"next\"}\n"
	c := wire.NewConn(struct {
		io.Reader
		io.Writer
	}{strings.NewReader("four" + "bad" + "no" + rest), io.Discard})
	assert.ErrorContains(t, makeFiles(c, files), "directory not empty")
	var next wire.CaseRequest
	assert.NilError(t, c.Receive(&next))
	assert.Equal(t, next.Name, "next")

	for name, want := range map[string]struct {
		mode os.FileMode
		data string
	}{"new/inline": {0o755, "inline"}, "taken": {0o622, "four"}, "link": {0o622, "four"}} {
		data, err := os.ReadFile(file(name))
		assert.NilError(t, err)
		assert.Equal(t, string(data), want.data)
		info, err := os.Stat(file(name))
		assert.NilError(t, err)
		assert.Equal(t, info.Mode(), want.mode)
	}
	info, err := os.Stat(file("new"))
	assert.NilError(t, err)
	assert.Equal(t, info.Mode().Perm(), os.FileMode(0o555))
	_, err = os.Lstat(file("late"))
	assert.ErrorIs(t, err, os.ErrNotExist)

	c = wire.NewConn(struct {
		io.Reader
		io.Writer
	}{strings.NewReader("sh"), io.Discard})
	assert.ErrorContains(t, makeFiles(c, []wire.File{{Path: file("short"), Mode: 0o600, Size: 10}}), "2 of 10 bytes came")
}
