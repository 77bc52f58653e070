package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// isGoTest reports whether a command line runs the tests of a Go package, by go test or by hand.
func isGoTest(args []string) bool {
	return strings.HasSuffix(args[0], ".test") && len(readTestFlags(args)) > 0
}

// packageFiles are the files that tests expect around them: those of the directory
// of the package, where go test runs them, and testdata with all that is in it.
// Other directories may be packages of their own, and any size.
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
			// One that leads nowhere, or to a directory, is of no use.
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

// goTestFlags are the flags of tests: those that take a value and those that need none. A test checks that these
// are all that package testing has.
var (
	valueFlags = strings.Fields(`bench benchtime blockprofile blockprofilerate count coverprofile cpu cpuprofile fuzz
		fuzzcachedir fuzzminimizetime fuzztime gocoverdir list memprofile memprofilerate mutexprofile
		mutexprofilefraction outputdir parallel run shuffle skip testlogfile timeout trace`)
	boolFlags = strings.Fields("artifacts benchmem failfast fullpath fuzzworker paniconexit0 short v")
)

// readTestFlags returns the values of the flags of tests, by name without "test.". The program may have flags of
// its own among them; one whose value is a word of its own has it behind it.
func readTestFlags(args []string) map[string]string {
	flags := make(map[string]string)
	for i := 1; i < len(args); i++ {
		name, isFlag := strings.CutPrefix(args[i], "-")
		if name, _ = strings.CutPrefix(name, "-"); !isFlag || name == "" {
			break // as package flag does
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

// testGrace is how long tests that have run out of time may take to say where they are.
const testGrace = time.Minute

// testTimeout is how long tests may take: as long as they give themselves, after which they print the stack of each
// goroutine, and some more. It is negative if they have no limit.
func testTimeout(flags map[string]string) time.Duration {
	limit, err := time.ParseDuration(flags["timeout"])
	if err != nil || limit <= 0 {
		return -1 // the test says what is wrong with it
	}
	return limit + testGrace
}

// profiles are the flags of tests that name a file which they write, relative to the directory of -test.outputdir.
var profiles = []string{"blockprofile", "coverprofile", "cpuprofile", "memprofile", "mutexprofile", "trace"}

// testOutput is what tests write.
type testOutput struct {
	files []string // to be there at the end
	dirs  []string // to be there at the start
	more  []string // directories that they may make, or add files to
	needs []string // files and directories of this machine that they read, if there are such
}

// outputOf reports what tests with these flags write. Paths may be relative to where they run.
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
		// An input that fails becomes a seed in the tree; those that are only interesting are kept by go.
		o.more = append(o.more, filepath.Join("testdata", "fuzz"))
		if dir := flags["fuzzcachedir"]; dir != "" {
			o.more, o.needs = append(o.more, dir), append(o.needs, dir)
		}
	}
	return o
}
