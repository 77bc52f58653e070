package guests

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// isGoTest reports whether a command line runs the test binary of a Go package, by go test or by
// hand.
func isGoTest(args []string) bool {
	return strings.HasSuffix(args[0], ".test") && len(readTestFlags(args)) > 0
}

// packageFiles returns the files that tests expect: those in the package's directory, in which go
// test runs them, and all of testdata. Other directories may be packages of their own and of any
// size.
func packageFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case e.Type().IsRegular(), e.IsDir() && e.Name() == "testdata":
		case e.Type() == fs.ModeSymlink:
			// Skip dangling links and links to directories.
			if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
				continue
			}
		default:
			continue
		}
		files = append(files, path)
	}
	return files, nil
}

// valueFlags and boolFlags are the flags of package testing with and without a value. A test checks
// that the lists are complete.
var (
	valueFlags = strings.Fields(`bench benchtime blockprofile blockprofilerate count coverprofile cpu cpuprofile fuzz
		fuzzcachedir fuzzminimizetime fuzztime gocoverdir list memprofile memprofilerate mutexprofile
		mutexprofilefraction outputdir parallel run shuffle skip testlogfile timeout trace`)
	boolFlags = strings.Fields("artifacts benchmem failfast fullpath fuzzworker paniconexit0 short v")
)

// readTestFlags returns the values of package testing's flags, by name without "test.". The
// arguments may contain flags of the program itself. The value of a flag may be a separate word.
func readTestFlags(args []string) map[string]string {
	flags := make(map[string]string)
	for i := 1; i < len(args); i++ {
		name, isFlag := strings.CutPrefix(args[i], "-")
		if name, _ = strings.CutPrefix(name, "-"); !isFlag || name == "" {
			break // like package flag
		}
		name, value, has := strings.Cut(name, "=")
		name, isTest := strings.CutPrefix(name, "test.")
		switch {
		case has:
		case isTest && slices.Contains(boolFlags, name):
			value = "true"
		case i+1 < len(args) && (isTest || !strings.HasPrefix(args[i+1], "-")):
			i++
			value = args[i]
		}
		if isTest {
			flags[name] = value
		}
	}
	return flags
}

// testGrace is the time for tests that have exceeded their timeout to print their stacks.
const testGrace = time.Minute

// testTimeout returns how long tests may take: their own timeout, after which they print the stack
// of each goroutine, and testGrace. It is negative if they have no limit.
func testTimeout(flags map[string]string) time.Duration {
	limit, err := time.ParseDuration(flags["timeout"])
	if err != nil || limit <= 0 {
		return -1 // the test reports a malformed value
	}
	return limit + testGrace
}

// profiles are the flags of package testing that name an output file, relative to the directory of
// -test.outputdir.
var profiles = []string{"blockprofile", "coverprofile", "cpuprofile", "memprofile", "mutexprofile", "trace"}

// testOutput describes the files that tests read and write.
type testOutput struct {
	files []string // exist at the end
	dirs  []string // must exist at the start
	more  []string // directories that they may create or add files to
	needs []string // files and directories of this machine that they read, if they exist
}

// outputOf returns the output of tests with these flags. Paths may be relative to the tests'
// working directory.
func outputOf(flags map[string]string) (o testOutput) {
	place := func(name string) string {
		if dir := flags["outputdir"]; !filepath.IsAbs(name) && dir != "" {
			return filepath.Join(dir, name)
		}
		return name
	}
	for _, p := range profiles {
		if file := flags[p]; file != "" {
			o.files = append(o.files, place(file))
		}
	}
	for _, d := range []string{"outputdir", "gocoverdir"} {
		if dir := flags[d]; dir != "" {
			o.dirs = append(o.dirs, dir)
		}
	}
	if dir := flags["gocoverdir"]; dir != "" {
		o.files = append(o.files, dir)
	}
	if on, err := strconv.ParseBool(flags["artifacts"]); on && err == nil {
		o.more = append(o.more, place("_artifacts"))
	}
	if flags["fuzz"] != "" {
		// A failing input becomes a seed in the tree; go keeps interesting inputs in its cache.
		o.more = append(o.more, filepath.Join("testdata", "fuzz"))
		if dir := flags["fuzzcachedir"]; dir != "" {
			o.more, o.needs = append(o.more, dir), append(o.needs, dir)
		}
	}
	return o
}
