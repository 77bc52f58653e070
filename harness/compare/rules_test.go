package compare

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/internal/kversion"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// scenario is two states of one object, as the two engines of a rule leave them.
type scenario struct {
	left, right *state.State
	facts       *Facts
	release     string
	engines     [2]string
}

func (s *scenario) fn(side *state.State, name string) *state.Function {
	return side.Programs[0].FindFunction(name)
}

// patch replaces the immediate of slot i.
func patch(f *state.Function, i int, imm uint32) {
	f.Insns = slices.Clone(f.Insns)
	binary.LittleEndian.PutUint32(f.Insns[i*8+4:], imm)
}

func (s *scenario) program(change func(f *ProgramFacts)) {
	p := s.facts.Programs["run"]
	change(&p)
	s.facts.Programs["run"] = p
}

// A ruleTest makes a difference in one field that the rule explains. Each near miss is a similar
// difference that the rule must not explain.
type ruleTest struct {
	field string
	make  func(s *scenario)
	near  map[string]func(s *scenario)
}

func kconfigOf(value string, contents ...byte) state.Map {
	return state.Map{
		Name: kconfig, Copies: 1, Type: uapi.MapArray, KeySize: 4, ValueSize: 8, MaxEntries: 1, Flags: 1<<7 | flagMmapable,
		BTF: "b0", Key: "void", Value: value, Contents: state.Contents{Entries: []state.Entry{{Key: make([]byte, 4), Value: contents}}},
	}
}

// withKconfig adds a .kconfig map to both sides, with the layout of each engine.
func withKconfig(s *scenario) {
	s.left.Maps = append(s.left.Maps, kconfigOf(
		"datasec .kconfig { global int VERSION; /* 0, 4 bytes */ global int HZ; /* 4, 2 bytes */ } /* 8 bytes */", 1, 2, 3, 4, 5, 6))
	s.right.Maps = append(s.right.Maps, kconfigOf(
		"datasec .kconfig { global int HZ; /* 0, 2 bytes */ global int VERSION; /* 4, 4 bytes */ } /* 8 bytes */", 5, 6, 0, 0, 1, 2, 3, 4))
}

// withVersions adds .kconfig maps with LINUX_KERNEL_VERSION 6.1.0, on the side of libbpf, and
// 6.minor.patch.
func withVersions(minor, patch byte) func(s *scenario) {
	return func(s *scenario) {
		const value = "datasec .kconfig { global int HZ; /* 0, 2 bytes */ global int LINUX_KERNEL_VERSION; /* 4, 4 bytes */ } /* 8 bytes */"
		s.left.Maps = append(s.left.Maps, kconfigOf(value, 5, 0, 0, 0, 0, 1, 6))
		s.right.Maps = append(s.right.Maps, kconfigOf(value, 5, 0, 0, 0, patch, minor, 6))
		s.engines, s.release = [2]string{enginename.Libbpf, enginename.Replay}, "6.1.0-57-amd64"
	}
}

// withoutTypes is libbpf's load of an object with an empty section on a kernel that refuses it.
func withoutTypes(s *scenario) {
	s.facts.EmptySection = true
	s.left.Programs[0].BTF, s.left.Programs[0].FuncInfo = "", false
	s.right.Programs[0].FuncInfo = true
	s.engines, s.release = [2]string{enginename.Libbpf, enginename.Trace}, "5.10.0-46-amd64"
}

// sameKconfig makes the two .kconfig maps equal again.
func sameKconfig(s *scenario) {
	withKconfig(s)
	*s.left.FindMap(kconfig) = *s.right.FindMap(kconfig)
}

// structOpsFilled adds a struct_ops map that is set on the left.
func structOpsFilled(ref string) func(s *scenario) {
	return func(s *scenario) {
		ops := state.Map{Name: "ops", Copies: 1, Type: uapi.MapStructOps, KeySize: 4, ValueSize: 256, MaxEntries: 1, Flags: 1 << 13}
		s.right.Maps = append(s.right.Maps, ops)
		ops.Contents.Entries = []state.Entry{{Key: make([]byte, 4), Ref: ref}}
		s.left.Maps = append(s.left.Maps, ops)
		s.facts.StructOps = map[string]StructOpsFacts{
			"ops":   {Type: "control", Members: map[string]string{"init": "run"}},
			"other": {Type: "control", Members: map[string]string{"init": "left", "release": "right"}},
		}
	}
}

// orderSwapped appends the subprograms in another order on the left.
func orderSwapped(s *scenario) {
	slices.Reverse(s.left.Programs[0].Functions[1:])
	s.program(func(f *ProgramFacts) { f.Order = []string{"run", "left", "right"} })
}

// removed is a function that the verifier has removed. libbpf puts it after run, cilium/ebpf puts
// it last.
func removed(s *scenario) {
	s.program(func(f *ProgramFacts) {
		f.Order = []string{"run", "gone", "left", "right"}
		f.Breadth = []string{"run", "left", "right", "gone"}
	})
}

func tagDiffers(s *scenario) { s.left.Programs[0].Tag = "fedcba9876543210" }

// takesAddress makes function "left" take the address of another function.
func takesAddress(of string) func(s *scenario) {
	return func(s *scenario) {
		for _, side := range []*state.State{s.left, s.right} {
			s.fn(side, "left").Refs[1] = state.Ref{At: 1, Kind: state.RefFunc, To: of}
		}
	}
}

func codeDiffers(s *scenario) { patch(s.fn(s.left, "right"), 0, 2) }

// all combines several changes.
func all(changes ...func(s *scenario)) func(s *scenario) {
	return func(s *scenario) {
		for _, change := range changes {
			change(s)
		}
	}
}

// typeIDs makes the id of struct task an immediate: 2 on the left, 40 in the object.
func typeIDs(s *scenario) {
	patch(s.fn(s.left, "run"), 7, 2)
	patch(s.fn(s.right, "run"), 7, 40)
	s.program(func(f *ProgramFacts) { f.LocalTypeIDs = map[uint32]string{40: "struct task"} })
}

// kfuncAddress replaces the address of "jiffies" by that of a kfunc.
func kfuncAddress(s *scenario) {
	f := s.fn(s.left, "left")
	f.Refs = f.Refs[:1]
	patch(f, 1, 4711)
	s.fn(s.right, "left").Refs[1].To = "bpf_ct_release [nf_conntrack]"
	s.program(func(f *ProgramFacts) { f.KfuncAddresses = []string{"bpf_ct_release"} })
}

