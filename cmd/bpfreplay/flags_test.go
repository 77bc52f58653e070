package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
)

// A flag, and a letter, has the same meaning in every command.
func TestFlags(t *testing.T) {
	used, letters := make(map[string]bool), make(map[string]string)
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		check := func(f *pflag.Flag) {
			used[f.Name] = true
			if f.Deprecated != "" {
				return
			}
			assert.Check(t, f.Usage != "", "%s --%s: help does not explain it", cmd.CommandPath(), f.Name)
			assert.Check(t, f.Usage == cli.Table[f.Name].Usage, "%s --%s: %q is not what the table says", cmd.CommandPath(), f.Name, f.Usage)
			if f.Shorthand == "" || f.ShorthandDeprecated != "" {
				return
			}
			name := strings.TrimSuffix(f.Name, "s") // one engine, or several
			other, ok := letters[f.Shorthand]
			assert.Check(t, !ok || other == name, "%s: -%s is --%s, elsewhere --%s", cmd.CommandPath(), f.Shorthand, name, other)
			letters[f.Shorthand] = name
		}
		cmd.Flags().VisitAll(check)
		cmd.PersistentFlags().VisitAll(check)
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit(newRoot())
	for name := range cli.Table {
		assert.Check(t, used[name], "no command has --%s", name)
	}
}
