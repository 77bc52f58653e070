// Command bpfreplay turns BPF objects into loader programs and proves on real kernels that they do
// what a direct load does.
//
// Each command is in a file of its own name, with its flags in flags.go. The same binary is also
// the init of the guests that it boots; package inguest tells how it recognises that.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/agent"
	"github.com/bpfreplay/bpfreplay/harness/guestexec"
	"github.com/bpfreplay/bpfreplay/harness/hostport"
	"github.com/bpfreplay/bpfreplay/harness/inguest"
	"github.com/bpfreplay/bpfreplay/harness/toolbox"
	"github.com/bpfreplay/bpfreplay/internal/askbpf"
	"github.com/bpfreplay/bpfreplay/internal/visible"
)

func main() {
	if status, ok := toolbox.Main(os.Args); ok { // called by another name, as in a guest's toolbox
		os.Exit(status)
	}
	if inguest.IsInit(os.Args) {
		agent.Main(os.Args)
	}
	askbpf.Child()
	if len(os.Args) > 1 {
		if run, ok := helpers[os.Args[1]]; ok {
			os.Exit(run(os.Args[2:]))
		}
	}
	os.Exit(Main())
}

// helpers are the functions of the processes as which this program starts itself, by the first
// argument.
var helpers = map[string]func(args []string) (status int){
	agent.FreshArg: agent.FreshMain,
	guestexec.HostRootArg: func(args []string) int {
		fmt.Fprintln(os.Stderr, "bpfreplay:", guestexec.HostRootMain(args))
		return exitTrouble
	},
	hostport.Arg: func(args []string) int {
		if err := hostport.Main(args); err != nil {
			return exitTrouble // its standard error is the guest's connection
		}
		return exitOK
	},
}

// Exit statuses of every command.
const (
	exitOK      = 0
	exitFailed  = 1 // a difference or a failed expectation
	exitTrouble = 2 // the harness or its input failed
)

// These errors end a command whose output has already shown the failure.
var (
	errFailed = errors.New("failed")
	errBroken = errors.New("broken") // the harness failed, so there is no verdict
)

// cleanUpTime is how long an interrupted command may take to end. A hung guest has 5 s to print a
// backtrace, and the server of this machine's files 5 s to exit. Anything longer is blocked, for
// example on the reader of the output; guests end with the process.
const cleanUpTime = 20 * time.Second

// endings returns the signals by which a person or a program ends a command, which then cleans up.
// Signals that were ignored at start, as by nohup(1) and for background jobs of scripts, stay
// ignored.
func endings() []os.Signal {
	return slices.DeleteFunc([]os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP}, signal.Ignored)
}

// programSignals passes signals to a program in a guest. If nobody receives, the signals of endings
// end the command.
var programSignals = make(chan syscall.Signal)

// forwardTime is how long a program may take to end after a signal of endings was passed on.
const forwardTime = 10 * time.Second

// interruptible returns a context that ends on the first signal that no program in a guest takes.
// The next signal ends the process.
func interruptible(signals []os.Signal) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(context.Background())
	came := make(chan os.Signal, 1)
	signal.Notify(came, signals...)
	go func() {
		taken := false
		var late <-chan time.Time
		for {
			select {
			case sig := <-came:
				if !taken {
					select {
					case programSignals <- sig.(syscall.Signal):
						taken, late = true, time.After(forwardTime)
						continue
					default:
					}
				}
				signal.Stop(came)
				cancel(fmt.Errorf("interrupted by a signal: %s", sig))
				return
			case <-late:
				signal.Stop(came)
				cancel(fmt.Errorf("the program has not ended within %s of a signal", forwardTime))
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, func() { signal.Stop(came); cancel(nil) }
}

// verdict returns the result of a command that shows a report.
func verdict(r interface {
	OK() bool
	Different() bool // if not, the harness failed
}) error {
	switch {
	case r.OK():
		return nil
	case r.Different():
		return errFailed
	}
	return errBroken
}

// notes returns a function that prints a line for the user, on standard error.
func notes(cmd *cobra.Command) func(line string) {
	return func(line string) { fmt.Fprintln(cmd.ErrOrStderr(), visible.Text(line)) }
}

// Main runs the command line and returns the exit status.
func Main() int {
	stayRunning()
	ctx := context.Background()
	if signals := endings(); len(signals) > 0 { // Notify without signals would mean all
		var stop context.CancelFunc
		ctx, stop = interruptible(signals)
		defer stop()
		context.AfterFunc(ctx, func() {
			time.Sleep(cleanUpTime)
			os.Exit(exitTrouble)
		})
	}
	root := newRoot()
	root.SetArgs(longFlags(os.Args[1:]))
	err := root.ExecuteContext(ctx)
	var status programError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &status):
		return int(status)
	case errors.Is(err, errFailed):
		return exitFailed
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "bpfreplay: interrupted")
	case errors.Is(err, errBroken):
	default:
		fmt.Fprintln(os.Stderr, "bpfreplay:", visible.Text(err.Error()))
	}
	return exitTrouble
}
