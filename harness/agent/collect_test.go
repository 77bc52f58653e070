package agent

import (
	"os"
	"testing"

	"gotest.tools/v3/assert"
)

// A file that nobody refers to any more is closed, and does not count for the next
// load; one that is in use stays.
func TestCollect(t *testing.T) {
	first, err := os.Open("/dev/null") // the first file makes Go open others
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
