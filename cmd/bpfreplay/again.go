package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// sayAgain are the flags of vmtest that say how a case is run. With others a rerun would write what the run
// has written (out, junit, markdown, update-baseline), ask for more than one case, or they are said otherwise: a
// run once more looks into a failure, and must not replace what is known of it.
var sayAgain = map[string]bool{
	"accel": true, "append": true, "baselines": true, "boot-timeout": true, "bpftool": true, "case-timeout": true,
	"cold": true, "engines": true, "fresh": true, "gdb": true, "isolate": true, "mutate": true, "no-retry": true,
	"qemu": true, "repeat": true, "split": true, "still": true, "suite": true, "test-modules": true,
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
		lines := []string{"cd " + quote(wd) + " || exit 2"}
		if cache := os.Getenv("BPFREPLAY_CACHE"); cache != "" {
			lines = append(lines, "export BPFREPLAY_CACHE="+quote(cache))
		}
		kept := "--suite=" + filepath.Join(dir, "cases.yaml")
		// What comes of it is beside the evidence, or elsewhere if that is not ours to write; of a run in which
		// nothing failed there is nothing to see.
		place := "mktemp -d " + quote(filepath.Join(dir, againOut)) + "XXXXXX"
		return append(lines,
			"unset GITHUB_STEP_SUMMARY",
			"out=$("+place+" 2>/dev/null || mktemp -d) || exit 2",
			shellLine(append([]string{self, "vmtest"}, append(words, args...)...))+` --out="$out" "$@"`,
			`status=$?; [ "$status" -ne 0 ] || rm -r "$out"; exit "$status"`,
			"# The same with the object as it was then:",
			"# "+shellLine(append([]string{self, "vmtest", kept}, without(words, "--suite=")...))+` --out="$(`+place+`)"`,
			"# A prompt in such a guest, with the object loaded:",
			"# "+shellLine(append([]string{self, "shell"}, append([]string{"--kernel", kernel, "--case", pattern(name)}, args...)...)),
		)
	}
}

// pattern is a pattern that matches this name alone.
func pattern(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}

func without(words []string, prefix string) (rest []string) {
	for _, w := range words {
		if !strings.HasPrefix(w, prefix) {
			rest = append(rest, w)
		}
	}
	return rest
}

// shellLine is a line for a shell.
func shellLine(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quote(w)
	}
	return strings.Join(quoted, " ")
}

// quote makes a word of a string that a POSIX shell takes as it is. A newline in
// it must not end a comment.
func quote(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+=,:@%^", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	if strings.Contains(word, "\n") {
		return fmt.Sprintf(`"$(printf %%b %s)"`, quote(strings.ReplaceAll(strings.ReplaceAll(word, `\`, `\\`), "\n", `\n`)))
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
