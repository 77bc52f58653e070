package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// isGoTest says whether a command line is one by which go test runs a package's tests.
func isGoTest(args []string) bool {
	return strings.HasSuffix(args[0], ".test") && len(args) > 1 && strings.HasPrefix(args[1], "-test.")
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

// profiles are the flags of tests that name a file, or a directory, which they
// write, relative to the directory of -test.outputdir.
var profiles = []string{"blockprofile", "coverprofile", "cpuprofile", "memprofile", "mutexprofile", "trace"}

// testOutput are the files and directories that tests write and go test waits for.
func testOutput(args []string) (files, dirs []string) {
	flags := make(map[string]string)
	for _, a := range args[1:] {
		name, value, ok := strings.Cut(strings.TrimPrefix(a, "-test."), "=")
		if ok && value != "" && strings.HasPrefix(a, "-test.") {
			flags[name] = value
		}
	}
	for _, p := range profiles {
		file, ok := flags[p]
		if !ok {
			continue
		}
		if dir := flags["outputdir"]; !filepath.IsAbs(file) && dir != "" {
			file = filepath.Join(dir, file)
		}
		files = append(files, file)
	}
	for _, d := range []string{"outputdir", "gocoverdir"} {
		if dir, ok := flags[d]; ok {
			dirs = append(dirs, dir)
		}
	}
	if dir, ok := flags["gocoverdir"]; ok {
		files = append(files, dir)
	}
	return files, dirs
}
