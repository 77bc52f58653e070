package main

import (
	"github.com/spf13/cobra"

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
