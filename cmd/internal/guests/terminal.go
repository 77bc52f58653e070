package guests

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/bpfreplay/bpfreplay/harness/guestexec"
	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// leave is the key that ends a guest that does not answer any more: Ctrl-], as in telnet.
const leave = 0x1d

// errLeft is the cause if a person ends the guest with that key.
var errLeft = errors.New("left by Ctrl-]")

// isTerminal reports whether standard input and output are terminals.
func isTerminal(cmd *cobra.Command) bool {
	in, ok := cmd.InOrStdin().(*os.File)
	out, fine := cmd.OutOrStdout().(*os.File)
	return ok && fine && term.IsTerminal(int(in.Fd())) && term.IsTerminal(int(out.Fd()))
}

// terminal is this command's terminal while a guest uses it. The guest gets each key except leave,
// and each change of the size.
type terminal struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	before *term.State // nil if nothing was changed
}

// inBackground reports whether f is the controlling terminal and another job is in the foreground.
func inBackground(f *os.File) bool {
	group, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP)
	return err == nil && group != unix.Getpgrp()
}

// foregroundPoll is how often a job in the background checks whether it is in the foreground.
const foregroundPoll = 100 * time.Millisecond

// foregroundInput reads a file. If it is a terminal, Read waits until this process is in the
// foreground.
type foregroundInput struct{ file *os.File }

func (in foregroundInput) Read(b []byte) (int, error) {
	for {
		before := inBackground(in.file)
		n, err := in.file.Read(b)
		if !errors.Is(err, unix.EIO) || !before && !inBackground(in.file) {
			return n, err
		}
		for inBackground(in.file) {
			time.Sleep(foregroundPoll)
		}
	}
}

// newTerminal prepares to pass the terminal to a guest. The terminal's context ends when a person
// ends the guest.
func newTerminal(cmd *cobra.Command) (*terminal, error) {
	if !isTerminal(cmd) {
		return nil, errors.New("standard input and output are no terminal")
	}
	if inBackground(os.Stdin) {
		return nil, errors.New("the terminal is another job's: run this in the foreground (timeout needs --foreground)")
	}
	t := &terminal{}
	t.ctx, t.cancel = context.WithCancelCause(cmd.Context())
	return t, nil
}

// Read implements io.Reader. It returns the typed keys up to leave.
func (t *terminal) Read(b []byte) (int, error) {
	n, err := foregroundInput{os.Stdin}.Read(b)
	if i := bytes.IndexByte(b[:max(n, 0)], leave); i >= 0 {
		t.cancel(errLeft)
		return i, io.EOF
	}
	return n, err
}

// open waits until this process is in the foreground, and passes on the terminal.
func (t *terminal) open() (*guestexec.Terminal, error) {
	for inBackground(os.Stdin) {
		select {
		case <-time.After(foregroundPoll):
		case <-t.ctx.Done():
			return nil, context.Cause(t.ctx)
		}
	}
	out := int(os.Stdout.Fd())
	size, err := terminalSize(out)
	if err != nil {
		return nil, err
	}
	if t.before, err = term.MakeRaw(int(os.Stdin.Fd())); err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	resized, changes := make(chan wire.Size), make(chan os.Signal, 1)
	signal.Notify(changes, unix.SIGWINCH)
	go func() {
		defer signal.Stop(changes)
		for {
			select {
			case <-changes:
			case <-t.ctx.Done():
				return
			}
			size, err := terminalSize(out)
			if err != nil {
				continue
			}
			select {
			case resized <- size:
			case <-t.ctx.Done():
				return
			}
		}
	}()
	return &guestexec.Terminal{Size: size, Resized: resized}, nil
}

// close restores the terminal's settings.
func (t *terminal) close() {
	if t.before != nil {
		_ = term.Restore(int(os.Stdin.Fd()), t.before)
	}
	t.cancel(context.Canceled)
}

func terminalSize(fd int) (wire.Size, error) {
	columns, rows, err := term.GetSize(fd)
	if err != nil {
		return wire.Size{}, fmt.Errorf("size of the terminal: %w", err)
	}
	if columns == 0 || rows == 0 { // the size was never set
		columns, rows = 80, 24
	}
	return wire.Size{Columns: uint16(columns), Rows: uint16(rows)}, nil
}
