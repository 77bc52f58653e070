package random

import (
	"fmt"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/core"
)

const charArray = "char[16]"

// A localType is a type that an object declares for CO-RE accesses to the kernel's type.
type localType struct {
	kind    string // struct, enum, typedef
	size    uint32 // bytes
	members []localMember
	values  []localValue
	to      string // typedef
	missing bool   // the kernel has no type of this name
}

type localMember struct {
	name    string
	typ     string // a name as in types.named
	bits    uint32 // offset
	width   uint32 // of a bitfield, else 0
	size    uint32 // bytes
	signed  bool
	missing bool // the kernel's type has no member of this name
}

type localValue struct {
	name    string
	value   int64
	missing bool
}

// localTypes are keyed by the name in Access.Type, which may have a flavour. Their layout differs
// from the kernel's; only names matter.
var localTypes = map[string]localType{
	"task_struct": {kind: "struct", size: 64, members: []localMember{
		{name: "pid", typ: "int", bits: 0, size: 4, signed: true},
		{name: "tgid", typ: "int", bits: 32, size: 4, signed: true},
		{name: "flags", typ: "unsigned int", bits: 64, size: 4},
		{name: "prio", typ: "int", bits: 96, size: 4, signed: true},
		{name: "start_time", typ: "u64", bits: 128, size: 8},
		{name: "comm", typ: charArray, bits: 192, size: 16, signed: true},
		{name: "mm", typ: "*mm_struct", bits: 320, size: 8},
		{name: "exit_code", typ: "int", bits: 384, size: 4, signed: true},
		{name: "bpfreplay_none", typ: "int", bits: 416, size: 4, signed: true, missing: true},
	}},
	"task_struct___bits": {kind: "struct", size: 8, members: []localMember{
		{name: "sched_reset_on_fork", typ: "unsigned int", bits: 0, width: 9, size: 4},
		{name: "in_iowait", typ: "unsigned int", bits: 9, width: 5, size: 4},
		{name: "pid", typ: "int", bits: 32, size: 4, signed: true},
	}},
	"sk_buff": {kind: "struct", size: 24, members: []localMember{
		{name: "len", typ: "unsigned int", bits: 0, size: 4},
		{name: "data_len", typ: "unsigned int", bits: 32, size: 4},
		{name: "hash", typ: "unsigned int", bits: 64, size: 4},
		{name: "protocol", typ: "u16", bits: 96, size: 2},
		{name: "bpfreplay_none", typ: "u64", bits: 128, size: 8, missing: true},
	}},
	"file": {kind: "struct", size: 16, members: []localMember{
		{name: "f_pos", typ: "long long", bits: 0, size: 8, signed: true},
		{name: "f_flags", typ: "unsigned int", bits: 64, size: 4},
	}},
	"net_device": {kind: "struct", size: 24, members: []localMember{
		{name: "ifindex", typ: "int", bits: 0, size: 4, signed: true},
		{name: "mtu", typ: "unsigned int", bits: 32, size: 4},
		{name: "name", typ: charArray, bits: 64, size: 16, signed: true},
	}},
	"bpfreplay_fuzz_none": {kind: "struct", size: 4, missing: true, members: []localMember{
		{name: "a", typ: "int", size: 4, signed: true, missing: true},
	}},
	"mm_struct":    {kind: "struct", size: 8, members: []localMember{{name: "start_code", typ: "u64", size: 8}}},
	"rq":           {kind: "struct", size: 8, members: []localMember{{name: "nr_running", typ: "unsigned int", size: 4}, {name: "cpu", typ: "int", bits: 32, size: 4, signed: true}}},
	"bpf_cpumask":  {kind: "struct", size: 8, members: []localMember{{name: "cpumask", typ: "cpumask", size: 8}}},
	"cpumask":      {kind: "struct", size: 8, members: []localMember{{name: "bits", typ: "u64", size: 8}}},
	"bpf_iter_num": {kind: "struct", size: 8, members: []localMember{{name: "__opaque", typ: "u64", size: 8}}},
	"bpf_dynptr":   {kind: "struct", size: 16, members: []localMember{{name: "__a", typ: "u64", size: 8}, {name: "__b", typ: "u64", bits: 64, size: 8}}},
	"__sk_buff":    {kind: "struct", size: 8, members: []localMember{{name: "len", typ: "unsigned int", size: 4}, {name: "pkt_type", typ: "unsigned int", bits: 32, size: 4}}},
	"xdp_md":       {kind: "struct", size: 8, members: []localMember{{name: "data", typ: "unsigned int", size: 4}, {name: "data_end", typ: "unsigned int", bits: 32, size: 4}}},
	"bpf_map_type": {kind: "enum", size: 4, values: []localValue{
		{name: "BPF_MAP_TYPE_UNSPEC", value: 40}, {name: "BPF_MAP_TYPE_HASH", value: 41}, {name: "BPF_MAP_TYPE_RINGBUF", value: 42},
		{name: "BPF_MAP_TYPE_BPFREPLAY", value: 43, missing: true},
	}},
	"bpf_prog_type___mine": {kind: "enum", size: 4, values: []localValue{
		{name: "BPF_PROG_TYPE_XDP___mine", value: 3}, {name: "BPF_PROG_TYPE_SYSCALL", value: -1},
	}},
	"bpf_func_id": {kind: "enum", size: 4, values: []localValue{{name: "BPF_FUNC_loop", value: 7}, {name: "BPF_FUNC_map_lookup_elem", value: 1}}},
	"pid_t":       {kind: "typedef", size: 4, to: "int"},
	"u64":         {kind: "typedef", size: 8, to: "unsigned long long"},
	"u16":         {kind: "typedef", size: 2, to: "unsigned short"},
}

