package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
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
			var cause error
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
				cause = fmt.Errorf("interrupted by a signal: %s", sig)
			case <-late:
				cause = fmt.Errorf("the program has not ended within %s of a signal", forwardTime)
			case <-ctx.Done():
				return
			}
			signal.Stop(came)
			cancel(cause)
			return
		}
	}()
	return ctx, func() { signal.Stop(came); cancel(nil) }
}

// stayRunning keeps the kernel from stopping this process, and thereby the clean-up of a guest,
// because it uses its terminal in the background. Writes and settings then succeed, and reads fail
// with EIO. Programs that it starts do not use the terminal.
func stayRunning() { signal.Ignore(unix.SIGTTIN, unix.SIGTTOU) }
