package runs

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/cmd/internal/inputs"
	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/report"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/run"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/internal/kversion"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

type checkFlags struct {
	vmtestFlags
	require []string
	signed  bool
	certs   cli.Each
}

// NewCheck returns the command check.
func NewCheck() *cobra.Command {
	f := checkFlags{vmtestFlags: newVMTestFlags()}
	f.Kernels, f.LoadOnly, f.NoRetry = cli.DefaultTier, true, true
	cmd := &cobra.Command{
		Use:   "check OBJECT|FILE...",
		Short: "Show on which kernels objects load, directly and by loader program, and why they do not",
		Long: `check loads objects on several kernels with each engine. It prints a table of kernels
and engines, and below it each reason for a failure once: the end of the verifier's log,
or the capability that the kernel lacks and the first kernel that has it. The default
engines are direct, trace and replay, and libbpf if bpftool is installed.

--signed adds the engine signed: the kernel verifies a signature by a key that is made
for the check. Files that gen wrote are loaded unchanged with the engine replay, and with
--signed by their own signatures; the kernel then trusts the certificate --cert.

Exit status: 0 if each object loads on each kernel with each engine (replay counts only
on kernels that have loader programs); 1 if not, counting only the engines of --require
if it is given; 2 if a kernel cannot be fetched or the harness failed.`,
		Example: `  bpfreplay check my.bpf.o
  bpfreplay check my.bpf.o --kernel '5.10 6.1' --require direct
  bpfreplay check my.bpfreplay --kernel '6.18 stable' --signed --cert cert.pem`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	f.add(cmd, nil)
	cli.AddFlags(cmd, cli.Flags{
		"require": &f.require, "signed": &f.signed, "cert": &f.certs, "replace": &f.replace, "json": &f.json, "junit": &f.outputs.junit,
		"jobs": &f.Jobs, "fail-fast": &f.failFast, "memory": &f.MemoryMiB, "memory-total": &f.memoryTotal,
	})
	_ = cmd.Flags().MarkHidden("fail-fast") // every kernel needs an answer
	return cmd
}

func (f *checkFlags) run(cmd *cobra.Command, args []string) error {
	if err := inputs.CheckFiles(cmd, args); err != nil {
		return err
	}
	if err := f.chooseEngines(args); err != nil {
		return err
	}
	for _, e := range f.require {
		if !slices.Contains(f.Engines, e) {
			return fmt.Errorf("--require %s: it is not one of the engines that load: %v", e, f.Engines)
		}
	}
	if err := f.checkAmounts(); err != nil {
		return err
	}
	config, kernels, err := inputs.ExpandKernels(cmd, f.Kernels, f.Archs)
	if err != nil {
		return err
	}
	capabilities := config.Capabilities
	s := suite.NewCheck(args, func(a, b string) int {
		return cmp.Or(-kversion.Compare(capabilities[a].Since, capabilities[b].Since), cmp.Compare(a, b))
	})
	if err := replaceIn(s, f.replace); err != nil {
		return err
	}
	if err := f.outputs.reset(); err != nil {
		return err
	}
	path, err := cli.NewReport(f.Out, "check.json")
	if err != nil {
		return err
	}
	o, err := f.matrixOptions(cmd, s, kernels, suite.Shard{})
	if err != nil {
		return err
	}
	if o.Certs, err = inputs.Certificates(f.certs); err != nil {
		return err
	}
	notes := report.Lines{Notes: report.Printable(cmd.ErrOrStderr())}
	o.Watch = func(e run.Event) {
		if e.Note != "" {
			notes.Event(e)
		}
	}
	m, err := run.Matrix(cmd.Context(), s, o)
	if err != nil {
		return err
	}
	objects := result.CheckedOf(m, s)
	rows := f.rows(objects)
	if f.outputs.junit != "" {
		if err := report.WriteExecJUnit(f.outputs.junit, "check", "check", rows); err != nil {
			return err
		}
	}
	err = deliver(cmd, path, m, f.json, func() {
		text := report.Text{W: report.Printable(cmd.OutOrStdout())}
		for i, rows := range objects {
			text.Check(args[i], rows, f.Engines, func(name string) string {
				c, ok := capabilities[name]
				if !ok {
					return "kernels.yaml does not know it"
				}
				return c.About + ", " + c.Words()
			})
		}
	})
	if err != nil {
		return err
	}
	return cli.VerdictOf(rows)
}

// chooseEngines chooses the default engines. Engines that read objects cannot load files that gen
// wrote.
func (f *checkFlags) chooseEngines(paths []string) error {
	files := 0
	for _, path := range paths {
		if is, err := artefact.IsFile(path); err == nil && is {
			files++
		}
	}
	switch {
	case files > 0 && files < len(paths):
		return errors.New("either objects or files that gen wrote")
	case files > 0 && f.signed && len(f.certs) == 0:
		return errors.New("--signed of a file: whose certificate is the kernel to trust? Give --cert")
	case len(f.certs) > 0 && (files == 0 || !f.signed):
		return errors.New("--cert is for --signed and files that sign wrote")
	}
	if len(f.Engines) == 0 {
		f.Engines = inputs.DefaultEngines(len(f.Bpftool) > 0, f.Kernels, f.Archs...)
		if files > 0 {
			f.Engines = []string{enginename.Replay}
		}
	}
	if f.signed && !slices.Contains(f.Engines, enginename.Signed) {
		f.Engines = append(f.Engines, enginename.Signed)
	}
	return nil
}

// wrong returns a failure if an engine did not load an object on a kernel although it should have,
// or what broke; otherwise two empty strings.
func (f *checkFlags) wrong(c *result.Checked) (failed, broken string) {
	if c.Run.State != result.Done {
		broken = string(c.Run.State) + ": " + c.Run.Reason
	}
	for i := range c.Loads {
		l := &c.Loads[i]
		wanted := len(f.require) == 0 && l.Applies() || slices.Contains(f.require, l.Engine)
		text := fmt.Sprintf("engine %s: %s %s %s", l.Engine, l.Result, l.Errno, l.Detail)
		switch {
		case l.Broken():
			broken = cmp.Or(broken, text)
		case wanted && !l.Loaded():
			failed = cmp.Or(failed, text)
		}
	}
	return failed, broken
}

// rows returns what each kernel has made of each object, as tests of the JUnit report.
func (f *checkFlags) rows(objects [][]result.Checked) []report.ExecRow {
	var out []report.ExecRow
	for _, rows := range objects {
		for i := range rows {
			c := &rows[i]
			row := report.ExecRow{Kernel: c.Kernel, Program: c.Object}
			failed, broken := f.wrong(c)
			switch {
			case failed != "":
				row.Status, row.Output = cli.ExitFailed, failed
			case broken != "":
				row.Error = broken
			}
			for j := range c.Loads {
				row.Seconds += c.Loads[j].Took().Seconds()
			}
			out = append(out, row)
		}
	}
	return out
}
