package engine

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/loader"
)

// TestReplayIsGen: engine replay runs the same bytes that gen writes.
func TestReplayIsGen(t *testing.T) {
	files, err := filepath.Glob("../../selftests/bpf/*.bpf.o")
	assert.NilError(t, err)
	same := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		assert.NilError(t, err)
		ready, refused := byName(t, "replay", Tool{}).Open(Object{Name: filepath.Base(file), Data: data})
		gen := func() ([]byte, error) {
			obj, err := loader.Open(file)
			if err != nil {
				return nil, err
			}
			p, err := loader.Generate(obj, nil)
			if err != nil {
				return nil, err
			}
			return p.MarshalBinary()
		}
		first, err := gen()
		if err != nil {
			assert.Assert(t, refused != nil, "%s: gen refuses it, and replay does not: %v", file, err)
			continue
		}
		assert.NilError(t, refused, file)
		second, err := gen()
		assert.NilError(t, err, file)
		assert.Assert(t, bytes.Equal(first, second), "%s: gen writes another file the second time", file)
		engine, err := ready.(replayedLoad).a.MarshalBinary()
		assert.NilError(t, err, file)
		assert.Assert(t, bytes.Equal(engine, first), "%s: the engine runs something else than gen writes", file)
		same++
	}
	assert.Assert(t, same > 100, "%d", same)
}
