package compare

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/golden"

	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/field"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/internal/kversion"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

func TestCompareEqual(t *testing.T) {
	assert.Equal(t, len(differences(t, sample(), sample())), 0)
}

// TestCompareSeesEachField: each change to a state is found, with the right field name, and nothing
// else is.
func TestCompareSeesEachField(t *testing.T) {
	tests := []struct {
		name   string
		mutate func(s *state.State)
		fields []string
		a, b   string // of the first field, if not empty
	}{
		{"cpus", func(s *state.State) { s.CPUs = 5 }, []string{"cpus"}, "4", "5"},
		{"map gone", func(s *state.State) { s.Maps = s.Maps[:2] }, []string{"map counts"}, "present", "absent"},
		{"map added", func(s *state.State) { s.Maps = append(s.Maps, state.Map{Name: "more"}) }, []string{"map more"}, "absent", "present"},
		{"copies", func(s *state.State) { s.Maps[0].Copies = 2 }, []string{"map .bss copies"}, "1", "2"},
		{"map type", func(s *state.State) { s.Maps[2].Type = uapi.MapArray }, []string{"map counts type"}, "HASH", "ARRAY"},
		{"map type beyond the table", func(s *state.State) { s.Maps[2].Type = 99 }, []string{"map counts type"}, "HASH", "MapType(99)"},
		{"key size", func(s *state.State) { s.Maps[2].KeySize = 8 }, []string{"map counts key_size"}, "4", "8"},
		{"value size", func(s *state.State) { s.Maps[2].ValueSize = 16 }, []string{"map counts value_size"}, "8", "16"},
		{"max entries", func(s *state.State) { s.Maps[2].MaxEntries = 15 }, []string{"map counts max_entries"}, "16", "15"},
		{"map flags", func(s *state.State) { s.Maps[2].Flags = 1 }, []string{"map counts flags"}, "0x0", "0x1"},
		{"map name", func(s *state.State) { s.Maps[2].KernelName = "count" }, []string{"map counts name"}, "counts", "count"},
		{"map ifindex", func(s *state.State) { s.Maps[2].IfIndex = 2 }, []string{"map counts ifindex"}, "0", "2"},
		{"map netns", func(s *state.State) { s.Maps[2].NetnsIno = 2 }, []string{"map counts netns"}, "none", "0:2"},
		{"owner", func(s *state.State) { s.Maps[2].Owner = "type 1 jited 1" }, []string{"map counts owner"}, "none", "type 1 jited 1"},
		{"map extra", func(s *state.State) { s.Maps[2].Extra = ptr(uint64(3)) }, []string{"map counts map_extra"}, "0x0", "0x3"},
		{"map extra absent", func(s *state.State) { s.Maps[2].Extra = nil }, []string{"map counts map_extra"}, "0x0", "absent"},
		{"frozen", func(s *state.State) { s.Maps[1].Frozen = ptr(false) }, []string{"map .rodata frozen"}, "true", "false"},
		{"access", func(s *state.State) { s.Maps[2].Access = "read-only" }, []string{"map counts access"}, "read-write", "read-only"},
		{"numa node", func(s *state.State) { s.Maps[2].NUMANode = ptr(int32(0)) }, []string{"map counts numa_node"}, "-1", "0"},
		{"numa node absent", func(s *state.State) { s.Maps[2].NUMANode = nil }, []string{"map counts numa_node"}, "-1", "absent"},
		{"inner map", func(s *state.State) { s.Maps[2].Inner = "HASH" }, []string{"map counts inner"}, "none", "HASH"},
		{"frozen absent", func(s *state.State) { s.Maps[0].Frozen = nil }, []string{"map .bss frozen"}, "false", "absent"},
		{"key type", func(s *state.State) { s.Maps[2].Key = "unsigned int" }, []string{"map counts key_type"}, "int", "unsigned int"},
		{"value type", func(s *state.State) { s.Maps[2].Value = "" }, []string{"map counts value_type"}, "u64", "none"},
		{"kernel type", func(s *state.State) { s.Maps[2].VmlinuxValue = "vmlinux:struct x#1" }, []string{"map counts vmlinux_value"}, "none", "vmlinux:struct x#1"},
		{"type of a map", func(s *state.State) { s.Maps[2].Types = nil }, []string{"map counts types"}, "int /* signed, 32 bits of 4 bytes */", "nothing of the kind"},
		{"type of a program", func(s *state.State) { s.Types[1] = "struct task { } /* 0 bytes */" }, []string{"program run types"},
			"struct task { int pid; /* 0 */ } /* 4 bytes */", "struct task { } /* 0 bytes */"},
		{"map without BTF", func(s *state.State) { s.Maps[2].BTF = "" }, []string{"map counts btf"}, "4 types, hash b0", "none"},
		{"contents byte", func(s *state.State) { s.Maps[1].Contents.Entries[0].Value = []byte{8} }, []string{"map .rodata contents"},
			"[0]+0x0: 07000000000000000000000000000000", "[0]+0x0: 08000000000000000000000000000000"},
		{"contents not read", func(s *state.State) { s.Maps[1].Contents = state.Contents{NotRead: "write-only"} }, []string{"map .rodata contents"},
			"1 elements that are not zero", "not read: write-only"},
		{"element added", func(s *state.State) { s.Maps[2].Contents.Entries = []state.Entry{{Key: []byte("longkey"), Value: nil}} }, []string{"map counts contents"},
			"nothing of the kind", "[6c6f6e676b6579] zero"},
		{"slot", func(s *state.State) {
			s.Maps[2].Contents.Entries = []state.Entry{{Key: []byte{1, 0, 0, 0}, Ref: "run"}}
		}, []string{"map counts contents"},
			"nothing of the kind", "[1] run"},

		{"program gone", func(s *state.State) { s.Programs = nil }, []string{"program run"}, "loaded", "absent"},
		{"program type", func(s *state.State) { s.Programs[0].Type = 4 }, []string{"program run type"}, "3", "4"},
		{"tag", func(s *state.State) { s.Programs[0].Tag = "ff" }, []string{"program run tag"}, "0123456789abcdef", "ff"},
		{"program name", func(s *state.State) { s.Programs[0].KernelName = "ran" }, []string{"program run name"}, "run", "ran"},
		{"uid", func(s *state.State) { s.Programs[0].UID = 1 }, []string{"program run uid"}, "0", "1"},
		{"program ifindex", func(s *state.State) { s.Programs[0].IfIndex = 1 }, []string{"program run ifindex"}, "0", "1"},
		{"program netns", func(s *state.State) { s.Programs[0].NetnsDev = 1 }, []string{"program run netns"}, "none", "1:0"},
		{"gpl", func(s *state.State) { s.Programs[0].GPL = false }, []string{"program run gpl"}, "true", "false"},
		{"map order", func(s *state.State) { slices.Reverse(s.Programs[0].Maps) }, []string{"program run maps"}, "counts, .rodata", ".rodata, counts"},
		{"bound", func(s *state.State) { s.Programs[0].Bound = []string{".bss"} }, []string{"program run bound"}, "none", ".bss"},
		{"attach target", func(s *state.State) { s.Programs[0].Attach = ptr("vmlinux:func do_rmdir#78") }, []string{"program run attach"},
			"vmlinux:func do_unlinkat#77", "vmlinux:func do_rmdir#78"},
		{"attach target absent", func(s *state.State) { s.Programs[0].Attach = nil }, []string{"program run attach"}, "vmlinux:func do_unlinkat#77", "absent"},
		{"no attach target", func(s *state.State) { s.Programs[0].Attach = ptr("") }, []string{"program run attach"}, "vmlinux:func do_unlinkat#77", "none"},
		{"verified", func(s *state.State) { s.Programs[0].VerifiedInsns = ptr(uint32(8)) }, []string{"program run verified_insns"}, "9", "8"},
		{"verified absent", func(s *state.State) { s.Programs[0].VerifiedInsns = nil }, []string{"program run verified_insns"}, "9", "absent"},
		{"attach type", func(s *state.State) { s.Programs[0].AttachType = ptr(uint32(37)) }, []string{"program run attach_type"}, "0", "37"},
		{"sleepable", func(s *state.State) { s.Programs[0].Sleepable = ptr(true) }, []string{"program run sleepable"}, "false", "true"},
		{"sleepable absent", func(s *state.State) { s.Programs[0].Sleepable = nil }, []string{"program run sleepable"}, "false", "absent"},
		{"frags", func(s *state.State) { s.Programs[0].Frags = ptr(true) }, []string{"program run frags"}, "false", "true"},
		{"jited", func(s *state.State) { s.Programs[0].JitedLens = nil }, []string{"program run jited_functions"}, "3", "0"},
		{"tags", func(s *state.State) { s.Programs[0].Tags = []string{"aa"} }, []string{"program run tags"}, "none", "aa"},
		{"hidden", func(s *state.State) { s.Programs[0].Hidden = true }, []string{"program run dump"}, "complete", "without call targets"},
		{"unread", func(s *state.State) { s.Programs[0].Unread = true }, []string{"program run dump"}, "complete", "withheld"},
		{"func_info", func(s *state.State) { s.Programs[0].FuncInfo = false }, []string{"program run func_info"}, "true", "false"},
		{"program BTF", func(s *state.State) { s.Programs[0].BTF = "b1" }, []string{"program run btf"}, "4 types, hash b0", "hash b1"},

		{"function order", func(s *state.State) { slices.Reverse(s.Programs[0].Functions[1:]) }, []string{"program run function_order"},
			"run, left, right", "run, right, left"},
		{"function gone", func(s *state.State) { s.Programs[0].Functions = s.Programs[0].Functions[:2] }, []string{"program run function right"}, "present", "absent"},
		{"linkage", func(s *state.State) { s.Programs[0].Functions[2].Linkage = "static" }, []string{"program run function right linkage"}, "global", "static"},
		{"prototype", func(s *state.State) { s.Programs[0].Functions[0].Proto = "int (void)" }, []string{"program run prototype"}, "int (void *ctx)", "int (void)"},
		{"function tag", func(s *state.State) { s.Programs[0].Functions[1].Tag = state.AddressTag }, []string{"program run function left function_tag"},
			"2222222222222222", "covers an address"},
		{"constant", func(s *state.State) { s.Programs[0].Functions[0].Insns[7*8+4] = 6 }, []string{"program run insns"}, "7: r0 = 5", "7: r0 = 6"},
		{"helper", func(s *state.State) { s.Programs[0].Functions[0].Insns[4*8+4] = 0x50 }, []string{"program run insns"},
			"4: call helper 0x1a40", "4: call helper 0x1a50"},
		{"shorter", func(s *state.State) { s.Programs[0].Functions[2].Insns = s.Programs[0].Functions[2].Insns[:8] },
			[]string{"program run function right insns"}, "1: exit", "no more instructions"},
		{"map reference", func(s *state.State) { s.Programs[0].Functions[0].Refs[0].To = ".bss" }, []string{"program run insns"},
			"0: r1 = map counts", "0: r1 = map .bss"},
		{"value offset", func(s *state.State) { s.Programs[0].Functions[0].Refs[1].Offset = 0 }, []string{"program run insns"},
			"2: r2 = value of map .rodata+4", "2: r2 = value of map .rodata+0"},
		{"calls swapped", func(s *state.State) {
			r := s.Programs[0].Functions[0].Refs
			r[2].To, r[3].To = r[3].To, r[2].To
		}, []string{"program run insns"}, "5: call left", "5: call right"},
		{"kfunc of another module", func(s *state.State) { s.Programs[0].Functions[1].Refs[0].To = "bpf_ct_release [nf_nat]" },
			[]string{"program run function left insns"}, "0: call bpf_ct_release [nf_conntrack]", "0: call bpf_ct_release [nf_nat]"},
		{"kfunc index", func(s *state.State) { s.Programs[0].Functions[1].Refs[0].Index = 2 }, []string{"program run function left kfunc_index"},
			"bpf_ct_release [nf_conntrack]: 1", "bpf_ct_release [nf_conntrack]: 2"},
		{"symbol", func(s *state.State) { s.Programs[0].Functions[1].Refs[1].To = "jiffies_64 [vmlinux]" }, []string{"program run function left insns"},
			"1: r0 = address of jiffies [vmlinux]", "1: r0 = address of jiffies_64 [vmlinux]"},
		{"source line", func(s *state.State) { s.Strings[1] = "run.c:10:2 return 5;" }, []string{"program run line_info"},
			"7: run.c:9:2 return 5;", "7: run.c:10:2 return 5;"},
		{"line elsewhere", func(s *state.State) { s.Programs[0].Functions[0].Lines[1][0] = 6 }, []string{"program run line_info"},
			"7: run.c:9:2 return 5;", "6: run.c:9:2 return 5;"},
		{"line gone", func(s *state.State) { s.Programs[0].Functions[1].Lines = nil }, []string{"program run function left line_info"},
			"0: run.c:20:2 return left();", "nothing of the kind"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := sample()
			tt.mutate(b)
			found := differences(t, sample(), b)
			var fields []string
			for _, d := range found {
				fields = append(fields, d.Field.String())
				assert.Equal(t, len(d.ExplainedBy), 0)
			}
			assert.DeepEqual(t, fields, tt.fields)
			assert.Equal(t, found[0].A, tt.a)
			assert.Equal(t, found[0].B, tt.b)
		})
	}
}

