package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bpfreplay/bpfreplay/internal/shellword"
)

// sayAgain are the flags of vmtest that say how a case is run. With others a rerun would write what the run
// has written (out, junit, markdown, update-baseline), ask for more than one case, or they are said otherwise: a
// run once more looks into a failure, and must not replace what is known of it.
var sayAgain = map[string]bool{
	"accel": true, "append": true, "baselines": true, "boot-timeout": true, "bpftool": true, "case-timeout": true,
	"cold": true, "engines": true, "fresh": true, "gdb": true, "isolate": true, "mutate": true, "no-retry": true,
	"qemu": true, "qemu-arg": true, "repeat": true, "replace": true, "split": true, "still": true, "suite": true, "test-modules": true,
}

// againOut begins the names of directories for what runs once more write, in the folder of the evidence.
const againOut = "again-"

// again returns the lines of a shell script that run one case of this command
// once more.
func again(cmd *cobra.Command, args []string) func(kernel, name, dir string) []string {
	self, err := os.Executable()
	if err != nil {
		self = "bpfreplay"
	}
	wd, err := os.Getwd()
	if err != nil {
		wd = "."
	}
	var flags []string
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if !sayAgain[f.Name] {
			return
		}
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
			if f.Value.Type() == "stringSlice" {
				values = []string{strings.Join(values, ",")}
			}
		}
		for _, v := range values {
			flags = append(flags, "--"+f.Name+"="+v)
		}
	})
	faults, _ := cmd.Flags().GetStringArray("fault")
	return func(kernel, name, dir string) []string {
		words := append([]string{"--kernel", kernel, "--case", pattern(name)}, flags...)
		for _, f := range faults {
			if strings.HasPrefix(f, name+"=") {
				words = append(words, "--fault="+f)
			}
		}
		dir, err := filepath.Abs(dir)
		if err != nil {
			return nil
		}
		lines := []string{"cd " + shellword.Quote(wd) + " || exit 2"}
		if cache := os.Getenv("BPFREPLAY_CACHE"); cache != "" {
			lines = append(lines, "export BPFREPLAY_CACHE="+shellword.Quote(cache))
		}
		kept := "--suite=" + filepath.Join(dir, "cases.yaml")
		// What was kept is one case, that of a program alone too, and no part of a baseline's suite.
		notKept := func(word string) bool {
			return slices.ContainsFunc([]string{"--suite=", "--split=", "--baselines=", "--replace="}, func(flag string) bool { return strings.HasPrefix(word, flag) })
		}
		// What comes of it is beside the evidence, or elsewhere if that is not ours to write; of a run in which
		// nothing failed there is nothing to see.
		place := "mktemp -d " + shellword.Quote(filepath.Join(dir, againOut)) + "XXXXXX"
		return append(lines,
			"unset GITHUB_STEP_SUMMARY",
			"out=$("+place+" 2>/dev/null || mktemp -d) || exit 2",
			shellword.Join(append([]string{self, "vmtest"}, append(words, args...)...)...)+` --out="$out" "$@"`,
			`status=$?; [ "$status" -ne 0 ] || rm -r "$out"; exit "$status"`,
			"# The same with the object as it was then:",
			"# "+shellword.Join(append([]string{self, "vmtest", kept}, slices.DeleteFunc(slices.Clone(words), notKept)...)...)+` --out="$(`+place+`)"`,
			"# A prompt in such a guest, with the object loaded:",
			"# "+shellword.Join(self, "shell", "--kernel", kernel, kept, "--case", pattern(name)),
		)
	}
}

// pattern is a pattern that matches this name alone.
func pattern(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}
