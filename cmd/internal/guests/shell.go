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
	"github.com/bpfreplay/bpfreplay/harness/guestexec"
	"github.com/bpfreplay/bpfreplay/harness/suite"
)

type shellFlags struct {
	boot.Flags
	suite   string
	engines []string
	cases   cli.Each
	with    cli.Each
	env     cli.Each
	module  cli.Each
	memory  int
	cpus    int
	root    string
	tests   bool // load the test modules
	certs   cli.Each
	shares  guestexec.Shares
}

// NewShell returns the command shell.
func NewShell() *cobra.Command {
	f := shellFlags{Flags: boot.NewFlags(), suite: inputs.DefaultSuite, engines: []string{enginename.Replay}, tests: true}
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
	f.Add(cmd)
	cli.AddFlags(cmd, cli.Flags{
		"gdb": &f.GDB, "suite": &f.suite, "case": &f.cases, "engines": &f.engines, "with": &f.with, "env": &f.env,
		"module": &f.module, "memory": &f.memory, "cpus": &f.cpus, "rootfs": &f.root, "test-modules": &f.tests,
		"cert": &f.certs, "rwdir": (*cli.Each)(&f.shares.RWDirs), "host-port": &f.shares.HostPorts,
	})
	return cmd
}

func (f *shellFlags) run(cmd *cobra.Command, args []string) error {
	if f.memory < 0 || asksForNone(cmd, "cpus", f.cpus) {
		return errors.New("--memory and --cpus: a guest needs some of each")
	}
	suite, err := f.readSuite(cmd, args)
	if err != nil {
		return err
	}
	root, err := hostRoot(f.root)
	if err != nil {
		return err
	}
	certs, err := inputs.Certificates(f.certs)
	if err != nil {
		return err
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	if _, err := engine.ByName(f.engines, engine.Tool{}); err != nil {
		return err
	}
	config, done, err := f.Open(cmd)
	if err != nil {
		return err
	}
	defer done()
	sh := guestexec.Shell{
		Suite: suite, Engines: f.engines, With: f.with, Modules: f.module,
		Env:   environment(append([]string{"TERM"}, f.env...), "GODEBUG"),
		Certs: certs, HostRoot: root, Dir: dir, Shares: f.shares, MemoryMiB: f.memory, CPUs: f.cpus,
	}
	if f.tests && suite.UsesTestModules() {
		if sh.First, err = boot.TestModules(cmd.Context(), config.Store, config.Kernel, config.Note); err != nil {
			return err
		}
	}
	var c guestexec.Command
	return inGuest(cmd, &c, isTerminal(cmd), func(ctx context.Context, note func(string)) (int, error) {
		config.Note = note
		sh.Stdin, sh.Stdout, sh.Stderr, sh.Terminal = c.Stdin, c.Stdout, c.Stderr, c.Terminal
		return sh.Run(ctx, config)
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
	return (&inputs.Selection{Suite: f.suite, Patterns: f.cases, Kernel: f.Kernel, Archs: f.Archs}).Open(cmd)
}
