//go:build amd64 || arm64

package accel

import (
	"context"
	"errors"
	"maps"
	"os"
	"runtime"
	"testing"
	"time"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/openfds"
)

func needKVM(t *testing.T) {
	t.Helper()
	if !openable(kvmDevice) {
		t.Skip("no ", kvmDevice, " that may be opened")
	}
}

// On any host the real probe returns, with or without a reason, and leaves nothing open.
func TestProbeKVM(t *testing.T) {
	needKVM(t)
	before := openfds.Kinds()
	err := probeKVM(t.Context())
	t.Log("probe: ", err)
	var slow *slowKVMError
	// On a busy machine with a KVM that lies, the probe may exceed its deadline.
	if err != nil && !errors.As(err, &slow) && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the probe guest did not run: %v", err)
	}
	// A thread that could not be interrupted in time closes its files when it gets to run.
	for end := time.Now().Add(time.Minute); errors.Is(err, context.DeadlineExceeded) && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if maps.Equal(openfds.Kinds(), before) {
			break
		}
	}
	assert.DeepEqual(t, openfds.Kinds(), before)
}

// endless is an instruction that jumps to itself.
var endless = map[string][]byte{"amd64": {0xeb, 0xfe}, "arm64": {0, 0, 0, 0x14}}[runtime.GOARCH]

// A probe guest that loops forever is interrupted.
func TestProbeGuestIsInterrupted(t *testing.T) {
	needKVM(t)
	kvm, err := os.OpenFile(kvmDevice, os.O_RDWR, 0)
	assert.NilError(t, err)
	defer kvm.Close()
	guest, err := newProbeGuest(kvm)
	assert.NilError(t, err)
	defer guest.close()
	copy(guest.memory, endless)

	for _, limit := range []time.Duration{-1, 0, time.Millisecond, 50 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		_, err = guest.run(ctx)
		cancel()
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	}
}

func TestProbeIsCancelled(t *testing.T) {
	needKVM(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, probeKVM(ctx), context.Canceled)
}
