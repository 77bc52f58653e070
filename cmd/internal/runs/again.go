package runs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bpfreplay/bpfreplay/internal/shellword"
)

// sayAgain has the flags of vmtest that a rerun of a case copies. The others would overwrite files
// of the run (out, junit, markdown, update-baseline), select more than one case, or are set
// differently: a rerun examines a failure and must not replace the results of the run.
var sayAgain = map[string]bool{
	"accel": true, "append": true, "baselines": true, "boot-timeout": true, "bpftool": true,
	"cold": true, "engines": true, "engine-timeout": true, "fresh": true, "gdb": true, "isolate": true, "memory": true, "mutate": true, "no-retry": true,
	"qemu": true, "qemu-arg": true, "repeat": true, "replace": true, "split": true, "load-only": true, "suite": true, "test-modules": true,
}

// againOut is the prefix of the directories, in the artifacts' folder, that reruns write to.
const againOut = "again-"

// again returns the lines of a shell script that repeats one case of this command.
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
		// The folder has a suite of one case, also for a single program. It is not part of a suite
		// with a baseline.
		notKept := func(word string) bool {
			return slices.ContainsFunc([]string{"--suite=", "--split=", "--baselines=", "--replace="}, func(flag string) bool { return strings.HasPrefix(word, flag) })
		}
		// The rerun writes beside the artifacts, or elsewhere if that is not writable. A rerun that
		// passes removes its output.
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

// pattern returns a pattern that matches only name.
func pattern(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}
