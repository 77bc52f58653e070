package main

import (
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/bpfreplay/bpfreplay/cmd/internal/artefacts"
	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/cmd/internal/guests"
	"github.com/bpfreplay/bpfreplay/cmd/internal/local"
	"github.com/bpfreplay/bpfreplay/cmd/internal/runs"
	"github.com/bpfreplay/bpfreplay/cmd/internal/setup"
)

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "bpfreplay",
		Short: "Loader programs for BPF objects, and proof on real kernels that they do what a direct load does",
		Long: `A loader program is one BPF program that replays the bpf(2) calls of a BPF object's load
from inside the kernel.

Exit status: 0 all as it should be, 1 a difference or a failed expectation,
2 the harness or its input failed.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	cli.GroupFlags(root)
	root.PersistentFlags().String("config", "", cli.Table["config"].Usage) // see package inputs
	root.AddCommand(
		runs.NewVMTest(), runs.NewMatrix(), runs.NewMerge(), runs.NewCheck(), runs.NewMutate(), runs.NewFuzzDiff(),
		guests.NewExec(programSignals), guests.NewShell(),
		artefacts.NewGen(), artefacts.NewExplain(), artefacts.NewSign(), artefacts.NewVerify(),
		local.NewLoad(), local.NewCompare(), local.NewPolicy(),
		setup.NewKernels(), setup.NewSuite(), setup.NewDoctor(), newMan(),
	)
	return root
}

// newMan is hidden: it is for packagers.
func newMan() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write a manual page for each command into a directory",
		Long:   "man writes a manual page for each command into a directory, made from its --help.",
		Args:   cobra.ExactArgs(1),
		Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			root := newRoot()
			root.DisableAutoGenTag = true
			// A fixed date makes the pages reproducible.
			never := time.Unix(0, 0)
			return doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "bpfreplay", Manual: "bpfreplay", Date: &never}, args[0])
		},
	}
}
