package artefacts

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/cmd/internal/await"
	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/cmd/internal/inputs"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/internal/visible"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// NewExplain returns the command explain.
func NewExplain() *cobra.Command {
	var asJSON, differ bool
	sections := inputs.DefaultSections
	cmd := &cobra.Command{
		Use:   "explain OBJECT|FILE",
		Short: "Print the trace of an object's load, one command per line",
		Long: `explain prints the trace of the object's load: each bpf(2) command with its decoded
attributes, with names for file descriptors, and with the decisions that depend on the
target kernel. For a loader program that gen wrote it prints the steps, the inputs and
outputs, and the requirements. It loads nothing.

With --diff it compares the traces of two objects. The exit status is 1 if they differ.`,
		Example: `  bpfreplay explain filter.bpf.o
  bpfreplay explain --diff before.bpf.o after.bpf.o`,
		Args: func(cmd *cobra.Command, args []string) error {
			if differ {
				return cobra.ExactArgs(2)(cmd, args)
			}
			return cobra.ExactArgs(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			opts, err := inputs.ObjectOptions(sections)
			if err != nil {
				return err
			}
			if differ {
				return explainDiff(cmd, args[0], args[1], opts)
			}
			if is, err := artefact.IsFile(args[0]); err != nil {
				return err
			} else if is {
				a, err := artefact.ReadFile(args[0])
				switch {
				case err != nil:
					return err
				case asJSON:
					return a.WriteManifest(cmd.OutOrStdout())
				}
				return a.Explain(cmd.OutOrStdout())
			}
			t, err := planObject(cmd, args[0], opts)
			if err != nil {
				return err
			}
			if asJSON {
				return cli.PrintJSON(cmd.OutOrStdout(), struct {
					Object  string       `json:"object"`
					License string       `json:"license"`
					Steps   []trace.Line `json:"steps"`
					Needs   []trace.Need `json:"needs,omitempty"` // requirements on the kernel
				}{t.Object, t.License, t.Lines(), t.Needs})
			}
			_, err = t.WriteTo(cmd.OutOrStdout())
			return err
		},
	}
	cli.AddFlags(cmd, cli.Flags{"json": &asJSON, "diff": &differ, "sections": &sections})
	cmd.MarkFlagsMutuallyExclusive("json", "diff")
	return cmd
}

// planObject returns the trace of the object in a file.
func planObject(cmd *cobra.Command, path string, opts object.Options) (*trace.Trace, error) {
	obj, err := inputs.OpenObject(cmd, path, opts)
	if err != nil {
		return nil, err
	}
	return await.Work(cmd.Context(), func() (*trace.Trace, error) { return trace.Plan(obj, trace.Options{}) })
}

func explainDiff(cmd *cobra.Command, a, b string, opts object.Options) error {
	var texts [2]bytes.Buffer
	for i, path := range []string{a, b} {
		t, err := planObject(cmd, path, opts)
		if err != nil && errors.As(err, new(*trace.Error)) {
			return fmt.Errorf("object %q: %w", path, err) // name the object in question
		}
		if err != nil {
			return err
		}
		if _, err := t.WriteTo(&texts[i]); err != nil {
			return err
		}
	}
	d := diff.Diff(visible.Name(a), texts[0].Bytes(), visible.Name(b), texts[1].Bytes())
	if len(d) == 0 {
		return nil
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s", d)
	return cli.ErrFailed
}
