package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/internal/need"
)

// onTerminal starts a bash script with job control, on a terminal of its own.
func onTerminal(t *testing.T, script string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	need.QEMU(t)
	need.Kernel(t, "6.12")
	for _, name := range []string{"script", "bash", "stty", "timeout"} {
		need.Program(t, name)
	}
	file := filepath.Join(t.TempDir(), "script")
	assert.NilError(t, os.WriteFile(file, []byte("set -m\nBP="+command+"\n"+script), 0o644))
	cmd := exec.CommandContext(t.Context(), "script", "-qec", "bash "+file, "/dev/null")
	cmd.Dir = root(t)
	stdin, err := cmd.StdinPipe() // open, and empty
	assert.NilError(t, err)
	out, err := cmd.StdoutPipe()
	assert.NilError(t, err)
	assert.NilError(t, cmd.Start())
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd, bufio.NewScanner(out)
}

func await(t *testing.T, lines *bufio.Scanner, text string) (seen string) {
	t.Helper()
	for lines.Scan() {
		seen += lines.Text() + "\n"
		if strings.Contains(lines.Text(), text) {
			return seen
		}
	}
	t.Fatalf("no line with %q in:\n%s", text, seen)
	return
}

// descendant returns the descendant of a process that runs the command.
func descendant(t *testing.T, of int) int {
	t.Helper()
	for _, child := range children(t, of) {
		if exe, err := os.Readlink("/proc/" + child + "/exe"); err == nil && exe == command {
			return atoi(t, child)
		}
		if pid := descendant(t, atoi(t, child)); pid != 0 {
			return pid
		}
	}
	return 0
}

func atoi(t *testing.T, s string) (n int) {
	t.Helper()
	_, err := fmt.Sscan(s, &n)
	assert.NilError(t, err)
	return n
}

// A command that has lost its terminal to another job ends on a signal, and leaves the terminal's
// settings alone.
func TestEndsInBackground(t *testing.T) {
	cmd, lines := onTerminal(t, `
"$BP" exec --accel tcg --tty --with /bin/sleep -- sh -c 'echo ready; sleep 1000'
kill -CONT %1
kill -TERM %1
wait %1
echo "status $?"
stty -a
echo the end
`)
	await(t, lines, "ready")
	assert.NilError(t, unix.Kill(descendant(t, cmd.Process.Pid), unix.SIGSTOP))
	seen := await(t, lines, "the end")
	assert.Check(t, is.Contains(seen, "status 2"))
	assert.Check(t, is.Contains(seen, " icanon"))
	assert.Check(t, !strings.Contains(seen, "-icanon"), seen)
}

// In the background a command reports that it has no terminal to pass on. Without --tty it runs a
// program as usual.
func TestInBackground(t *testing.T) {
	_, lines := onTerminal(t, `
set +m # so that timeout makes a job of its own
timeout 500 "$BP" exec --accel tcg --tty -- uname -r
echo "status $?"
timeout 500 "$BP" exec --accel tcg -- uname -r
echo "status $?"
`)
	assert.Check(t, is.Contains(await(t, lines, "status"), "timeout needs --foreground"))
	assert.Check(t, is.Contains(lines.Text(), "status 2"))
	assert.Check(t, is.Contains(await(t, lines, "status"), "6.12"))
	assert.Check(t, is.Contains(lines.Text(), "status 0"))
}

// The command also ends if nobody reads its output.
func TestEndsUnread(t *testing.T) {
	need.QEMU(t)
	need.Kernel(t, "6.12")
	need.Program(t, "yes")
	cmd := exec.CommandContext(t.Context(), command, "exec", "--accel", "tcg", "--", "yes")
	cmd.Dir = root(t)
	r, w, err := os.Pipe()
	assert.NilError(t, err)
	defer r.Close()
	cmd.Stdout = w
	assert.NilError(t, cmd.Start())
	w.Close()
	size, err := unix.FcntlInt(r.Fd(), unix.F_GETPIPE_SZ, 0)
	assert.NilError(t, err)
	for full := 0; full < size*3/4; time.Sleep(10 * time.Millisecond) {
		full, err = unix.IoctlGetInt(int(r.Fd()), unix.TIOCINQ)
		assert.NilError(t, err)
	}
	assert.NilError(t, cmd.Process.Signal(unix.SIGTERM))
	exit := new(exec.ExitError)
	assert.Assert(t, errors.As(cmd.Wait(), &exit))
	assert.Equal(t, exit.ExitCode(), cli.ExitTrouble)
	text, err := io.ReadAll(r)
	assert.NilError(t, err)
	assert.Assert(t, is.Contains(string(text), "y\ny\n"))
}

// heedHangUp resets SIGHUP for commands that the test starts, in case nohup started the tests: an
// executed program inherits ignored signals, but no handlers.
func heedHangUp(t *testing.T) {
	t.Helper()
	hungUp := make(chan os.Signal, 1)
	signal.Notify(hungUp, unix.SIGHUP)
	t.Cleanup(func() { signal.Stop(hungUp) })
}

// A command also ignores a signal that was ignored when it was started, as by nohup. Otherwise
// SIGHUP ends it like other signals.
func TestHangUp(t *testing.T) {
	need.QEMU(t)
	need.Kernel(t, "6.12")
	heedHangUp(t)
	for name, test := range map[string]struct {
		trap   string
		status int
	}{
		"hang up": {"", 128 + int(unix.SIGHUP)}, // passed on to the program
		"nohup":   {"trap '' HUP;", 7},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "sh", "-c", test.trap+`exec "$0" "$@"`,
				command, "exec", "--accel", "tcg", "--", "sh", "-c", "echo ready; read line; exit 7")
			cmd.Dir = root(t)
			stdin, err := cmd.StdinPipe()
			assert.NilError(t, err)
			out, err := cmd.StdoutPipe()
			assert.NilError(t, err)
			assert.NilError(t, cmd.Start())
			lines := bufio.NewScanner(out)
			await(t, lines, "ready")
			assert.NilError(t, cmd.Process.Signal(unix.SIGHUP))
			if test.trap != "" {
				_, err := io.WriteString(stdin, "go on\n")
				assert.NilError(t, err)
			}
			for lines.Scan() {
			}
			_ = cmd.Wait()
			assert.Equal(t, cmd.ProcessState.ExitCode(), test.status)
		})
	}
}
