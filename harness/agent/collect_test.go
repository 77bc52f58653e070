package agent

import (
	"os"
	"testing"

	"gotest.tools/v3/assert"
)

// TestCollect: collect closes a file that is no longer referenced, so it does not count against the
// next load. A file in use stays open.
func TestCollect(t *testing.T) {
	first, err := os.Open("/dev/null") // with the first file, Go opens files of its own
	assert.NilError(t, err)
	assert.NilError(t, first.Close())
	before := openFDs()
	kept, err := os.Open("/dev/null")
	assert.NilError(t, err)
	defer kept.Close()
	func() {
		f, err := os.Open("/dev/null")
		assert.NilError(t, err)
		assert.Equal(t, openFDs(), before+2)
		_ = f.Name()
	}()
	collect(before + 1)
	assert.Equal(t, openFDs(), before+1)
	collect(before)
	assert.Equal(t, openFDs(), before+1)
	assert.Equal(t, kept.Name(), "/dev/null")
}
