package runs

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/mutate"
	"github.com/bpfreplay/bpfreplay/harness/mutation"
	"github.com/bpfreplay/bpfreplay/harness/report"
)

type mutateFlags struct {
	runFlags
	states bool
	list   bool
	json   bool
}

// NewMutate returns the command mutate.
func NewMutate() *cobra.Command {
	f := mutateFlags{runFlags: newRunFlags()}
	// A skeleton and a signed file have the bytes of the loader program, so a mutation breaks them,
	// too.
	others := slices.DeleteFunc(enginename.Names(), func(n string) bool {
		return n == enginename.Replay || n == enginename.Signed || len(enginename.Skeletons([]string{n})) > 0
	})
	cmd := &cobra.Command{
		Use:   "mutate [MUTATION...]",
		Short: "Break loads in a guest and check that each fault is detected",
		Long: `mutate tests the comparison itself. It breaks loader programs in a guest, one fault at a
time, each in its case of the core suite, and compares the result with that of the
unbroken engines. The comparison must detect each fault by the field or the error that
the mutation declares, and no rule for explained differences may hide it.

Then mutate changes each field of the engines' states, which the comparison must detect,
too. For each rule that explains a difference, one of these changes must show that the
rule explains no more than it should. A rule that explains nothing in its own case fails.

By default all mutations are run, and the fields of states are changed. The report goes
to OUT/KERNEL/mutate.json.`,
		Example: `  bpfreplay mutate --kernel 6.18
  bpfreplay mutate drop-freeze code-ksym-off`,
		ValidArgsFunction: cobra.FixedCompletions(mutate.Names(), cobra.ShellCompDirectiveNoFileComp),
		RunE:              func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	f.add(cmd, others)
	cli.AddFlags(cmd, cli.Flags{"suite": &f.suite, "states": &f.states, "list": &f.list, "json": &f.json})
	return cmd
}

func (f *mutateFlags) run(cmd *cobra.Command, args []string) error {
	list := mutate.All()
	if len(args) > 0 {
		list = nil
	}
	for _, name := range args {
		m, err := mutate.Find(name)
		if err != nil {
			return err
		}
		list = append(list, *m)
	}
	text := report.Text{W: cmd.OutOrStdout()}
	if f.list {
		text.Mutations(list)
		return nil
	}
	suite, err := f.selection(nil, false).Open(cmd)
	if err != nil {
		return err
	}
	done, err := f.open(cmd)
	if err != nil {
		return err
	}
	defer done()
	path, err := cli.NewReport(f.Out, "mutate.json")
	if err != nil {
		return err
	}
	show := text.Mutation
	if f.json {
		show = func(*mutation.Result) {}
	}
	r, err := mutation.Run(cmd.Context(), suite, list, f.states || len(args) == 0, f.Options, show)
	if err != nil {
		return err
	}
	if err := deliver(cmd, path, r, f.json, func() { text.MutationSummary(r) }); err != nil {
		return err
	}
	return cli.Verdict(r.OK(), false)
}
