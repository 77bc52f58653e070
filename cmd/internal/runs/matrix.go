package runs

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/cmd/internal/boot"
	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/cmd/internal/inputs"
	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/report"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/run"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// NewMatrix returns the command matrix.
func NewMatrix() *cobra.Command {
	f := newVMTestFlags()
	f.Kernels, f.matrix = cli.DefaultTier, true
	cmd := &cobra.Command{
		Use:   "matrix [OBJECT...]",
		Short: "Run vmtest on several kernels, some at the same time",
		Long: `matrix runs a suite on several kernels, as many at the same time as this machine
has processors and memory for. --kernel takes names and paths, separated by blanks or
commas, and tiers of kernels.yaml. If a kernel cannot be fetched or does not boot, its
row of the table shows the reason, and the other kernels still run.

On a terminal a table shows the progress, elsewhere there is one line per case that
begins with the kernel. Each kernel's report goes to OUT/KERNEL/report.json, the whole
matrix to OUT/matrix.json, each with a page report.html beside it.

Exit status: 1 if a kernel shows a difference or a failed expectation, otherwise 2 if
one cannot be fetched, does not boot or breaks, otherwise 0.`,
		Example: `  bpfreplay matrix
  bpfreplay matrix --kernel 'smoke 6.18'
  bpfreplay matrix --kernel all --shard 2/4`,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	f.addFlags(cmd)
	return cmd
}

// runMatrix runs the suite on several kernels.
func (f *vmtestFlags) runMatrix(cmd *cobra.Command, s *suite.Suite, kernels []string) error {
	shard, err := suite.ParseShard(f.shard)
	if err != nil {
		return err
	}
	path, page, err := newReports(f.Out, "matrix.json")
	if err != nil {
		return err
	}
	o, err := f.matrixOptions(cmd, s, kernels, shard)
	if err != nil {
		return err
	}
	watch, end := f.watch(cmd, len(kernels), suite.Pairs(kernels, s, shard))
	var failed error
	before := make(map[string]*result.Report) // by directory
	if f.resume {
		o.ResumeRow = func(run *result.KernelRun) *result.Report { return before[run.Dir] }
	}
	o.Watch = func(e run.Event) {
		if err := keepReport(e.Run, before); err != nil && failed == nil {
			failed = err
		}
		watch(e)
	}
	m, err := run.Matrix(cmd.Context(), s, o)
	end()
	if err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	if err := f.outputs.write(cmd, m, f.suite); err != nil {
		return err
	}
	text := report.Text{W: report.Printable(cmd.OutOrStdout()), Verbose: f.verbose}
	if err := report.WriteMatrixHTML(page, m, pageOf(f.Out)); err != nil {
		return err
	}
	if err := deliver(cmd, path, m, f.json, func() { text.MatrixSummary(m) }, page); err != nil {
		return err
	}
	return cli.Verdict(m.OK(), !m.Different())
}

// watch returns a function that shows the progress of a matrix. The caller calls end after the last
// event.
func (f *vmtestFlags) watch(cmd *cobra.Command, kernels, cases int) (watch func(run.Event), end func()) {
	notes := report.Printable(cmd.ErrOrStderr())
	if f.json {
		lines := report.Lines{Out: notes, Notes: notes}
		return func(e run.Event) {
			if e.Case == nil {
				lines.Event(e)
			}
		}, func() {}
	}
	if out, ok := cmd.OutOrStdout().(*os.File); ok {
		if live := report.NewLive(out, kernels, cases); live != nil {
			return live.Event, live.Close
		}
	}
	lines := report.Lines{Out: report.Printable(cmd.OutOrStdout()), Notes: notes, Verbose: f.verbose}
	return lines.Event, func() {}
}

// keepReport writes the page of a kernel's report once there is one. It moves the report of a
// former run to before, so that it is not taken for this one's.
func keepReport(run *result.KernelRun, before map[string]*result.Report) error {
	switch {
	case run.Report != nil: // also of an interrupted run
		run.Report.Follow(before[run.Dir])
		if err := report.WriteHTML(filepath.Join(run.Dir, pageName), run.Report); err != nil {
			return err
		}
		return report.WriteJSON(filepath.Join(run.Dir, "report.json"), run.Report)
	case run.State == result.Waiting:
		// A run waits more than once. The report of the former run is there the first time.
		if r := readBefore(run.Dir); r != nil {
			before[run.Dir] = r
		}
		_, _, err := newReports(run.Dir, "report.json")
		return err
	}
	return nil
}

// pageOf returns the link to a kernel's page, relative to a directory.
func pageOf(dir string) func(*result.KernelRun) string {
	return func(run *result.KernelRun) string {
		rel, err := filepath.Rel(dir, filepath.Join(run.Dir, pageName))
		if err != nil {
			return ""
		}
		return filepath.ToSlash(rel)
	}
}

func (f *vmtestFlags) matrixOptions(cmd *cobra.Command, suite *suite.Suite, kernels []string, shard suite.Shard) (run.MatrixOptions, error) {
	if err := f.checkEngines(); err != nil {
		return run.MatrixOptions{}, err
	}
	if err := boot.SetHost(&f.Config); err != nil {
		return run.MatrixOptions{}, err
	}
	f.complete(suite)
	cpus := cmp.Or(f.Jobs, runtime.NumCPU())
	if f.memoryTotal == 0 {
		var err error
		if f.memoryTotal, err = guest.FreeMemory(); err != nil {
			return run.MatrixOptions{}, fmt.Errorf("--memory-total: %w", err)
		}
	}
	f.Budget = guest.NewBudget(cpus, f.memoryTotal)
	f.Jobs = max(cpus/len(kernels), 1)
	return run.MatrixOptions{
		Options: f.Options, Kernels: kernels, Shard: shard, FailFast: f.failFast,
		Open: func(note func(string)) (*vmimage.Store, error) { return inputs.OpenStore(cmd, note) },
	}, nil
}
