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

	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/harness/guestexec"
	"github.com/bpfreplay/bpfreplay/harness/vm"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/internal/visible"
)

// inGuest runs a program in a guest with this command's standard input and output, through a
// terminal if tty is set. It converts the program's exit status to an error.
func inGuest(cmd *cobra.Command, c *guestexec.Command, tty bool, run func(ctx context.Context, note func(string)) (int, error)) error {
	ctx, stderr := cmd.Context(), cmd.ErrOrStderr()
	c.Stdin, c.Stdout, c.Stderr = cmd.InOrStdin(), cmd.OutOrStdout(), stderr
	if f, ok := c.Stdin.(*os.File); ok {
		c.Stdin = foregroundInput{f}
	}
	c.OneOutput = sameFile(c.Stdout, c.Stderr)
	end := "\n"
	var t *terminal
	if tty {
		var err error
		if t, err = newTerminal(cmd); err != nil {
			return err
		}
		ctx, c.Stdin, c.Terminal = t.ctx, t, t.open
		end = "\r\n"
	}
	status, err := run(ctx, func(line string) { fmt.Fprint(stderr, "bpfreplay: ", line, end) })
	if t != nil {
		t.close()
	}
	switch {
	case err == nil && status == 0:
		return nil
	case err == nil:
		return cli.ProgramError(status)
	case errors.Is(context.Cause(ctx), errLeft):
		fmt.Fprintln(stderr, "bpfreplay: the guest was left to its fate")
		return cli.ErrBroken
	}
	lines, ok := linesOf(err)
	if !ok || cmd.Context().Err() != nil && errors.As(err, new(*vm.Ending)) {
		return err
	}
	fmt.Fprintln(stderr, "bpfreplay:", visible.Text(err.Error()))
	for _, line := range lines {
		fmt.Fprintln(stderr, "    |", visible.Line(line))
	}
	return cli.ErrBroken
}

// linesOf returns what an error of a guest has to show: where a program hangs, or the end of the
// console.
func linesOf(err error) (lines []string, ok bool) {
	var hang *guestexec.HangError
	var splat *guestexec.SplatError
	var ending *vm.Ending
	switch {
	case errors.As(err, &hang):
		return hang.Lines, true
	case errors.As(err, &splat):
		return splat.Console, true
	case errors.As(err, &ending):
		return ending.Console, true
	}
	return nil, false
}

// sameFile reports whether two writers are one file, pipe or terminal.
func sameFile(a, b io.Writer) bool {
	x, ok := a.(*os.File)
	y, ok2 := b.(*os.File)
	if !ok || !ok2 {
		return false
	}
	one, err := x.Stat()
	other, err2 := y.Stat()
	return err == nil && err2 == nil && os.SameFile(one, other)
}

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
