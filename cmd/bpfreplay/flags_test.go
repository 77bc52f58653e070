package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"gotest.tools/v3/assert"
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
			assert.Check(t, f.Usage == flagTable[f.Name].usage, "%s --%s: %q is not what the table says", cmd.CommandPath(), f.Name, f.Usage)
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
	for name, info := range flagTable {
		assert.Check(t, used[name], "no command has --%s", name)
		assert.Check(t, slices.Contains(headings, info.heading), "--%s: no heading is called %q", name, info.heading)
	}
}

// Help shows each flag once, below its heading.
func TestHelpOfFlags(t *testing.T) {
	cmd, _, err := newRoot().Find([]string{"vmtest"})
	assert.NilError(t, err)
	heading, seen := "", make(map[string]string)
	for line := range strings.Lines(usageOfFlags(cmd)) {
		if h, ok := strings.CutSuffix(line, ":\n"); ok {
			heading = h
			continue
		}
		if _, rest, ok := strings.Cut(line, "--"); ok && strings.HasPrefix(line, " ") {
			name := strings.Fields(rest)[0]
			assert.Check(t, seen[name] == "", "--%s is there twice", name)
			seen[name] = heading
		}
	}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			assert.Check(t, seen[f.Name] == flagTable[f.Name].heading, "--%s stands below %q", f.Name, seen[f.Name])
		}
	})
}
