package random_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/random"
	"github.com/bpfreplay/bpfreplay/loader"
	"github.com/bpfreplay/bpfreplay/loader/object"
)

const objects = 500

// beyondCilium says whether the object has what cilium/ebpf does not know.
func beyondCilium(o *random.Object) bool {
	return slices.ContainsFunc(o.Externs, func(e random.Extern) bool { return e.Kind == random.Typed || e.Kind == random.Kconfig && e.Weak }) ||
		slices.ContainsFunc(o.Maps, func(m random.Map) bool { return m.NUMA })
}

// All readers take what is written, and see the same things in it.
func TestReaders(t *testing.T) {
	for i := range uint64(objects) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			o := random.Generate(1, i)
			file, err := o.ELF()
			assert.NilError(t, err)
			ours, err := object.OpenBytes(file, o.File())
			assert.NilError(t, err)
			assert.Equal(t, len(ours.Warnings), 0, "%v", ours.Warnings)
			assert.Equal(t, ours.License, o.License)
			assert.Equal(t, ours.Name, o.Name())
			for j := range ours.Functions {
				assert.NilError(t, ours.Functions[j].Err)
			}
			p, err := loader.Generate(ours, nil)
			assert.NilError(t, err)
			assert.Assert(t, len(p.Trace.Programs) > 0)
			if beyondCilium(o) {
				return
			}
			theirs, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(file))
			assert.NilError(t, err)
			programs := 0
			for _, f := range o.Functions {
				if f.Role != random.Program {
					continue
				}
				programs++
				p := theirs.Programs[f.Name]
				assert.Assert(t, p != nil, f.Name)
				assert.Equal(t, p.License, o.License)
			}
			assert.Equal(t, len(theirs.Programs), programs)
			for _, m := range o.Maps {
				assert.Assert(t, theirs.Maps[m.Name] != nil, m.Name)
				assert.Equal(t, uint32(theirs.Maps[m.Name].Type), m.Type)
			}
		})
	}
}

// What a seed and an index make is the same each time, and nothing else is.
func TestReproducible(t *testing.T) {
	seen := make(map[string]uint64)
	for i := range uint64(200) {
		a, err := random.Generate(7, i).ELF()
		assert.NilError(t, err)
		b, err := random.Generate(7, i).ELF()
		assert.NilError(t, err)
		assert.Assert(t, bytes.Equal(a, b), "object %d", i)
		other, ok := seen[string(a)]
		assert.Assert(t, !ok, "objects %d and %d are the same", i, other)
		seen[string(a)] = i
	}
	a, err := random.Generate(7, 0).ELF()
	assert.NilError(t, err)
	b, err := random.Generate(8, 0).ELF()
	assert.NilError(t, err)
	assert.Assert(t, !bytes.Equal(a, b))
}
