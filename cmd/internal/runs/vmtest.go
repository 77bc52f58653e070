// Package runs has the commands that load objects with several engines in guests, and show
// verdicts.
package runs

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/cmd/internal/boot"
	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/cmd/internal/inputs"
	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/mutate"
	"github.com/bpfreplay/bpfreplay/harness/report"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/run"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/internal/shellword"
)

type vmtestFlags struct {
	runFlags
	cases   cli.Each
	replace cli.Each
	resume  bool
	fault   cli.Each
	expect  string
	verbose bool
	json    bool
	outputs outputFlags

	// Of runs on several kernels.
	matrix      bool // also for one kernel
	shard       string
	failFast    bool
	memoryTotal int // MiB

	// Of external suites.
	update     bool
	onlyFailed bool
	split      bool
	modules    bool
}

// NewVMTest returns the command vmtest.
func NewVMTest() *cobra.Command {
	f := newVMTestFlags()
	cmd := &cobra.Command{
		Use:   "vmtest [OBJECT...]",
		Short: "Load objects with each engine in a guest and compare what the kernel holds",
		Long: `vmtest boots a kernel in a guest, loads every object of a suite with each engine,
compares the resulting states, and prints one line per case. The report goes to
OUT/KERNEL/report.json, with a page report.html and the guest's console.log beside it.

vmtest also runs the programs with a few fixed inputs, attaches them in the guest, and
compares the effects. Use --load-only for programs that would break the guest.

Objects given as arguments form the suite, and each must load. With --expect agreement
they may also be refused, if all engines refuse them alike; the summary then gives each
reason once, with all of its objects.

An interrupted run reports the cases that have run; --resume runs the remaining ones.

A case that fails is run once more, alone in a new guest, and leaves a folder in
OUT/KERNEL/failed: object, states, differences, trace, logs, console, versions, and
again.sh, which repeats it.

--kernel also takes several kernels, or a tier of kernels.yaml: see bpfreplay matrix
--help.`,
		Example: `  bpfreplay vmtest --kernel 6.12
  bpfreplay vmtest --kernel 6.1 --case 'core_*'
  bpfreplay vmtest --kernel ~/linux my.bpf.o`,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	f.addFlags(cmd)
	cli.AddFlags(cmd, cli.Flags{"gdb": &f.GDB})
	return cmd
}

func newVMTestFlags() vmtestFlags {
	f := vmtestFlags{runFlags: newRunFlags(), modules: true, expect: "ok"}
	f.Repeat, f.MemoryMiB, f.Keep = 1, guest.GuestMemoryMiB, "failing"
	return f
}

func (f *vmtestFlags) addFlags(cmd *cobra.Command) {
	f.add(cmd, enginename.Defaults())
	cli.AddFlags(cmd, cli.Flags{
		"suite": &f.suite, "case": &f.cases, "mutate": &f.Mutate, "repeat": &f.Repeat, "fresh": &f.Fresh, "load-only": &f.LoadOnly,
		"jobs": &f.Jobs, "isolate": &f.Isolate, "no-retry": &f.NoRetry, "resume": &f.resume, "shard": &f.shard, "fail-fast": &f.failFast,
		"verbose": &f.verbose, "json": &f.json, "keep": &f.Keep, "expect": &f.expect, "fault": &f.fault,
		"baselines": &f.Baselines, "update-baseline": &f.update, "only-failed": &f.onlyFailed,
		"test-modules": &f.modules, "split": &f.split, "replace": &f.replace,
		"memory": &f.MemoryMiB, "memory-total": &f.memoryTotal, "junit": &f.outputs.junit, "markdown": &f.outputs.markdown,
	})
}

func (f *vmtestFlags) run(cmd *cobra.Command, args []string) error {
	if slices.Contains(f.fault, "help") {
		return listFaults(cmd.OutOrStdout())
	}
	if !cmd.Flags().Changed("engines") && !inputs.IsForeign(f.suite) {
		f.Engines = inputs.DefaultEngines(len(f.Bpftool) > 0, f.Kernels, f.Archs...)
	}
	suite, err := f.readSuite(cmd, args)
	if err != nil {
		return err
	}
	if err := replaceIn(suite, f.replace); err != nil {
		return err
	}
	if f.Faults, err = parseFaults(f.fault, suite); err != nil {
		return err
	}
	if f.expect != "ok" && f.expect != expectAgreement {
		return fmt.Errorf("--expect %s: it is either ok or %s", f.expect, expectAgreement)
	}
	if f.expect == expectAgreement && len(args) == 0 {
		return fmt.Errorf("--expect %s: it is for objects as arguments; a suite says itself what is expected", expectAgreement)
	}
	if f.Keep != "failing" && f.Keep != run.KeepAll {
		return fmt.Errorf("--keep %s: it is either failing or %s", f.Keep, run.KeepAll)
	}
	f.Again = again(cmd, args)
	if f.Mutate != "" {
		if _, err := mutate.Find(f.Mutate); err != nil {
			return err
		}
	}
	if err := f.checkAmounts(); err != nil {
		return err
	}
	_, kernels, err := inputs.ExpandKernels(cmd, f.Kernels, f.Archs)
	if err != nil {
		return err
	}
	if suite, err = f.choose(suite, kernels); err != nil {
		return err
	}
	if f.GDB && (len(kernels) > 1 || len(suite.Cases) != 1 || f.matrix) {
		return errors.New("--gdb: one kernel and one case, please: --case NAME")
	}
	if err := f.outputs.reset(); err != nil {
		return err
	}
	if len(kernels) > 1 || f.matrix || f.shard != "" {
		return f.runMatrix(cmd, suite, kernels)
	}
	f.Kernels, f.Archs = kernels[0], nil
	return f.runKernel(cmd, suite)
}

// checkAmounts checks the flags that are numbers.
func (f *vmtestFlags) checkAmounts() error {
	switch {
	case f.MemoryMiB <= 0:
		return fmt.Errorf("--memory %d: a guest needs some", f.MemoryMiB)
	case f.memoryTotal < 0:
		return fmt.Errorf("--memory-total %d: guests need some", f.memoryTotal)
	case f.Jobs < 0:
		return fmt.Errorf("--jobs %d: at least one guest is needed", f.Jobs)
	case f.Repeat < 1:
		return fmt.Errorf("--repeat %d: an object is loaded at least once", f.Repeat)
	}
	return nil
}

// expectAgreement is the value of --expect that allows objects to be refused if all engines refuse
// them.
const expectAgreement = "agreement"

// complete completes the options, except those that depend on the kernel.
func (f *vmtestFlags) complete(suite *suite.Suite) {
	f.NoRetry = f.NoRetry || f.GDB
	f.Command = shellword.Join(append([]string{filepath.Base(os.Args[0])}, os.Args[1:]...)...)
	if f.modules && suite.UsesTestModules() {
		f.First = boot.TestModules
	}
}

// casesPerGuest is how many cases justify another guest, which takes 0.1 s to start.
const casesPerGuest = 16

// guests returns how many guests share the cases on one kernel. Repeated timed loads have the
// machine to themselves.
func (f *vmtestFlags) guests(cases int) int {
	if f.Jobs > 0 {
		return f.Jobs
	}
	free, err := guest.FreeMemory()
	if err != nil || f.GDB || f.Repeat > 1 {
		return 1
	}
	return max(1, min(cases/casesPerGuest, guest.NewBudget(runtime.NumCPU(), free).Guests(cmp.Or(f.MemoryMiB, guest.GuestMemoryMiB))))
}

// runKernel runs the suite on one kernel.
func (f *vmtestFlags) runKernel(cmd *cobra.Command, suite *suite.Suite) error {
	done, err := f.open(cmd)
	if err != nil {
		return err
	}
	defer done()
	f.complete(suite)
	f.Jobs = f.guests(len(suite.Cases))
	text := report.Text{W: report.Printable(cmd.OutOrStdout()), Verbose: f.verbose}
	if !f.json {
		f.Done = text.Case
	}
	f.Before = readBefore(f.Out)
	if f.resume {
		if f.Before == nil || len(f.Before.NotRun) == 0 {
			return fmt.Errorf("--resume: the last run in %s was not interrupted", f.Out)
		}
		f.Resume = f.Before
		f.Note(fmt.Sprintf("%d cases of the run that was interrupted are not run again", len(f.Resume.Cases)))
	}
	path, page, err := newReports(f.Out, "report.json")
	if err != nil {
		return err
	}
	r, err := run.Suite(cmd.Context(), suite, f.Options)
	if err != nil {
		return err
	}
	if f.update {
		if err := f.renew(r); err != nil {
			return err
		}
	}
	if err := f.outputs.write(cmd, result.MatrixOf(r), f.suite); err != nil {
		return err
	}
	if err := report.WriteHTML(page, r); err != nil {
		return err
	}
	if err := deliver(cmd, path, r, f.json, func() { text.Summary(r) }, page); err != nil {
		return err
	}
	return cli.Verdict(r.OK(), !r.Different())
}

// replaceIn sets Replace of the suite's cases from --replace.
func replaceIn(suite *suite.Suite, values []string) error {
	programs, err := inputs.Replacements(values)
	if err != nil {
		return err
	}
	if err := suite.Replace(programs); err != nil {
		return fmt.Errorf("--replace: %w", err)
	}
	return nil
}

func (f *vmtestFlags) readSuite(cmd *cobra.Command, args []string) (*suite.Suite, error) {
	if len(args) > 0 {
		suite, err := inputs.ObjectSuite(cmd, args)
		if err != nil {
			return nil, err
		}
		if f.expect == expectAgreement {
			suite.ExpectAgreement()
			if !f.LoadOnly { // a rerun, which uses an external suite, must copy it
				if err := cmd.Flags().Set("load-only", "false"); err != nil {
					return nil, err
				}
			}
		}
		return suite.Select(f.cases)
	}
	suite, err := f.selection(f.cases, f.split).Open(cmd)
	if err != nil || !suite.External {
		return suite, err
	}
	return suite, f.external(cmd, suite)
}
