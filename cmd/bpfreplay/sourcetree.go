package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/bpfreplay/bpfreplay/harness"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// Each command finds kernels.yaml, the core suite and the baselines in the same source tree: the one
// that it runs in, or else the one that this program is in, as it runs in other people's trees, too (go test
// runs exec in that of the tests).

// kernelsFile is the path of kernels.yaml, "" if there is none: kernels have no names then.
func kernelsFile() string {
	dirs := []string{"."}
	if self, err := os.Executable(); err == nil {
		dirs = append(dirs, filepath.Dir(self))
	}
	for _, dir := range dirs {
		if file, err := vmimage.FindConfig(dir); err == nil {
			return file
		}
	}
	return ""
}

// openStore opens the cache of kernels. progress, if not nil, receives lines that tell what happens.
// The caller closes it.
func openStore(progress func(line string)) (*vmimage.Store, error) {
	return vmimage.Open(vmimage.Options{Config: kernelsFile(), Progress: progress})
}

// defaultSuite is the core suite, as it is named where the source tree is.
var defaultSuite = filepath.Join("selftests", "cases.yaml")

// findSuite is the path of a suite that a flag names, or the name of one that was fetched.
func findSuite(flag string) string {
	if flag != defaultSuite {
		return flag
	}
	if _, err := os.Stat(flag); err == nil {
		return flag
	}
	file := kernelsFile()
	if file == "" {
		return flag
	}
	return filepath.Join(filepath.Dir(file), flag)
}

// readSuite reads the suite that a flag names.
func readSuite(flag string) (*harness.Suite, error) {
	suite, err := harness.ReadSuite(findSuite(flag))
	if errors.Is(err, fs.ErrNotExist) && flag == defaultSuite {
		return nil, fmt.Errorf("%w: run this in bpfreplay's source tree, or name objects, or a suite by --suite", err)
	}
	return suite, err
}

// openSuite is the suite that a flag names, a file or one that was fetched, with those cases that match one of
// the patterns, or all. split has each program of a fetched suite loaded alone.
func openSuite(flag string, patterns []string, split bool) (*harness.Suite, error) {
	if isForeign(flag) {
		return fetchedSuite(flag, patterns, split)
	}
	suite, err := readSuite(flag)
	if err != nil {
		return nil, err
	}
	return suite.Select(patterns)
}
