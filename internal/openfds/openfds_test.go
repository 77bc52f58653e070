package openfds

import (
	"os"
	"slices"
	"testing"

	"gotest.tools/v3/assert"
)

func TestList(t *testing.T) {
	before, kinds := List(), Kinds()
	r, w, err := os.Pipe()
	assert.NilError(t, err)
	assert.Equal(t, len(List()), len(before)+2)
	assert.Equal(t, Kinds()["pipe"], kinds["pipe"]+2)
	assert.NilError(t, r.Close())
	assert.NilError(t, w.Close())
	assert.Assert(t, slices.Equal(List(), before))
	assert.DeepEqual(t, Kinds(), kinds)
}
