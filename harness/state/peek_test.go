package state

import (
	"context"
	"errors"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/internal/object"
)

func needPeek(t *testing.T) {
	t.Helper()
	need.BPF(t)
	k := running()
	defer k.stopPeek()
	if k.startPeek() == nil {
		t.Skip("this kernel does not let BPF read its memory (5.14, not locked down for confidentiality)")
	}
}

// TestPeekProgram loads programs and reads attributes that no system call returns.
func TestPeekProgram(t *testing.T) {
	needPeek(t)
	for _, test := range []struct {
		typ       ebpf.ProgramType
		attach    ebpf.AttachType
		flags     uint32
		sleepable bool
		frags     bool
	}{
		{typ: ebpf.SocketFilter},
		{typ: ebpf.XDP, attach: ebpf.AttachXDP},
		{typ: ebpf.XDP, attach: ebpf.AttachXDPCPUMap},
		{typ: ebpf.XDP, attach: ebpf.AttachXDP, flags: 1 << 5, frags: true}, // BPF_F_XDP_HAS_FRAGS
		{typ: ebpf.Syscall, flags: 1 << 4, sleepable: true},                 // BPF_F_SLEEPABLE
	} {
		p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
			Type: test.typ, AttachType: test.attach, Flags: test.flags, License: "GPL",
			Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()},
		})
		if errors.Is(err, ebpf.ErrNotSupported) {
			continue
		}
		assert.NilError(t, err)
		defer p.Close()
		s, err := Capture(context.Background(), nil, []Handle{{Name: "p", FD: p.FD()}}, running())
		assert.NilError(t, err)
		got := s.Programs[0]
		assert.Equal(t, *got.AttachType, uint32(test.attach))
		assert.Equal(t, *got.Sleepable, test.sleepable)
		if got.Frags != nil {
			assert.Equal(t, *got.Frags, test.frags)
		}
	}
}

// TestPeekMap does the same with maps.
func TestPeekMap(t *testing.T) {
	needPeek(t)
	inner := &ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 16, MaxEntries: 7, Flags: 1} // BPF_F_NO_PREALLOC
	for _, test := range []struct {
		spec  ebpf.MapSpec
		node  int32
		inner string
	}{
		{ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1}, -1, ""},
		{ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1, Flags: 1 << 2}, 0, ""}, // BPF_F_NUMA_NODE
		{ebpf.MapSpec{Type: ebpf.HashOfMaps, KeySize: 4, ValueSize: 4, MaxEntries: 2, InnerMap: inner}, -1,
			"HASH, key_size 4, value_size 16, max_entries 7, flags 0x1"},
	} {
		m, err := ebpf.NewMap(&test.spec)
		assert.NilError(t, err)
		defer m.Close()
		s, err := Capture(context.Background(), []Handle{{Name: "m", FD: m.FD()}}, nil, running())
		assert.NilError(t, err)
		assert.Equal(t, *s.Maps[0].NUMANode, test.node)
		assert.Equal(t, s.Maps[0].Inner, test.inner)
	}
}

// Without peek there are fewer fields, and no error.
func TestPeekBlind(t *testing.T) {
	k := NewKernel()
	k.blind = true
	m, p := &Map{}, &Program{}
	assert.NilError(t, k.peekMap(m, -1))
	assert.NilError(t, k.peekProgram(p, -1))
	assert.Assert(t, m.NUMANode == nil && p.AttachType == nil && p.Sleepable == nil && p.Frags == nil)
}

// BTF that lacks some of the types is an error.
func TestPlaces(t *testing.T) {
	for _, test := range []struct{ object, want string }{
		{"maps_hash", `struct "task_struct"`},
		{"core_field", "struct task_struct has no member files"},
	} {
		o, err := object.Open("../../selftests/bpf/" + test.object + ".bpf.o")
		assert.NilError(t, err)
		_, err = findPlaces(o.BTF)
		assert.ErrorIs(t, err, btf.ErrNotFound)
		assert.ErrorContains(t, err, test.want)
	}
}
