package loader_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/internal/trace"
)

// of returns a trace's first command of a type.
func of[C trace.Command](t testing.TB, tr *trace.Trace) C {
	t.Helper()
	for _, c := range tr.Commands {
		if c, ok := c.(C); ok {
			return c
		}
	}
	var none C
	t.Fatalf("no %T", none)
	return none
}

// spoilTypes overwrites n words of types so that no kernel accepts them, and returns the original
// words.
func spoilTypes(raw []byte, n int) (spoilt []byte, back []trace.Word) {
	spoilt = bytes.Clone(raw)
	types := int(binary.LittleEndian.Uint32(raw[4:]) + binary.LittleEndian.Uint32(raw[8:]))
	for i := range n {
		at := types + 4*i
		back = append(back, trace.Word{Off: uint32(at), Value: binary.LittleEndian.Uint32(raw[at:])})
		binary.LittleEndian.PutUint32(spoilt[at:], 0xffffffff)
	}
	return spoilt, back
}

// typesOfProgram returns the types that a program has in the kernel, nil if none.
func typesOfProgram(t testing.TB, fd int) []byte {
	t.Helper()
	info, _, err := bpfsys.GetProgInfo(fd)
	assert.NilError(t, err)
	if info.BTFID == 0 {
		return nil
	}
	types, err := bpfsys.FDByID(bpfsys.BTFGetFDByID, info.BTFID)
	assert.NilError(t, err)
	defer bpfsys.Close(types)
	_, _, raw, err := bpfsys.GetBTFInfo(types, true)
	assert.NilError(t, err)
	return raw
}

func funcInfoOf(t testing.TB, fd int) []byte {
	t.Helper()
	_, arrays, err := bpfsys.GetProgInfo(fd)
	assert.NilError(t, err)
	return arrays.FuncInfo
}

