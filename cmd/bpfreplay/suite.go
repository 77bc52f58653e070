package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/suites"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

func newSuite() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "suite",
		Short: "Suites of objects that others wrote: fetch and compile",
	}
	cmd.AddCommand(newSuiteFetch())
	return cmd
}

func newSuiteFetch() *cobra.Command {
	var o suites.Options
	cmd := &cobra.Command{
		Use:   "fetch kernel",
		Short: "Get the Linux selftests and compile them, for vmtest --suite kernel",
		Long: `fetch gets tools/testing/selftests/bpf from Debian's linux-source package, whose
signature and digest are checked, or takes it from a kernel tree, and compiles
every program. All is kept in the cache of kernels; what is there is not made
again. Programs that do not compile are listed with the compiler's reason.`,
		Example: `  bpfreplay suite fetch kernel
  bpfreplay suite fetch kernel --source ~/linux --kernel ~/linux`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"kernel"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd, func(s *vmimage.Store) error {
				o.Store = s
				o.Say = func(line string) { fmt.Fprintln(cmd.ErrOrStderr(), line) }
				o.Tick = ticker(cmd.ErrOrStderr(), "compiled")
				c, err := suites.FetchKernel(cmd.Context(), o)
				if err != nil {
					return err
				}
				printCorpus(cmd.OutOrStdout(), c)
				return nil
			})
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&o.Version, "version", "", `version of Debian's linux-source, such as "6.12" (default the newest 7.x of sid when first fetched)`)
	fl.StringVar(&o.Tree, "source", "", "a kernel tree to take instead")
	fl.StringVarP(&o.Kernel, "kernel", "k", suites.DefaultKernel, "the kernel whose types (vmlinux.h) the programs are compiled with")
	fl.BoolVar(&o.Update, "update", false, "look for a newer source than the one that is there")
	fl.IntVarP(&o.Jobs, "jobs", "j", runtime.NumCPU(), "how many compilers run at once")
	fl.StringVar(&o.Clang, "clang", suites.DefaultClang, "the compiler; an llvm-strip has to be beside it")
	_ = cmd.RegisterFlagCompletionFunc("kernel", completeKernels)
	return cmd
}

// printCorpus says what a suite consists of.
func printCorpus(w io.Writer, c *suites.Corpus) {
	n := 0
	for _, o := range c.Objects {
		if o.File != "" {
			n++
		}
	}
	fmt.Fprintf(w, "suite %s: %s, types of %s, %s\n%d of %d programs compiled\n", c.Name, c.Source, c.Types, c.Compiler, n, len(c.Objects))
	for _, o := range c.Objects {
		if o.Error != "" {
			fmt.Fprintf(w, "  %s: %s\n", o.Name, o.Error)
		}
	}
}

// ticker shows how far something is: on a terminal a line that changes, else a
// line now and then.
func ticker(w io.Writer, what string) func(done, of int) {
	end, every := "\n", 10*time.Second
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			end, every = "\r", 200*time.Millisecond
		}
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
