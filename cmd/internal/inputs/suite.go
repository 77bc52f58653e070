package inputs

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/suites"
)

// DefaultSuite is the core suite, by its path in the source tree.
var DefaultSuite = filepath.Join("selftests", "cases.yaml")

// FindSuite returns the path of a suite that a flag names.
func FindSuite(cmd *cobra.Command, flag string) (string, error) {
	if flag != DefaultSuite {
		return flag, nil
	}
	return InTree(cmd, flag)
}

// IsForeign reports whether `bpfreplay suite fetch` fetches the suite.
func IsForeign(name string) bool { return slices.Contains(suites.Names(), name) }

// Selection selects cases of a suite.
type Selection struct {
	Suite    string   // a file or a fetched suite
	Patterns []string // of the names of cases; empty for all
	Split    bool     // load each program of a fetched suite alone
	// Kernels and Archs are the values of --kernel and --arch. Without a kernel the programs of a
	// fetched suite are those for this machine.
	Kernels string
	Archs   []string
}

// Open returns the suite with the selected cases.
func (s Selection) Open(cmd *cobra.Command) (*suite.Suite, error) {
	if IsForeign(s.Suite) {
		return s.fetched(cmd)
	}
	file, err := FindSuite(cmd, s.Suite)
	if err != nil {
		return nil, err
	}
	all, err := suite.Read(file)
	if err != nil {
		return nil, err
	}
	return all.Select(s.Patterns)
}

// SuiteArch returns the architecture of the kernels: programs of suite kernel are compiled for one.
func SuiteArch(cmd *cobra.Command, kernels string, archs []string) (string, error) {
	_, names, err := ExpandKernels(cmd, kernels, archs)
	if err != nil {
		return "", err
	}
	first, _, _ := arch.Cut(names[0])
	for _, k := range names {
		if of, _, _ := arch.Cut(k); of != first {
			return "", fmt.Errorf("the programs of a suite are compiled for one architecture, and %s is not for %s: run the suite for each", k, first)
		}
	}
	return first, nil
}

// fetched returns a suite that `bpfreplay suite fetch` fetched.
func (s Selection) fetched(cmd *cobra.Command) (*suite.Suite, error) {
	of := arch.Native
	if s.Kernels != "" {
		var err error
		if of, err = SuiteArch(cmd, s.Kernels, s.Archs); err != nil {
			return nil, err
		}
	}
	store, err := OpenStore(cmd, nil)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	c, err := suites.Read(store, s.Suite, of)
	if err != nil {
		return nil, err
	}
	objects := c.Compiled(store)
	var paths []string
	for _, o := range objects {
		paths = append(paths, o.File)
	}
	all := suite.NewForeign(c.Name, paths)
	for i, o := range objects {
		all.Cases[i].Name = o.Name
	}
	all.Source, all.Absent = c.About(), absent(c)
	if s.Split {
		all = all.Split()
	}
	chosen, err := all.Select(s.Patterns)
	if err != nil || s.Suite != "kernel" {
		return chosen, err
	}
	names, err := c.ModuleNames(store)
	if err != nil {
		return nil, err
	}
	return chosen.Needing((*suite.TestNames)(names)), nil
}

// absent returns the programs that do not compile, with the errors.
func absent(c *suites.Corpus) map[string]string {
	out := make(map[string]string)
	for _, o := range c.Objects {
		if o.File == "" {
			out[o.Name] = o.Error
		}
	}
	return out
}
