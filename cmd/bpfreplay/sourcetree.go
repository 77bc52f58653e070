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

// Each command finds kernels.yaml, the core suite and the baselines in the same source tree: that of the file that
// --config names, or the one that it runs in, or else the one that this program is in, as it runs in other people's
// trees, too (go test runs exec in that of the tests). Without any, the tree is what this program has embedded.

// configFlag is --config.
var configFlag string

// kernelsFile is the path of kernels.yaml.
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

// inTree is the path of a file of the source tree.
func inTree(name string) (string, error) {
	config, err := kernelsFile()
	return filepath.Join(filepath.Dir(config), name), err
}

// embedded is a directory of the cache with the tree that this program has embedded.
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

// openStore opens the cache of kernels. progress, if not nil, receives lines that tell what happens.
// The caller closes it.
func openStore(progress func(line string)) (*vmimage.Store, error) {
	config, err := kernelsFile()
	if err != nil {
		return nil, err
	}
	return vmimage.Open(vmimage.Options{Config: config, Progress: progress})
}

// defaultSuite is the core suite, as it is named where the source tree is.
var defaultSuite = filepath.Join("selftests", "cases.yaml")

// findSuite is the path of a suite that a flag names.
func findSuite(flag string) (string, error) {
	if flag != defaultSuite {
		return flag, nil
	}
	return inTree(flag)
}

// openSuite is the suite that a flag names, a file or one that was fetched, with those cases that match one of
// the patterns, or all. split has each program of a fetched suite loaded alone.
func openSuite(flag string, patterns []string, split bool) (*suite.Suite, error) {
	if isForeign(flag) {
		return fetchedSuite(flag, patterns, split)
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
