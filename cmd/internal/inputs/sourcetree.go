// Package inputs finds and reads what commands work on: the source tree, kernels by name, suites,
// objects, and values of flags that several commands take.
package inputs

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay"
	"github.com/bpfreplay/bpfreplay/vmimage"
	"github.com/bpfreplay/bpfreplay/vmimage/cache"
	"github.com/bpfreplay/bpfreplay/vmimage/catalog"
)

// Every command finds kernels.yaml, the core suite and the baselines in the same source tree: that
// of the file that --config names, or the one around the working directory, or else the one that
// contains this program, because it also runs in other trees (go test runs exec in the tests'
// tree). If there is none, the tree is the one embedded in this program.

// KernelsFile returns the path of kernels.yaml.
func KernelsFile(cmd *cobra.Command) (string, error) {
	if config := cmd.Flag("config").Value.String(); config != "" {
		_, err := os.Stat(config)
		return config, err
	}
	dirs := []string{"."}
	if self, err := os.Executable(); err == nil {
		dirs = append(dirs, filepath.Dir(self))
	}
	for _, dir := range dirs {
		if file, err := catalog.FindFile(dir); err == nil {
			return file, nil
		}
	}
	dir, err := embedded()
	return filepath.Join(dir, catalog.FileName), err
}

// InTree returns the path of a file of the source tree.
func InTree(cmd *cobra.Command, name string) (string, error) {
	config, err := KernelsFile(cmd)
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
	c, err := cache.Open("", nil)
	if err != nil {
		return "", err
	}
	defer c.Close()
	return c.Embedded(fmt.Sprintf("%x", digest.Sum(nil)), files)
})

// OpenStore opens the cache of kernels. progress, if not nil, receives lines of progress. The
// caller closes the store.
func OpenStore(cmd *cobra.Command, progress func(line string)) (*vmimage.Store, error) {
	config, err := KernelsFile(cmd)
	if err != nil {
		return nil, err
	}
	return vmimage.Open(vmimage.Options{Config: config, Progress: progress})
}
