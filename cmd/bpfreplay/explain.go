package main

import (
	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/loader"
	"github.com/bpfreplay/bpfreplay/loader/trace"
)

func newExplain() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain OBJECT",
		Short: "Print the trace of an object's load, one command a line",
		Long: `explain prints what a load of the object does: each bpf(2) command with its
attributes decoded, file descriptors by name, and what is left to the kernel
that it will meet. It needs no kernel.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			obj, err := loader.Open(args[0])
			if err != nil {
				return err
			}
			t, err := trace.Plan(obj, trace.Options{})
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), t)
			}
			_, err = t.WriteTo(cmd.OutOrStdout())
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
