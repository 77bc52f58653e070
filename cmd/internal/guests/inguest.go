package guests

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/harness/guestexec"
	"github.com/bpfreplay/bpfreplay/harness/vm"
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
	if err != nil {
		return false
	}
	other, err := y.Stat()
	return err == nil && os.SameFile(one, other)
}
