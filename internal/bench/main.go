// Command bench measures everything that has a budget. It prints each figure as a ratio of two
// things that it measures side by side in one run, because seconds would depend on the machine.
// `make bench` runs it. With --load-times it compares ways to load the Linux selftests, which needs
// `make suite` before.
//
// It does not fail if a budget is exceeded, because the machine may have other work to do.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/wire"
)

func main() {
	run := host
	args := os.Args[1:]
	switch {
	case len(args) > 0 && args[0] == guestFlag:
		run, args = guest, args[1:]
	case len(args) > 1 && args[0] == childFlag:
		run, args = child, args[1:]
	}
	if err := run(args); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
}

type bench struct {
	kernel       string
	boots, loads int
	restores     int
	skeletons    int
	jobs         int
	against      string
	suite        string
	temp         string
	rows         []row
}

// row compares one thing with another.
type row struct {
	what, base string
	ratio      float64
	budget     float64 // 0 for none
	detail     string
}

func host(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	b := bench{}
	l := loadTimes{bench: &b}
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	flags.StringVar(&b.kernel, "kernel", "6.12", "a name in kernels.yaml; with --against several, with commas between them")
	flags.IntVar(&b.boots, "boots", 7, "how often to boot each way")
	flags.IntVar(&b.loads, "loads", 5, "how often each engine loads each object; 0 for not at all")
	flags.IntVar(&b.restores, "restores", 0, "instead, restore a saved guest this often and run a case in it")
	flags.IntVar(&b.jobs, "jobs", 1, "with --restores, how many at the same time")
	flags.IntVar(&b.skeletons, "skeletons", 0, "instead, compare a skeleton with bpf2go's code this often")
	flags.StringVar(&b.against, "against", "", "instead, compare runs of a suite with those of this revision, --boots times")
	flags.StringVar(&b.suite, "suite", "", "with --against, the suite: kernel, which make suite builds (default the core suite)")
	times := flags.Bool("load-times", false, "instead, measure how long each way takes to load the Linux selftests, or those\nwhose names are the arguments")
	flags.IntVar(&l.rounds, "rounds", 3, "with --load-times, how often each load is done")
	flags.BoolVar(&l.icount, "icount", false, "with --load-times, count instructions")
	flags.BoolVar(&l.profile, "profile", false, "with --load-times, measure where the kernel spends the time")
	flags.BoolVar(&l.signed, "signed", false, "with --load-times, load signed files, too")
	flags.StringVar(&l.out, "out", filepath.Join("out", "load-times"), "with --load-times, directory for results")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var err error
	if b.temp, err = os.MkdirTemp("", "bpfreplay-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.temp)
	switch {
	case *times:
		return l.run(ctx, flags.Args())
	case b.restores > 0:
		return b.restoreMany(ctx)
	case b.skeletons > 0:
		err = b.sideBySide(ctx)
	case b.against != "":
		err = b.compareWith(ctx, b.against)
	default:
		if err = b.boot(ctx); err == nil && b.loads > 0 {
			err = b.load(ctx)
		}
	}
	if err != nil {
		return err
	}
	b.print()
	return nil
}

// load compares engines over the core suite, in one guest each time. The budget is for a process
// that loads one object: nothing is cached, neither the kernel's types nor its features.
func (b *bench) load(ctx context.Context) error {
	for _, way := range []struct {
		name, base string
		budget     float64
		flags      []string
	}{
		{"replay, in a new process", "direct", 0.25, []string{"--fresh"}},
		{"replay, in a new process", "trace", 0, []string{"--fresh"}},
		{"replay, in a process that has loaded before", "direct", 0, nil},
	} {
		fmt.Printf("loading the core suite: %s, against %s\n", way.name, way.base)
		flags := append(way.flags, "--repeat", strconv.Itoa(b.loads), "--case-timeout", "5m") // which commits before call so, too
		report, err := b.vmtest(ctx, "*", flags...)
		if err != nil {
			return err
		}
		ratios := compare(report, "replay", way.base)
		if len(ratios) == 0 {
			return fmt.Errorf("kernel %s: no object was loaded by both %s and replay", b.kernel, way.base)
		}
		b.rows = append(b.rows, row{
			what: way.name, base: baseNames[way.base], ratio: median(ratios), budget: way.budget,
			detail: fmt.Sprintf("median of %d objects, from %.2f to %.2f, best of %d loads each",
				len(ratios), slices.Min(ratios), slices.Max(ratios), b.loads),
		})
	}
	return nil
}

var baseNames = map[string]string{"direct": "cilium/ebpf's direct load", "trace": "our trace from user space"}

// compare returns the ratios of the times of two engines, one for each object that both loaded.
func compare(report *result.Report, a, z string) []float64 {
	var ratios []float64
	for _, c := range report.Cases {
		times := make(map[string]float64)
		for _, l := range c.Loads {
			if l.Result == wire.OK {
				times[l.Engine] = float64(l.Nanoseconds)
			}
		}
		if times[a] > 0 && times[z] > 0 {
			ratios = append(ratios, times[a]/times[z])
		}
	}
	return ratios
}

// vmtest runs `make vmtest` for one pattern of cases and returns its report.
func (b *bench) vmtest(ctx context.Context, pattern string, flags ...string) (*result.Report, error) {
	flags = append(flags, "--out", b.temp)
	cmd := exec.CommandContext(ctx, "make", "--silent", "vmtest", "KERNEL="+b.kernel, "CASE="+pattern, "ARGS="+strings.Join(flags, " "))
	cmd.Env = append(os.Environ(), "MAKEFLAGS=")
	if _, err := output(cmd); err != nil {
		return nil, err
	}
	return b.report(b.temp)
}

// report reads the report that a run has written to a directory.
func (b *bench) report(out string) (*result.Report, error) {
	data, err := os.ReadFile(filepath.Join(out, result.KernelDir(b.kernel), "report.json"))
	if err != nil {
		return nil, err
	}
	var report result.Report
	if err := json.Unmarshal(data, &report); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return &report, nil
}

// output runs a command and returns what it prints. Its error has that, and standard error, too.
func output(cmd *exec.Cmd) ([]byte, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s%s", cmd, err, out, stderr.Bytes())
	}
	return out, nil
}

// median returns the middle value, or the mean of the two middle values, or 0 for none.
func median[T ~int64 | ~float64](values []T) T {
	v := slices.Sorted(slices.Values(values))
	if len(v) == 0 {
		return 0
	}
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

func (b *bench) print() {
	fmt.Println()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHAT\tAGAINST\tRATIO\tBUDGET\t\t")
	for _, r := range b.rows {
		budget, verdict := "", ""
		if r.budget > 0 {
			budget, verdict = fmt.Sprintf("≤ %.2f", r.budget), "kept"
			if r.ratio > r.budget {
				verdict = "EXCEEDED"
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%.2f\t%s\t%s\t%s\n", r.what, r.base, r.ratio, budget, verdict, r.detail)
	}
	w.Flush()
}