// TestNotCompared: what cilium/ebpf does differently without meaning to the kernel is no
// difference. Nor is a field that cannot be read from what an engine leaves.
func TestNotCompared(t *testing.T) {
	for name, test := range map[string]struct {
		engine string
		change func(s *state.State)
	}{
		"name of a data map":  {enginename.Direct, func(s *state.State) { s.Maps[0].KernelName = ".bss" }},
		"whole types":         {enginename.Direct, func(s *state.State) { s.Maps[2].BTF, s.Programs[0].BTF = "b1", "b2" }},
		"access of an fd":     {enginename.Libbpf, func(s *state.State) { s.Maps[2].Access = "" }},
		"access of a kconfig": {enginename.Direct, func(s *state.State) { s.Maps[0].Access = "" }},
	} {
		changed := sample()
		test.change(changed)
		found := States(changed, sample(), Context{Engine: test.engine, Release: release}, Context{Engine: enginename.Replay, Release: release})
		assert.Equal(t, len(found), 0, "%s: %v", name, found)
	}
}

// TestAbsentOnBothSidesIsEqual: "absent" equals only "absent".
func TestAbsentOnBothSidesIsEqual(t *testing.T) {
	old := func() *state.State {
		s := sample()
		s.Programs[0].Attach, s.Programs[0].VerifiedInsns = nil, nil
		s.Maps[0].Extra, s.Maps[0].Frozen = nil, nil
		return s
	}
	assert.Equal(t, len(differences(t, old(), old())), 0)
}

