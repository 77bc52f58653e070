// Package await runs work that a command leaves when it is told to end.
package await

import (
	"context"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Work runs work that only computes. If ctx ends, it returns without waiting: the process is about
// to exit, and ends the work with it.
func Work[T any](ctx context.Context, work func() (T, error)) (T, error) {
	var value T
	var err error
	done := make(chan struct{})
	go func() {
		value, err = work()
		close(done)
	}()
	select {
	case <-done:
		return value, err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// nudge is how often a thread is signalled after its work was cancelled.
const nudge = 10 * time.Millisecond

// Load runs work that creates kernel objects, and cuts it short if ctx ends. The kernel's verifier
// may take minutes over a program, but returns EAGAIN if its thread has a pending signal. The work
// then fails and cleans up. The signal is SIGURG, with which Go's scheduler preempts threads. The
// error of work that was cut short is the context's.
func Load[T any](ctx context.Context, work func() (T, error)) (value T, err error) {
	done, thread := make(chan struct{}), make(chan int, 1)
	go func() {
		runtime.LockOSThread() // without unlocking: the thread exits with the goroutine
		thread <- unix.Gettid()
		value, err = work()
		close(done)
	}()
	tid := <-thread
	stopped := ctx.Done()
	var ticks <-chan time.Time
	for {
		select {
		case <-done:
			if err != nil && ctx.Err() != nil {
				err = ctx.Err()
			}
			return value, err
		case <-stopped:
			stopped = nil
			ticker := time.NewTicker(nudge)
			defer ticker.Stop()
			ticks = ticker.C
		case <-ticks:
			_ = unix.Tgkill(unix.Getpid(), tid, unix.SIGURG) // ESRCH: the thread has just exited
		}
	}
}
