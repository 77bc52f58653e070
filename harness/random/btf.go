package random

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

var le = binary.LittleEndian

// types writes BTF.
type types struct {
	words []uint32
	strs  []byte
	count btf.TypeID
	names map[string]uint32     // strings, by text
	known map[string]btf.TypeID // types, by their contents
}

func newTypes() *types {
	return &types{strs: []byte{0}, names: make(map[string]uint32), known: make(map[string]btf.TypeID)}
}

func (t *types) str(s string) uint32 {
	if s == "" {
		return 0
	}
	if off, ok := t.names[s]; ok {
		return off
	}
	off := uint32(len(t.strs))
	t.strs = append(append(t.strs, s...), 0)
	t.names[s] = off
	return off
}

// add appends a type: struct btf_type and the words that follow it.
func (t *types) add(name string, kind btf.Kind, vlen int, flag bool, third uint32, words ...uint32) btf.TypeID {
	info := uint32(kind)<<24 | uint32(vlen)
	if flag {
		info |= 1 << 31
	}
	t.words = append(append(t.words, t.str(name), info, third), words...)
	t.count++
	return t.count
}

// once returns the type with these contents, and adds it if it does not exist yet.
func (t *types) once(name string, kind btf.Kind, vlen int, flag bool, third uint32, words ...uint32) btf.TypeID {
	key := fmt.Sprintf("%q %d %d %t %d %d", name, kind, vlen, flag, third, words)
	id, ok := t.known[key]
	if !ok {
		id = t.add(name, kind, vlen, flag, third, words...)
		t.known[key] = id
	}
	return id
}

// Encodings of integers.
const (
	unsigned = 0
	signed   = 1 << 24
	boolean  = 4 << 24
)

var integers = map[string]struct{ size, encoding uint32 }{
	"char": {1, signed}, "unsigned char": {1, unsigned}, "short": {2, signed}, "unsigned short": {2, unsigned},
	"int": {4, signed}, "unsigned int": {4, unsigned}, "long long": {8, signed}, "unsigned long long": {8, unsigned},
	"__ARRAY_SIZE_TYPE__": {4, unsigned}, "_Bool": {1, boolean},
}

// sized are the integer types by size.
var sized = map[uint32]string{1: "unsigned char", 2: "unsigned short", 4: "unsigned int", 8: "unsigned long long"}

// named returns the type for a name in this package's tables.
func (t *types) named(name string) btf.TypeID {
	if name == "void" {
		return 0
	}
	if to, ok := strings.CutPrefix(name, "*"); ok {
		return t.ref(btf.KindPtr, "", t.named(to))
	}
	if elem, n, ok := strings.Cut(strings.TrimSuffix(name, "]"), "["); ok {
		count := uint32(0)
		_, _ = fmt.Sscanf(n, "%d", &count)
		return t.array(t.named(elem), count)
	}
	if i, ok := integers[name]; ok {
		return t.once(name, btf.KindInt, 0, false, i.size, i.encoding|i.size*8)
	}
	switch name {
	case "bool":
		return t.ref(btf.KindTypedef, name, t.named("_Bool"))
	case "libbpf_tristate":
		return t.enum(name, localType{size: 4, values: []localValue{{name: "TRI_NO"}, {name: "TRI_YES", value: 1}, {name: "TRI_MODULE", value: 2}}})
	}
	return t.local(name)
}

func (t *types) ref(kind btf.Kind, name string, to btf.TypeID) btf.TypeID {
	return t.once(name, kind, 0, false, uint32(to))
}

func (t *types) pointer(to btf.TypeID) btf.TypeID { return t.ref(btf.KindPtr, "", to) }

func (t *types) array(elem btf.TypeID, n uint32) btf.TypeID {
	return t.once("", btf.KindArray, 0, false, 0, uint32(elem), uint32(t.named("__ARRAY_SIZE_TYPE__")), n)
}

func (t *types) enum(name string, l localType) btf.TypeID {
	var words []uint32
	negative := false
	for _, v := range l.values {
		words = append(words, t.str(v.name), uint32(v.value))
		negative = negative || v.value < 0
	}
	return t.once(name, btf.KindEnum, len(l.values), negative, l.size, words...)
}

// local returns one of localTypes.
func (t *types) local(name string) btf.TypeID {
	l := localTypes[name]
	switch l.kind {
	case "enum":
		return t.enum(name, l)
	case "typedef":
		return t.ref(btf.KindTypedef, name, t.named(l.to))
	}
	members := make([]member, len(l.members))
	for i, m := range l.members {
		members[i] = member{m.name, t.named(m.typ), m.bits, m.width}
	}
	return t.structure(name, l.size, members...)
}

// member is a member of a struct. bits is its offset, width the width of a bitfield or 0.
type member struct {
	name        string
	id          btf.TypeID
	bits, width uint32
}

func (t *types) structure(name string, size uint32, members ...member) btf.TypeID {
	bitfields := slices.ContainsFunc(members, func(m member) bool { return m.width > 0 })
	return t.once(name, btf.KindStruct, len(members), bitfields, size, t.membersWords(members)...)
}

func (t *types) membersWords(members []member) []uint32 {
	var words []uint32
	for _, m := range members {
		words = append(words, t.str(m.name), uint32(m.id), m.width<<24|m.bits)
	}
	return words
}