// kfuncTest adds a test of that address, which the verifier of 7.2 has folded on the left.
func kfuncTest(s *scenario) {
	kfuncAddress(s)
	s.release = "7.3.4+deb13-cloud-amd64"
	s.fn(s.left, "left").Lines = [][2]uint32{{0, 2}, {3, 1}}
	f := s.fn(s.right, "left")
	f.Lines = [][2]uint32{{0, 2}, {4, 1}}
	f.Insns = insns([5]int64{0x85, 0, 2, 0, 0}, [5]int64{0x18, 0, 0, 0, 0}, [5]int64{0, 0, 0, 0, 0},
		[5]int64{0x15, 0, 0, 0, 0}, [5]int64{0x95, 0, 0, 0, 0})
}

func hidden(s *scenario) {
	s.fn(s.right, "right").Linkage = "static"
	s.program(func(f *ProgramFacts) { f.Hidden = []string{"right"} })
}

// hiddenVariables hides one of two variables.
func hiddenVariables(s *scenario) {
	s.left.FindMap(".bss").Value = "datasec .bss { global u32 few[2]; /* 0, 8 bytes */ global u32 seen; /* 8, 4 bytes */ } /* 12 bytes */"
	s.right.FindMap(".bss").Value = "datasec .bss { static u32 few[2]; /* 0, 8 bytes */ global u32 seen; /* 8, 4 bytes */ } /* 12 bytes */"
	s.facts.HiddenVariables = map[string][]string{".bss": {"few"}}
}

// enumTwins adds a type to our BTF.
func enumTwins(s *scenario) {
	s.engines, s.facts.EnumCORE = [2]string{enginename.Libbpf, enginename.Replay}, 1
	s.right.BTF = append(s.right.BTF, state.BTF{Hash: "b1", Types: 5})
	s.right.Programs[0].BTF = "b1"
}

// poisonedLine adds a line that cilium/ebpf has invented on the left.
func poisonedLine(s *scenario) {
	s.left.Strings = append(s.left.Strings, poisoned)
	f := s.fn(s.left, "run")
	f.Lines = append(slices.Clone(f.Lines), [2]uint32{8, 3})
}

// oldLibbpf makes .bss mappable on the left although its variables are static.
func oldLibbpf(s *scenario) {
	s.engines = [2]string{enginename.Libbpf, enginename.Replay}
	s.right.FindMap(".bss").Flags = 0
	s.facts.StaticOnly = []string{".bss"}
}

// clamped makes counts a perf event array of 16 slots, on a machine with 4 CPUs.
func clamped(s *scenario) {
	s.left.FindMap("counts").Type, s.right.FindMap("counts").Type = uapi.MapPerfEventArray, uapi.MapPerfEventArray
	s.left.FindMap("counts").MaxEntries = 4
	s.facts.Entries = map[string]uint32{"counts": 16}
}

// secondKfunc adds a call of another kfunc of the module. It has the slot index on the right and
// its own slot on the left.
func secondKfunc(s *scenario, index uint16) {
	for _, side := range []*state.State{s.left, s.right} {
		f := s.fn(side, "right")
		f.Insns = slices.Concat(insns([5]int64{0x85, 0, 2, 0, 0}), f.Insns)
		f.Refs = []state.Ref{{At: 0, Kind: state.RefKfunc, To: "bpf_ct_insert [nf_conntrack]", Index: 3}}
	}
	s.fn(s.right, "right").Refs[0].Index = index
}

// lightIndex gives a kfunc of a module the index that libbpf's loader programs use.
func lightIndex(s *scenario) {
	s.engines = [2]string{enginename.LibbpfLight, enginename.Libbpf}
	s.fn(s.left, "left").Refs[0].Index = 64
}

// mapIndexTag gives a program the tag of one that refers to maps by index.
func mapIndexTag(s *scenario) {
	tagDiffers(s)
	s.engines = [2]string{enginename.LibbpfLight, enginename.Replay}
}

