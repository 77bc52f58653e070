package suites

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// niceness is the priority of compilers, so that other work on the machine goes first.
const niceness = 10

// command returns a program that writes English messages. When ctx is done, the program and all
// that it started are killed.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	return cmd
}

// complain runs a program, with niceness. Its error has the first line of standard error with
// "error" in it, or else the last line.
func complain(cmd *exec.Cmd) error {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	// This fails if the program has ended already.
	_ = unix.Setpriority(unix.PRIO_PGRP, cmd.Process.Pid, niceness)
	err := cmd.Wait()
	if err == nil {
		return nil
	}
	if reason := reasonIn(stderr.String()); reason != "" {
		return fmt.Errorf("%w: %s", err, reason)
	}
	return err
}

func run(ctx context.Context, name string, args ...string) error {
	return complain(command(ctx, name, args...))
}

func reasonIn(stderr string) string {
	last := ""
	for line := range strings.Lines(stderr) {
		line = strings.TrimSpace(line)
		if i := strings.Index(line, "error: "); i >= 0 {
			return line[i+len("error: "):]
		}
		if line != "" {
			last = line
		}
	}
	return last
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}
