// Package setup has the commands that provide what other commands need on this machine: kernels,
// and suites of external objects.
package setup

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/cmd/internal/boot"
	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/cmd/internal/inputs"
	"github.com/bpfreplay/bpfreplay/harness/doctor"
	"github.com/bpfreplay/bpfreplay/harness/guest"
)

// NewDoctor returns the command doctor.
func NewDoctor() *cobra.Command {
	o := doctor.Options{Kernel: cli.DefaultKernel, Suite: inputs.DefaultSuite}
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check this machine, and print a fix for each problem",
		Long: `doctor checks the requirements of guests, asks the sources of kernels whether the kernels
are available, and looks for optional tools. For each problem it prints a command that
fixes it.

Exit status: 0 if this machine has everything that vmtest needs with this kernel, otherwise 2.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if o.Archs, err = inputs.ParseArchs(o.Archs); err != nil {
				return err
			}
			if o.Config, err = inputs.KernelsFile(cmd); err != nil {
				return err
			}
			if o.Suite, err = inputs.FindSuite(cmd, o.Suite); err != nil {
				return err
			}
			o.StateDir = boot.StateDir()
			// On an error the report says that the amount is unknown.
			o.FreeMiB, _ = guest.FreeMemory()
			r := doctor.Examine(cmd.Context(), o)
			if err := cmd.Context().Err(); err != nil {
				return err
			}
			if asJSON {
				err = cli.PrintJSON(cmd.OutOrStdout(), r)
			} else {
				err = printDoctor(cmd.OutOrStdout(), r)
			}
			if err != nil {
				return err
			}
			return cli.Verdict(r.OK, true)
		},
	}
	cli.AddFlags(cmd, cli.Flags{"kernel": &o.Kernel, "arch": &o.Archs, "qemu": &o.QEMU, "suite": &o.Suite, "offline": &o.Offline, "json": &asJSON})
	return cmd
}

// printDoctor prints one line for each finding, and the fix below it.
func printDoctor(w io.Writer, r *doctor.Report) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range r.Checks {
		fmt.Fprintf(tw, "%s\t%s\t%s\n", c.Status, c.Name, c.Detail)
		if c.Mend != "" && c.Status != doctor.OK {
			fmt.Fprintf(tw, "\t\t-> %s\n", c.Mend)
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if r.OK {
		_, err := fmt.Fprintf(w, "\nvmtest --kernel %s can run here\n", r.Kernel)
		return err
	}
	_, err := fmt.Fprintf(w, "\nvmtest --kernel %s cannot run here: %s\n", r.Kernel, strings.Join(r.Lacks(), ", "))
	return err
}
