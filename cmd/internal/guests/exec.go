// Package guests has the commands that run programs of this machine in a guest.
package guests

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/cmd/internal/boot"
	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/cmd/internal/inputs"
	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/guestexec"
	"github.com/bpfreplay/bpfreplay/harness/report"
)

type execFlags struct {
	boot.Flags
	guestexec.Command
	config  guest.Config
	env     cli.Each
	tty     bool
	bare    bool
	root    string
	splats  string
	console string
	junit   string
	jobs    int
	certs   cli.Each
	// signals are those that this process passes on to the program.
	signals chan syscall.Signal
}

// NewExec returns the command exec. It takes signals for the program from a channel without buffer,
// as long as the program runs.
func NewExec(signals chan syscall.Signal) *cobra.Command {
	f := execFlags{splats: "fail", signals: signals}
	cmd := &cobra.Command{
		Use:   "exec [FLAG...] -- PROGRAM [ARG...]",
		Short: "Run a program of this machine in a guest, on another kernel",
		Long: `exec boots a kernel in a guest and runs one program there as root. It prints the
program's output while it runs, and exits with the program's status, or with 128 plus
the signal's number if a signal ends it. If the guest or the harness fails, the
status is 2 and a line on standard error has the reason; if the guest's kernel panics or
hangs, the last lines of its console follow. The status is also 2 if the program
succeeds but the guest's kernel complained while it ran (KASAN, lockdep, a warning),
unless --splats is note.

Without --tty, SIGINT, SIGTERM and SIGHUP go to the program, and so do SIGQUIT, SIGUSR1
and SIGUSR2. If one of the first three comes again, or the program still runs ten
seconds later, exec ends the guest. exec ends a program that takes longer than
--timeout, and prints where in the guest it hangs; a Go program prints its goroutines.

The program is an ELF file. Its shared libraries are copied with it. It has the same
path, arguments and working directory as it would have here. The guest has copies of the
files that --with names, at the same paths. Files that the program writes are lost with
the guest, except those that --get copies back. The program reads this command's standard
input (use </dev/null in the background), with --tty through a terminal of its own. Its
environment has PATH, the variables of the Go runtime, such as GODEBUG, and those that
--env names.

With --rwdir DIR the guest shares that directory of this machine and may change it. With
--rootfs host it sees this machine's whole root over virtiofs, and keeps its changes to
itself.

The guest has /proc, /sys with debugfs, tracefs, cgroups and a BPF file system, /dev,
/tmp, /var/tmp, /run, an /etc with users and hosts, and a loopback interface. The
kernel's configuration is in /boot, the modules that --module names in /lib/modules. It
has no other network. --host-port opens TCP ports of this machine's loopback, which the
guest reaches as host:PORT.

--cert puts a certificate into the guest's keyring "user", for signed loads of the program.

--kernel also takes several kernels, and tiers of kernels.yaml. Each line of output then
begins with its kernel's name, and a table at the end shows how the program ended on
each. The exit status is 0 if it succeeded on all, 1 if it failed on any, and otherwise
2. --junit writes a report with a test for each kernel.

To run the tests of Go packages on any kernel:

  go test -exec 'bpfreplay exec --kernel 6.12 --' ./...

go test's own flags (-v, -run, -timeout, -coverprofile...) work as usual. Tests find the
files of their package's directory and all of testdata (--bare omits both); for other
files use --with.`,
		Example: `  bpfreplay exec -- uname -r
  bpfreplay exec --kernel 6.1 --with my.bpf.o -- bpftool prog loadall my.bpf.o /sys/fs/bpf/my
  bpfreplay exec --kernel '6.1 6.12' --junit junit.xml -- ./my.test
  bpfreplay exec --rwdir out --host-port 5432 -- ./my.test -db host:5432 -o out/result.json
  bpfreplay exec --get trace.dat -- trace-cmd record -o trace.dat -e bpf sleep 1
  bpfreplay exec --kernel ~/linux --module bpf_testmod --with /bin/cat -- sh -c 'cat /proc/modules'`,
		DisableFlagsInUseLine: true,

		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	f.Add(cmd, &f.config)
	cli.AddFlags(cmd, cli.Flags{
		"gdb": &f.GDB, "with": (*cli.Each)(&f.With), "get": (*cli.Each)(&f.Get), "tty": &f.tty, "bare": &f.bare, "rootfs": &f.root,
		"module": (*cli.Each)(&f.Modules), "memory": &f.MemoryMiB, "cpus": &f.CPUs, "timeout": &f.Timeout,
		"splats": &f.splats, "console": &f.console, "junit": &f.junit, "jobs": &f.jobs,
		"cert": &f.certs, "rwdir": (*cli.Each)(&f.RWDirs), "host-port": &f.HostPorts,
	})
	fl := cmd.Flags()
	fl.StringArrayVarP((*[]string)(&f.env), "env", "e", nil, cli.Table["env"].Usage)
	_ = fl.MarkShorthandDeprecated("env", "elsewhere it is --engines; use --env")
	fl.SetInterspersed(false) // flags after the program belong to it
	return cmd
}

// asksForNone reports whether a flag was set to 0, or is negative, although the guest needs more. A
// flag that was not given is 0, too.
func asksForNone[T int | time.Duration](cmd *cobra.Command, flag string, value T) bool {
	return value < 0 || value == 0 && cmd.Flags().Changed(flag)
}

func (f *execFlags) run(cmd *cobra.Command, args []string) error {
	if f.MemoryMiB < 0 || asksForNone(cmd, "cpus", f.CPUs) || asksForNone(cmd, "timeout", f.Timeout) {
		return errors.New("--memory, --cpus and --timeout: a guest needs some of each")
	}
	c := f.Command
	c.AllowSplats = f.splats == "note"
	if f.splats != "fail" && f.splats != "note" {
		return fmt.Errorf("--splats %s: it is either fail or note", f.splats)
	}
	switch f.console {
	case "":
	case "-":
		c.Console = report.Printable(cmd.ErrOrStderr())
	default:
		out, err := os.Create(f.console)
		if err != nil {
			return err
		}
		defer out.Close()
		c.Console = out
	}
	var err error
	if c.HostRoot, err = hostRoot(f.root); err != nil {
		return err
	}
	if c.Certs, err = inputs.Certificates(f.certs); err != nil {
		return err
	}
	if c.Program, err = exec.LookPath(args[0]); err != nil {
		return err
	}
	if c.Dir, err = os.Getwd(); err != nil {
		return err
	}
	c.Args, c.Env = args, environment(f.env, inherited...)
	if isGoTest(args) {
		if !cmd.Flags().Changed("timeout") {
			c.Timeout = testTimeout(readTestFlags(args))
		}
		if err := f.goTest(&c, args); err != nil {
			return err
		}
	}
	_, kernels, err := inputs.ExpandKernels(cmd, f.Kernels, f.Archs)
	if err != nil {
		return err
	}
	if len(kernels) > 1 || f.junit != "" {
		f.Archs = nil // the names contain it
		return f.runMany(cmd, c, kernels)
	}
	if !f.tty {
		c.Signals = f.signals
		defer passSignals(f.signals)()
	}
	done, err := f.Open(cmd, &f.config)
	if err != nil {
		return err
	}
	defer done()
	return inGuest(cmd, &c, f.tty, func(ctx context.Context, note func(string)) (int, error) {
		f.config.Note = note // the program also writes there
		return guestexec.Exec(ctx, c, f.config)
	})
}

// passSignals forwards signals that would otherwise end this process to the program in the guest,
// until the caller calls stop. A signal that arrives while no program runs is lost.
func passSignals(to chan<- syscall.Signal) (stop func()) {
	came, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(came, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2)
	go func() {
		for {
			select {
			case sig := <-came:
				select {
				case to <- sig.(syscall.Signal):
				default:
				}
			case <-done:
				return
			}
		}
	}()
	return func() { signal.Stop(came); close(done) }
}

// goTest adds the files that the tests of a Go package need, and those that they write.
func (f *execFlags) goTest(c *guestexec.Command, args []string) error {
	o := outputOf(readTestFlags(args))
	c.Get = slices.Concat(c.Get, o.files)
	c.Dirs, c.GetMore = o.dirs, o.more
	if c.HostRoot {
		return nil
	}
	for _, dir := range o.needs {
		if _, err := os.Stat(dir); err == nil {
			c.With = append(slices.Clip(c.With), dir)
		}
	}
	if f.bare {
		return nil
	}
	files, err := packageFiles(c.Dir)
	c.With = slices.Concat(c.With, files)
	return err
}

func hostRoot(flag string) (bool, error) {
	if flag != "" && flag != "host" {
		return false, fmt.Errorf("--rootfs %s: there is host", flag)
	}
	return flag == "host", nil
}

// inherited are the variables that programs always get: the search path and the settings of the Go
// runtime.
var inherited = []string{"PATH", "GODEBUG", "GOGC", "GOMAXPROCS", "GOMEMLIMIT", "GORACE", "GOTRACEBACK"}

// environment returns a program's environment. A name without a value takes this process's value,
// if any. The last of several values of a name wins.
func environment(asked []string, unasked ...string) []string {
	env := []string{"HOME=/root"}
	for _, e := range slices.Concat(unasked, asked) {
		name, _, given := strings.Cut(e, "=")
		if !given {
			value, ok := os.LookupEnv(e)
			if !ok {
				continue
			}
			e += "=" + value
		}
		env = slices.DeleteFunc(env, func(old string) bool { return strings.HasPrefix(old, name+"=") })
		env = append(env, e)
	}
	return env
}
