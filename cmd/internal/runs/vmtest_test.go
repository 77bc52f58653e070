package runs

import (
	"runtime"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/guest"
)

// Several guests share many cases, unless loads are timed or debugged.
func TestGuestsOfOneKernel(t *testing.T) {
	many := 1000 * casesPerGuest
	free, err := guest.FreeMemory()
	assert.NilError(t, err)
	var debugged vmtestFlags
	debugged.GDB = true
	for _, test := range []struct {
		flags vmtestFlags
		cases int
		want  int
	}{
		{vmtestFlags{}, 1, 1},
		{vmtestFlags{}, casesPerGuest, 1},
		{vmtestFlags{}, many, max(1, min(runtime.NumCPU(), free/guest.GuestMemoryMiB))},
		{vmtestFlags{jobs: 3}, 1, 3},
		{vmtestFlags{repeat: 5}, many, 1},
		{debugged, many, 1},
	} {
		assert.Equal(t, test.flags.guests(test.cases), test.want)
	}
}
