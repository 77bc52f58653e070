package main

import (
	"github.com/spf13/cobra"
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
	groupFlags(root)
	root.PersistentFlags().StringVar(&configFlag, "config", "", flagTable["config"].usage)
	root.AddCommand(newVMTest(), newMatrix(), newMerge(), newCheck(), newMutate(), newFuzzDiff(), newExec(), newKernels(), newDoctor(), newSuite(), newExplain(), newGen(), newSign(), newVerify(), newLoad(), newPolicy(), newCompare(), newShell(), newMan())
	return root
}
