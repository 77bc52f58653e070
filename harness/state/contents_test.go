package state

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cilium/ebpf"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// running is shared because reading its symbols takes long.
var running = sync.OnceValue(NewKernel)

// Maps are read completely, with and without batches.
func TestContentsOfManyElements(t *testing.T) {
	need.BPF(t)
	const n = 3000
	for _, typ := range []ebpf.MapType{ebpf.Hash, ebpf.LRUHash, ebpf.PerCPUHash, ebpf.Array, ebpf.PerCPUArray} {
		t.Run(typ.String(), func(t *testing.T) {
			m, err := ebpf.NewMap(&ebpf.MapSpec{Type: typ, KeySize: 4, ValueSize: 64, MaxEntries: 2 * n})
			assert.NilError(t, err)
			defer m.Close()
			for i := range uint32(n) {
				key, value := 2*i, make([]byte, 64)
				binary.LittleEndian.PutUint32(value, i+1)
				if typ == ebpf.PerCPUHash || typ == ebpf.PerCPUArray {
					values := make([][]byte, ebpf.MustPossibleCPU())
					for cpu := range values {
						values[cpu] = value
					}
					assert.NilError(t, m.Put(key, values))
					continue
				}
				assert.NilError(t, m.Put(key, value))
			}
			s, err := Capture(context.Background(), []Handle{{Name: "m", FD: m.FD()}}, nil, running())
			assert.NilError(t, err)
			assert.Equal(t, s.Maps[0].Contents.NotRead, "")
			entries := s.Maps[0].Contents.Entries
			assert.Equal(t, len(entries), n)
			byOne := readOneByOne(t, m, &s.Maps[0])
			assert.DeepEqual(t, entries, byOne)
		})
	}
}

// readOneByOne reads the elements without batches, as on old kernels.
func readOneByOne(t *testing.T, m *ebpf.Map, info *Map) []Entry {
	t.Helper()
	cpus, err := running().possibleCPUs()
	assert.NilError(t, err)
	r := reader{c: &capturer{kernel: running()}, m: info, fd: m.FD(), valueSize: int(info.ValueSize)}
	if info.Type == uapi.MapPercpuHash || info.Type == uapi.MapPercpuArray {
		r.valueSize *= cpus
	}
	entries, err := r.walk()
	assert.NilError(t, err)
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(string(a.Key), string(b.Key)) })
	return entries
}
