package runs

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bpfreplay/bpfreplay/cmd/internal/boot"
	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/cmd/internal/inputs"
	"github.com/bpfreplay/bpfreplay/harness/engine"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/run"
)

// runFlags are the flags of commands that run cases in guests and write reports.
type runFlags struct {
	boot.Flags
	suite         string
	engines       []string
	bpftool       []string
	out           string
	engineTimeout time.Duration
}

// newRunFlags returns the defaults of commands that run cases.
func newRunFlags() runFlags {
	return runFlags{Flags: boot.NewFlags(), suite: inputs.DefaultSuite, out: cli.DefaultOut, engineTimeout: run.DefaultEngineTimeout}
}

// add adds the flags that all commands in this package have, except merge.
func (f *runFlags) add(cmd *cobra.Command, engines []string) {
	f.engines = engines
	f.Add(cmd)
	cli.AddFlags(cmd, cli.Flags{"engines": &f.engines, "bpftool": &f.bpftool, "out": &f.out, "engine-timeout": &f.engineTimeout})
	cmd.Flags().SetNormalizeFunc(formerNames)
}

// formerNames are names that flags had before.
func formerNames(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	switch name {
	case "case-timeout":
		name = "engine-timeout"
	case "still":
		name = "load-only"
	}
	return pflag.NormalizedName(name)
}

// selection selects cases of the suite.
func (f *runFlags) selection(patterns []string, split bool) *inputs.Selection {
	return &inputs.Selection{Suite: f.suite, Patterns: patterns, Split: split, Kernel: f.Kernel, Archs: f.Archs}
}

// base returns the options that are not those of guests.
func (f *runFlags) base() (run.Options, error) {
	_, err := engine.ByName(f.engines, engine.Tool{})
	return run.Options{Engines: f.engines, Bpftool: f.bpftool, EngineTimeout: f.engineTimeout, Out: f.out}, err
}

// options returns the harness's options, with the kernel resolved and gdb set up if the flag is
// set. The caller calls done after the last guest has ended.
func (f *runFlags) options(cmd *cobra.Command) (o run.Options, done func(), err error) {
	if o, err = f.base(); err != nil {
		return o, nil, err
	}
	if o.Config, err = f.Resolve(cmd); err != nil {
		return o, nil, err
	}
	release := func() {}
	if f.out != "" {
		dir := filepath.Join(f.out, result.KernelDir(f.Kernel))
		if o.Out, release, err = run.Claim(dir); err != nil {
			o.Store.Close()
			return o, nil, err
		}
		if o.Out != dir {
			o.Note(fmt.Sprintf("another run is using %s: this one writes to %s", dir, o.Out))
		}
	}
	gone, err := f.Debug(cmd, &o.Config)
	if err != nil {
		release()
		o.Store.Close()
		return o, nil, err
	}
	return o, func() { gone(); release(); o.Store.Close() }, nil
}