var ruleTests = map[string]ruleTest{
	"mmapable-static-only": {
		field: "map .bss flags",
		make: func(s *scenario) {
			s.right.FindMap(".bss").Flags = 0
			s.facts.StaticOnly = []string{".bss"}
		},
		near: map[string]func(s *scenario){
			"variable is visible": func(s *scenario) { s.right.FindMap(".bss").Flags = 0 },
			"right mappable": func(s *scenario) {
				s.left.FindMap(".bss").Flags = 0
				s.facts.StaticOnly = []string{".bss"}
			},
			"another flag too": func(s *scenario) {
				s.right.FindMap(".bss").Flags = 1
				s.facts.StaticOnly = []string{".bss"}
			},
		},
	},
	"hidden-variables": {
		field: "map .bss value_type",
		make:  hiddenVariables,
		near: map[string]func(s *scenario){
			"not hidden": func(s *scenario) { hiddenVariables(s); s.facts.HiddenVariables = nil },
			"another is static, too": func(s *scenario) {
				hiddenVariables(s)
				m := s.right.FindMap(".bss")
				m.Value = strings.Replace(m.Value, "global u32 seen", "static u32 seen", 1)
			},
			"another type": func(s *scenario) {
				hiddenVariables(s)
				s.right.FindMap(".bss").Value += "\nstruct pair { u32 left; /* 0 */ } /* 4 bytes */"
			},
			"other types": func(s *scenario) {
				hiddenVariables(s)
				s.left.Types = append(s.left.Types, "u64 /* unsigned, 64 bits of 8 bytes */")
				m := s.left.FindMap(".bss")
				m.Types = append(m.Types, uint32(len(s.left.Types)-1))
			},
			"global on the right": func(s *scenario) {
				hiddenVariables(s)
				l, r := s.left.FindMap(".bss"), s.right.FindMap(".bss")
				l.Value, r.Value = r.Value, l.Value
			},
		},
	},
	"enum-twins": {
		field: "program run btf",
		make:  enumTwins,
		near: map[string]func(s *scenario){
			"no enum":       func(s *scenario) { enumTwins(s); s.facts.EnumCORE = 0 },
			"more than one": func(s *scenario) { enumTwins(s); s.right.BTF[1].Types++ },
			"an old kernel": func(s *scenario) { enumTwins(s); s.release = "5.15.1" },
			"of cilium/ebpf and libbpf": func(s *scenario) {
				enumTwins(s)
				s.engines = [2]string{enginename.LibbpfLight, enginename.Libbpf}
			},
		},
	},
	"core-poison-line": {
		field: "program run line_info",
		make:  poisonedLine,
		near: map[string]func(s *scenario){
			"another line, too": func(s *scenario) { poisonedLine(s); s.fn(s.right, "run").Lines[0][1] = 2 },
			"another line":      func(s *scenario) { poisonedLine(s); s.left.Strings[3] = "run.c:8:1 x" },
			"of the other": func(s *scenario) {
				poisonedLine(s)
				s.left.Programs, s.right.Programs, s.left.Strings, s.right.Strings = s.right.Programs, s.left.Programs, s.right.Strings, s.left.Strings
			},
		},
	},
	"hidden-variables-libbpf": {
		field: "map .bss value_type",
		make:  func(s *scenario) { hiddenVariables(s); s.engines = [2]string{enginename.Libbpf, enginename.Replay} },
		near: map[string]func(s *scenario){
			"not hidden": func(s *scenario) {
				hiddenVariables(s)
				s.engines, s.facts.HiddenVariables = [2]string{enginename.Libbpf, enginename.Replay}, nil
			},
			"two of libbpf": func(s *scenario) {
				hiddenVariables(s)
				s.engines = [2]string{enginename.Libbpf, enginename.LibbpfLight}
			},
		},
	},
	"mmapable-static-only-libbpf": {
		field: "map .bss flags",
		make:  oldLibbpf,
		near: map[string]func(s *scenario){
			"variable is visible": func(s *scenario) { oldLibbpf(s); s.facts.StaticOnly = nil },
			"ours is mappable": func(s *scenario) {
				oldLibbpf(s)
				s.left.FindMap(".bss").Flags, s.right.FindMap(".bss").Flags = 0, flagMmapable
			},
			"another flag too": func(s *scenario) { oldLibbpf(s); s.right.FindMap(".bss").Flags = 1 },
			"libbpf against itself": func(s *scenario) {
				oldLibbpf(s)
				s.engines = [2]string{enginename.Libbpf, enginename.LibbpfLight}
			},
		},
	},
	"kconfig-not-mmapable": {
		field: "map .kconfig flags",
		make: func(s *scenario) {
			sameKconfig(s)
			s.left.FindMap(kconfig).Flags = 1 << 7
		},
		near: map[string]func(s *scenario){
			"right not mappable": func(s *scenario) {
				sameKconfig(s)
				s.right.FindMap(kconfig).Flags = 1 << 7
			},
			"left writable too": func(s *scenario) {
				sameKconfig(s)
				s.left.FindMap(kconfig).Flags = 0
			},
		},
	},
	"kconfig-per-program": {
		field: "map .kconfig copies",
		make: func(s *scenario) {
			sameKconfig(s)
			for _, side := range []*state.State{s.left, s.right} {
				side.Programs[0].Bound = []string{kconfig}
				second := side.Programs[0]
				second.Name = "second"
				side.Programs = append(side.Programs, second)
			}
			s.left.FindMap(kconfig).Copies = 2
		},
		near: map[string]func(s *scenario){
			"more copies than programs": func(s *scenario) {
				sameKconfig(s)
				s.left.Programs[0].Bound, s.right.Programs[0].Bound = []string{kconfig}, []string{kconfig}
				s.left.FindMap(kconfig).Copies = 2
			},
			"copies on the right": func(s *scenario) {
				sameKconfig(s)
				s.right.FindMap(kconfig).Copies = 2
			},
		},
	},
	"kconfig-key-type": {
		field: "map .kconfig key_type",
		make: func(s *scenario) {
			sameKconfig(s)
			s.left.FindMap(kconfig).Key = " /* unsigned, 32 bits of 4 bytes */"
		},
		near: map[string]func(s *scenario){
			"typed on the right": func(s *scenario) {
				sameKconfig(s)
				s.right.FindMap(kconfig).Key = " /* unsigned, 32 bits of 4 bytes */"
			},
			"another type": func(s *scenario) {
				sameKconfig(s)
				s.left.FindMap(kconfig).Key = "struct key { }"
			},
		},
	},
	"kconfig-layout": {
		field: "map .kconfig value_type",
		make:  withKconfig,
		near: map[string]func(s *scenario){
			"variable missing": func(s *scenario) {
				withKconfig(s)
				s.left.FindMap(kconfig).Value = "datasec .kconfig { global int VERSION; /* 0, 4 bytes */ } /* 8 bytes */"
			},
			"another size": func(s *scenario) {
				withKconfig(s)
				s.left.FindMap(kconfig).Value = "datasec .kconfig { global int VERSION; /* 0, 4 bytes */ global int HZ; /* 4, 4 bytes */ } /* 8 bytes */"
			},
			"not the size of its type": func(s *scenario) {
				withKconfig(s)
				s.left.FindMap(kconfig).ValueSize = 12
			},
			"another type": func(s *scenario) {
				withKconfig(s)
				s.left.FindMap(kconfig).Value += "\nenum libbpf_tristate { TRI_NO = 0, }"
			},
		},
	},
	"struct-ops-filled": {
		field: "map ops contents",
		make:  structOpsFilled("READY init=run"),
		near: map[string]func(s *scenario){
			"another program":     structOpsFilled("READY init=right"),
			"a member is missing": structOpsFilled("READY"),
			"in use":              structOpsFilled("INUSE init=run"),
			"other contents on the right": func(s *scenario) {
				structOpsFilled("READY init=run")(s)
				s.right.FindMap("ops").Contents.Entries = []state.Entry{{Key: make([]byte, 4), Ref: "READY"}}
			},
			"not read": func(s *scenario) {
				structOpsFilled("READY init=run")(s)
				s.right.FindMap("ops").Contents.NotRead = "EPERM"
			},
			"not read on the left": func(s *scenario) {
				structOpsFilled("READY init=run")(s)
				s.left.FindMap("ops").Contents.NotRead = "EPERM"
			},
			"another key": func(s *scenario) {
				structOpsFilled("READY init=run")(s)
				s.left.FindMap("ops").Contents.Entries[0].Key[0] = 1
			},
			"another name": func(s *scenario) {
				structOpsFilled("READY init=run")(s)
				s.left.FindMap("ops").Contents.Entries[0].Value = []byte("x")
			},
			"an older kernel": func(s *scenario) {
				structOpsFilled("READY init=run")(s)
				s.release = "6.1.0"
			},
		},
	},
	"struct-ops-mixed": {
		field: "map ops contents",
		make:  structOpsFilled("READY init=run release=right"),
		near: map[string]func(s *scenario){
			"a program of no map":  structOpsFilled("READY init=run release=left"),
			"a member of no map":   structOpsFilled("READY init=run undo=right"),
			"its own is missing":   structOpsFilled("READY release=right"),
			"its own is another's": structOpsFilled("READY init=right release=right"),
			"another type's member": func(s *scenario) {
				structOpsFilled("READY init=run release=right")(s)
				s.facts.StructOps["other"] = StructOpsFacts{Type: "queue", Members: s.facts.StructOps["other"].Members}
			},
		},
	},
	"kconfig-version": {
		field: "map .kconfig contents",
		make:  withVersions(1, 192),
		near: map[string]func(s *scenario){
			"another minor number": withVersions(2, 192),
			"the release has one": func(s *scenario) {
				withVersions(1, 192)(s)
				s.release = "6.1.5"
			},
			"another variable": func(s *scenario) {
				withVersions(1, 192)(s)
				s.right.FindMap(kconfig).Contents.Entries[0].Value[0] = 6
			},
			"another kernel": func(s *scenario) {
				withVersions(1, 192)(s)
				s.release = "6.6.0-5-amd64"
			},
		},
	},
	"empty-section-libbpf": {
		field: "program run func_info",
		make:  withoutTypes,
		near: map[string]func(s *scenario){
			"no empty section": func(s *scenario) {
				withoutTypes(s)
				s.facts.EmptySection = false
			},
			"another kernel": func(s *scenario) {
				withoutTypes(s)
				s.release = "5.12.0"
			},
			"libbpf has types": func(s *scenario) {
				withoutTypes(s)
				s.left.Programs[0].BTF = s.right.Programs[0].BTF
			},
		},
	},
	"kconfig-layout-contents": {
		field: "map .kconfig contents",
		make:  withKconfig,
		near: map[string]func(s *scenario){
			"another value": func(s *scenario) {
				withKconfig(s)
				s.left.FindMap(kconfig).Contents.Entries[0].Value = []byte{1, 2, 3, 4, 5, 7}
			},
			"another key": func(s *scenario) {
				withKconfig(s)
				s.left.FindMap(kconfig).Contents.Entries[0].Key = []byte{1, 0, 0, 0}
			},
			"a reference": func(s *scenario) {
				withKconfig(s)
				s.left.FindMap(kconfig).Contents.Entries[0].Ref = "run"
			},
			"something between variables": func(s *scenario) {
				withKconfig(s)
				s.right.FindMap(kconfig).Contents.Entries[0].Value = []byte{5, 6, 7, 0, 1, 2, 3, 4}
			},
			"one layout": func(s *scenario) {
				sameKconfig(s)
				m := s.left.FindMap(kconfig)
				m.Contents = state.Contents{Entries: []state.Entry{{Key: make([]byte, 4), Value: []byte{5, 6, 1, 0, 1, 2, 3, 4}}}}
			},
			"not read": func(s *scenario) {
				withKconfig(s)
				s.left.FindMap(kconfig).Contents = state.Contents{NotRead: "write-only"}
			},
		},
	},
	"kconfig-layout-insns": {
		field: "program run insns",
		make: func(s *scenario) {
			withKconfig(s)
			s.fn(s.left, "run").Refs[1] = state.Ref{At: 2, Kind: state.RefValue, To: kconfig, Offset: 4}
			s.fn(s.right, "run").Refs[1] = state.Ref{At: 2, Kind: state.RefValue, To: kconfig, Offset: 0}
		},
		near: map[string]func(s *scenario){
			"another variable": func(s *scenario) {
				withKconfig(s)
				s.fn(s.left, "run").Refs[1] = state.Ref{At: 2, Kind: state.RefValue, To: kconfig, Offset: 0}
				s.fn(s.right, "run").Refs[1] = state.Ref{At: 2, Kind: state.RefValue, To: kconfig, Offset: 0}
				s.fn(s.right, "run").Refs[1].Offset = 2
			},
			"another map": func(s *scenario) {
				withKconfig(s)
				s.fn(s.left, "run").Refs[1] = state.Ref{At: 2, Kind: state.RefValue, To: kconfig, Offset: 4}
				s.fn(s.right, "run").Refs[1] = state.Ref{At: 2, Kind: state.RefValue, To: ".bss", Offset: 0}
			},
			"another register": func(s *scenario) {
				withKconfig(s)
				s.fn(s.left, "run").Refs[1] = state.Ref{At: 2, Kind: state.RefValue, To: kconfig, Offset: 4}
				f := s.fn(s.right, "run")
				f.Refs[1] = state.Ref{At: 2, Kind: state.RefValue, To: kconfig, Offset: 0}
				f.Insns[2*8+1]++
			},
		},
	},
	"entries-clamped-to-cpus": {
		field: "map counts max_entries",
		make:  clamped,
		near: map[string]func(s *scenario){
			"hash": func(s *scenario) {
				clamped(s)
				s.left.FindMap("counts").Type, s.right.FindMap("counts").Type = uapi.MapHash, uapi.MapHash
			},
			"not the number of CPUs": func(s *scenario) { clamped(s); s.left.FindMap("counts").MaxEntries = 3 },
			"right is smaller":       func(s *scenario) { clamped(s); s.right.FindMap("counts").MaxEntries = 2 },
			"right is another size": func(s *scenario) {
				clamped(s)
				s.right.FindMap("counts").MaxEntries = 17 // not the object's max_entries
			},
			"no object": func(s *scenario) { clamped(s); s.facts = nil },
		},
	},
	"usdt-one-by-one": {
		field: "program run attach_type",
		make: func(s *scenario) {
			s.left.Programs[0].AttachType, s.right.Programs[0].AttachType = ptr(uint32(0)), ptr(uint32(traceUprobeMulti))
			s.facts.USDT = []string{"run"}
		},
		near: map[string]func(s *scenario){
			"not for USDT": func(s *scenario) {
				s.left.Programs[0].AttachType, s.right.Programs[0].AttachType = ptr(uint32(0)), ptr(uint32(traceUprobeMulti))
			},
			"another attach type": func(s *scenario) {
				s.left.Programs[0].AttachType, s.right.Programs[0].AttachType = ptr(uint32(0)), ptr(uint32(42))
				s.facts.USDT = []string{"run"}
			},
			"the other way round": func(s *scenario) {
				s.left.Programs[0].AttachType, s.right.Programs[0].AttachType = ptr(uint32(traceUprobeMulti)), ptr(uint32(0))
				s.facts.USDT = []string{"run"}
			},
		},
	},
	"not-autoloaded": {
		field: "program run",
		make: func(s *scenario) {
			s.right.Programs = nil
			s.facts.NotAutoloaded = []string{"run"}
		},
		near: map[string]func(s *scenario){
			"autoloaded": func(s *scenario) { s.right.Programs = nil },
			"absent on the left": func(s *scenario) {
				s.left.Programs = nil
				s.facts.NotAutoloaded = []string{"run"}
			},
		},
	},
	"rodata-bound": {
		field: "program run bound",
		make: func(s *scenario) {
			s.engines[1] = enginename.Libbpf
			s.right.Programs[0].Bound = []string{".rodata"}
		},
		near: map[string]func(s *scenario){
			"not libbpf": func(s *scenario) { s.right.Programs[0].Bound = []string{".rodata"} },
			"not frozen": func(s *scenario) {
				s.engines[1] = enginename.Libbpf
				s.right.Programs[0].Bound = []string{".rodata"}
				s.left.FindMap(".rodata").Frozen, s.right.FindMap(".rodata").Frozen = ptr(false), ptr(false)
			},
			"another map": func(s *scenario) {
				s.engines[1] = enginename.Libbpf
				s.right.Programs[0].Bound = []string{".bss"}
			},
			"another map too": func(s *scenario) {
				s.engines[1] = enginename.Libbpf
				s.right.Programs[0].Bound = []string{".bss", ".rodata"}
			},
		},
	},
	"subprogram-order": {
		field: "program run function_order",
		make:  orderSwapped,
		near: map[string]func(s *scenario){
			"entry is not first": func(s *scenario) { orderSwapped(s); slices.Reverse(s.left.Programs[0].Functions) },
			"not libbpf's order": func(s *scenario) {
				orderSwapped(s)
				s.program(func(f *ProgramFacts) { f.Order = []string{"run", "right", "left"} })
			},
			"function missing": func(s *scenario) {
				orderSwapped(s)
				s.right.Programs[0].Functions = append(s.right.Programs[0].Functions, state.Function{Name: "more"})
			},
		},
	},
	"tag-subprogram-order": {
		field: "program run tag",
		make:  all(orderSwapped, tagDiffers),
		near: map[string]func(s *scenario){
			"same order": tagDiffers,
			"not libbpf's order": func(s *scenario) {
				orderSwapped(s)
				tagDiffers(s)
				s.program(func(f *ProgramFacts) { f.Order = nil })
			},
			"code differs": all(codeDiffers, orderSwapped, tagDiffers),
			"unread": func(s *scenario) {
				orderSwapped(s)
				tagDiffers(s)
				s.left.Programs[0].Unread, s.right.Programs[0].Unread = true, true
			},
		},
	},
	"tag-removed-subprograms": {
		field: "program run tag",
		make:  all(removed, tagDiffers),
		near: map[string]func(s *scenario){
			"nothing removed": func(s *scenario) {
				tagDiffers(s)
				s.program(func(f *ProgramFacts) {
					f.Order, f.Breadth = []string{"run", "left", "right"}, []string{"run", "right", "left"}
				})
			},
			"no order": tagDiffers,
			"same order": func(s *scenario) {
				removed(s)
				tagDiffers(s)
				s.program(func(f *ProgramFacts) { f.Breadth = f.Order })
			},
			"not cilium/ebpf's order": func(s *scenario) {
				removed(s)
				tagDiffers(s)
				s.program(func(f *ProgramFacts) { f.Breadth = []string{"gone", "right", "left", "run"} })
			},
			"code differs": all(codeDiffers, removed, tagDiffers),
			"unread": func(s *scenario) {
				removed(s)
				tagDiffers(s)
				s.left.Programs[0].Unread, s.right.Programs[0].Unread = true, true
			},
		},
	},
	"tag-callback-behind": {
		field: "program run tag",
		make:  all(takesAddress("left"), tagDiffers),
		near: map[string]func(s *scenario){
			"ahead":        all(takesAddress("right"), tagDiffers),
			"no callback":  tagDiffers,
			"code differs": all(codeDiffers, takesAddress("left"), tagDiffers),
			"unread": func(s *scenario) {
				takesAddress("left")(s)
				tagDiffers(s)
				s.left.Programs[0].Unread, s.right.Programs[0].Unread = true, true
			},
		},
	},
	"module-kfunc-index": {
		field: "program run function left kfunc_index",
		make:  func(s *scenario) { s.fn(s.left, "left").Refs[0].Index = 2 },
		near: map[string]func(s *scenario){
			"none on one side": func(s *scenario) { s.fn(s.left, "left").Refs[0].Index = 0 },
			"the slot of another kfunc": func(s *scenario) {
				s.fn(s.left, "left").Refs[0].Index = 2
				secondKfunc(s, 1)
			},
			"two slots for one kfunc": func(s *scenario) {
				s.fn(s.left, "left").Refs[0].Index = 2
				secondKfunc(s, 4)
				s.fn(s.left, "right").Refs[0].To, s.fn(s.right, "right").Refs[0].To = "bpf_ct_release [nf_conntrack]", "bpf_ct_release [nf_conntrack]"
			},
			"vmlinux": func(s *scenario) {
				for _, side := range []*state.State{s.left, s.right} {
					s.fn(side, "left").Refs[0].To = "bpf_ct_release [vmlinux]"
				}
				s.fn(s.left, "left").Refs[0].Index = 2
			},
			"unknown kernel": func(s *scenario) {
				s.fn(s.left, "left").Refs[0].Index = 2
				s.release = ""
			},
			"before module kfuncs": func(s *scenario) {
				s.fn(s.left, "left").Refs[0].Index = 2
				s.release = "5.15.0"
			},
		},
	},
	"tag-module-kfunc-index": {
		field: "program run tag",
		make: func(s *scenario) {
			tagDiffers(s)
			s.fn(s.left, "left").Refs[0].Index = 2
		},
		near: map[string]func(s *scenario){
			"same index": tagDiffers,
			"code differs": func(s *scenario) {
				tagDiffers(s)
				codeDiffers(s)
				s.fn(s.left, "left").Refs[0].Index = 2
			},
		},
	},
	"module-kfunc-index-libbpf": {
		field: "program run function left kfunc_index",
		make:  lightIndex,
		near: map[string]func(s *scenario){
			"none on one side": func(s *scenario) { lightIndex(s); s.fn(s.left, "left").Refs[0].Index = 0 },
			"vmlinux": func(s *scenario) {
				lightIndex(s)
				for _, side := range []*state.State{s.left, s.right} {
					s.fn(side, "left").Refs[0].To = "bpf_ct_release [vmlinux]"
				}
			},
			"before module kfuncs": func(s *scenario) { lightIndex(s); s.release = "5.15.0" },
			"ours against ours":    func(s *scenario) { lightIndex(s); s.engines = [2]string{enginename.Replay, enginename.Trace} },
		},
	},
	"tag-module-kfunc-index-libbpf": {
		field: "program run tag",
		make: func(s *scenario) {
			tagDiffers(s)
			lightIndex(s)
			s.engines = [2]string{enginename.Libbpf, enginename.Trace}
		},
		near: map[string]func(s *scenario){
			"same index":   func(s *scenario) { tagDiffers(s); s.engines = [2]string{enginename.Libbpf, enginename.Trace} },
			"code differs": func(s *scenario) { tagDiffers(s); lightIndex(s); codeDiffers(s) },
		},
	},
	"tag-map-index": {
		field: "program run tag",
		make:  mapIndexTag,
		near: map[string]func(s *scenario){
			"code differs": func(s *scenario) { mapIndexTag(s); codeDiffers(s) },
			"no maps": func(s *scenario) {
				mapIndexTag(s)
				s.left.Programs[0].Maps, s.left.Programs[0].Bound = nil, nil
			},
			"libbpf's direct load": func(s *scenario) { mapIndexTag(s); s.engines[0] = enginename.Libbpf },
			"covers an fd":         func(s *scenario) { mapIndexTag(s); s.right.Programs[0].Tag = state.FDTag },
		},
	},
	"tag-weak-kfunc": {
		field: "program run tag",
		make: func(s *scenario) {
			tagDiffers(s)
			s.program(func(f *ProgramFacts) { f.WeakKfuncs = []string{"bpf_missing"} })
		},
		near: map[string]func(s *scenario){
			"strong": tagDiffers,
			"there": func(s *scenario) {
				tagDiffers(s)
				s.program(func(f *ProgramFacts) { f.WeakKfuncs = []string{"bpf_ct_release"} })
			},
			"code differs": func(s *scenario) {
				tagDiffers(s)
				codeDiffers(s)
				s.program(func(f *ProgramFacts) { f.WeakKfuncs = []string{"bpf_missing"} })
			},
			"between trace and replay": func(s *scenario) {
				tagDiffers(s)
				s.engines = [2]string{enginename.Trace, enginename.Replay}
				s.program(func(f *ProgramFacts) { f.WeakKfuncs = []string{"bpf_missing"} })
			},
		},
	},
	"tag-core-poison": {
		field: "program run tag",
		make: func(s *scenario) {
			tagDiffers(s)
			s.program(func(f *ProgramFacts) { f.WideCORE = true })
		},
		near: map[string]func(s *scenario){
			"no such relocation": tagDiffers,
			"code differs": func(s *scenario) {
				tagDiffers(s)
				codeDiffers(s)
				s.program(func(f *ProgramFacts) { f.WideCORE = true })
			},
		},
	},
	"local-type-id": {
		field: "program run insns",
		make:  typeIDs,
		near: map[string]func(s *scenario){
			"no relocation": func(s *scenario) {
				typeIDs(s)
				s.program(func(f *ProgramFacts) { f.LocalTypeIDs = nil })
			},
			"another type": func(s *scenario) {
				typeIDs(s)
				patch(s.fn(s.left, "run"), 7, 1)
			},
			"no type": func(s *scenario) {
				typeIDs(s)
				patch(s.fn(s.left, "run"), 7, 99)
			},
			"another register": func(s *scenario) {
				typeIDs(s)
				s.fn(s.left, "run").Insns[7*8+1] = 3
			},
			"a second difference": func(s *scenario) {
				typeIDs(s)
				patch(s.fn(s.left, "run"), 4, 0x50)
			},
			"another length": func(s *scenario) {
				typeIDs(s)
				f := s.fn(s.left, "run")
				f.Insns = append(f.Insns, f.Insns[:8]...)
			},
		},
	},
	"tag-local-type-id": {
		field: "program run tag",
		make:  all(typeIDs, tagDiffers),
		near: map[string]func(s *scenario){
			"same ids":     tagDiffers,
			"code differs": all(codeDiffers, typeIDs, tagDiffers),
		},
	},
	"kfunc-address": {
		field: "program run function left insns",
		make:  kfuncAddress,
		near: map[string]func(s *scenario){
			"another kfunc": func(s *scenario) {
				kfuncAddress(s)
				s.fn(s.right, "left").Refs[1].To = "bpf_ct_insert [nf_conntrack]"
			},
			"missing on the left": func(s *scenario) {
				kfuncAddress(s)
				patch(s.fn(s.left, "left"), 1, 0)
			},
			"no id": func(s *scenario) {
				kfuncAddress(s)
				patch(s.fn(s.left, "left"), 2, 1)
			},
			"another register":   func(s *scenario) { kfuncAddress(s); s.fn(s.right, "left").Insns[8+1] = 1 },
			"behind the address": func(s *scenario) { kfuncAddress(s); s.fn(s.right, "left").Refs[1].Offset = 8 },
		},
	},
	"kfunc-address-test": {
		field: "program run function left line_info",
		make:  kfuncTest,
		near: map[string]func(s *scenario){
			"a kernel that folds nothing": func(s *scenario) { kfuncTest(s); s.release = release },
			"a test of another register":  func(s *scenario) { kfuncTest(s); s.fn(s.right, "left").Insns[3*8+1] = 1 },
			"a test for another value":    func(s *scenario) { kfuncTest(s); patch(s.fn(s.right, "left"), 3, 1) },
			"another line":                func(s *scenario) { kfuncTest(s); s.fn(s.right, "left").Lines[1][1] = 0 },
		},
	},
	"tag-kfunc-address": {
		field: "program run tag",
		make:  all(kfuncAddress, tagDiffers),
		near: map[string]func(s *scenario){
			"code differs": all(codeDiffers, kfuncAddress, tagDiffers),
			"same code":    tagDiffers,
		},
	},
	"unreferenced-section": {
		field: "map .rodata.str1.1",
		make: func(s *scenario) {
			s.right.Maps = append(s.right.Maps, state.Map{Name: ".rodata.str1.1"})
			s.facts.Unreferenced = []string{".rodata.str1.1"}
		},
		near: map[string]func(s *scenario){
			"referenced": func(s *scenario) {
				s.right.Maps = append(s.right.Maps, state.Map{Name: ".rodata.str1.1"})
			},
			"used by a program": func(s *scenario) {
				s.right.Maps = append(s.right.Maps, state.Map{Name: ".rodata.str1.1"})
				s.facts.Unreferenced = []string{".rodata.str1.1"}
				s.left.Programs[0].Maps = []string{".rodata.str1.1"}
				s.right.Programs[0].Maps = []string{".rodata.str1.1"}
			},
			"absent on the right": func(s *scenario) {
				s.left.Maps = append(s.left.Maps, state.Map{Name: ".rodata.str1.1"})
				s.facts.Unreferenced = []string{".rodata.str1.1"}
			},
		},
	},
	"hidden-linkage": {
		field: "program run function right linkage",
		make:  hidden,
		near: map[string]func(s *scenario){
			"not hidden": func(s *scenario) { s.fn(s.right, "right").Linkage = "static" },
			"static on the left": func(s *scenario) {
				hidden(s)
				s.fn(s.left, "right").Linkage, s.fn(s.right, "right").Linkage = "static", "global"
			},
		},
	},
	"hidden-linkage-verified": {
		field: "program run verified_insns",
		make: func(s *scenario) {
			hidden(s)
			s.left.Programs[0].VerifiedInsns = ptr(uint32(12))
		},
		near: map[string]func(s *scenario){
			"nothing hidden":        func(s *scenario) { s.left.Programs[0].VerifiedInsns = ptr(uint32(12)) },
			"not there on one side": func(s *scenario) { hidden(s); s.left.Programs[0].VerifiedInsns = nil },
			"still global": func(s *scenario) {
				hidden(s)
				s.fn(s.right, "right").Linkage = "global"
				s.left.Programs[0].VerifiedInsns = ptr(uint32(12))
			},
		},
	},
}