// TestFallbacks exercises the fallbacks for other kernels: the trace is changed so that this kernel
// refuses what those refuse.
func TestFallbacks(t *testing.T) {
	needLoaders(t)
	for _, c := range []struct {
		name  string
		plan  func(t *testing.T) *trace.Trace
		check func(t *testing.T, tr *trace.Trace, r *target.Result)
	}{
		{"types", func(t *testing.T) *trace.Trace {
			tr := planCore(t, "data_sections")
			c := of[*trace.LoadBTF](t, tr)
			raw := c.Data
			var back []trace.Word
			c.Data, back = spoilTypes(raw, 3)
			c.Fallbacks = []trace.Fallback{{Kind: "no cure", Data: back[:1]}, {Kind: "nothing"}, {Kind: "cure", Data: back[1:]}, {Kind: "known", Probe: btf.Encode("\x00a\x00", []uint32{1, 1 << 24, 4, 32}), Data: []trace.Word{{Off: 0, Value: 0}}}}
			return tr
		}, func(t *testing.T, tr *trace.Trace, r *target.Result) {
			assert.DeepEqual(t, typesOfProgram(t, r.Programs[0]), of[*trace.LoadBTF](t, planCore(t, "data_sections")).Data)
		}},
		{"types, many words", func(t *testing.T) *trace.Trace {
			tr := planCore(t, "data_sections")
			c := of[*trace.LoadBTF](t, tr)
			var back []trace.Word
			c.Data, back = spoilTypes(c.Data, 100)
			c.Fallbacks = []trace.Fallback{{Kind: "cure", Data: back}}
			return tr
		}, func(t *testing.T, tr *trace.Trace, r *target.Result) {
			assert.DeepEqual(t, typesOfProgram(t, r.Programs[0]), of[*trace.LoadBTF](t, planCore(t, "data_sections")).Data)
		}},
		{"no types", func(t *testing.T) *trace.Trace {
			tr := planCore(t, "maps_many")
			c := of[*trace.LoadBTF](t, tr)
			assert.Assert(t, c.Optional)
			c.Data, _ = spoilTypes(c.Data, 1)
			return tr
		}, func(t *testing.T, tr *trace.Trace, r *target.Result) {
			for _, fd := range r.Maps {
				info, _, err := bpfsys.GetMapInfo(fd)
				assert.NilError(t, err)
				assert.Equal(t, info.BTFKeyTypeID+info.BTFValueTypeID, uint32(0))
			}
			for _, fd := range r.Programs {
				assert.Assert(t, typesOfProgram(t, fd) == nil)
				assert.Equal(t, len(funcInfoOf(t, fd)), 0)
			}
		}},
		{"map without types", func(t *testing.T) *trace.Trace {
			tr := planCore(t, "maps_array")
			c := of[*trace.CreateMap](t, tr)
			c.Attr.KeyType, c.Plain = c.Attr.ValueType+1, true
			return tr
		}, func(t *testing.T, tr *trace.Trace, r *target.Result) {
			info, _, err := bpfsys.GetMapInfo(r.Maps[0])
			assert.NilError(t, err)
			assert.Equal(t, info.BTFKeyTypeID+info.BTFValueTypeID, uint32(0))
			assert.Assert(t, typesOfProgram(t, r.Programs[0]) != nil)
		}},
		{"other sizes", func(t *testing.T) *trace.Trace {
			tr := planCore(t, "maps_ringbuf")
			c := of[*trace.CreateMap](t, tr)
			c.Attr.MaxEntries, c.Sizes = 4095, []uint32{8191, 1 << 16, 1 << 17}
			return tr
		}, func(t *testing.T, tr *trace.Trace, r *target.Result) {
			info, _, err := bpfsys.GetMapInfo(r.Maps[0])
			assert.NilError(t, err)
			assert.Equal(t, info.MaxEntries, uint32(1<<16))
		}},
		{"arg:ctx", func(t *testing.T) *trace.Trace {
			tr := plan(t, "testdata/gen_not_load/argctx.o")
			of[*trace.AskContext](t, tr).Insns[0] = 0xff
			return tr
		}, func(t *testing.T, tr *trace.Trace, r *target.Result) {
			assert.DeepEqual(t, typesOfProgram(t, r.Programs[0]), of[*trace.LoadBTF](t, tr).Extended)
			edit := of[*trace.AskContext](t, tr).Edits[0]
			info := funcInfoOf(t, r.Programs[0])
			assert.Equal(t, binary.LittleEndian.Uint32(info[8*edit.Record+4:]), uint32(edit.Type))
		}},
		{"arg:ctx, and types", func(t *testing.T) *trace.Trace {
			tr := plan(t, "testdata/gen_not_load/argctx.o")
			of[*trace.AskContext](t, tr).Insns[0] = 0xff
			c := of[*trace.LoadBTF](t, tr)
			var back []trace.Word
			c.Extended, back = spoilTypes(c.Extended, 3)
			c.Fallbacks = []trace.Fallback{{Kind: "of the others", Data: []trace.Word{{Off: 0, Value: 0}}}, {Kind: "cure", Extended: back}}
			return tr
		}, func(t *testing.T, tr *trace.Trace, r *target.Result) {
			assert.DeepEqual(t, typesOfProgram(t, r.Programs[0]), of[*trace.LoadBTF](t, plan(t, "testdata/gen_not_load/argctx.o")).Extended)
		}},
		{"an enum of the other width", func(t *testing.T) *trace.Trace {
			tr := planCore(t, "core_enums")
			for _, c := range tr.Commands {
				if c, ok := c.(*trace.ChooseEnum); ok {
					c.Local, c.Other = c.Other, c.Local
				}
			}
			return tr
		}, func(t *testing.T, tr *trace.Trace, r *target.Result) {
			assert.DeepEqual(t, typesOfProgram(t, r.Programs[0]), of[*trace.LoadBTF](t, tr).Extended)
		}},
		{"an enum that is there", func(t *testing.T) *trace.Trace { return planCore(t, "core_enums") }, func(t *testing.T, tr *trace.Trace, r *target.Result) {
			assert.DeepEqual(t, typesOfProgram(t, r.Programs[0]), of[*trace.LoadBTF](t, tr).Data)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var all [][]byte
			for _, e := range engines {
				keepsFDs(t, func() {
					tr := c.plan(t)
					r, err := e.load(tr, shared, target.Options{})
					assert.NilError(t, err, e.name)
					defer r.Close()
					c.check(t, tr, r)
					all = append(all, fmt.Appendf(xlated(t, r), "%s", outcome(t, tr, r, nil)))
				})
			}
			assert.Assert(t, is.DeepEqual(all[1], all[0]))
		})
	}
}
