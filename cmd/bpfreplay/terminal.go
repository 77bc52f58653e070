package main

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

// leave is the key that ends a guest which does not answer any more, as in
// telnet: Ctrl-].
const leave = 0x1d

// errLeft is why a guest ends that a person has ended by that key.
var errLeft = errors.New("left by Ctrl-]")

// isTerminal reports whether the command has a terminal to type at.
func isTerminal(cmd *cobra.Command) bool {
	in, ok := cmd.InOrStdin().(*os.File)
	out, fine := cmd.OutOrStdout().(*os.File)
	return ok && fine && term.IsTerminal(int(in.Fd())) && term.IsTerminal(int(out.Fd()))
}

// terminal is this command's terminal, when it is a guest's: each key goes
// there, but for one, and each change of its size.
type terminal struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	before *term.State // nil if nothing was changed
}

// inBackground reports whether a terminal controls this process's session and is another job's.
func inBackground(f *os.File) bool {
	group, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP)
	return err == nil && group != unix.Getpgrp()
}

// foregroundPoll is how often a job in the background looks whether it still is one.
const foregroundPoll = 100 * time.Millisecond

// stayRunning keeps the kernel from stopping this process, and with it the clean-up of a guest, for using
// its terminal from the background: what it writes and sets gets through, what it reads is
// EIO. Programs that it starts do not use the terminal.
func stayRunning() { signal.Ignore(unix.SIGTTIN, unix.SIGTTOU) }

// foregroundInput reads a file. If that is a terminal, it waits with that until this process is in the foreground.
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

// newTerminal prepares to hand the terminal to a guest. The context ends when a
// person ends the guest.
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

// Read implements io.Reader: what is typed, up to the key that ends all.
func (t *terminal) Read(b []byte) (int, error) {
	n, err := foregroundInput{os.Stdin}.Read(b)
	if i := bytes.IndexByte(b[:max(n, 0)], leave); i >= 0 {
		t.cancel(errLeft)
		return i, io.EOF
	}
	return n, err
}

// open hands the terminal over, in the foreground.
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

// close makes the terminal as it was.
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
	if columns == 0 || rows == 0 { // nobody has said how large it is
		columns, rows = 80, 24
	}
	return wire.Size{Columns: uint16(columns), Rows: uint16(rows)}, nil
}
