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
	with := func(set func(*vmtestFlags)) (f vmtestFlags) {
		set(&f)
		return f
	}
	for _, test := range []struct {
		flags vmtestFlags
		cases int
		want  int
	}{
		{vmtestFlags{}, 1, 1},
		{vmtestFlags{}, casesPerGuest, 1},
		{vmtestFlags{}, many, max(1, min(runtime.NumCPU(), free/guest.GuestMemoryMiB))},
		{with(func(f *vmtestFlags) { f.Jobs = 3 }), 1, 3},
		{with(func(f *vmtestFlags) { f.Repeat = 5 }), many, 1},
		{with(func(f *vmtestFlags) { f.GDB = true }), many, 1},
	} {
		assert.Equal(t, test.flags.guests(test.cases), test.want)
	}
}
