package setup

import (
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/cmd/internal/inputs"
	"github.com/bpfreplay/bpfreplay/internal/visible"
	"github.com/bpfreplay/bpfreplay/suites"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// NewSuite returns the command suite.
func NewSuite() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "suite",
		Short: "Fetch and compile suites of external objects",
	}
	cmd.AddCommand(newSuiteFetch(), newSuiteModules())
	return cmd
}

func newSuiteFetch() *cobra.Command {
	var archs []string
	o := suites.Options{Kernel: suites.DefaultKernel, Jobs: runtime.NumCPU(), Clang: suites.DefaultClang}
	cmd := &cobra.Command{
		Use:   "fetch kernel|wild",
		Short: "Fetch external objects, for vmtest --suite",
		Long: `fetch kernel takes tools/testing/selftests/bpf from Debian's linux-source package, whose
signature and digest it verifies, or from a kernel tree, and compiles every program. It
lists the programs that do not compile, with the compiler's errors.
--arch compiles them for another architecture, with the types of its kernel.

fetch wild fetches objects of published software and compiles nothing: those in the Go
module cilium/ebpf, which the go command fetches and verifies, and those in Debian's
packages, including objects embedded in programs. It lists packages that are gone.

Both keep the results in the cache of kernels and reuse them.`,
		Example: `  bpfreplay suite fetch kernel
  bpfreplay suite fetch kernel --arch arm64
  bpfreplay suite fetch kernel --source ~/linux --kernel ~/linux
  bpfreplay suite fetch wild --update`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: suites.Names(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.Jobs < 0 {
				return fmt.Errorf("--jobs %d: at least one compiler is needed", o.Jobs)
			}
			what := "compiled"
			if args[0] != "kernel" {
				what = "fetched"
				for _, flag := range kernelOnly {
					if cmd.Flags().Changed(flag) {
						return fmt.Errorf("--%s: only suite kernel is compiled", flag)
					}
				}
			}
			return withStore(cmd, func(s *vmimage.Store) error {
				o.Store = s
				var err error
				if o.Kernel, _, err = inputs.OneKernel(cmd, s, o.Kernel, archs); err != nil {
					return err
				}
				o.Say = cli.Notes(cmd)
				o.Tick = ticker(cmd.ErrOrStderr(), what)
				c, err := suites.Fetch(cmd.Context(), args[0], o)
				if err != nil {
					return err
				}
				printCorpus(cmd.OutOrStdout(), c)
				return nil
			})
		},
	}
	cli.AddFlags(cmd, cli.Flags{
		"version": &o.Version, "source": &o.Tree, "kernel": &o.Kernel, "update": &o.Update, "jobs": &o.Jobs, "clang": &o.Clang, "arch": &archs,
	})
	return cmd
}

// kernelOnly are the flags for compiling programs.
var kernelOnly = []string{"version", "source", "kernel", "jobs", "clang", "arch"}

// printCorpus prints the contents of a suite.
func printCorpus(w io.Writer, c *suites.Corpus) {
	fmt.Fprintf(w, "suite %s: %s\n", c.Name, c.About())
	if c.Compiler == "" {
		fmt.Fprintf(w, "%d objects\n", len(c.Objects))
	} else {
		fmt.Fprintf(w, "compiler: %s\n", c.Compiler)
	}
	for _, p := range c.Parts {
		if p.Error != "" {
			fmt.Fprintf(w, "  %s: %s\n", visible.Name(p.Name), visible.Text(p.Error))
		}
	}
	for _, o := range c.Objects {
		if o.Error != "" {
			fmt.Fprintf(w, "  %s: %s\n", visible.Name(o.Name), visible.Text(o.Error))
		}
	}
}

// ticker returns a function that shows progress: on a terminal as one line that changes, elsewhere
// as a line now and then.
func ticker(w io.Writer, what string) func(done, of int) {
	end, every := "\n", 10*time.Second
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		end, every = "\r", 200*time.Millisecond
	}
	var last time.Time
	return func(done, of int) {
		switch {
		case done == of:
			fmt.Fprintf(w, "%s %d of %d\n", what, done, of)
		case time.Since(last) >= every:
			fmt.Fprintf(w, "%s %d of %d%s", what, done, of, end)
			last = time.Now()
		}
	}
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
	complete := true
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
		printModules(cmd.OutOrStdout(), name, m)
		complete = complete && m.Reason == "" && len(m.Errors) == 0
	}
	return cli.Verdict(complete, false)
}

// printModules prints the modules for a kernel.
func printModules(w io.Writer, name string, m *suites.TestModules) {
	if m.Reason != "" {
		fmt.Fprintf(w, "%s (%s): none: %s\n", name, m.Release, m.Reason)
		return
	}
	fmt.Fprintf(w, "%s (%s): %s\n", name, m.Release, m.About())
	for _, module := range slices.Sorted(maps.Keys(m.Errors)) {
		fmt.Fprintf(w, "  %s does not build: %s\n", module, m.Errors[module])
	}
}
