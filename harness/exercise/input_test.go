package exercise

import (
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// TestPackets: the checksum over data that includes its own checksum is 0.
func TestPackets(t *testing.T) {
	p := tcp4()
	ip := p[14:34]
	assert.Equal(t, checksum(ip), uint16(0))
	assert.Equal(t, int(be.Uint16(ip[2:])), len(p)-14)
	assert.Equal(t, checksum(pseudo(from4, to4, ip[9], p[34:])), uint16(0))

	p = udp6()
	ip = p[14:54]
	assert.Equal(t, int(be.Uint16(ip[4:])), len(p)-54)
	assert.Equal(t, int(be.Uint16(p[54+4:])), len(p)-54)
	assert.Equal(t, checksum(pseudo(from6, to6, ip[6], p[54:])), uint16(0))

	// A run that changes an input must not change it for the next run.
	a, b := inputs(uapi.ProgXDP), inputs(uapi.ProgXDP)
	a[0].Data[0]++
	assert.Assert(t, a[0].Data[0] != b[0].Data[0])
	assert.Equal(t, len(inputs(uapi.ProgRawTracepoint)[0].Context), 12*8)
	assert.Equal(t, len(inputs(uapi.ProgKprobe)), 0)
}