// run compares a scenario. It returns the rules that explain the field, and false if the field does
// not differ.
func (test ruleTest) run(change func(s *scenario), swap bool) (string, bool) {
	s := &scenario{left: sample(), right: sample(), facts: sampleFacts(), release: release, engines: [2]string{enginename.Direct, enginename.Trace}}
	change(s)
	a := Context{Engine: s.engines[0], Release: s.release, Object: s.facts}
	b := Context{Engine: s.engines[1], Release: s.release, Object: s.facts}
	found := States(s.left, s.right, a, b)
	if swap {
		found = States(s.right, s.left, b, a)
	}
	i := slices.IndexFunc(found, func(d Difference) bool { return d.Field.String() == test.field })
	if i < 0 {
		return "", false
	}
	return found[i].ExplainedBy.String(), true
}

func TestRules(t *testing.T) {
	for _, r := range Rules() {
		t.Run(r.ID, func(t *testing.T) {
			test, ok := ruleTests[r.ID]
			assert.Assert(t, ok, "the rule has no test")
			for _, swap := range []bool{false, true} {
				got, differs := test.run(test.make, swap)
				assert.Assert(t, differs, "field %s does not differ", test.field)
				assert.Equal(t, got, r.ID)
			}
			assert.Assert(t, len(test.near) > 0, "the rule has no near miss")
			for name, near := range test.near {
				got, differs := test.run(near, false)
				assert.Assert(t, differs, "%s: field %s does not differ", name, test.field)
				assert.Equal(t, got, "", "%s", name)
			}
		})
	}
	assert.Equal(t, len(ruleTests), len(Rules()))
}

