package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bpfreplay/bpfreplay/harness/result"
)

// small has cases with little work.
var small = []string{"maps_only", "maps_stack_trace", "prog_raw_tp", "prog_syscall", "prog_xdp_frags"}

// trivial is the case for measurements in which cases do not matter.
const trivial = "prog_raw_tp"

// boot compares the time that a user waits with a plain boot of the same kernel.
func (b *bench) boot(ctx context.Context) error {
	// The first run finds a working accelerator, fills the caches and saves a guest.
	report, err := b.vmtest(ctx, trivial)
	if err != nil {
		return err
	}
	plain, err := b.plainBoot(ctx, report.Accelerator)
	if err != nil {
		return err
	}
	accelerator := report.Accelerator
	var plains, cold, coldWhole, saved, savedWhole, pristine, still []time.Duration
	for i := range b.boots {
		fmt.Printf("boot %d of %d\n", i+1, b.boots)
		took, err := plain()
		if err != nil {
			return err
		}
		plains = append(plains, took)
		whole, without, err := b.timed(ctx, false, "--cold")
		if err != nil {
			return err
		}
		coldWhole, cold = append(coldWhole, whole), append(cold, without)
		if whole, without, err = b.timed(ctx, true); err != nil {
			return err
		}
		savedWhole, saved = append(savedWhole, whole), append(saved, without)
		if took, err = b.perCase(ctx); err != nil {
			return err
		}
		pristine = append(pristine, took)
		if took, err = b.perCase(ctx, "--still"); err != nil {
			return err
		}
		still = append(still, took)
	}
	row := func(what string, times []time.Duration, budget float64) row {
		a, z := median(times).Seconds(), median(plains).Seconds()
		return row{what: what, base: "plain boot", ratio: a / z, budget: budget,
			detail: fmt.Sprintf("%.2f s / %.2f s, medians of %d, %s", a, z, b.boots, accelerator)}
	}
	b.rows = append(b.rows,
		row("make vmtest, cold boot, without the suite", cold, 0.6),
		row("make vmtest, cold boot, with one small case", coldWhole, 0),
		row("make vmtest, saved guest, without the suite", saved, 0.15),
		row("make vmtest, saved guest, with one small case", savedWhole, 0),
		row("a pristine guest for a small case, loads not counted", still, 0.10),
		row("the same, and what its programs do is compared, too", pristine, 0))
	return nil
}

// saved runs vmtest, and once more if there was no saved guest: the first run leaves one.
func (b *bench) saved(ctx context.Context, pattern string, flags ...string) (report *result.Report, took time.Duration, err error) {
	for range 2 {
		start := time.Now()
		if report, err = b.vmtest(ctx, pattern, flags...); err != nil {
			return nil, 0, err
		}
		if took = time.Since(start); report.Seconds.Saving == 0 {
			break
		}
	}
	return report, took, nil
}

// timed runs `make vmtest` with one case. It returns the time, and the time without the suite's
// work in the guest, which begins when the agent is ready.
func (b *bench) timed(ctx context.Context, restored bool, flags ...string) (whole, without time.Duration, err error) {
	report, whole, err := b.saved(ctx, trivial, flags...)
	if err != nil {
		return 0, 0, err
	}
	if report.Restored != restored || report.Seconds.Saving > 0 {
		return 0, 0, fmt.Errorf("guest restored: %v, saved in %.1f s: not what is measured here", report.Restored, report.Seconds.Saving)
	}
	return whole, whole - seconds(report.Seconds.Suite), nil
}

// perCase returns the time for one more case in a guest of its own: to restore the guest, load,
// capture, compare, and end. It does not count the engines' loads.
func (b *bench) perCase(ctx context.Context, flags ...string) (time.Duration, error) {
	flags = append(flags, "--isolate")
	run := func(pattern string) (rest time.Duration, cases int, err error) {
		report, _, err := b.saved(ctx, pattern, flags...)
		if err != nil {
			return 0, 0, err
		}
		if !report.Restored {
			return 0, 0, fmt.Errorf("the guests of %s were not restored", pattern)
		}
		rest = seconds(report.Seconds.Total - report.Seconds.Saving)
		for _, c := range report.Cases {
			for _, l := range c.Loads {
				rest -= time.Duration(l.Nanoseconds + l.Opened)
			}
		}
		return rest, len(report.Cases), nil
	}
	one, _, err := run(trivial)
	if err != nil {
		return 0, err
	}
	all, cases, err := run(strings.Join(small, " "))
	if err != nil {
		return 0, err
	}
	return (all - one) / time.Duration(cases-1), nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// restoreMany restores a saved guest many times, in separate runs, and reports how often that
// succeeded.
func (b *bench) restoreMany(ctx context.Context) error {
	if _, err := b.vmtest(ctx, trivial); err != nil { // builds, and saves the guest
		return err
	}
	var mu sync.Mutex
	var times []time.Duration
	failed := 0
	next := make(chan int)
	workers, ctx := errgroup.WithContext(ctx)
	for range b.jobs {
		workers.Go(func() error {
			for i := range next {
				took, err := b.restore(ctx, filepath.Join(b.temp, fmt.Sprint(i)))
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				mu.Lock()
				if err != nil {
					failed++
					fmt.Printf("restore %d: %v\n", i+1, err)
				} else {
					times = append(times, took)
				}
				mu.Unlock()
			}
			return nil
		})
	}
	workers.Go(func() error {
		defer close(next)
		for i := range b.restores {
			select {
			case next <- i:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	if err := workers.Wait(); err != nil {
		return err
	}
	fmt.Printf("kernel %s: %d restores, %d at a time: %d failed", b.kernel, b.restores, b.jobs, failed)
	if len(times) > 0 {
		fmt.Printf("; to the first answer %.3f s, median of %.3f to %.3f s",
			median(times).Seconds(), slices.Min(times).Seconds(), slices.Max(times).Seconds())
	}
	fmt.Println()
	if failed > 0 {
		return fmt.Errorf("%d of %d restores failed", failed, b.restores)
	}
	return nil
}

// restore runs a case in a restored guest, and returns the time until the guest answered.
func (b *bench) restore(ctx context.Context, out string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, "./bpfreplay", "vmtest", "--kernel", b.kernel, "--case", trivial, "--out", out)
	said, err := output(cmd)
	if err != nil {
		return 0, err
	}
	report, err := b.report(out)
	switch {
	case err != nil:
		return 0, err
	case !report.Restored || report.Seconds.Saving > 0:
		return 0, fmt.Errorf("the guest was booted:\n%s", said)
	case report.Summary[result.Equal]+report.Summary[result.Explained] == 0:
		return 0, fmt.Errorf("nothing was compared:\n%s", said)
	}
	return seconds(report.Seconds.Boot), nil
}
