// Command bpfreplay turns BPF objects into loader programs and proves on real kernels that they do
// what a direct load does.
//
// This package has the root command, and turns signals and errors into exit statuses. Each command
// is in a file of its own name, in a package of ../internal that docs/architecture.md lists. The
// same binary is also the init of the guests that it boots; package inguest tells how it recognises
// that.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/bpfreplay/bpfreplay/cmd/internal/artefacts"
	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
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
		return cli.ExitTrouble
	},
	hostport.Arg: func(args []string) int {
		if err := hostport.Main(args); err != nil {
			return cli.ExitTrouble // its standard error is the guest's connection
		}
		return cli.ExitOK
	},
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
			os.Exit(cli.ExitTrouble)
		})
	}
	root := newRoot()
	root.SetArgs(artefacts.LongFlags(os.Args[1:]))
	err := root.ExecuteContext(ctx)
	var status cli.ProgramError
	switch {
	case err == nil:
		return cli.ExitOK
	case errors.As(err, &status):
		return int(status)
	case errors.Is(err, cli.ErrFailed):
		return cli.ExitFailed
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "bpfreplay: interrupted")
	case errors.Is(err, cli.ErrBroken):
	default:
		fmt.Fprintln(os.Stderr, "bpfreplay:", visible.Text(err.Error()))
	}
	return cli.ExitTrouble
}