// TestRulesKeepToTheirEngines: no rule about cilium/ebpf explains a difference between two other
// engines.
func TestRulesKeepToTheirEngines(t *testing.T) {
	for _, r := range Rules() {
		test := ruleTests[r.ID]
		got, differs := test.run(func(s *scenario) {
			test.make(s)
			s.engines = [2]string{enginename.Trace, enginename.Replay}
		}, false)
		assert.Assert(t, differs, r.ID)
		assert.Equal(t, got, "", r.ID)
	}
}

// TestTagsOfHiddenVariables: a tag of a variable names the variable with its linkage.
func TestTagsOfHiddenVariables(t *testing.T) {
	compare := func(left, right string) (explained string) {
		s := scenario{left: sample(), right: sample(), facts: new(Facts)}
		hiddenVariables(&s)
		s.left.Types = append(s.left.Types, left)
		s.right.Types = append(s.right.Types, right)
		for _, side := range []*state.State{s.left, s.right} {
			m := side.FindMap(".bss")
			m.Types = append(m.Types, uint32(len(side.Types)-1))
		}
		direct := Context{Engine: enginename.Direct, Release: release, Object: s.facts}
		replay := Context{Engine: enginename.Replay, Release: release, Object: s.facts}
		for _, d := range States(s.left, s.right, direct, replay) {
			if d.Field.String() == "map .bss types" {
				return d.ExplainedBy.String()
			}
		}
		return "equal"
	}
	global := `decl_tag("contains:node:n", -1) global u32 few`
	static := strings.Replace(global, "global", "static", 1)
	assert.Equal(t, compare(global, static), "hidden-variables")
	assert.Equal(t, compare(static, global), "")
	assert.Equal(t, compare(global, strings.Replace(static, "few", "seen", 1)), "")
	assert.Equal(t, compare(static, static), "equal")
}

