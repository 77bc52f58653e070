package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bpfreplay/bpfreplay/harness"
	"github.com/bpfreplay/bpfreplay/harness/vm"
)

// programError is the exit status, not 0, of a program that ran in a guest.
type programError int

func (e programError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

type execFlags struct {
	guestFlags
	harness.Command
	env []string
}

func newExec() *cobra.Command {
	var f execFlags
	cmd := &cobra.Command{
		Use:   "exec [FLAG...] -- PROGRAM [ARG...]",
		Short: "Run a program of this machine in a guest, on another kernel",
		Long: `exec boots a kernel in a guest, runs one program there as root, passes on what
it writes while it runs, and exits with its status; 128 and the signal's number
if a signal ends it. Where the guest or the harness fails, the status is 2 and a
line on standard error says why; if the guest's kernel panics or hangs, with the
last lines of its console.

The program is an ELF file, static or not: its shared libraries come along. It
has the path, the arguments and the working directory that it would have here,
and what --with names, at the same paths, too, as copies: what it writes stays
in the guest, and is gone with it. Standard input is empty. Of the environment
it gets PATH and what the Go runtime heeds, such as GODEBUG, and what --env
names.

The guest has /proc, /sys with debugfs, tracefs, cgroups and a BPF file system,
/dev, /tmp and a loopback interface, and no other network.

So the tests of a Go package run on any kernel. go test runs exec in the directory
of the package, where relative paths begin, too:

  go test -exec 'bpfreplay exec --kernel 6.12 --with testdata --' ./mypackage

Its own flags (-v, -run, -timeout...) work as ever, but for profiles and other
files that tests write, which stay in the guest.`,
		Example: `  bpfreplay exec -- uname -r
  bpfreplay exec --kernel 6.1 --with my.bpf.o -- bpftool prog loadall my.bpf.o /sys/fs/bpf/my
  bpfreplay exec --kernel ~/linux --module bpf_testmod --with /bin/cat -- sh -c 'cat /proc/modules'`,
		DisableFlagsInUseLine: true,

		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	f.addMachine(cmd)
	fl := cmd.Flags()
	fl.SetInterspersed(false) // flags behind the program are the program's
	fl.StringArrayVarP(&f.With, "with", "w", nil, "a file or a directory to take along; programs come with their libraries (may be repeated)")
	fl.StringArrayVarP(&f.env, "env", "e", nil, "a variable NAME=VALUE for the program, or NAME with the value that it has here (may be repeated)")
	fl.StringArrayVar(&f.Modules, "module", nil, "a kernel module to load before, with what it needs (may be repeated)")
	fl.IntVar(&f.MemoryMiB, "memory", 0, "memory of the guest, in MiB; 0 for 1 GiB and what the files take")
	fl.IntVar(&f.CPUs, "cpus", 1, "processors of the guest")
	fl.DurationVar(&f.Timeout, "timeout", harness.DefaultExecTimeout, "how long the program may take")
	return cmd
}

func (f *execFlags) run(cmd *cobra.Command, args []string) error {
	if f.MemoryMiB < 0 || f.CPUs < 1 || f.Timeout <= 0 {
		return errors.New("--memory, --cpus and --timeout: a guest needs some of each")
	}
	c := f.Command
	var err error
	if c.Program, err = exec.LookPath(args[0]); err != nil {
		return err
	}
	if c.Dir, err = os.Getwd(); err != nil {
		return err
	}
	c.Args, c.Env = args, environment(f.env)
	c.Stdout, c.Stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
	opts, done, err := f.options(cmd)
	if err != nil {
		return err
	}
	defer done()
	opts.Note = func(line string) { fmt.Fprintln(c.Stderr, "bpfreplay:", line) } // the program writes there, too
	status, err := harness.Exec(cmd.Context(), c, opts)
	var ending *vm.Ending
	switch {
	case err == nil && status == 0:
		return nil
	case err == nil:
		return programError(status)
	case cmd.Context().Err() == nil && errors.As(err, &ending):
		fmt.Fprintln(c.Stderr, "bpfreplay:", err)
		for _, line := range ending.Console {
			fmt.Fprintln(c.Stderr, "    |", line)
		}
		return errBroken
	}
	return err
}

// inherited are the variables that programs get unasked: where programs lie,
// and what the Go runtime heeds.
var inherited = []string{"PATH", "GODEBUG", "GOGC", "GOMAXPROCS", "GOMEMLIMIT", "GORACE", "GOTRACEBACK"}

// environment is a program's environment; a name asked for without a value has
// the value that it has here, if any. Of two values of a name the last counts.
func environment(asked []string) []string {
	env := []string{"HOME=/root"}
	for _, e := range append(inherited[:len(inherited):len(inherited)], asked...) {
		if strings.Contains(e, "=") {
			env = append(env, e)
			continue
		}
		if value, ok := os.LookupEnv(e); ok {
			env = append(env, e+"="+value)
		}
	}
	return env
}
