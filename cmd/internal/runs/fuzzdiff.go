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
	n       int
	seed    uint64
	only    uint64
	objects string
	mutate  string
	json    bool
}

// fuzzEngines are the engines that are compared by default: those that behave like libbpf.
var fuzzEngines = []string{enginename.Trace, enginename.Replay, enginename.Libbpf}

// NewFuzzDiff returns the command fuzz-diff.
func NewFuzzDiff() *cobra.Command {
	f := fuzzFlags{runFlags: newRunFlags(), n: 200}
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
		"number": &f.n, "seed": &f.seed, "only": &f.only, "objects": &f.objects, "mutate": &f.mutate, "json": &f.json,
	})
	cli.Renamed(cmd, "keep", "objects")
	return cmd
}

// every is the interval of progress lines.
const every = 10 * time.Second

func (f *fuzzFlags) run(cmd *cobra.Command) error {
	if f.n < 1 {
		return fmt.Errorf("-n %d: at least one object is wanted", f.n)
	}
	if f.mutate != "" {
		if _, err := mutate.Find(f.mutate); err != nil {
			return err
		}
	}
	if !cmd.Flags().Changed("seed") {
		f.seed = rand.Uint64N(math.MaxUint32)
	}
	opts, done, err := f.options(cmd)
	if err != nil {
		return err
	}
	defer done()
	opts.Mutate, opts.LoadOnly = f.mutate, true
	o := fuzz.Options{Options: opts, Seed: f.seed, N: f.n, Keep: f.objects}
	if cmd.Flags().Changed("only") {
		o.First, o.N = f.only, 1
	}
	opts.Note(fmt.Sprintf("seed %d, %d objects, engines %s", o.Seed, o.N, strings.Join(o.Engines, ", ")))
	start, told := time.Now(), time.Now()
	o.Progress = func(r *fuzz.Report) {
		if time.Since(told) < every {
			return
		}
		told = time.Now()
		opts.Note(fmt.Sprintf("%d of %d in %.0f s: %d loaded, %d refused by all, %d findings", r.Objects, o.N, time.Since(start).Seconds(), r.Loaded, r.Refused, len(r.Findings)))
	}
	path, err := cli.NewReport(opts.Out, "fuzz.json")
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
	switch {
	case r.Interrupted:
		return cmd.Context().Err()
	case r.OK():
		return nil
	case r.Broken():
		return cli.ErrBroken
	}
	return cli.ErrFailed
}

// again returns the command that loads one object again.
func (f *fuzzFlags) again(index uint64) string {
	s := fmt.Sprintf("bpfreplay fuzz-diff --kernel %s --engines %s --seed %d --only %d", f.Kernel, strings.Join(f.engines, ","), f.seed, index)
	if f.mutate != "" {
		s += " --mutate " + f.mutate
	}
	return s
}