// TestCompareLooksStringsUp: strings are compared by text, not by index.
func TestCompareLooksStringsUp(t *testing.T) {
	b := sample()
	slices.Reverse(b.Strings)
	f := b.Programs[0].Functions
	f[0].Lines, f[1].Lines = [][2]uint32{{0, 2}, {7, 1}}, [][2]uint32{{0, 0}}
	assert.Equal(t, len(differences(t, sample(), b)), 0)
}

// TestCompareDamaged: States does not trust a state that was damaged in transit, and does not
// panic.
func TestCompareDamaged(t *testing.T) {
	b := sample()
	b.Strings = nil
	b.Programs[0].Functions[0].Insns = b.Programs[0].Functions[0].Insns[:13]
	found := differences(t, sample(), b)
	assert.Assert(t, len(found) > 0)
}

func TestDifferenceDetail(t *testing.T) {
	b := sample()
	f := &b.Programs[0].Functions[0]
	f.Insns[7*8+4] = 6
	f.Refs[0].To = ".bss"
	found := differences(t, sample(), b)
	assert.Equal(t, len(found), 1)
	golden.Assert(t, found[0].Detail, "insns.diff")
}

func TestDifferenceOfLongValues(t *testing.T) {
	a, b := sample(), sample()
	a.Maps[2].Value = "struct a { " + strings.Repeat("int x; ", 40) + "}\nstruct b"
	b.Maps[2].Value = "struct a { " + strings.Repeat("int x; ", 40) + "}\nstruct c"
	found := differences(t, a, b)
	assert.Equal(t, len(found), 1)
	assert.Assert(t, strings.HasSuffix(found[0].A, "…"))
	assert.Assert(t, strings.Contains(found[0].Detail, "-struct b\n+struct c\n"), found[0].Detail)
}

