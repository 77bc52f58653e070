package guests

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/harness/guestexec"
	"github.com/bpfreplay/bpfreplay/harness/report"
	"github.com/bpfreplay/bpfreplay/internal/visible"
)

// runMany runs the program on several kernels, and shows how it ended on each.
func (f *execFlags) runMany(cmd *cobra.Command, c guestexec.Command, kernels []string) error {
	switch {
	case f.tty || f.GDB:
		return errors.New("--tty and --gdb: name one kernel")
	case len(f.Get) > 0 && len(kernels) > 1:
		return errors.New("--get: files of one kernel would replace those of another; name one kernel")
	case f.console != "" && f.console != "-" && len(kernels) > 1:
		return errors.New("--console: name one kernel, or - for standard error")
	case f.jobs < 0:
		return fmt.Errorf("--jobs %d: at least one guest is needed", f.jobs)
	}
	if f.junit != "" {
		if _, err := cli.NewReport(filepath.Split(f.junit)); err != nil {
			return err
		}
	}
	width := 0
	for _, k := range kernels {
		width = max(width, len(k))
	}
	c.Stdin, c.OneOutput, c.GetMore = nil, sameFile(cmd.OutOrStdout(), cmd.ErrOrStderr()), nil
	rows := make([]report.ExecRow, len(kernels))
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(cmd.Context())
	group.SetLimit(max(f.jobs, 1))
	for i, kernel := range kernels {
		group.Go(func() error {
			prefix := ""
			if len(kernels) > 1 {
				prefix = fmt.Sprintf("%-*s | ", width, kernel)
			}
			tail := new(lastOutput)
			line := func(w io.Writer) *lineWriter { return &lineWriter{w: w, mu: &mu, prefix: prefix, also: tail} }
			stdout, stderr := line(cmd.OutOrStdout()), line(cmd.ErrOrStderr())
			one := c
			one.Stdout, one.Stderr = stdout, stderr
			if f.console == "-" {
				one.Console = stderr
			}
			rows[i] = f.runOne(ctx, cmd, one, kernel, func(text string) { fmt.Fprintf(stderr, "bpfreplay: %s\n", visible.Text(text)) })
			stdout.end()
			stderr.end()
			rows[i].Output = tail.String()
			return ctx.Err()
		})
	}
	err := group.Wait()
	if len(kernels) > 1 {
		printExec(cmd.ErrOrStderr(), rows)
	}
	if f.junit != "" {
		if err := report.WriteExecJUnit(f.junit, "exec", strings.Join(c.Args, " "), rows); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	return cli.VerdictOf(rows)
}

// runOne runs the program on one kernel.
func (f *execFlags) runOne(ctx context.Context, cmd *cobra.Command, c guestexec.Command, kernel string, note func(string)) report.ExecRow {
	row := report.ExecRow{Kernel: kernel}
	start := time.Now()
	guest, config := f.Flags, f.config
	guest.Kernels = kernel
	done, err := guest.Open(cmd, &config)
	if err == nil {
		defer done()
		row.Release = config.Kernel.Release
		config.Note = note
		row.Status, err = guestexec.Exec(ctx, c, config)
	}
	row.Seconds = time.Since(start).Seconds()
	if err == nil {
		return row
	}
	row.Error = err.Error()
	note(row.Error)
	lines, _ := linesOf(err)
	for _, l := range lines {
		note("    | " + l)
	}
	return row
}

func printExec(w io.Writer, rows []report.ExecRow) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "KERNEL\tRELEASE\tRESULT\tSECONDS")
	for _, r := range rows {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%.1f\n", visible.Name(r.Kernel), visible.Name(r.Release), r.Result(), r.Seconds)
	}
	tw.Flush()
}

// lineWriter writes whole lines with a prefix. Writers that share mu do not mix their lines.
type lineWriter struct {
	w      io.Writer
	mu     *sync.Mutex
	prefix string
	also   io.Writer
	rest   []byte
}

func (l *lineWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, b...)
	for {
		i := bytes.IndexByte(l.rest, '\n')
		if i < 0 {
			return len(b), nil
		}
		if err := l.line(l.rest[:i+1]); err != nil {
			return 0, err
		}
		l.rest = l.rest[i+1:]
	}
}

func (l *lineWriter) line(text []byte) error {
	if _, err := l.also.Write(text); err != nil {
		return err
	}
	_, err := l.w.Write(append([]byte(l.prefix), text...))
	return err
}

// end writes the last line, which may lack a newline.
func (l *lineWriter) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.rest) > 0 {
		_ = l.line(append(l.rest, '\n'))
		l.rest = nil
	}
}

// lastOutput keeps the end of a program's output.
type lastOutput struct{ bytes.Buffer }

// maxOutput is how much of a program's output a report holds, in bytes.
const maxOutput = 64 << 10

func (o *lastOutput) Write(b []byte) (int, error) {
	o.Buffer.Write(b)
	if over := o.Len() - maxOutput; over > 0 {
		o.Next(over)
	}
	return len(b), nil
}
