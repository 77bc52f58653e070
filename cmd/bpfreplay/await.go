package main

import (
	"context"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// nudge is how often a thread is reminded that its work is no longer wanted.
const nudge = 10 * time.Millisecond

// await runs work that knows nothing of contexts, and ends it early if the context
// ends. The kernel's verifier may take minutes over a program, but gives up with
// EAGAIN if its thread has a signal to handle; so the work fails then, and puts
// away what it has made. SIGURG is what Go's scheduler uses for the same purpose.
// Whatever came of work that was cut short, the error is the context's.
func await[T any](ctx context.Context, work func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done, thread := make(chan result, 1), make(chan int, 1)
	go func() {
		runtime.LockOSThread() // and never unlock it: the thread ends with its work
		thread <- unix.Gettid()
		v, err := work()
		done <- result{v, err}
	}()
	tid := <-thread
	stopped := ctx.Done()
	var ticks <-chan time.Time
	for {
		select {
		case r := <-done:
			if r.err != nil && ctx.Err() != nil {
				r.err = ctx.Err()
			}
			return r.value, r.err
		case <-stopped:
			stopped = nil
			ticker := time.NewTicker(nudge)
			defer ticker.Stop()
			ticks = ticker.C
		case <-ticks:
			_ = unix.Tgkill(unix.Getpid(), tid, unix.SIGURG) // ESRCH: it has just ended
		}
	}
}
