package random_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/random"
	"github.com/bpfreplay/bpfreplay/internal/object"
)

// find returns the first object of a seed for which wanted returns true.
func find(t *testing.T, wanted func(*random.Object) bool) *random.Object {
	t.Helper()
	for i := range uint64(2000) {
		if o := random.Generate(3, i); wanted(o) {
			return o
		}
	}
	t.Fatal("no such object among 2000")
	return nil
}

func blocks(o *random.Object, prefix string) (n int) {
	var count func([]random.Block)
	count = func(list []random.Block) {
		for _, b := range list {
			if strings.HasPrefix(b.What, prefix) {
				n++
			}
			count(b.Body)
		}
	}
	for _, f := range o.Functions {
		count(f.Blocks)
	}
	return n
}

// wellFormed checks that readers accept what is left of an object.
func wellFormed(t *testing.T, o *random.Object) {
	t.Helper()
	file, err := o.ELF()
	assert.NilError(t, err)
	got, err := object.OpenBytes(file, o.File())
	assert.NilError(t, err)
	assert.Equal(t, len(got.Warnings), 0, "%v", got.Warnings)
}

func TestShrink(t *testing.T) {
	for name, c := range map[string]struct {
		still func(*random.Object) bool
		parts int // of the smallest object
	}{
		"block": {func(o *random.Object) bool { return blocks(o, "LD_ABS") > 0 }, 2},
		"block in a subprogram, that nothing calls": {func(o *random.Object) bool {
			return slices.ContainsFunc(o.Functions, func(f random.Function) bool { return f.Global && f.Role == random.Subprogram })
		}, 2},
		"map with its user":    {func(o *random.Object) bool { return blocks(o, "push to or pop from") > 0 }, 4},
		"blocks in programs":   {func(o *random.Object) bool { return blocks(o, "read v") > 1 && blocks(o, "write v") > 0 }, 8},
		"slots of programs":    {func(o *random.Object) bool { return slots(o) > 1 }, 6},
		"callback with caller": {func(o *random.Object) bool { return blocks(o, "bpf_loop of") > 0 }, 4},
		"weak kfunc":           {func(o *random.Object) bool { return blocks(o, "call bpfreplay_fuzz_no_such_kfunc") > 0 }, 3},
		"lines":                {func(o *random.Object) bool { return o.Lines }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			o := find(t, func(o *random.Object) bool { return c.still(o) && o.Parts() > 40 })
			before, err := o.ELF()
			assert.NilError(t, err)
			tries := 0
			small := random.Shrink(o, 1000, func(try *random.Object) bool {
				tries++
				wellFormed(t, try)
				return c.still(try)
			})
			assert.Assert(t, c.still(small))
			assert.Assert(t, small.Parts() <= c.parts, "%s", small)
			assert.Assert(t, tries < 400, "%d tries", tries)
			after, err := o.ELF()
			assert.NilError(t, err)
			assert.Assert(t, bytes.Equal(before, after), "the object itself has changed")
		})
	}
}

func slots(o *random.Object) (n int) {
	for _, m := range o.Maps {
		if m.Inner == nil {
			n += len(m.Slots)
		}
	}
	return n
}

func TestShrinkStops(t *testing.T) {
	o := find(t, func(o *random.Object) bool { return o.Parts() > 40 })
	tries := 0
	small := random.Shrink(o, 7, func(*random.Object) bool { tries++; return false })
	assert.Equal(t, tries, 7)
	assert.Equal(t, small.Parts(), o.Parts())
}

// Removing a thing also removes everything that refers to it.
func TestWithout(t *testing.T) {
	for i := range uint64(200) {
		o := random.Generate(5, i)
		for _, m := range o.Maps {
			wellFormed(t, o.Without(map[string]bool{m.Name: true}))
		}
		for _, v := range o.Vars {
			wellFormed(t, o.Without(map[string]bool{v.Name: true}))
		}
		for _, e := range o.Externs {
			wellFormed(t, o.Without(map[string]bool{e.Name: true}))
		}
		for _, f := range o.Functions {
			small := o.Without(map[string]bool{f.Name: true})
			assert.Assert(t, !strings.Contains(small.String(), " "+f.Name+"\n"), "%s", small)
			wellFormed(t, small)
		}
	}
}

func TestDescription(t *testing.T) {
	o := find(t, func(o *random.Object) bool { return len(o.Maps) > 2 && len(o.Externs) > 1 && len(o.Vars) > 1 })
	text := o.String()
	for _, m := range o.Maps {
		assert.Assert(t, strings.Contains(text, "map "+m.Name+": "), text)
	}
	for _, e := range o.Externs {
		assert.Assert(t, strings.Contains(text, string(e.Kind)+" "+e.Name+"\n"), text)
	}
	for _, v := range o.Vars {
		assert.Assert(t, strings.Contains(text, "variable "+v.Name+": "), text)
	}
}

// Every feature occurs.
func TestFeatures(t *testing.T) {
	seen := make(map[string]int)
	for i := range uint64(500) {
		for _, f := range random.Generate(9, i).Features() {
			seen[f]++
		}
	}
	for _, f := range []string{
		".bss", ".data", ".rodata", "CO-RE", "autoload off", "callbacks", "custom data sections", "global subprograms", "hidden subprograms", "kconfig",
		"kfunc", "lines of blocks", "loops", "map-in-map", "maps", "maps with types", "programs run", "programs with BTF targets",
		"sleepable programs", "spin locks, timers", "static slots", "static variables", "subprograms", "tail calls", "typed ksym",
		"typeless ksym", "weak externs",
	} {
		assert.Assert(t, seen[f] >= 10, "%s: %d of 500", f, seen[f])
	}
}
