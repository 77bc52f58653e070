package cli

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bpfreplay/bpfreplay/cmd/internal/inputs"
	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/mutate"
	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/loader/contract"
	"github.com/bpfreplay/bpfreplay/loader/keyring"
)

// Flags maps names of flags to pointers to their values. The value at the pointer is the default.
type Flags map[string]any

// Each is the value of a flag that may be repeated; the values of a []string are separated by
// commas.
type Each []string

// AddFlags adds flags of the table to a command.
func AddFlags(cmd *cobra.Command, values Flags) {
	fl := cmd.Flags()
	for name, value := range values {
		info, ok := Table[name]
		switch p := value.(type) {
		case *string:
			fl.StringVarP(p, name, info.Short, *p, info.Usage)
		case *bool:
			fl.BoolVarP(p, name, info.Short, *p, info.Usage)
		case *int:
			fl.IntVarP(p, name, info.Short, *p, info.Usage)
		case *[]int:
			fl.IntSliceVar(p, name, *p, info.Usage)
		case *uint64:
			fl.Uint64VarP(p, name, info.Short, *p, info.Usage)
		case *time.Duration:
			fl.DurationVarP(p, name, info.Short, *p, info.Usage)
		case *Each:
			fl.StringArrayVarP((*[]string)(p), name, info.Short, *p, info.Usage)
		case *[]string:
			fl.StringSliceVarP(p, name, info.Short, *p, info.Usage)
		default:
			ok = false
		}
		if !ok {
			panic(fmt.Sprintf("bpfreplay %s --%s: not in the table of flags, or of no type that it knows", cmd.Name(), name))
		}
		if complete := completions[name]; complete != nil {
			_ = cmd.RegisterFlagCompletionFunc(name, complete)
		}
	}
}

// completions has the shell completions of flags' values.
var completions = map[string]cobra.CompletionFunc{
	"kernel":   inputs.CompleteKernels,
	"arch":     cobra.FixedCompletions(arch.Names(), cobra.ShellCompDirectiveNoFileComp),
	"contract": cobra.FixedCompletions(contract.Names(), cobra.ShellCompDirectiveNoFileComp),
	"keyring":  cobra.FixedCompletions(keyring.Names(), cobra.ShellCompDirectiveNoFileComp),
	"engine":   cobra.FixedCompletions(enginename.Names(), cobra.ShellCompDirectiveNoFileComp),
	"engines":  cobra.FixedCompletions(enginename.Names(), cobra.ShellCompDirectiveNoFileComp),
	"mutate":   cobra.FixedCompletions(mutate.Names(), cobra.ShellCompDirectiveNoFileComp),
}

// Renamed adds the deprecated former name of a flag, which had another meaning in other commands.
func Renamed(cmd *cobra.Command, former, name string) {
	f := *cmd.Flags().Lookup(name)
	f.Name, f.Shorthand = former, ""
	cmd.Flags().AddFlag(&f)
	_ = cmd.Flags().MarkDeprecated(former, "use --"+name)
}

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
		sets[cmp.Or(Table[f.Name].Heading, aboutRest)].AddFlag(f)
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
