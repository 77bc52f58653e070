package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// threeEngines are the default engines of revisions before libbpf became one.
const threeEngines = "direct,trace,replay"

// smallObject is a case of suite kernel that loads in no time.
const smallObject = "access_map_in_map"

// caseName is the line of cases.yaml with a case's name.
var caseName = regexp.MustCompile(`(?m)^  - name: (\S+)$`)

// commonCases returns flags that select the cases of the core suite that all trees have.
func commonCases(trees ...string) ([]string, error) {
	in := make(map[string]int)
	var flags []string
	for _, tree := range trees {
		text, err := os.ReadFile(filepath.Join(tree, "selftests", "cases.yaml"))
		if err != nil {
			return nil, err
		}
		for _, m := range caseName.FindAllStringSubmatch(string(text), -1) {
			if in[m[1]]++; in[m[1]] == len(trees) {
				flags = append(flags, "--case", m[1])
			}
		}
	}
	return flags, nil
}

// compareWith runs a suite in turns by the command of a revision and by this one, each from saved
// guests: of the core suite the cases that both have.
func (b *bench) compareWith(ctx context.Context, revision string) error {
	tree := filepath.Join(b.temp, "tree")
	git := func(args ...string) error { return runIn(ctx, "", "git", args...) }
	if err := git("worktree", "add", "--quiet", "--detach", tree, revision); err != nil {
		return err
	}
	defer git("worktree", "remove", "--force", tree)
	before := filepath.Join(b.temp, "before")
	if err := runIn(ctx, tree, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", before, "./cmd/bpfreplay"); err != nil {
		return err
	}
	now, err := filepath.Abs("bpfreplay")
	if err != nil {
		return err
	}
	small, what := trivial, "core suite"
	var cases []string
	if b.suite == "" {
		cases, err = commonCases(tree, ".")
	} else {
		small, what, cases = smallObject, "suite "+b.suite, []string{"--suite", b.suite}
	}
	if err != nil {
		return err
	}
	vmtest := func(dir, command string, more ...string) (float64, error) {
		start := time.Now()
		args := []string{"vmtest", "--kernel", b.kernel, "--engines", threeEngines, "--out", filepath.Join(b.temp, "out")}
		err := runIn(ctx, dir, command, slices.Concat(args, more)...)
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == 1 {
			err = nil // some case is not as expected
		}
		return time.Since(start).Seconds(), err
	}
	var times [2][]float64
	for i := range b.boots {
		fmt.Printf("%s on %s against %s: %d of %d\n", what, b.kernel, revision, i+1, b.boots)
		for n, command := range []string{before, now} {
			dir := []string{tree, ""}[n] // each reads the kernels.yaml of its own tree
			if i == 0 {                  // saves the guests
				only := []string{"--case", small}
				if b.suite != "" {
					only = append(only, cases...)
				}
				if _, err := vmtest(dir, command, only...); err != nil {
					return err
				}
			}
			took, err := vmtest(dir, command, cases...)
			if err != nil {
				return err
			}
			times[n] = append(times[n], took)
		}
	}
	budget := 0.5
	if b.suite != "" || strings.Contains(b.kernel, ",") {
		budget = 0.6
	}
	was, is := median(times[0]), median(times[1])
	b.rows = append(b.rows, row{
		what: fmt.Sprintf("%s on %s from saved guests, %s", what, b.kernel, threeEngines), base: revision, ratio: is / was, budget: budget,
		detail: fmt.Sprintf("%.1f s / %.1f s, medians of %d", is, was, b.boots),
	})
	return nil
}

// runIn runs a command in a directory, "" for this one.
func runIn(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	_, err := output(cmd)
	return err
}