// TestOnlyFunctionTag: the tag of a program's only function is the program's. No rule explains a
// different one.
func TestOnlyFunctionTag(t *testing.T) {
	compare := func(tag string) []Difference {
		left, right := sample(), sample()
		for _, s := range []*state.State{left, right} {
			p := &s.Programs[0]
			p.Functions = p.Functions[:1]
		}
		right.Programs[0].Tag = "ff"
		left.Programs[0].Functions[0].Tag, right.Programs[0].Functions[0].Tag = left.Programs[0].Tag, tag
		return States(left, right, Context{Engine: enginename.LibbpfLight, Release: release}, Context{Engine: enginename.Replay, Release: release})
	}
	found := compare("ff")
	assert.Equal(t, len(found), 1)
	assert.Equal(t, found[0].ExplainedBy.String(), "tag-map-index")
	found = compare("ee")
	assert.Equal(t, len(found), 2)
	assert.Equal(t, found[1].Field.String(), "program run function_tag")
	assert.Equal(t, found[1].ExplainedBy.String(), "")
}

func TestRulesAreDocumented(t *testing.T) {
	for _, r := range Rules() {
		assert.Assert(t, r.Reason != "" && len(r.Fields) > 0 && r.Case != "", r.ID)
		assert.Assert(t, r.Left.Name != "" && r.Right.Name != "", r.ID)
		for _, libbpf := range []string{enginename.Libbpf, enginename.LibbpfLight} {
			strict := r.appliesTo(libbpf, enginename.Replay) || r.appliesTo(enginename.Replay, libbpf)
			assert.Assert(t, !strict || r.Since+r.Before+r.LibbpfSince+r.LibbpfBefore != "", "%s is for %s and ours: it has to name a kernel or a libbpf", r.ID, libbpf)
		}
		assert.Assert(t, !r.appliesAmong([]string{enginename.Trace, enginename.Replay, "signed", "skel-go"}), r.ID)
		assert.Assert(t, (r.match == nil) != (r.slot == nil), r.ID)
		found, ok := FindRule(r.ID)
		assert.Assert(t, ok)
		assert.Equal(t, found.Reason, r.Reason, "two rules with one ID")
		if _, ok := kversion.Parse(r.Since); r.Since != "" {
			assert.Assert(t, ok, r.ID)
		}
	}
	_, ok := FindRule("no-such-rule")
	assert.Assert(t, !ok)
}

