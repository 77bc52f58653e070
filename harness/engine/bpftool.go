package engine

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
)

// ErrEngine means that the harness could not drive an engine. It says nothing about the object.
var ErrEngine = errors.New("engine cannot run")

// ErrOverdue is the ErrEngine of an engine whose process was given up after Tool.Wait.
var ErrOverdue = fmt.Errorf("%w in time", ErrEngine)

// ErrCannot means that this engine can load the object on no kernel, although others can. Nothing
// is wrong with the object.
var ErrCannot = errors.New("not for this engine")

// Tool is the bpftool that the libbpf engines run.
type Tool struct {
	// Path is the program. Programs and libraries that it needs may be in directories beside it:
	// see enginename.GuestTool.
	Path string
	// Pins is a directory of a BPF file system. "" means /sys/fs/bpf.
	Pins string
	// Wait is the time limit for one command. 0 means [DefaultWait]. Without KVM, loader programs of some
	// MiB take more than a minute.
	Wait time.Duration
	// Skeletons is the directory of the programs that engines skel-go and skel-c run. "" means
	// enginename.GuestSkeletons.
	Skeletons string
}

// DefaultWait is how long a process of an engine's may take.
const DefaultWait = 45 * time.Second

// run runs bpftool and returns its output. doing names the purpose in errors.
func (t Tool) run(doing string, args ...string) ([]byte, error) {
	if t.Path == "" {
		return nil, fmt.Errorf("%w: no bpftool was named", ErrEngine)
	}
	wait := cmp.Or(t.Wait, DefaultWait)
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	cmd := exec.CommandContext(ctx, t.Path, args...)
	bin := filepath.Dir(t.Path)
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "LC_ALL=C")
	if lib := filepath.Join(filepath.Dir(bin), "lib"); filepath.Dir(bin) == enginename.GuestTool {
		cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH="+lib)
	}
	var stdout bytes.Buffer
	stderr := ends{keep: bpfsys.LogSize}
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%w: bpftool takes longer than %s for %s", ErrOverdue, wait, doing)
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return stdout.Bytes(), nil
	case errors.As(err, &exit):
		return nil, newToolError(doing, exit.Sys().(syscall.WaitStatus), stderr.String())
	}
	return nil, fmt.Errorf("%w: bpftool: %w", ErrEngine, err)
}

// ToolError means that bpftool refused an object, or that a signal killed it.
type ToolError struct {
	Doing  string     // "loading", "generating a loader program"
	Signal string     // signal that killed bpftool, or ""
	Errno  unix.Errno // from what libbpf prints, 0 if unknown
	Lines  []string   // last lines of libbpf and bpftool, without the log
	Log    string     // verifier's log of the program that was refused last
}

func (e *ToolError) Error() string {
	var parts []string
	if e.Signal != "" {
		parts = append(parts, fmt.Sprintf("killed by %s while %s", e.Signal, e.Doing))
	}
	parts = append(parts, e.Lines...)
	return "bpftool: " + strings.Join(parts, "; ")
}

// Unwrap returns the errno, or nil if it is unknown.
func (e *ToolError) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

// errorLines is how many of libbpf's last messages are kept. They are about the failure; earlier
// ones are about features that libbpf did without.
const errorLines = 4

func newToolError(doing string, status syscall.WaitStatus, stderr string) *ToolError {
	e := &ToolError{Doing: doing}
	if status.Signaled() {
		e.Signal = unix.SignalName(status.Signal())
	}
	lines, log := splitLog(stderr)
	e.Log = log
	for _, line := range lines {
		line, libbpf := strings.CutPrefix(line, "libbpf: ")
		if libbpf {
			if errno := messageErrno(line); errno != 0 {
				e.Errno = errno
			}
		}
		if !slices.ContainsFunc(chatter, func(c string) bool { return strings.HasPrefix(line, c) }) && line != "" {
			e.Lines = append(e.Lines, line)
		}
	}
	e.Lines = e.Lines[max(0, len(e.Lines)-errorLines):]
	if e.Errno == 0 {
		e.Errno = statusErrno(status)
	}
	if len(e.Lines) == 0 && e.Signal == "" {
		e.Lines = []string{fmt.Sprintf("failed while %s, with status %d and no reason", doing, status.ExitStatus())}
		if e.Errno != 0 {
			e.Lines[0] += ": " + e.Errno.Error()
		}
	}
	return e
}

// statusErrno returns the errno in bpftool's exit status, or 0. Some commands exit with the low
// byte of -errno. 255 is -1, which stands for any failure.
func statusErrno(status syscall.WaitStatus) unix.Errno {
	n := 256 - status.ExitStatus()
	if !status.Exited() || n <= 1 || n > lastErrno {
		return 0
	}
	return unix.Errno(n)
}

// lastErrno is the highest errno that has a name, EHWPOISON.
const lastErrno = 133

// chatter are prefixes of lines that come with every error and carry no information.
var chatter = []string{
	"Warning: bpftool is now running in libbpf strict mode",
	"If it used to work for this object file",
	"permission error while running as root",
	"failed to load object",
	"Error: failed to load object file",
}

var (
	logBegin = regexp.MustCompile(`^libbpf: .*-- BEGIN (PROG LOAD|BTF LOAD) LOG --$`)
	logEnd   = regexp.MustCompile(`^-- END (PROG LOAD|BTF LOAD) LOG --$`)
)

// splitLog separates the last verifier's log from libbpf's other output.
func splitLog(stderr string) (lines []string, log string) {
	var in []string
	inLog := false
	for line := range strings.Lines(stderr) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case logBegin.MatchString(line):
			in, inLog = nil, true
		case inLog && logEnd.MatchString(line):
			inLog = false
		case inLog:
			in = append(in, line)
		default:
			lines = append(lines, line)
		}
	}
	return lines, strings.Join(in, "\n")
}

// libbpf prints an errno as a number, as a name (since 1.6), or as the C library's text.
var (
	errnoNumber = regexp.MustCompile(`-([0-9]{1,3})\)?$`)
	errnoName   = regexp.MustCompile(`-(E[A-Z0-9]+)\)?$`)
)

func messageErrno(line string) unix.Errno {
	line = strings.TrimRight(line, ".")
	if m := errnoNumber.FindStringSubmatch(line); m != nil {
		n, _ := strconv.Atoi(m[1])
		return unix.Errno(n)
	}
	m := errnoName.FindStringSubmatch(line)
	for n := unix.Errno(1); n <= lastErrno; n++ {
		if m != nil && unix.ErrnoName(n) == m[1] || strings.HasSuffix(strings.ToLower(line), ": "+n.Error()) {
			return n
		}
	}
	return 0
}

// withFile calls do with the path of a temporary file that holds the object. The file keeps its
// name, because libbpf names maps after it.
func (o Object) withFile(do func(path string) error) error {
	dir, err := os.MkdirTemp("", "bpfreplay-")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrEngine, err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, filepath.Base(o.Name))
	if err := os.WriteFile(path, o.Data, 0o600); err != nil {
		return fmt.Errorf("%w: %w", ErrEngine, err)
	}
	return do(path)
}
