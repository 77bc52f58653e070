package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/harness/report"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/internal/need"
)

// session is a command that boots a guest, for tests that disturb it.
type session struct {
	t      *testing.T
	cmd    *exec.Cmd
	lines  *bufio.Scanner
	stderr bytes.Buffer
	out    string // directory of the reports
	temp   string // directory of temporary files
}

// start runs vmtest on a dozen cases and waits until the first is judged.
func start(t *testing.T) *session {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	return startCommand(t, out, "vmtest", "--kernel", "6.12", "--accel", "tcg", "--engines", "direct,trace,replay", "--case", "core_*", "--out", out)
}

// startCommand starts a command and waits for its first line of output.
func startCommand(t *testing.T, out string, args ...string) *session {
	t.Helper()
	need.QEMU(t)
	need.Kernel(t, "6.12")
	s := &session{t: t, out: out, temp: t.TempDir()}
	s.cmd = exec.CommandContext(t.Context(), command, args...)
	s.cmd.Dir = root(t)
	s.cmd.Env = append(os.Environ(), "TMPDIR="+s.temp)
	s.cmd.Stderr = &s.stderr
	stdout, err := s.cmd.StdoutPipe()
	assert.NilError(t, err)
	assert.NilError(t, s.cmd.Start())
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	})
	s.lines = bufio.NewScanner(stdout)
	assert.Assert(t, s.lines.Scan(), "it printed nothing: %s", &s.stderr)
	return s
}

// qemu returns the guest's process id.
func (s *session) qemu() int {
	s.t.Helper()
	pids := children(s.t, s.cmd.Process.Pid)
	assert.Equal(s.t, len(pids), 1, "children: %v", pids)
	pid, err := strconv.Atoi(pids[0])
	assert.NilError(s.t, err)
	return pid
}

