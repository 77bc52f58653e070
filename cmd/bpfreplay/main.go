// Command bpfreplay turns BPF objects into loader programs and proves on real
// kernels that they do what a direct load does.
//
// The same binary is PID 1 of the guests that it boots.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness"
	"github.com/bpfreplay/bpfreplay/harness/agent"
	"github.com/bpfreplay/bpfreplay/harness/toolbox"
	"github.com/bpfreplay/bpfreplay/internal/askbpf"
)

func main() {
	if os.Getpid() == 1 {
		agent.Main()
	}
	if status, ok := toolbox.Main(os.Args); ok {
		os.Exit(status)
	}
	if len(os.Args) > 1 && os.Args[1] == agent.FreshArg {
		os.Exit(agent.FreshMain(os.Args[2:]))
	}
	askbpf.Child()
	if len(os.Args) > 1 && os.Args[1] == harness.HostRootArg {
		fmt.Fprintln(os.Stderr, "bpfreplay:", harness.HostRootMain(os.Args[2:]))
		os.Exit(exitTrouble)
	}
	os.Exit(Main())
}

// Exit statuses of every command.
const (
	exitOK      = 0
	exitFailed  = 1 // a difference or a failed expectation
	exitTrouble = 2 // the harness or its input failed
)

// These end a command whose output has said what is wrong.
var (
	errFailed = errors.New("failed")
	errBroken = errors.New("broken") // nothing was found, for the harness failed
)

// Main runs the command line and returns the exit status.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
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
	case errors.Is(err, errBroken):
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "bpfreplay: interrupted")
	default:
		fmt.Fprintln(os.Stderr, "bpfreplay:", err)
	}
	return exitTrouble
}
