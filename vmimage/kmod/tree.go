package kmod

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// OfTree returns the paths of the modules of a build tree: those that
// modules.order lists, whose lines end in .ko, or in .o since Linux 6.2
// (f65a486821cf, "kbuild: change module.order to list *.o instead of *.ko"); and
// those of the BPF selftests, which are built outside the kernel.
func OfTree(dir string) ([]string, error) {
	data, err := os.ReadFile(filepath.Join(dir, "modules.order"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var paths []string
	for line := range strings.FieldsSeq(string(data)) {
		name := strings.TrimPrefix(line, "kernel/")
		name = strings.TrimSuffix(strings.TrimSuffix(name, ".ko"), ".o") + ".ko"
		if !fs.ValidPath(name) {
			return nil, fmt.Errorf("modules.order: %q is not a path in the tree", line)
		}
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			return nil, fmt.Errorf("modules.order lists %s, which is not built: make -C %s -j modules", name, dir)
		}
		paths = append(paths, name)
	}
	for _, pattern := range []string{"*.ko", "test_kmods/*.ko", "bpf_testmod/*.ko"} {
		found, err := filepath.Glob(filepath.Join(dir, "tools/testing/selftests/bpf", pattern))
		if err != nil {
			return nil, err
		}
		for _, file := range found {
			rel, err := filepath.Rel(dir, file)
			if err != nil {
				return nil, err
			}
			// The build leaves copies in the parent directory, which come first.
			if !slices.ContainsFunc(paths, func(p string) bool { return Name(p) == Name(rel) }) {
				paths = append(paths, filepath.ToSlash(rel))
			}
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}
