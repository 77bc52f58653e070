package guests

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/cmd/internal/boot"
	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/cmd/internal/inputs"
	"github.com/bpfreplay/bpfreplay/harness/engine"
	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/guestexec"
	"github.com/bpfreplay/bpfreplay/harness/suite"
)

type shellFlags struct {
	boot.Flags
	guestexec.Shell
	config guest.Config
	suite  string
	cases  cli.Each
	env    cli.Each
	root   string
	tests  bool // load the test modules
	certs  cli.Each
}

// NewShell returns the command shell.
func NewShell() *cobra.Command {
	f := shellFlags{suite: inputs.DefaultSuite, tests: true}
	f.Engines = []string{enginename.Replay}
	cmd := &cobra.Command{
		Use:   "shell [FLAG...] [OBJECT...]",
		Short: "Open a prompt in a guest, with objects loaded",
		Long: `shell boots a kernel in a guest and opens a prompt there, as root. The guest has a shell,
the usual commands, some of them from this machine (bpftool, strace, less, ...), and
bpfreplay itself: load, compare, explain and gen work as usual.

The objects, and those of the cases that --case names, are in /case/bpf. When the prompt
appears the engines that --engines names have loaded them, and the maps and programs are
pinned in /sys/fs/bpf/ENGINE/maps and .../programs (with several cases, in a directory for
each below that). The modules that a case names are loaded.

--cert puts a certificate into the guest's keyring "user", for loading files that sign
wrote, which may be arguments like objects.

Keys such as Ctrl-C go to the guest. exit ends the guest and this command, with the
shell's exit status. Ctrl-] ends a guest that hangs. If the guest panics, the last lines
of its console are printed.

Without a terminal the commands are read from standard input, and the status is that of
the last one.`,
		Example: `  bpfreplay shell --kernel 6.1
  bpfreplay shell --case maps_hash --engines direct,replay
  echo 'bpftool prog show' | bpfreplay shell my.bpf.o`,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	f.Add(cmd, &f.config)
	cli.AddFlags(cmd, cli.Flags{
		"gdb": &f.GDB, "suite": &f.suite, "case": &f.cases, "engines": &f.Engines, "with": (*cli.Each)(&f.With), "env": &f.env,
		"module": (*cli.Each)(&f.Modules), "memory": &f.MemoryMiB, "cpus": &f.CPUs, "rootfs": &f.root, "test-modules": &f.tests,
		"cert": &f.certs, "rwdir": (*cli.Each)(&f.RWDirs), "host-port": &f.HostPorts,
	})
	return cmd
}

func (f *shellFlags) run(cmd *cobra.Command, args []string) error {
	if f.MemoryMiB < 0 || asksForNone(cmd, "cpus", f.CPUs) {
		return errors.New("--memory and --cpus: a guest needs some of each")
	}
	var err error
	if f.Suite, err = f.readSuite(cmd, args); err != nil {
		return err
	}
	if f.HostRoot, err = hostRoot(f.root); err != nil {
		return err
	}
	if f.Certs, err = inputs.Certificates(f.certs); err != nil {
		return err
	}
	if f.Dir, err = os.Getwd(); err != nil {
		return err
	}
	if _, err := engine.ByName(f.Engines, engine.Tool{}); err != nil {
		return err
	}
	done, err := f.Open(cmd, &f.config)
	if err != nil {
		return err
	}
	defer done()
	f.Env = environment(append([]string{"TERM"}, f.env...), "GODEBUG")
	if f.tests && f.Suite.UsesTestModules() {
		if f.First, err = boot.TestModules(cmd.Context(), f.config.Store, f.config.Kernel, f.config.Note); err != nil {
			return err
		}
	}
	var c guestexec.Command
	return inGuest(cmd, &c, isTerminal(cmd), func(ctx context.Context, note func(string)) (int, error) {
		f.config.Note = note
		f.Stdin, f.Stdout, f.Stderr, f.Terminal = c.Stdin, c.Stdout, c.Stderr, c.Terminal
		return f.Run(ctx, f.config)
	})
}

// readSuite returns the selected cases and the objects.
func (f *shellFlags) readSuite(cmd *cobra.Command, objects []string) (*suite.Suite, error) {
	if len(f.cases) == 0 {
		if err := inputs.CheckFiles(cmd, objects); err != nil {
			return nil, err
		}
		return suite.New(objects), nil
	}
	if len(objects) > 0 {
		return nil, errors.New("either objects or --case")
	}
	return inputs.Selection{Suite: f.suite, Patterns: f.cases, Kernels: f.Kernels, Archs: f.Archs}.Open(cmd)
}
