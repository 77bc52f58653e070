package compare

import (
	"encoding/binary"
	"encoding/json"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// insns encodes instructions: op, dst and src register, off, imm.
func insns(list ...[5]int64) []byte {
	var b []byte
	for _, i := range list {
		b = append(b, byte(i[0]), byte(i[1])|byte(i[2])<<4)
		b = binary.LittleEndian.AppendUint16(b, uint16(i[3]))
		b = binary.LittleEndian.AppendUint32(b, uint32(i[4]))
	}
	return b
}

func ptr[T any](v T) *T { return &v }

// sample returns a state with something of everything, on which direct and trace agree.
func sample() *state.State {
	return &state.State{
		CPUs: 4,
		Maps: []state.Map{
			{
				Name: ".bss", Copies: 1, Type: uapi.MapArray, KeySize: 4, ValueSize: 8, MaxEntries: 1, Flags: flagMmapable,
				KernelName: "sample.bss", Access: "read-write", Extra: ptr(uint64(0)), BTF: "b0", Key: "void",
				Value:  "datasec .bss { global int seen; /* 0, 4 bytes */ } /* 8 bytes */",
				Frozen: ptr(false),
			},
			{
				Name: ".rodata", Copies: 1, Type: uapi.MapArray, KeySize: 4, ValueSize: 8, MaxEntries: 1, Flags: flagMmapable | 1<<7,
				KernelName: "sample.rodata", Access: "read-write", Extra: ptr(uint64(0)), BTF: "b0", Key: "void",
				Value:    "datasec .rodata { global const int limit; /* 0, 4 bytes */ } /* 8 bytes */",
				Frozen:   ptr(true),
				Contents: state.Contents{Entries: []state.Entry{{Key: []byte{0, 0, 0, 0}, Value: []byte{7}}}},
			},
			{
				Name: "counts", Copies: 1, Type: uapi.MapHash, KeySize: 4, ValueSize: 8, MaxEntries: 16,
				KernelName: "counts", NUMANode: ptr(int32(-1)), Access: "read-write", Extra: ptr(uint64(0)), BTF: "b0", Key: "int", Value: "u64", Types: []uint32{0}, Frozen: ptr(false),
			},
		},
		Programs: []state.Program{{
			Name: "run", KernelName: "run", Type: 3, Tag: "0123456789abcdef", GPL: true,
			Attach: ptr("vmlinux:func do_unlinkat#77"), VerifiedInsns: ptr(uint32(9)), AttachType: ptr(uint32(0)), Sleepable: ptr(false), Frags: ptr(false), BTF: "b0", Types: []uint32{0, 1},
			Maps: []string{"counts", ".rodata"}, FuncInfo: true, JitedLens: []uint32{100, 50, 40},
			Functions: []state.Function{
				{
					Name: "run", Linkage: "global", Proto: "int (void *ctx)", Tag: "1111111111111111",
					Insns: insns(
						[5]int64{0x18, 1, 1, 0, 0}, [5]int64{0, 0, 0, 0, 0},
						[5]int64{0x18, 2, 2, 0, 0}, [5]int64{0, 0, 0, 0, 0},
						[5]int64{0x85, 0, 0, 0, 0x1a40},
						[5]int64{0x85, 0, 1, 0, 0},
						[5]int64{0x85, 0, 1, 0, 0},
						[5]int64{0xb7, 0, 0, 0, 5},
						[5]int64{0x95, 0, 0, 0, 0},
					),
					Refs: []state.Ref{
						{At: 0, Kind: state.RefMap, To: "counts"}, {At: 2, Kind: state.RefValue, To: ".rodata", Offset: 4},
						{At: 5, Kind: state.RefCall, To: "left"}, {At: 6, Kind: state.RefCall, To: "right"},
					},
					Lines: [][2]uint32{{0, 0}, {7, 1}},
				},
				{
					Name: "left", Linkage: "static", Proto: "int (void)", Tag: "2222222222222222",
					Insns: insns(
						[5]int64{0x85, 0, 2, 0, 0}, [5]int64{0x18, 0, 0, 0, 0}, [5]int64{0, 0, 0, 0, 0}, [5]int64{0x95, 0, 0, 0, 0}),
					Refs:  []state.Ref{{At: 0, Kind: state.RefKfunc, To: "bpf_ct_release [nf_conntrack]", Index: 1}, {At: 1, Kind: state.RefAddr, To: "jiffies [vmlinux]"}},
					Lines: [][2]uint32{{0, 2}},
				},
				{
					Name: "right", Linkage: "global", Proto: "int (int x)", Tag: "3333333333333333",
					Insns: insns([5]int64{0xb7, 0, 0, 0, 1}, [5]int64{0x95, 0, 0, 0, 0}),
				},
			},
		}},
		BTF:     []state.BTF{{Hash: "b0", Size: 900, Types: 4, Names: []string{"void ", "int int", "struct task", "ptr "}}},
		Types:   []string{"int /* signed, 32 bits of 4 bytes */", "struct task { int pid; /* 0 */ } /* 4 bytes */"},
		Strings: []string{"run.c:3:1 int run(void *ctx)", "run.c:9:2 return 5;", "run.c:20:2 return left();"},
	}
}

func sampleFacts() *Facts {
	return &Facts{Programs: map[string]ProgramFacts{"run": {}}}
}

// travel encodes and decodes a state, as if it came from a guest.
func travel(t *testing.T, s *state.State) *state.State {
	t.Helper()
	b, err := json.Marshal(s)
	assert.NilError(t, err)
	got := new(state.State)
	assert.NilError(t, json.Unmarshal(b, got))
	return got
}

const release = "6.12.107+deb12-cloud-amd64"

// differences compares two states as trace and replay, to which no rule applies.
func differences(t *testing.T, a, b *state.State) []Difference {
	t.Helper()
	return States(travel(t, a), b,
		Context{Engine: enginename.Trace, Release: release, Object: sampleFacts()},
		Context{Engine: enginename.Replay, Release: release, Object: sampleFacts()})
}
