package artefact_test

import (
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/emit"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// artefacts returns the artefacts of the core suite and of this repository's other objects.
func artefacts(t testing.TB) map[string]*artefact.Artefact {
	t.Helper()
	out := make(map[string]*artefact.Artefact)
	for _, pattern := range []string{"../../selftests/bpf/*.bpf.o", "../../internal/object/testdata/*.o", "../testdata/*.o", "../testdata/*/*.o"} {
		files, err := filepath.Glob(pattern)
		assert.NilError(t, err)
		for _, file := range files {
			o, err := object.Open(file)
			if err != nil {
				continue
			}
			tr, err := trace.Plan(o, trace.Options{})
			if err != nil {
				continue
			}
			a, err := emit.Emit(tr)
			assert.NilError(t, err, file)
			out[file] = a
		}
	}
	assert.Assert(t, len(out) > 120, "%d", len(out))
	return out
}

// TestRoundTrip: reading a written artefact gives the same artefact.
func TestRoundTrip(t *testing.T) {
	for file, a := range artefacts(t) {
		raw, err := a.MarshalBinary()
		assert.NilError(t, err, file)
		again, err := artefact.Parse(raw)
		assert.NilError(t, err, file)
		assert.Assert(t, reflect.DeepEqual(again, a), file)
	}
}

// FuzzParse: Parse never panics, and what it accepts is the same after writing and reading again.
func FuzzParse(f *testing.F) {
	for _, a := range artefacts(f) {
		raw, err := a.MarshalBinary()
		assert.NilError(f, err)
		if len(raw) < 32<<10 {
			f.Add(raw)
		}
	}
	golden, err := os.ReadFile("testdata/v1.bpfreplay")
	assert.NilError(f, err)
	f.Add(golden)
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := artefact.Parse(raw)
		if err != nil {
			assert.ErrorIs(t, err, artefact.ErrFormat)
			return
		}
		if err := a.Explain(io.Discard); err != nil {
			t.Fatal(err)
		}
		file, err := a.MarshalBinary()
		assert.NilError(t, err)
		again, err := artefact.Parse(file)
		assert.NilError(t, err)
		if !reflect.DeepEqual(again, a) {
			t.Fatalf("it is another one: %+v, not %+v", again, a)
		}
	})
}