// children returns the ids of the child processes of a process.
func children(t *testing.T, of int) (pids []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/" + strconv.Itoa(of) + "/task/*/children")
	assert.NilError(t, err)
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err == nil { // a thread may have exited
			pids = append(pids, strings.Fields(string(data))...)
		}
	}
	return pids
}

// end waits for the command and returns its exit status and the rest of what it printed.
func (s *session) end() (int, string) {
	s.t.Helper()
	var rest []string
	for s.lines.Scan() {
		rest = append(rest, s.lines.Text())
	}
	err := s.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return s.cmd.ProcessState.ExitCode(), strings.Join(rest, "\n")
}

// nothingLeft checks that neither a guest nor a temporary file outlived the command.
func (s *session) nothingLeft(guest int) {
	s.t.Helper()
	assert.ErrorIs(s.t, syscall.Kill(guest, 0), syscall.ESRCH)
	assert.DeepEqual(s.t, files(s.t, s.temp), []string(nil))
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	assert.NilError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// An interrupted run reports the cases that have run, and fails. With --resume another run runs the
// remaining cases only.
func TestInterrupted(t *testing.T) {
	for _, test := range []struct {
		name, command string
		sig           syscall.Signal
	}{{"Ctrl-C", "vmtest", syscall.SIGINT}, {"terminated", "matrix", syscall.SIGTERM}} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			out, junit := filepath.Join(dir, "out"), filepath.Join(dir, "junit.xml")
			args := []string{test.command, "--kernel", "6.12", "--accel", "tcg", "--engines", "direct,trace,replay", "--case", "core_*", "--out", out, "--junit", junit, "--jobs", "1"}
			s := startCommand(t, out, args...)
			guest := s.qemu()
			assert.NilError(t, s.cmd.Process.Signal(test.sig))
			code, rest := s.end()
			assert.Equal(t, code, cli.ExitTrouble)
			assert.Assert(t, is.Contains(s.stderr.String(), "bpfreplay: interrupted\n"))
			assert.Assert(t, !strings.Contains(rest, "PASS"), rest)
			s.nothingLeft(guest)
			file := filepath.Join(out, "6.12", "report.json")
			before, err := report.ReadJSON(file)
			assert.NilError(t, err)
			assert.Assert(t, len(before.Cases) > 0 && len(before.NotRun) > 0)
			assert.Assert(t, is.Contains(rest, fmt.Sprintf("interrupted: %d of %d cases have not run; to run them, add --resume: bpfreplay "+test.command,
				len(before.NotRun), len(before.NotRun)+len(before.Cases))))
			text, err := os.ReadFile(junit)
			assert.NilError(t, err)
			assert.Assert(t, is.Contains(string(text), "<error "))

			s = startCommand(t, out, append(args, "--resume")...)
			code, rest = s.end()
			assert.Equal(t, code, cli.ExitOK, "%s %s", rest, &s.stderr)
			after, err := report.ReadJSON(file)
			assert.NilError(t, err)
			assert.Equal(t, len(after.NotRun), 0)
			assert.Equal(t, len(after.Cases), len(before.Cases)+len(before.NotRun))
			for _, c := range before.Cases {
				i := slices.IndexFunc(after.Cases, func(o result.CaseReport) bool { return o.Name == c.Name })
				assert.DeepEqual(t, after.Cases[i], c) // with its times
			}
		})
	}
}

// If a guest is killed, its case is run once more in a new guest, and the rest of the suite as
// well.
func TestGuestKilled(t *testing.T) {
	s := start(t)
	guest := s.qemu()
	assert.NilError(t, syscall.Kill(guest, syscall.SIGKILL))
	code, rest := s.end()
	assert.Equal(t, code, cli.ExitOK, rest)
	assert.Assert(t, is.Contains(rest, "(QEMU was killed: signal 9 (killed)); passed alone in a new one\n"))
	assert.Assert(t, is.Contains(rest, " 0 different 0 broken; 0 failed expectations\n"))
	assert.Assert(t, is.Contains(rest, "\nPASS\n"))
	s.nothingLeft(guest)
	assert.Assert(t, slices.Contains(files(t, filepath.Join(s.out, "6.12")), "report.json"))
}

// Two runs at the same time, with the same kernel and directory, each succeed as if alone.
func TestTwoAtOnce(t *testing.T) {
	first := start(t)
	guest := first.qemu()
	second := startCommand(t, first.out, "vmtest", "--kernel", "6.12", "--accel", "tcg", "--engines", "direct,trace,replay", "--case", "maps_[ah]*", "--out", first.out)
	for _, s := range []*session{first, second} {
		code, rest := s.end()
		assert.Equal(t, code, cli.ExitOK, "%s\n%s", rest, &s.stderr)
		s.nothingLeft(guest)
	}
	inUse := filepath.Join(first.out, "6.12")
	assert.Assert(t, !strings.Contains(first.stderr.String(), "another run"), first.stderr.String())
	assert.Assert(t, is.Contains(second.stderr.String(), "another run is using "+inUse+": this one writes to "+inUse+".2\n"))
	for _, dir := range []string{inUse, inUse + ".2"} {
		assert.Assert(t, slices.Contains(files(t, dir), "report.json"), dir)
	}
}

// Even kill -9 leaves no guest behind.
func TestKilled(t *testing.T) {
	s := start(t)
	guest, err := unix.PidfdOpen(s.qemu(), 0)
	assert.NilError(t, err)
	defer unix.Close(guest)
	assert.NilError(t, s.cmd.Process.Kill())
	code, _ := s.end()
	assert.Equal(t, code, -1)
	// The kernel kills the guest while it tears down the command.
	gone := []unix.PollFd{{Fd: int32(guest), Events: unix.POLLIN}}
	n := 0
	for n, err = unix.Poll(gone, 30_000); err == unix.EINTR; n, err = unix.Poll(gone, 30_000) {
	}
	assert.NilError(t, err)
	assert.Equal(t, n, 1, "the guest outlived the command by 30 seconds")
	assert.DeepEqual(t, files(t, s.temp), []string(nil))
}

// A signal during the boot of a guest leaves no file behind.
func TestKilledWhileBooting(t *testing.T) {
	need.QEMU(t)
	need.Kernel(t, "6.12")
	heedHangUp(t)
	for name, sig := range map[string]syscall.Signal{"kill": syscall.SIGKILL, "hang up": syscall.SIGHUP} {
		t.Run(name, func(t *testing.T) {
			temp := t.TempDir()
			cmd := exec.CommandContext(t.Context(), command, "exec", "--accel", "tcg", "--cold", "--", "true")
			cmd.Dir = root(t)
			cmd.Env = append(os.Environ(), "TMPDIR="+temp)
			assert.NilError(t, cmd.Start())
			defer cmd.Wait()
			for len(children(t, cmd.Process.Pid)) == 0 {
				time.Sleep(time.Millisecond)
			}
			assert.NilError(t, cmd.Process.Signal(sig))
			assert.ErrorContains(t, cmd.Wait(), "")
			assert.DeepEqual(t, files(t, temp), []string(nil))
		})
	}
}

// A signal is passed on to the program in the guest, whose end is then the command's. A second one
// ends the guest.
func TestSignalForwarded(t *testing.T) {
	for _, test := range []struct {
		name, script string
		signals      []syscall.Signal
		want         int
		says         string
	}{
		{"handled", `trap 'echo caught; exit 7' TERM; echo ready; while :; do sleep 0.1; done`, []syscall.Signal{syscall.SIGTERM}, 7, "caught"},
		{"only to the program", `trap 'echo caught; exit 8' USR1; echo ready; while :; do sleep 0.1; done`, []syscall.Signal{syscall.SIGUSR1}, 8, "caught"},
		{"not handled", `echo ready; exec sleep 1000`, []syscall.Signal{syscall.SIGINT}, 130, ""},
		{"ignored", `trap '' TERM; trap 'echo user' USR1; echo ready; while :; do sleep 0.1; done`, []syscall.Signal{syscall.SIGTERM, syscall.SIGTERM}, cli.ExitTrouble, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := startCommand(t, "", "exec", "--kernel", "6.12", "--accel", "tcg", "--with", "/bin/sh", "--with", "/bin/sleep", "--", "sh", "-c", test.script)
			assert.Equal(t, s.lines.Text(), "ready")
			for _, sig := range test.signals {
				assert.NilError(t, s.cmd.Process.Signal(sig))
				time.Sleep(200 * time.Millisecond) // signals of one kind do not queue
			}
			code, rest := s.end()
			assert.Equal(t, code, test.want, "%s %s", rest, &s.stderr)
			assert.Equal(t, rest, test.says)
			assert.DeepEqual(t, files(t, s.temp), []string(nil))
		})
	}
}
