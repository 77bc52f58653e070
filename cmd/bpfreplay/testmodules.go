package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/suites"
	"github.com/bpfreplay/bpfreplay/vmimage"
	"github.com/bpfreplay/bpfreplay/vmimage/digest"
)

// kernelModules are modules of the kernel with functions that the Linux selftests call.
var kernelModules = []string{"nf_conntrack", "nf_nat"}

// testModules returns the modules that guests for the Linux selftests load first. If they cannot be
// built, the cases that need them fail by themselves.
func testModules(ctx context.Context, s *vmimage.Store, k *vmimage.Kernel, note func(string)) (guest.Preloaded, error) {
	first := guest.Preloaded{Kernel: kernelModules}
	m, err := suites.BuildModules(ctx, suites.ModuleOptions{Store: s, Kernel: k, Say: note})
	switch {
	case errors.Is(err, digest.ErrIntegrity) || ctx.Err() != nil:
		return first, err
	case err != nil:
		note(fmt.Sprintf("%v; cases that need them are unsupported", err))
		return first, nil
	case m.Reason != "":
		note(fmt.Sprintf("there are no test modules for kernel %s, so cases that need them are unsupported: %s", k.Release, m.Reason))
		return first, nil
	}
	for _, file := range m.Files {
		first.Files = append(first.Files, s.SuitePath(file))
	}
	note("test modules: " + describeModules(m))
	return first, nil
}

func describeModules(m *suites.TestModules) string {
	var names []string
	for _, file := range m.Files {
		names = append(names, strings.TrimSuffix(filepath.Base(file), ".ko"))
	}
	return strings.Join(names, ", ") + " of " + m.Source
}

func newSuiteModules() *cobra.Command {
	var again bool
	cmd := &cobra.Command{
		Use:   "modules KERNEL...",
		Short: "Build the test modules of the Linux selftests for kernels",
		Long: `modules builds bpf_testmod and the related modules for kernels, against each kernel's
headers package, with the compiler that the package depends on. Nothing is installed:
packages of Debian's archive are verified and unpacked in the cache of kernels. The
sources are those of the kernel's own version if the archive has them, otherwise the
suite's.

vmtest --suite kernel does this by itself. The result is cached, even if it is that there
are no headers any more; --again tries once more.`,
		Example: "  bpfreplay suite modules 6.1 6.12",
		Args:    cobra.MinimumNArgs(1),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
			return completeKernels(cmd, args, part)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return withStore(cmd, func(s *vmimage.Store) error { return buildModules(cmd, s, args, again) })
		},
	}
	addFlags(cmd, flags{"again": &again})
	return cmd
}

func buildModules(cmd *cobra.Command, s *vmimage.Store, kernels []string, again bool) error {
	without := false
	for _, name := range kernels {
		k, err := s.Resolve(cmd.Context(), name)
		if err != nil {
			return err
		}
		m, err := suites.BuildModules(cmd.Context(), suites.ModuleOptions{
			Store: s, Kernel: k, Again: again, Say: notes(cmd),
		})
		if err != nil {
			return err
		}
		without = printModules(cmd.OutOrStdout(), name, m) || without
	}
	if without {
		return errFailed
	}
	return nil
}

// printModules prints the modules for a kernel. It returns true if any are missing.
func printModules(w io.Writer, name string, m *suites.TestModules) (without bool) {
	if m.Reason != "" {
		fmt.Fprintf(w, "%s (%s): none: %s\n", name, m.Release, m.Reason)
		return true
	}
	fmt.Fprintf(w, "%s (%s): %s\n", name, m.Release, describeModules(m))
	for _, module := range slices.Sorted(maps.Keys(m.Errors)) {
		fmt.Fprintf(w, "  %s does not build: %s\n", module, m.Errors[module])
	}
	return len(m.Errors) > 0
}
