package state

import (
	"encoding/binary"
	"fmt"
	"os"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/btf"
)

func TestStructOpsEntry(t *testing.T) {
	l := &structOpsLayout{refcnt: 0, state: 4, slots: map[int]string{64: "init", 72: "release", 80: "unset"}}
	program := func(id uint32) (string, error) {
		if id == 9 {
			return "", os.ErrNotExist
		}
		return fmt.Sprint("p", id), nil
	}
	value := make([]byte, 128)
	e, err := l.entry(value, program)
	assert.NilError(t, err)
	assert.Assert(t, e == nil, "it is not set")

	put := func(off int, v uint32) { binary.LittleEndian.PutUint32(value[off:], v) }
	set := func() {
		put(0, 3) // references
		put(4, 3) // READY
		put(64, 7)
		put(72, 8)
		value[100] = 'n'
	}
	set()
	e, err = l.entry(value, program)
	assert.NilError(t, err)
	assert.Equal(t, e.Ref, "READY init=p7 release=p8")
	assert.Equal(t, len(e.Value), 101, "ids, state and references are no bytes of it")
	for i, b := range e.Value[:100] {
		assert.Equal(t, b, byte(0), "byte %d", i)
	}

	set()
	put(4, 17)
	e, err = l.entry(value, program)
	assert.NilError(t, err)
	assert.Equal(t, e.Ref, "state 17 init=p7 release=p8")

	set()
	put(64, 9)
	_, err = l.entry(value, program)
	assert.ErrorContains(t, err, "member init")
	set()
	_, err = l.entry(value[:70], program)
	assert.ErrorContains(t, err, "value of 70 bytes lacks member")
	_, err = l.entry(value[:6], program)
	assert.ErrorContains(t, err, "lacks its state")
}

// The layout of a type that all kernels have since 5.6.
func TestStructOpsLayout(t *testing.T) {
	raw, err := os.ReadFile("/sys/kernel/btf/vmlinux")
	if err != nil {
		t.Skipf("no types of a kernel: %v", err)
	}
	spec, err := btf.ParseKernel(raw)
	assert.NilError(t, err)
	id, err := spec.First("bpf_struct_ops_tcp_congestion_ops", btf.KindStruct)
	if err != nil {
		t.Skipf("this kernel has no congestion control by BPF: %v", err)
	}
	l, err := structOpsLayoutOf(spec, id)
	assert.NilError(t, err)
	assert.Equal(t, l.state, l.refcnt+4)
	names := make(map[string]bool)
	for _, name := range l.slots {
		names[name] = true
	}
	assert.Assert(t, names["init"] && names["ssthresh"] && names["undo_cwnd"])
	assert.Assert(t, !names["owner"] && !names["name"] && !names["flags"])

	id, err = spec.First("task_struct", btf.KindStruct)
	assert.NilError(t, err)
	_, err = structOpsLayoutOf(spec, id)
	assert.ErrorContains(t, err, "no members refcnt and state")
}