func TestUnusedRules(t *testing.T) {
	ids := func(rules []Rule) []string {
		var list []string
		for _, r := range rules {
			list = append(list, r.ID)
		}
		return list
	}
	assert.Equal(t, len(UnusedRules(ids(Rules()), []string{enginename.Direct, enginename.Trace})), 0)
	unused := ids(UnusedRules([]string{"not-autoloaded"}, []string{enginename.Direct, enginename.Replay}))
	assert.Assert(t, slices.Contains(unused, "subprogram-order"))
	assert.Assert(t, !slices.Contains(unused, "not-autoloaded"))
	assert.Assert(t, !slices.Contains(unused, "rodata-bound"), "no libbpf in the run")
	assert.Equal(t, len(UnusedRules(nil, []string{enginename.Trace, enginename.Replay})), 0)
	assert.Equal(t, len(UnusedRules(nil, []string{enginename.Direct})), 0)
}

func TestRulesDue(t *testing.T) {
	const mine = "kfunc_weak_present" // 7.3 has one more rule due in it
	assert.DeepEqual(t, RulesDue(mine, "6.12.1", enginename.Direct, enginename.Trace), []string{"kfunc-address", "tag-kfunc-address"})
	assert.DeepEqual(t, RulesDue(mine, "7.3.4", enginename.Replay, enginename.Direct), []string{"kfunc-address", ruleKfuncTest, "tag-kfunc-address"})
	assert.Equal(t, len(RulesDue(mine, "7.3.4", enginename.Replay, enginename.Trace)), 0)
	assert.Equal(t, len(RulesDue("no_such_case", "7.3.4", enginename.Direct, enginename.Trace)), 0)
}

