package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/loader"
)

func newGen() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "gen OBJECT -o DIR",
		Short: "Write the loader program of an object: instructions, blob and a manifest",
		Long: `gen writes insns.bin, blob.bin and manifest.json into DIR. The same object gives
the same bytes on every machine. The context of the loader program is that of
libbpf's skel_internal.h; the manifest says where each map and program is in it,
and what, if anything, a run of these files alone cannot do.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			obj, err := loader.Open(args[0])
			if err != nil {
				return err
			}
			p, err := loader.Generate(obj, &loader.Options{Inputs: true})
			if err != nil {
				return err
			}
			a := p.Artefact()
			if err := a.Write(dir); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %d instructions, a blob of %d bytes, %d maps, %d programs\n",
				dir, a.Manifest.Insns, a.Manifest.Blob, len(a.Maps), len(a.Programs))
			for _, n := range a.Needs {
				fmt.Fprintln(cmd.OutOrStdout(), "needs", n)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&dir, "out", "o", "", "directory to write to")
	_ = cmd.MarkFlagRequired("out")
	return cmd
}
