package runs

import (
	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/cmd/internal/inputs"
	"github.com/bpfreplay/bpfreplay/harness/report"
	"github.com/bpfreplay/bpfreplay/harness/result"
)

type mergeFlags struct {
	outputs outputFlags
	out     string
	suite   string
	json    bool
	verbose bool
}

// NewMerge returns the command merge.
func NewMerge() *cobra.Command {
	f := mergeFlags{suite: inputs.DefaultSuite}
	cmd := &cobra.Command{
		Use:   "merge REPORT...",
		Short: "Join the reports of several machines into one",
		Long: `merge joins the results of several machines, either shards of one matrix (--shard) or
different kernels, and shows them like matrix. A REPORT is a matrix.json or a
report.json. The output of merge can be merged again.

Exit status: as for matrix, and 2 if a shard is missing. merge writes nothing if the
reports do not belong together: if their suites, engines or shards differ, if two of them
have the same case, or if an object or a kernel is not the same in all of them.`,
		Example: `  bpfreplay matrix --kernel all --shard 1/2 --out one
  bpfreplay matrix --kernel all --shard 2/2 --out two
  bpfreplay merge one/matrix.json two/matrix.json --junit junit.xml`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	cli.AddFlags(cmd, cli.Flags{"out": &f.out, "suite": &f.suite, "json": &f.json, "verbose": &f.verbose, "junit": &f.outputs.junit, "markdown": &f.outputs.markdown})
	return cmd
}

func (f *mergeFlags) run(cmd *cobra.Command, args []string) error {
	var parts []result.Part
	for _, path := range args {
		m, err := report.Read(path)
		if err != nil {
			return err
		}
		parts = append(parts, result.Part{Name: path, Matrix: m})
	}
	m, err := result.Merge(parts)
	if err != nil {
		return err
	}
	if f.out != "" {
		if err := report.WriteJSON(f.out, m); err != nil {
			return err
		}
	}
	if err := f.outputs.write(cmd, m, f.suite); err != nil {
		return err
	}
	if !f.json {
		text := report.Text{W: report.Printable(cmd.OutOrStdout()), Verbose: f.verbose}
		text.MatrixSummary(m)
	} else if err := cli.PrintJSON(cmd.OutOrStdout(), m); err != nil {
		return err
	}
	return cli.Verdict(m.OK(), !m.Different())
}
