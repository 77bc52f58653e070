package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// threeEngines are the default engines of revisions before libbpf became one.
const threeEngines = "direct,trace,replay"

// compareWith runs the core suite of a revision with its command and with this one, in turns, each
// from a saved guest.
func (b *bench) compareWith(ctx context.Context, revision string) error {
	tree := filepath.Join(b.temp, "tree")
	git := func(args ...string) error { return run(ctx, "", "git", args...) }
	if err := git("worktree", "add", "--quiet", "--detach", tree, revision); err != nil {
		return err
	}
	defer git("worktree", "remove", "--force", tree)
	before := filepath.Join(b.temp, "before")
	if err := run(ctx, tree, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", before, "./cmd/bpfreplay"); err != nil {
		return err
	}
	now, err := filepath.Abs("bpfreplay")
	if err != nil {
		return err
	}
	suite := filepath.Join(tree, "selftests", "cases.yaml")
	vmtest := func(dir, command, pattern string) (float64, error) {
		start := time.Now()
		err := run(ctx, dir, command, "vmtest", "--kernel", b.kernel, "--suite", suite, "--engines", threeEngines, "--case", pattern, "--out", filepath.Join(b.temp, "out"))
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == 1 {
			err = nil // the revision's cases may expect something else
		}
		return time.Since(start).Seconds(), err
	}
	var times [2][]float64
	for i := range b.boots {
		fmt.Printf("core suite against %s: %d of %d\n", revision, i+1, b.boots)
		for n, command := range []string{before, now} {
			dir := []string{tree, ""}[n] // each reads the kernels.yaml of its own tree
			if i == 0 {                  // saves the guest
				if _, err := vmtest(dir, command, trivial); err != nil {
					return err
				}
			}
			took, err := vmtest(dir, command, "*")
			if err != nil {
				return err
			}
			times[n] = append(times[n], took)
		}
	}
	was, is := median(times[0]), median(times[1])
	b.rows = append(b.rows, row{
		what: "core suite from a saved guest, " + threeEngines, base: revision, ratio: is / was, budget: 0.5,
		detail: fmt.Sprintf("%.1f s / %.1f s, medians of %d", is, was, b.boots),
	})
	return nil
}

// run runs a command in a directory, "" for this one.
func run(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return nil
}
