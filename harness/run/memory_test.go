package run

import (
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/vm"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// A case that a guest has too little memory for names the flag and the size.
func TestLacksMemory(t *testing.T) {
	refused := func(req *wire.Request, _ int) (*guest.Reply, error) {
		rep := fine(req)
		rep.Answer.Loads[1] = wire.Load{Engine: "replay", Result: wire.Refused, Errno: "ENOMEM"}
		return rep, nil
	}
	r, _, err := fakeRun(t, 1, Options{NoRetry: true}, refused)
	assert.NilError(t, err)
	assert.DeepEqual(t, r.Cases[0].Notes, []string{"the guest has 512 MiB of memory, and the maps of the object take about 0 MiB; --memory gives it more"})
}

func TestMapMemory(t *testing.T) {
	for name, test := range map[string]struct {
		m    object.Map
		want uint64
	}{
		"array":        {object.Map{Type: uapi.MapArray, KeySize: 4, ValueSize: 1021, MaxEntries: 1000}, 1024 * 1000},
		"hash":         {object.Map{Type: uapi.MapHash, KeySize: 4, ValueSize: 16, MaxEntries: 1000}, (16 + 8 + 16 + 48) * 1000},
		"on demand":    {object.Map{Type: uapi.MapHash, KeySize: 4, ValueSize: 16, MaxEntries: 1000, Flags: 1}, 16 * 1000},
		"ring buffer":  {object.Map{Type: uapi.MapRingbuf, MaxEntries: 1 << 20}, 1 << 20},
		"an arena":     {object.Map{Type: uapi.MapArena, MaxEntries: 1 << 20}, 0},
		"program tail": {object.Map{Type: uapi.MapProgArray, KeySize: 4, ValueSize: 4, MaxEntries: 10}, 80},
	} {
		assert.Equal(t, mapMemory(&object.Object{Maps: []object.Map{test.m}}), test.want, name)
	}
}

func TestOutOfMemory(t *testing.T) {
	killed := []vm.Splat{{Kind: vm.SplatMemory, Line: "Out of memory: Killed process 1 (init)"}}
	other := []vm.Splat{{Kind: "warning", Line: "WARNING: CPU: 0"}}
	assert.Assert(t, outOfMemory(&guest.Reply{Splats: killed}, nil))
	assert.Assert(t, outOfMemory(&guest.Reply{}, &vm.Ending{Splats: killed}))
	assert.Assert(t, !outOfMemory(&guest.Reply{Splats: other}, &vm.Ending{Splats: other}))
	assert.Assert(t, !outOfMemory(&guest.Reply{Answer: &wire.Answer{Loads: []wire.Load{{Result: wire.Refused, Errno: "EACCES"}}}}, nil))

	refused := func(errnos ...string) bool {
		a := &wire.Answer{Loads: []wire.Load{{Result: wire.OK}}}
		for _, errno := range errnos {
			a.Loads = append(a.Loads, wire.Load{Result: wire.Refused, Errno: errno})
		}
		return outOfMemory(&guest.Reply{Answer: a}, nil)
	}
	assert.Assert(t, refused("ENOMEM"))
	assert.Assert(t, refused("EINVAL", "ENOMEM"))
	assert.Assert(t, !refused("ENOMEM", "", ""), "a big-endian object: only cilium/ebpf asks the kernel")
	assert.Assert(t, !refused("", "EINVAL"))
}
