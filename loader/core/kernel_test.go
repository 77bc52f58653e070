package core_test

import (
	"testing"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/loader/bpfsys"
	"github.com/bpfreplay/bpfreplay/loader/btf"
	"github.com/bpfreplay/bpfreplay/loader/core"
)

// answer loads "r0 = 1" with a record for it and returns what the kernel has put there.
func answer(t *testing.T, b *builder, rec core.Record) (int32, error) {
	t.Helper()
	f := b.function("f", 0)
	load := func(cmd bpfsys.Cmd, size int, fill func(a *bpfsys.Attr)) (int, error) {
		a := bpfsys.NewAttr(size)
		fill(a)
		return a.Call(cmd)
	}
	raw := b.spec(t).Raw()
	types, err := load(bpfsys.BTFLoad, bpfsys.BTFLoadSize, func(a *bpfsys.Attr) {
		a.Ptr(0, raw)
		a.U32(bpfsys.BTFLoadLen, uint32(len(raw)))
	})
	assert.NilError(t, err)
	defer bpfsys.Close(types)
	prog, err := load(bpfsys.ProgLoad, bpfsys.ProgLoadSize(bpfsys.ProgLoadNeeds{CORE: true}), func(a *bpfsys.Attr) {
		bpfsys.PutProgLoad(a.Bytes, bpfsys.ProgLoadAttr{Type: 1, InsnCount: 2, FuncInfoRecSize: 8, FuncInfoSize: 8, CORESize: core.RecordSize})
		a.Ptr(bpfsys.ProgLoadInsns, []byte{0xb7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0})
		a.Ptr(bpfsys.ProgLoadLicense, []byte("GPL\x00"))
		a.U32(bpfsys.ProgLoadBTF, uint32(types))
		a.Ptr(bpfsys.ProgLoadFuncInfo, []byte{0, 0, 0, 0, byte(f), byte(f >> 8), 0, 0})
		a.Ptr(bpfsys.ProgLoadCORE, core.Encode([]core.Record{rec}))
	})
	if err != nil {
		return 0, err
	}
	defer bpfsys.Close(prog)
	_, arrays, err := bpfsys.GetProgInfo(prog)
	assert.NilError(t, err)
	return int32(le32(arrays.Xlated[4:])), nil
}

func le32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

// TestKernelDepth: what is told to be too deep for any kernel is refused by this one, and
// what is one level less is not.
func TestKernelDepth(t *testing.T) {
	need.Root(t)
	need.BPF(t)
	weight := func(b *builder) btf.TypeID {
		return b.structure("load_weight", 16, member{"weight", b.integer("long unsigned int", 8, unsigned), 0, 0})
	}
	entity := func(b *builder) btf.TypeID { return b.structure("sched_entity", 16, member{"load", weight(b), 0, 0}) }
	for name, c := range map[string]struct {
		build func(b *builder) btf.TypeID
		kind  core.Kind
		deep  bool
	}{
		"one struct matches":            {weight, core.TypeMatches, false},
		"a struct in a struct matches":  {entity, core.TypeMatches, true},
		"a struct in a struct is there": {entity, core.TypeExists, false},
		"a struct behind a pointer": {func(b *builder) btf.TypeID {
			return b.structure("task_struct", 8, member{"mm", b.ptr(b.structure("mm_struct", 0)), 0, 0})
		}, core.TypeMatches, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBuilder()
			rec := core.Record{TypeID: c.build(b), AccessStr: b.str("0"), Kind: c.kind}
			assert.Equal(t, core.Asks(b.spec(t), rec) == core.AsksDeepMatch, c.deep)
			got, err := answer(t, b, rec)
			if c.deep {
				assert.ErrorIs(t, err, unix.EINVAL)
				return
			}
			assert.NilError(t, err)
			assert.Equal(t, got, int32(1))
		})
	}
}
