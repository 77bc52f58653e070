package agent

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/engine"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/internal/target"
)

// refusing is a load that the kernel refuses.
type refusing struct{}

func (refusing) Needs() []string { return nil }

func (refusing) Do(*target.Target) (*engine.Loaded, error) {
	time.Sleep(time.Millisecond)
	return nil, unix.EACCES
}

// A load that is refused has its time, also where loads are timed over and over.
func TestRefusedLoadsAreTimed(t *testing.T) {
	for _, repeat := range []int{0, 1, 5} {
		l := wire.Load{Engine: "trace"}
		_, err := NewServer().loadTimes(refusing{}, &wire.CaseRequest{Repeat: repeat}, &l)
		assert.ErrorIs(t, err, unix.EACCES)
		assert.Equal(t, len(l.Nanoseconds), 1, "repeat %d", repeat)
		assert.Assert(t, l.Nanoseconds[0] >= time.Millisecond.Nanoseconds())
	}
}
