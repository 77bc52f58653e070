package runs

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/fuzz"
	"github.com/bpfreplay/bpfreplay/harness/mutate"
	"github.com/bpfreplay/bpfreplay/harness/report"
)

type fuzzFlags struct {
	runFlags
	fuzz fuzz.Options
	json bool
}

// fuzzEngines are the engines that are compared by default: those that behave like libbpf.
var fuzzEngines = []string{enginename.Trace, enginename.Replay, enginename.Libbpf}

// NewFuzzDiff returns the command fuzz-diff.
func NewFuzzDiff() *cobra.Command {
	f := fuzzFlags{runFlags: newRunFlags(), fuzz: fuzz.Options{N: 200}}
	cmd := &cobra.Command{
		Use:   "fuzz-diff",
		Short: "Load random objects with each engine in a guest and compare what the kernel holds",
		Long: `fuzz-diff makes valid random BPF objects, loads each with each engine in a guest, and
compares the resulting states and, for programs that can be run, the return values. The
same seed makes the same objects everywhere.

If engines disagree about an object, fuzz-diff reduces it to the smallest object that
shows the same difference, and writes it to OUT/KERNEL/fuzz-SEED-INDEX with a
description and the differences. The report goes to OUT/KERNEL/fuzz.json.`,
		Example: `  bpfreplay fuzz-diff --kernel 6.12 -n 2000 --seed 1
  bpfreplay fuzz-diff --kernel 6.12 --seed 1 --only 613`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.add(cmd, fuzzEngines)
	cli.AddFlags(cmd, cli.Flags{
		"number": &f.fuzz.N, "seed": &f.fuzz.Seed, "only": &f.fuzz.First, "objects": &f.fuzz.Keep, "mutate": &f.Mutate, "json": &f.json,
	})
	cli.Renamed(cmd, "keep", "objects")
	return cmd
}

// every is the interval of progress lines.
const every = 10 * time.Second

func (f *fuzzFlags) run(cmd *cobra.Command) error {
	if f.fuzz.N < 1 {
		return fmt.Errorf("-n %d: at least one object is wanted", f.fuzz.N)
	}
	if f.Mutate != "" {
		if _, err := mutate.Find(f.Mutate); err != nil {
			return err
		}
	}
	if !cmd.Flags().Changed("seed") {
		f.fuzz.Seed = rand.Uint64N(math.MaxUint32)
	}
	done, err := f.open(cmd)
	if err != nil {
		return err
	}
	defer done()
	f.LoadOnly = true
	o := f.fuzz
	o.Options = f.Options
	if cmd.Flags().Changed("only") {
		o.N = 1
	}
	f.Note(fmt.Sprintf("seed %d, %d objects, engines %s", o.Seed, o.N, strings.Join(o.Engines, ", ")))
	start, told := time.Now(), time.Now()
	o.Progress = func(r *fuzz.Report) {
		if time.Since(told) < every {
			return
		}
		told = time.Now()
		f.Note(fmt.Sprintf("%d of %d in %.0f s: %d loaded, %d refused by all, %d findings", r.Objects, o.N, time.Since(start).Seconds(), r.Loaded, r.Refused, len(r.Findings)))
	}
	path, err := cli.NewReport(f.Out, "fuzz.json")
	if err != nil {
		return err
	}
	r, err := fuzz.Run(cmd.Context(), o)
	if err != nil {
		return err
	}
	if err := deliver(cmd, path, r, f.json, func() { (&report.Text{W: cmd.OutOrStdout()}).FuzzSummary(r, f.again) }); err != nil {
		return err
	}
	if r.Interrupted {
		return cmd.Context().Err()
	}
	return cli.Verdict(r.OK(), r.Broken())
}

// again returns the command that loads one object again.
func (f *fuzzFlags) again(index uint64) string {
	s := fmt.Sprintf("bpfreplay fuzz-diff --kernel %s --engines %s --seed %d --only %d", f.Kernels, strings.Join(f.Engines, ","), f.fuzz.Seed, index)
	if f.Mutate != "" {
		s += " --mutate " + f.Mutate
	}
	return s
}