func TestDifferenceJSON(t *testing.T) {
	b := sample()
	b.Maps[1].Frozen = ptr(false)
	got, err := json.Marshal(differences(t, sample(), b))
	assert.NilError(t, err)
	assert.Equal(t, string(got), `[{"field":"map .rodata frozen","a":"true","b":"false","explained_by":[]}]`)
	// Older reports have text instead of a list.
	for text, want := range map[string]RuleIDs{`""`: {}, `"a"`: {"a"}, `"a, b"`: {"a", "b"}, `["a","b"]`: {"a", "b"}} {
		var ids RuleIDs
		assert.NilError(t, json.Unmarshal([]byte(text), &ids))
		assert.DeepEqual(t, ids, want)
	}
}

// TestFields: each field of a rule is an aspect of States, or a map, program or function that only
// one side has.
func TestFields(t *testing.T) {
	known := map[field.Aspect]bool{ofMap(""): true, ofProgram(""): true, ofFunction(""): true}
	for _, f := range Aspects() {
		_, ok := kversion.Parse(f.Since)
		assert.Assert(t, ok, f)
		assert.Assert(t, !known[f.Aspect], "%s is listed twice", f)
		known[f.Aspect] = true
	}
	for _, r := range Rules() {
		for _, f := range r.Fields {
			assert.Assert(t, known[f], "rule %s is about the unknown field %s", r.ID, f)
		}
	}
}

