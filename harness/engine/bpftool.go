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

// ErrTrouble is the harness's failure to drive an engine, which proves nothing
// about the object.
var ErrTrouble = errors.New("engine cannot run")

// ErrCannot is the reason of an error of Open about an object that the engine cannot load
// on any kernel, though others can: nothing is wrong with the object.
var ErrCannot = errors.New("not for this engine")

// Tool is the bpftool that the engines of libbpf drive.
type Tool struct {
	// Path is the program. What it runs and which libraries it needs may be
	// in directories beside it: see GuestTool.
	Path string
	// Pins is a directory of a BPF file system, "" for /sys/fs/bpf.
	Pins string
	// Wait is how long it may take for one command, 0 for 45 s. Loader programs of
	// some MiB take it more than a minute where processors are emulated.
	Wait time.Duration
	// Skeletons is the directory of the programs that engines skel-go and skel-c run, ""
	// for GuestSkeletons.
	Skeletons string
}

// run runs bpftool and returns what it prints. doing says what for.
func (t Tool) run(doing string, args ...string) ([]byte, error) {
	if t.Path == "" {
		return nil, fmt.Errorf("%w: no bpftool was named", ErrTrouble)
	}
	wait := cmp.Or(t.Wait, 45*time.Second)
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
		return nil, fmt.Errorf("%w: bpftool takes longer than %s for %s", ErrTrouble, wait, doing)
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return stdout.Bytes(), nil
	case errors.As(err, &exit):
		return nil, newToolError(doing, exit.Sys().(syscall.WaitStatus), stderr.String())
	}
	return nil, fmt.Errorf("%w: bpftool: %w", ErrTrouble, err)
}

// ToolError means that bpftool refused an object, or died of it.
type ToolError struct {
	Doing  string     // "loading", "generating a loader program"
	Signal string     // that killed it, "" if none did
	Errno  unix.Errno // as far as it can be told from what libbpf prints, else 0
	Lines  []string   // what libbpf and bpftool said, but for the log
	Log    string     // the verifier's, of the program that was refused last
}

func (e *ToolError) Error() string {
	var parts []string
	if e.Signal != "" {
		parts = append(parts, fmt.Sprintf("killed by %s while %s", e.Signal, e.Doing))
	}
	parts = append(parts, e.Lines...)
	return "bpftool: " + strings.Join(parts, "; ")
}

// Unwrap gives the errno, if one is known.
func (e *ToolError) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

// errorLines is how many lines of libbpf's messages are kept: the last ones are
// about what failed, those before them about what it did without.
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

// statusErrno is the errno in bpftool's exit status, which for some commands is
// the low byte of -errno. 255 is -1, and stands for any failure.
func statusErrno(status syscall.WaitStatus) unix.Errno {
	n := 256 - status.ExitStatus()
	if !status.Exited() || n <= 1 || n > lastErrno {
		return 0
	}
	return unix.Errno(n)
}

// lastErrno is the last errno that has a name, EHWPOISON.
const lastErrno = 133

// chatter are beginnings of lines that come with every error and say nothing.
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

// splitLog takes the last log of the verifier out of what libbpf prints.
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

// libbpf prints an errno as its number, as its name (since 1.6) or as libc's text.
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

// withFile gives do the object as a file under its own name, for libbpf names
// maps after it.
func (o Object) withFile(do func(path string) error) error {
	dir, err := os.MkdirTemp("", "bpfreplay-")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTrouble, err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, filepath.Base(o.Name))
	if err := os.WriteFile(path, o.Data, 0o600); err != nil {
		return fmt.Errorf("%w: %w", ErrTrouble, err)
	}
	return do(path)
}