// of returns the type of a key, a value or a variable.
func (t *types) of(typ Type) btf.TypeID {
	size := typ.size
	u32, u64 := t.named("unsigned int"), t.named("u64")
	rest := func(name string, id btf.TypeID, used uint32) btf.TypeID {
		data := t.array(u32, (size-used)/4)
		members := []member{{name: name, id: id}}
		if size > used {
			members = append(members, member{name: "data", id: data, bits: used * 8})
		}
		return t.structure(fmt.Sprintf("%s_%d", typ.kind, size), size, members...)
	}
	switch typ.kind {
	case kindInt:
		return t.named(sized[size])
	case kindStruct:
		return rest("first", u32, 4)
	case kindLock:
		return rest("lock", t.structure("bpf_spin_lock", 4, member{name: "val", id: u32}), 4)
	case kindTimer:
		return rest("timer", t.structure("bpf_timer", 16, member{name: "__opaque", id: t.array(u64, 2)}), 16)
	}
	return t.array(t.named("char"), size)
}

// number encodes a number as map definitions do: a pointer to an array of n elements.
func (t *types) number(n uint32) btf.TypeID {
	return t.pointer(t.array(t.named("int"), n))
}

// mapDefinition returns the type of a map's variable and its size in bytes. The slots begin there.
func (t *types) mapDefinition(m *Map) (id btf.TypeID, size uint32) {
	var members []member
	put := func(name string, id btf.TypeID) {
		members = append(members, member{name: name, id: id, bits: uint32(len(members)) * 64})
	}
	put("type", t.number(uint32(m.Type)))
	if m.Key != (Type{}) {
		put("key", t.pointer(t.of(m.Key)))
	} else if m.KeySize > 0 {
		put("key_size", t.number(m.KeySize))
	}
	if m.Value != (Type{}) {
		put("value", t.pointer(t.of(m.Value)))
	} else if m.ValueSize > 0 && m.Inner == nil && m.Type != uapi.MapProgArray {
		put("value_size", t.number(m.ValueSize))
	}
	if m.MaxEntries > 0 {
		put("max_entries", t.number(m.MaxEntries))
	}
	if m.Flags > 0 {
		put("map_flags", t.number(m.Flags))
	}
	if m.NUMA {
		put("numa_node", t.number(0))
	}
	if m.Extra > 0 {
		put("map_extra", t.number(uint32(m.Extra)))
	}
	size = uint32(len(members)) * 8
	switch {
	case m.Inner != nil:
		inner, _ := t.mapDefinition(m.Inner)
		put("values", t.array(t.pointer(inner), 0))
	case m.Type == uapi.MapProgArray && len(m.Slots) > 0:
		put("values", t.array(t.pointer(t.proto("int", "", "*void")), 0))
	case m.Type == uapi.MapProgArray:
		put("value_size", t.number(4))
		size += 8
	}
	return t.add("", btf.KindStruct, len(members), false, size, t.membersWords(members)...), size
}

// proto returns the type of a function. If name is "" the parameters have no names, otherwise the
// first is called name and the others also have a number.
func (t *types) proto(result, name string, params ...string) btf.TypeID {
	var words []uint32
	for i, p := range params {
		id := t.named(p)
		n := name
		if n != "" && i > 0 {
			n = fmt.Sprint(name, i)
		}
		words = append(words, t.str(n), uint32(id))
	}
	return t.once("", btf.KindFuncProto, len(params), false, uint32(t.named(result)), words...)
}

// function adds a FUNC; linkage is 0 static, 1 global, 2 extern.
func (t *types) function(name string, proto btf.TypeID, linkage int) btf.TypeID {
	return t.add(name, btf.KindFunc, linkage, false, uint32(proto))
}

func (t *types) variable(name string, id btf.TypeID, linkage uint32) btf.TypeID {
	return t.add(name, btf.KindVar, 0, false, uint32(id), linkage)
}

// place is the place of a variable in its section.
type place struct {
	id           btf.TypeID
	offset, size uint32
}

func (t *types) section(name string, size uint32, vars []place) btf.TypeID {
	var words []uint32
	for _, v := range vars {
		words = append(words, uint32(v.id), v.offset, v.size)
	}
	return t.add(name, btf.KindDatasec, len(vars), false, size, words...)
}

func (t *types) bytes() []byte { return btf.Encode(string(t.strs), t.words) }

// ext writes BTF.ext: records, by section.
type ext struct {
	funcs, lines, core extPart
}

type extPart struct {
	size     uint32 // of a record
	sections []string
	records  map[string][]byte
}

func newExtPart(size uint32) extPart { return extPart{size: size, records: make(map[string][]byte)} }

func (p *extPart) add(section string, words ...uint32) {
	if _, ok := p.records[section]; !ok {
		p.sections = append(p.sections, section)
	}
	for _, w := range words {
		p.records[section] = le.AppendUint32(p.records[section], w)
	}
}

func (p *extPart) bytes(t *types) []byte {
	if len(p.sections) == 0 {
		return nil
	}
	out := le.AppendUint32(nil, p.size)
	for _, s := range p.sections {
		out = le.AppendUint32(out, t.str(s))
		out = le.AppendUint32(out, uint32(len(p.records[s]))/p.size)
		out = append(out, p.records[s]...)
	}
	return out
}

func (e *ext) bytes(t *types) []byte {
	raw := []byte{0x9f, 0xeb, 1, 0}
	raw = le.AppendUint32(raw, 32)
	var body []byte
	for _, p := range []*extPart{&e.funcs, &e.lines, &e.core} {
		b := p.bytes(t)
		raw = le.AppendUint32(raw, uint32(len(body)))
		raw = le.AppendUint32(raw, uint32(len(b)))
		body = append(body, b...)
	}
	return append(raw, body...)
}