// TestRulesShareAListing: two rules may each explain some slots of one listing.
func TestRulesShareAListing(t *testing.T) {
	test := ruleTest{field: "program run insns"}
	got, differs := test.run(func(s *scenario) {
		typeIDs(s)
		ruleTests["kconfig-layout-insns"].make(s)
	}, false)
	assert.Assert(t, differs)
	assert.Equal(t, got, "kconfig-layout-insns, local-type-id")
	ids := strings.Split(got, ", ")
	reason := Reason(ids...)
	for _, id := range []string{"kconfig-layout-insns", "local-type-id"} {
		r, _ := FindRule(id)
		assert.Assert(t, strings.Contains(reason, r.Reason), reason)
		assert.Assert(t, !slices.ContainsFunc(UnusedRules(ids, []string{enginename.Direct, enginename.Trace}), func(r Rule) bool { return r.ID == id }))
	}
	assert.Equal(t, Reason(), "")
	assert.Equal(t, Reason("subprogram-order"), "cilium/ebpf appends subprograms breadth first, libbpf depth first")
}

// TestLibbpfVersions: a rule for some versions of libbpf does not apply to others.
func TestLibbpfVersions(t *testing.T) {
	rule, ok := FindRule("mmapable-static-only-libbpf")
	assert.Assert(t, ok)
	for version, want := range map[string]bool{"libbpf v1.1": true, "libbpf v1.2": false, "libbpf v1.8": false, "": true} {
		left, right := side{Context: Context{Engine: enginename.Libbpf, Version: version, Release: release}}, side{Context: Context{Engine: enginename.Replay, Release: release}}
		_, _, ok := rule.sides(right, left)
		assert.Equal(t, ok, want, version)
	}
}

// TestTagOfFD: a tag that covers a file descriptor is normalised to a word.
func TestTagOfFD(t *testing.T) {
	for name, test := range map[string]struct {
		ref  string
		f    ProgramFacts
		want string
	}{
		"of a module":            {"bpf_testmod_ksym [bpf_testmod]", ProgramFacts{TypedKsyms: []string{"bpf_testmod_ksym"}}, state.FDTag},
		"of the kernel":          {"jiffies [vmlinux]", ProgramFacts{TypedKsyms: []string{"jiffies"}}, "0123456789abcdef"},
		"per CPU":                {"jiffies [vmlinux]", ProgramFacts{TypedKsyms: []string{"bpf_testmod_ksym_percpu"}}, state.FDTag},
		"a kfunc of a module":    {"bpf_ct_release [nf_conntrack]", ProgramFacts{KfuncAddresses: []string{"bpf_ct_release"}}, state.FDTag},
		"a kfunc that is not":    {"jiffies [vmlinux]", ProgramFacts{KfuncAddresses: []string{"bpf_ct_release"}}, "0123456789abcdef"},
		"a symbol without types": {"x [bpf_testmod]", ProgramFacts{}, "0123456789abcdef"},
	} {
		s := sample()
		s.Programs[0].Functions[1].Refs[1].To = test.ref
		Normalise(s, &Facts{Programs: map[string]ProgramFacts{"run": test.f}})
		assert.Equal(t, s.Programs[0].Tag, test.want, name)
		assert.Equal(t, s.Programs[0].Functions[0].Tag, "1111111111111111", name)
	}
}