// accessed are the types for CO-RE accesses.
var accessed = []string{
	"task_struct", "task_struct___bits", "sk_buff", "file", "net_device", "bpfreplay_fuzz_none", "mm_struct", "pid_t", "u64",
	"bpf_map_type", "bpf_prog_type___mine", "bpf_func_id",
}

var accessNames = []string{
	"field offset", "field size", "field exists", "field signed", "field lshift", "field rshift", "local type id",
	"kernel type id", "type exists", "type size", "enum value exists", "enum value",
}

// index returns the member that a path of two numbers refers to, and the array index if there is a
// third number.
func (a *Access) index() (member, elem int) {
	first := 0
	if n, _ := fmt.Sscanf(a.Path, "%d:%d:%d", &first, &member, &elem); n == 1 {
		return first, 0 // an enumerator
	}
	return member, elem
}

// missing reports whether the kernel lacks the target.
func (a *Access) missing() bool {
	t := localTypes[a.Type]
	m, _ := a.index()
	switch {
	case t.missing:
		return true
	case a.Kind <= core.FieldRshiftU64:
		return t.members[m].missing
	case a.Kind >= core.EnumvalExists:
		return t.values[m].missing
	}
	return false
}

// local returns the value that the compiler puts into the instruction. Type ids are filled in
// later.
func (a *Access) local() int64 {
	t := localTypes[a.Type]
	i, elem := a.index()
	switch a.Kind {
	case core.TypeExists, core.FieldExists, core.EnumvalExists:
		return 1
	case core.TypeSize:
		return int64(t.size)
	case core.EnumvalValue:
		return t.values[i].value
	case core.TypeIDLocal, core.TypeIDTarget:
		return 0
	}
	m := t.members[i]
	size, at, bits := m.size, m.bits/8+uint32(elem), uint32(0)
	isSigned := m.signed
	if m.typ == charArray {
		if strings.Count(a.Path, ":") == 2 {
			size = 1
		} else {
			isSigned = false // an array has no signedness
		}
	}
	width := size * 8
	if m.width > 0 {
		at = m.bits / 8 / size * size
		width, bits = m.width, m.bits-at*8
	}
	switch a.Kind {
	case core.FieldByteOffset:
		return int64(at)
	case core.FieldByteSize:
		return int64(size)
	case core.FieldSigned:
		if isSigned {
			return 1
		}
		return 0
	case core.FieldLshiftU64:
		return int64(64 - (bits + width))
	}
	return int64(64 - width)
}
