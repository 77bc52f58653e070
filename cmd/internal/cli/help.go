package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// fewFlags is the largest number of flags that --help shows without headings.
const fewFlags = 10

// usageOfFlags returns the flags' part of a command's --help.
func usageOfFlags(cmd *cobra.Command) string {
	sets := make(map[string]*pflag.FlagSet)
	for _, h := range Headings {
		sets[h] = pflag.NewFlagSet(h, pflag.ContinueOnError)
	}
	all := cmd.LocalFlags()
	count := 0
	all.VisitAll(func(f *pflag.Flag) {
		heading := aboutRest
		if info, ok := Table[f.Name]; ok {
			heading = info.Heading
		}
		sets[heading].AddFlag(f)
		if !f.Hidden {
			count++
		}
	})
	if count <= fewFlags {
		return "Flags:\n" + strings.TrimRight(all.FlagUsages(), "\n")
	}
	var text []string
	for _, h := range Headings {
		if sets[h].HasAvailableFlags() {
			text = append(text, h+":\n"+sets[h].FlagUsages())
		}
	}
	return strings.TrimRight(strings.Join(text, "\n"), "\n")
}

// GroupFlags makes --help group the flags of all commands by heading.
func GroupFlags(root *cobra.Command) {
	cobra.AddTemplateFunc("usageOfFlags", usageOfFlags)
	const plain = "Flags:\n{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}"
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), plain, "{{usageOfFlags .}}", 1))
}
