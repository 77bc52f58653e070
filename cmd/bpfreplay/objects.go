package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/internal/visible"
)

// objectFlags select how objects are read.
type objectFlags struct{ rules string }

func (f *objectFlags) add(cmd *cobra.Command) {
	f.rules = "libbpf"
	addFlags(cmd, flags{"sections": &f.rules})
}

func (f *objectFlags) options() (object.Options, error) {
	rules, err := object.ParseSectionRules(f.rules)
	if err != nil {
		return object.Options{}, fmt.Errorf("--sections: %w", err)
	}
	return object.Options{SectionRules: rules}, nil
}

// openObject reads the object in a file and prints its warnings.
func openObject(cmd *cobra.Command, path string, opts object.Options) (*object.Object, error) {
	obj, err := awaitWork(cmd.Context(), func() (*object.Object, error) { return opts.Open(path) })
	if err != nil {
		return nil, err
	}
	printWarnings(cmd, path, obj)
	return obj, nil
}

// printWarnings prints the defects of an object that do not prevent its load, one per line.
func printWarnings(cmd *cobra.Command, path string, obj *object.Object) {
	for _, w := range obj.Warnings {
		printWarning(cmd, path, w.String())
	}
}

func printWarning(cmd *cobra.Command, path, text string) {
	fmt.Fprintf(cmd.ErrOrStderr(), "bpfreplay: warning: object %q: %s\n", path, visible.Line(text))
}

// planObject returns the trace of the object in a file.
func planObject(cmd *cobra.Command, path string, opts object.Options) (*trace.Trace, error) {
	obj, err := openObject(cmd, path, opts)
	if err != nil {
		return nil, err
	}
	return awaitWork(cmd.Context(), func() (*trace.Trace, error) { return trace.Plan(obj, trace.Options{}) })
}
