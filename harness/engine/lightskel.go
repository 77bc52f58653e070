package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/skelprog"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// lightSkeleton is the engine that runs one of our light skeletons in a process of its own.
type lightSkeleton struct {
	name string
	dir  string // directory of the program
	wait time.Duration
}

func (e lightSkeleton) Name() string { return e.name }

func (e lightSkeleton) Open(obj Object) (Load, error) {
	if obj.Only != "" {
		return nil, fmt.Errorf("%w: a skeleton loads the whole object", ErrEngine)
	}
	a, err := generate(&obj)
	if err != nil {
		return nil, err
	}
	l := lightSkeletonLoad{lightSkeleton: e, a: a, key: skelprog.Key(obj.Data)}
	for i := range a.Programs {
		if p := &a.Programs[i]; p.Replaces != "" {
			l.replaces = append(l.replaces, obj.Replaces[p.Name])
		}
	}
	return l, nil
}

type lightSkeletonLoad struct {
	lightSkeleton
	a   *artefact.Artefact
	key string
	// replaces has an fd for each freplace program: the program with the function to replace. It is
	// 0 if the caller has not named one.
	replaces []int
}

// Needs returns the needs of the artefact that the skeleton embeds.
func (l lightSkeletonLoad) Needs() []string { return replayedLoad{a: l.a}.Needs() }

func (l lightSkeletonLoad) Do(*target.Target) (*Loaded, error) {
	dir, unpin, err := pinsOf(l.name, l.a)
	if err != nil {
		return nil, err
	}
	fds, err := l.run(dir)
	if err != nil {
		unpin()
		return nil, err
	}
	out := &Loaded{}
	out.close = func() { out.closeFDs(); unpin() }
	for i := range l.a.Maps {
		out.Maps = append(out.Maps, state.Handle{Name: l.a.Maps[i].Name, FD: fds[i]})
	}
	for i := range l.a.Programs {
		out.Programs = append(out.Programs, state.Handle{Name: l.a.Programs[i].Name, FD: fds[len(l.a.Maps)+i]})
	}
	return out, nil
}

// run runs the program and returns the fds that it sends: those of all maps, then those of all
// programs.
func (l lightSkeletonLoad) run(pins string) (fds []int, err error) {
	trouble := func(err error) error {
		return fmt.Errorf("%w: the program with skeletons for %s: %w", ErrEngine, l.name, err)
	}
	defer func() {
		if err != nil {
			for _, fd := range fds {
				bpfsys.Close(fd)
			}
		}
	}()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, trouble(err)
	}
	defer unix.Close(pair[0])
	files := []*os.File{os.NewFile(uintptr(pair[1]), "skeleton")}
	closeFiles := func() {
		for _, f := range files {
			f.Close()
		}
	}
	args := []string{l.key, pins}
	for _, fd := range l.replaces {
		if fd, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3); err != nil {
			closeFiles()
			return nil, trouble(fmt.Errorf("the program whose function is replaced: %w", err))
		}
		files = append(files, os.NewFile(uintptr(fd), "replaced"))
	}
	wait := cmp.Or(l.wait, DefaultWait)
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	stdout, stderr := ends{keep: bpfsys.LogSize}, ends{keep: bpfsys.LogSize}
	cmd := exec.CommandContext(ctx, filepath.Join(cmp.Or(l.dir, enginename.GuestSkeletons), l.name), args...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = &stdout, &stderr, files
	err = cmd.Start()
	closeFiles()
	if err != nil {
		return nil, trouble(err)
	}
	fds, taken := receive(pair[0])
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return fds, fmt.Errorf("%w: the program with skeletons for %s takes longer than %s", ErrOverdue, l.name, wait)
	case errors.As(err, &exit) && exit.ExitCode() == 1:
		return fds, l.refusal(stdout.String())
	case errors.As(err, &exit) && exit.ExitCode() == 2:
		return fds, trouble(errors.New("it was built without this object"))
	case err != nil:
		return fds, trouble(fmt.Errorf("%w: %s", err, stderr.String()))
	case taken != nil:
		return fds, trouble(taken)
	case len(fds) != len(l.a.Maps)+len(l.a.Programs):
		return fds, trouble(fmt.Errorf("it has handed out %d file descriptors of %d", len(fds), len(l.a.Maps)+len(l.a.Programs)))
	}
	return fds, nil
}

// receive receives fds until the other end closes the socket.
func receive(socket int) (fds []int, err error) {
	const most = 253 // fds in a message, SCM_MAX_FD
	message, control := make([]byte, 1), make([]byte, unix.CmsgSpace(4*most))
	for {
		n, oob, _, _, err := unix.Recvmsg(socket, message, control, unix.MSG_CMSG_CLOEXEC)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil || n == 0:
			return fds, err
		}
		messages, err := unix.ParseSocketControlMessage(control[:oob])
		if err != nil {
			return fds, err
		}
		for i := range messages {
			some, err := unix.ParseUnixRights(&messages[i])
			if err != nil {
				return fds, err
			}
			fds = append(fds, some...)
		}
	}
}

// step matches a skeleton's message about a failed step: subject, command, and the C library's text
// for the errno.
var step = regexp.MustCompile(`^(.*): ([A-Z][A-Z_]+): [^:]*$`)

// refusal returns the error that the process has printed: the errno, a message, and the verifier's
// log.
func (l lightSkeletonLoad) refusal(said string) error {
	number, rest, _ := strings.Cut(said, "\n")
	text, log, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(number)
	if err != nil {
		return fmt.Errorf("%w: the program with skeletons for %s printed %q", ErrEngine, l.name, number)
	}
	errno := unix.Errno(n)
	if m := step.FindStringSubmatch(text); m != nil && errno != 0 {
		return &artefact.StepError{Subject: m[1], Op: m[2], Err: errno, Log: log}
	}
	if errno != 0 {
		return &skeletonError{text, errno}
	}
	return errors.New(text)
}

// skeletonError is a skeleton's error that is not about a step of the load.
type skeletonError struct {
	text  string
	errno unix.Errno
}

func (e *skeletonError) Error() string { return e.text }

func (e *skeletonError) Unwrap() error { return e.errno }
