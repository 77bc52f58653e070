package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/cmd/internal/await"
	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/cmd/internal/inputs"
	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/local"
	"github.com/bpfreplay/bpfreplay/harness/report"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/harness/suite"
)

type compareFlags struct {
	engines []string
	bpftool string
	suite   string
	which   string
	states  string
	effects bool
	verbose bool
	json    bool
}

// NewCompare returns the command compare.
func NewCompare() *cobra.Command {
	f := compareFlags{engines: enginename.Defaults(), suite: inputs.DefaultSuite}
	cmd := &cobra.Command{
		Use:   "compare OBJECT | compare --case NAME",
		Short: "Load an object on this machine with each engine, and compare what the kernel holds",
		Long: `compare does on the running kernel what vmtest does in a guest: it loads an object,
or a case of a suite, with each engine, reads back the resulting state of the kernel,
and prints the differences between engines. It is meant for the guests of bpfreplay
shell, and needs the rights to load BPF programs.

With --write-states it also writes the state that each engine left. With --effects it
also runs and attaches programs, which is only allowed in guests.`,
		Example: `  bpfreplay compare -v my.bpf.o
  bpfreplay compare -e trace,replay --write-states /tmp/states my.bpf.o`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	cli.AddFlags(cmd, cli.Flags{
		"engines": &f.engines, "bpftool": &f.bpftool, "suite": &f.suite, "case": &f.which, "write-states": &f.states,
		"effects": &f.effects, "verbose": &f.verbose, "json": &f.json,
	})
	cli.Renamed(cmd, "states", "write-states")
	return cmd
}

func (f *compareFlags) run(cmd *cobra.Command, args []string) error {
	if !cmd.Flags().Changed("engines") {
		f.engines = inputs.DefaultEngines(f.bpftool != "", "")
	}
	suite, err := f.selected(cmd, args)
	if err != nil {
		return err
	}
	tool, err := findTool(f.bpftool, f.engines...)
	if err != nil {
		return err
	}
	var states map[string]*state.State
	c, err := await.Load(cmd.Context(), func() (c *result.CaseReport, err error) {
		c, states, err = local.Compare(suite, f.engines, tool.Path, f.effects)
		return c, err
	})
	if err != nil {
		return err
	}
	if f.states != "" {
		if err := os.MkdirAll(f.states, 0o755); err != nil {
			return err
		}
		for name, s := range states {
			if err := report.WriteJSON(filepath.Join(f.states, name+".json"), s); err != nil {
				return err
			}
		}
	}
	if f.json {
		if err := cli.PrintJSON(cmd.OutOrStdout(), c); err != nil {
			return err
		}
	} else {
		out := report.Printable(cmd.OutOrStdout())
		text := report.Text{W: out, Verbose: f.verbose}
		text.Case(c)
		for _, l := range c.Loads {
			if l.Log != "" {
				fmt.Fprintf(out, "    the verifier to %s:\n%s\n", l.Engine, strings.TrimRight(l.Log, "\n"))
			}
		}
	}
	return cli.Verdict(c.OK(), c.Verdict() == result.Broken)
}

// selected returns the case to compare.
func (f *compareFlags) selected(cmd *cobra.Command, args []string) (*suite.Suite, error) {
	switch {
	case f.which == "" && len(args) == 1:
		return inputs.ObjectSuite(cmd, args)
	case f.which == "" || len(args) > 0:
		return nil, errors.New("either an object or a --case")
	}
	suite, err := inputs.Selection{Suite: f.suite, Patterns: []string{f.which}}.Open(cmd)
	if err != nil {
		return nil, err
	}
	if len(suite.Cases) > 1 {
		return nil, fmt.Errorf("%d cases match %q: name one", len(suite.Cases), f.which)
	}
	return suite, nil
}
