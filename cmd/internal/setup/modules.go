package setup

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/cmd/internal/inputs"
	"github.com/bpfreplay/bpfreplay/suites"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

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
		Example:           "  bpfreplay suite modules 6.1 6.12",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: inputs.CompleteKernels,
		RunE: func(cmd *cobra.Command, args []string) error {
			return withStore(cmd, func(s *vmimage.Store) error { return buildModules(cmd, s, args, again) })
		},
	}
	cli.AddFlags(cmd, cli.Flags{"again": &again})
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
			Store: s, Kernel: k, Again: again, Say: cli.Notes(cmd),
		})
		if err != nil {
			return err
		}
		without = printModules(cmd.OutOrStdout(), name, m) || without
	}
	if without {
		return cli.ErrFailed
	}
	return nil
}

// printModules prints the modules for a kernel. It returns true if any are missing.
func printModules(w io.Writer, name string, m *suites.TestModules) (without bool) {
	if m.Reason != "" {
		fmt.Fprintf(w, "%s (%s): none: %s\n", name, m.Release, m.Reason)
		return true
	}
	fmt.Fprintf(w, "%s (%s): %s\n", name, m.Release, m.About())
	for _, module := range slices.Sorted(maps.Keys(m.Errors)) {
		fmt.Fprintf(w, "  %s does not build: %s\n", module, m.Errors[module])
	}
	return len(m.Errors) > 0
}
