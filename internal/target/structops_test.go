package target

import (
	"testing"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// opsKernel returns a Target whose kernel has struct ops { void *f; int n; void *g; } and the type
// of its map's value.
func opsKernel(t *testing.T) *Target {
	t.Helper()
	const names = "\x00ops\x00bpf_struct_ops_ops\x00f\x00n\x00g\x00int\x00alone\x00"
	info := func(k btf.Kind, vlen uint32) uint32 { return uint32(k)<<24 | vlen }
	types, err := btf.Parse(btf.Encode(names, []uint32{
		30, info(btf.KindInt, 0), 4, 32, // [1] int
		0, info(btf.KindPtr, 0), 0, // [2] void *
		1, info(btf.KindStruct, 3), 24, 24, 2, 0, 26, 1, 64, 28, 2, 128, // [3] struct ops
		5, info(btf.KindStruct, 0), 192, // [4] struct bpf_struct_ops_ops
		34, info(btf.KindStruct, 0), 8, // [5] struct alone
	}))
	assert.NilError(t, err)
	return &Target{vmlinux: types, listed: true}
}

// A member that is set and that the kernel's struct_ops type lacks is refused.
func TestValueSize(t *testing.T) {
	tg := opsKernel(t)
	f, n := artefact.Member{Name: "f", Kind: "ptr", Size: 8, Set: true}, artefact.Member{Name: "n", Kind: "int", Size: 4}
	member := func(name, kind string, size uint32, set bool) []artefact.Member {
		return []artefact.Member{f, {Name: name, Kind: kind, Size: size, Set: set}}
	}
	for _, c := range []struct {
		name, of string
		members  []artefact.Member
		want     string // of the error, empty for none
		errno    error
	}{
		{"the kernel's members", "ops", []artefact.Member{f, n}, "", nil},
		{"in another order", "ops", []artefact.Member{n, f}, "", nil},
		{"one more that is not set", "ops", member("new", "ptr", 8, false), "", nil},
		{"one more that is set", "ops", member("new", "ptr", 8, true), "member new of struct ops is set, but this kernel's type has no such member", unix.ENOTSUP},
		{"another kind", "ops", member("n", "ptr", 8, false), "member n of struct ops is a ptr here and a int in this kernel", unix.ENOTSUP},
		{"another size", "ops", member("n", "int", 8, false), "member n of struct ops has 8 bytes here and 4 in this kernel", unix.ENOTSUP},
		{"a bitfield", "ops", member("n", "bitfield", 4, false), "member n of struct ops is a bitfield", unix.ENOTSUP},
		{"no such type", "no_ops", []artefact.Member{f}, "struct no_ops", unix.ENOENT},
		{"a type without one for values", "alone", nil, "struct bpf_struct_ops_alone", unix.ENOENT},
	} {
		t.Run(c.name, func(t *testing.T) {
			size, err := tg.valueSize(&artefact.StructOps{Type: c.of, Members: c.members})
			if c.want != "" {
				assert.ErrorContains(t, err, c.want)
				assert.ErrorIs(t, err, c.errno)
				return
			}
			assert.NilError(t, err)
			assert.Equal(t, size, uint32(192))
		})
	}
}

func TestMemberIndex(t *testing.T) {
	tg := opsKernel(t)
	for i, name := range []string{"f", "n", "g"} {
		got, err := tg.memberIndex(&artefact.StructOps{Type: "ops"}, name)
		assert.NilError(t, err)
		assert.Equal(t, got, uint32(i))
	}
	_, err := tg.memberIndex(&artefact.StructOps{Type: "ops"}, "h")
	assert.ErrorContains(t, err, "this kernel's struct ops has no member h")
	assert.ErrorIs(t, err, unix.ENOTSUP)
}
