package run

import (
	"fmt"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/suite"
	"github.com/bpfreplay/bpfreplay/harness/vm"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// A case that a guest has too little memory for names the flag and the size.
func TestLacksMemory(t *testing.T) {
	refused := func(req *wire.CaseRequest, _ int) (*guest.Reply, error) {
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

// A case that asks for more memory than --memory gives has a guest of its own.
func TestMemoryOfCase(t *testing.T) {
	s := &suite.Suite{Name: "fake", Partial: true}
	for i, memory := range []int{0, 2048, 0, 256, 2048} {
		s.Cases = append(s.Cases, suite.Case{Name: fmt.Sprintf("c%d", i), Object: coreObject(t), Expect: suite.Expect{Result: wire.OK}, Memory: memory})
	}
	answer := func(req *wire.CaseRequest, _ int) (*guest.Reply, error) { return fine(req), nil }
	_, f, err := fakeRunOf(t, s, Options{}, answer)
	assert.NilError(t, err)
	assert.DeepEqual(t, f.memory, []int{512, 2048, 512, 2048})
	_, f, err = fakeRunOf(t, s, Options{MemoryMiB: 4096}, answer)
	assert.NilError(t, err)
	assert.DeepEqual(t, f.memory, []int{4096})

	// If the machine lacks that memory, only this case fails.
	r, f, err := fakeRunOf(t, s, Options{NoRetry: true, Budget: guest.NewBudget(2, 1024)}, answer)
	assert.NilError(t, err)
	assert.DeepEqual(t, f.memory, []int{512, 512})
	for i, want := range []result.Verdict{result.Equal, result.Broken, result.Equal, result.Equal, result.Broken} {
		assert.Equal(t, r.Cases[i].Verdict(), want, r.Cases[i].Name)
	}
	assert.Assert(t, strings.Contains(r.Cases[1].Verdicts[0].Reason, "2048 MiB does not fit into the budget"))
}
