package local

import (
	"os"
	"path/filepath"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/engine"
	"github.com/bpfreplay/bpfreplay/harness/state"
)

// Objects whose pins would have the same name, or lead elsewhere, are not pinned.
func TestPinNames(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pins")
	l := &engine.Loaded{Maps: []state.Handle{{Name: "_data_x", FD: 3}, {Name: ".data.x", FD: 4}}}
	assert.Error(t, pin(dir, l), "map _data_x and map .data.x would both be pinned as _data_x: rename one of them, or load without --pin")
	l = &engine.Loaded{Programs: []state.Handle{{Name: "a.b", FD: 3}, {Name: "a_b", FD: 4}}}
	assert.Error(t, pin(dir, l), "program a.b and program a_b would both be pinned as a_b: rename one of them, or load without --pin")
	_, err := os.Stat(dir)
	assert.ErrorIs(t, err, os.ErrNotExist)

	assert.NilError(t, checkPins("program", []state.Handle{{Name: "a.b", FD: 3}, {Name: "a_b", FD: -1}}))
	assert.Equal(t, pinName(".data./../../x"), "_data________x")
}
