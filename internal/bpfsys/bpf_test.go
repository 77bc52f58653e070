package bpfsys_test

import (
	"bytes"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/insn"
	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// A signal makes the verifier give up with EAGAIN, which does not mean that the kernel refuses a
// program.
func TestProgLoadInterrupted(t *testing.T) {
	need.BPF(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start := time.Now()
	load(t)
	// Often enough to interrupt some loads, but not each. Use few loads: freeing programs by the
	// thousand is hard on the kernel.
	between := 2 * time.Since(start)
	stop := signals(unix.Gettid(), between)
	defer stop()
	for range 50 {
		load(t)
	}
}

// load loads a program that takes the verifier a while.
func load(t *testing.T) {
	const moves = 4000
	insns := bytes.Repeat([]byte{0xb7, 0, 0, 0, 0, 0, 0, 0}, moves) // r0 = 0
	insns = append(insns, insn.Exit, 0, 0, 0, 0, 0, 0, 0)
	var m bpfsys.Memory
	defer m.Release()
	fd, err := bpfsys.Call(bpfsys.ProgLoad, &bpfsys.ProgLoadAttr{
		Type: uapi.ProgSocketFilter, Insns: m.At(insns), InsnCount: moves + 1, License: m.String("GPL"),
	})
	assert.NilError(t, err)
	bpfsys.Close(fd)
}

// signals sends signals to the thread until stop is called.
func signals(thread int, between time.Duration) (stop func()) {
	done := make(chan struct{})
	var sender sync.WaitGroup
	sender.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(between):
				_ = unix.Tgkill(unix.Getpid(), thread, unix.SIGURG)
			}
		}
	})
	return func() {
		close(done)
		sender.Wait()
	}
}
