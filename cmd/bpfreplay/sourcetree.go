package main

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/bpfreplay/bpfreplay"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// Every command finds kernels.yaml, the core suite and the baselines in the same source tree: that
// of the file that --config names, or the one around the working directory, or else the one that
// contains this program, because it also runs in other trees (go test runs exec in the tests'
// tree). If there is none, the tree is the one embedded in this program.

// configFlag is the value of --config.
var configFlag string

// kernelsFile returns the path of kernels.yaml.
func kernelsFile() (string, error) {
	if configFlag != "" {
		_, err := os.Stat(configFlag)
		return configFlag, err
	}
	dirs := []string{"."}
	if self, err := os.Executable(); err == nil {
		dirs = append(dirs, filepath.Dir(self))
	}
	for _, dir := range dirs {
		if file, err := vmimage.FindConfig(dir); err == nil {
			return file, nil
		}
	}
	dir, err := embedded()
	return filepath.Join(dir, vmimage.ConfigName), err
}

// inTree returns the path of a file of the source tree.
func inTree(name string) (string, error) {
	config, err := kernelsFile()
	return filepath.Join(filepath.Dir(config), name), err
}

// embedded returns a directory of the cache with the tree that is embedded in this program.
var embedded = sync.OnceValues(func() (string, error) {
	digest := sha256.New()
	files := make(map[string][]byte)
	err := fs.WalkDir(bpfreplay.Tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files[name], err = fs.ReadFile(bpfreplay.Tree, name)
		fmt.Fprintf(digest, "%q %d\n%s", name, len(files[name]), files[name])
		return err
	})
	if err != nil {
		return "", err
	}
	store, err := vmimage.Open(vmimage.Options{Config: os.DevNull})
	if err != nil {
		return "", err
	}
	defer store.Close()
	return store.Embedded(fmt.Sprintf("%x", digest.Sum(nil)), files)
})

// openStore opens the cache of kernels. progress, if not nil, receives lines of progress. The
// caller closes the store.
func openStore(progress func(line string)) (*vmimage.Store, error) {
	config, err := kernelsFile()
	if err != nil {
		return nil, err
	}
	return vmimage.Open(vmimage.Options{Config: config, Progress: progress})
}

// defaultSuite is the core suite, by its path in the source tree.
var defaultSuite = filepath.Join("selftests", "cases.yaml")

// findSuite returns the path of a suite that a flag names.
func findSuite(flag string) (string, error) {
	if flag != defaultSuite {
		return flag, nil
	}
	return inTree(flag)
}

// openSuite returns the suite that a flag names, a file or a fetched suite, with the cases that
// match one of the patterns, or all. If split is set, each program of a fetched suite is loaded
// alone.
func openSuite(flag string, guests *guestFlags, patterns []string, split bool) (*suite.Suite, error) {
	if isForeign(flag) {
		of, err := guests.suiteArch()
		if err != nil {
			return nil, err
		}
		return fetchedSuite(flag, of, patterns, split)
	}
	file, err := findSuite(flag)
	if err != nil {
		return nil, err
	}
	suite, err := suite.Read(file)
	if err != nil {
		return nil, err
	}
	return suite.Select(patterns)
}