// FuzzCompare: States accepts any state that a guest can send.
func FuzzCompare(f *testing.F) {
	seed, err := json.Marshal(sample())
	assert.NilError(f, err)
	f.Add(seed)
	for _, test := range ruleTests {
		s := &scenario{left: sample(), right: sample(), facts: sampleFacts()}
		test.make(s)
		seed, err := json.Marshal(s.left)
		assert.NilError(f, err)
		f.Add(seed)
	}
	facts := sampleFacts()
	facts.Programs["run"] = ProgramFacts{
		LocalTypeIDs: map[uint32]string{5: "struct task"}, KfuncAddresses: []string{"jiffies"}, WideCORE: true,
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var s state.State
		if json.Unmarshal(data, &s) != nil {
			return
		}
		right := sample()
		right.Maps = append(right.Maps, kconfigOf("datasec .kconfig { global int HZ; /* 0, 2 bytes */ } /* 8 bytes */", 5, 6))
		direct := Context{Engine: enginename.Direct, Release: release, Object: facts}
		trace := Context{Engine: enginename.Trace, Release: release, Object: facts}
		there, back := States(&s, right, direct, trace), States(right, &s, trace, direct)
		assert.Equal(t, len(there), len(back))
		for i := range there {
			assert.Equal(t, there[i].Field, back[i].Field)
			assert.DeepEqual(t, there[i].ExplainedBy, back[i].ExplainedBy)
		}
		assert.Equal(t, len(States(&s, &s, direct, direct)), 0)
	})
}
