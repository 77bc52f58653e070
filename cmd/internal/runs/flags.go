package runs

import (
	"cmp"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bpfreplay/bpfreplay/cmd/internal/boot"
	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/cmd/internal/inputs"
	"github.com/bpfreplay/bpfreplay/harness/engine"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/run"
)

// runFlags are the flags of commands that run cases in guests and write reports. Most of them are
// the harness's options.
type runFlags struct {
	boot.Flags
	run.Options
	suite string
}

// newRunFlags returns the defaults of commands that run cases.
func newRunFlags() runFlags {
	return runFlags{Options: run.Options{Out: cli.DefaultOut, EngineTimeout: run.DefaultEngineTimeout}, suite: inputs.DefaultSuite}
}

// add adds the flags that all commands in this package have, except merge.
func (f *runFlags) add(cmd *cobra.Command, engines []string) {
	f.Engines = engines
	f.Add(cmd, &f.Config)
	cli.AddFlags(cmd, cli.Flags{"engines": &f.Engines, "bpftool": &f.Bpftool, "out": &f.Out, "engine-timeout": &f.EngineTimeout})
	cmd.Flags().SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(cmp.Or(formerNames[name], name))
	})
}

// formerNames are names that flags had before.
var formerNames = map[string]string{"case-timeout": "engine-timeout", "still": "load-only"}

// selection selects cases of the suite.
func (f *runFlags) selection(patterns []string, split bool) inputs.Selection {
	return inputs.Selection{Suite: f.suite, Patterns: patterns, Split: split, Kernels: f.Kernels, Archs: f.Archs}
}

// checkEngines checks the names of the engines.
func (f *runFlags) checkEngines() error {
	_, err := engine.ByName(f.Engines, engine.Tool{})
	return err
}

// open completes the options: the kernel is resolved, the directory for reports is this run's
// alone, and gdb is set up if the flag is set. The caller calls done after the last guest has
// ended.
func (f *runFlags) open(cmd *cobra.Command) (done func(), err error) {
	if err := f.checkEngines(); err != nil {
		return nil, err
	}
	if err := f.Resolve(cmd, &f.Config); err != nil {
		return nil, err
	}
	release := func() {}
	if f.Out != "" {
		dir := filepath.Join(f.Out, result.KernelDir(f.Kernels))
		if f.Out, release, err = run.Claim(dir); err != nil {
			f.Store.Close()
			return nil, err
		}
		if f.Out != dir {
			f.Note(fmt.Sprintf("another run is using %s: this one writes to %s", dir, f.Out))
		}
	}
	gone, err := f.Debug(cmd, &f.Config)
	if err != nil {
		release()
		f.Store.Close()
		return nil, err
	}
	return func() { gone(); release(); f.Store.Close() }, nil
}
