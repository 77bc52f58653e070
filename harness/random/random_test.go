package random_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/random"
	"github.com/bpfreplay/bpfreplay/internal/emit"
	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/trace"
)

const objects = 500

// beyondCilium reports whether the object has features that cilium/ebpf does not support.
func beyondCilium(o *random.Object) bool {
	return slices.ContainsFunc(o.Externs, func(e random.Extern) bool { return e.Kind == random.Typed || e.Kind == random.Kconfig && e.Weak }) ||
		slices.ContainsFunc(o.Maps, func(m random.Map) bool { return m.NUMA })
}

// All readers accept the generated files, and agree about their contents.
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
			tr, err := trace.Plan(ours, trace.Options{})
			assert.NilError(t, err)
			_, err = emit.Emit(tr)
			assert.NilError(t, err)
			assert.Assert(t, len(tr.Programs) > 0)
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
				assert.Equal(t, uint32(theirs.Maps[m.Name].Type), uint32(m.Type))
			}
		})
	}
}

// libbpf's static linker, which is stricter than its loader, accepts the generated files.
func TestLinker(t *testing.T) {
	bpftool := need.Program(t, "bpftool")
	dir := t.TempDir()
	for i := range uint64(25) {
		o := random.Generate(2, i)
		file, err := o.ELF()
		assert.NilError(t, err)
		in, out := filepath.Join(dir, o.File()), filepath.Join(dir, "linked.o")
		assert.NilError(t, os.WriteFile(in, file, 0o600))
		said, err := exec.Command(bpftool, "gen", "object", out, in).CombinedOutput()
		assert.NilError(t, err, "%s", said)
		linked, err := os.ReadFile(out)
		assert.NilError(t, err)
		got, err := object.OpenBytes(linked, o.File())
		assert.NilError(t, err)
		assert.Equal(t, len(got.Functions), len(o.Functions))
		for _, m := range o.Maps {
			assert.Assert(t, slices.ContainsFunc(got.Maps, func(l object.Map) bool {
				return l.Name == m.Name && l.Type == m.Type && len(l.Slots) == len(m.Slots)
			}), m.Name)
		}
	}
}

// A seed and an index always make the same object, and other ones make another.
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
