package core_test

import (
	"encoding/binary"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/btf"
)

// builder builds BTF by hand.
type builder struct {
	types, strs []byte
	count       btf.TypeID
}

func newBuilder() *builder { return &builder{strs: []byte{0}} }

func (b *builder) str(s string) uint32 {
	if s == "" {
		return 0
	}
	off := len(b.strs)
	b.strs = append(append(b.strs, s...), 0)
	return uint32(off)
}

// add appends a type: name, info, size or reference, and further words.
func (b *builder) add(name string, kind btf.Kind, vlen int, flag bool, third uint32, words ...uint32) btf.TypeID {
	info := uint32(kind)<<24 | uint32(vlen)
	if flag {
		info |= 1 << 31
	}
	for _, w := range append([]uint32{b.str(name), info, third}, words...) {
		b.types = binary.LittleEndian.AppendUint32(b.types, w)
	}
	b.count++
	return b.count
}

const (
	unsigned = 0
	signed   = 1 << 24
	char     = 2 << 24
	boolean  = 4 << 24
)

func (b *builder) integer(name string, size, encoding uint32) btf.TypeID {
	return b.add(name, btf.KindInt, 0, false, size, encoding|size*8)
}

func (b *builder) ref(kind btf.Kind, name string, to btf.TypeID) btf.TypeID {
	return b.add(name, kind, 0, false, uint32(to))
}

func (b *builder) ptr(to btf.TypeID) btf.TypeID { return b.ref(btf.KindPtr, "", to) }

func (b *builder) typedef(name string, to btf.TypeID) btf.TypeID {
	return b.ref(btf.KindTypedef, name, to)
}

func (b *builder) array(elem, index btf.TypeID, n uint32) btf.TypeID {
	return b.add("", btf.KindArray, 0, false, 0, uint32(elem), uint32(index), n)
}

// member is a struct member; bits is its offset, width the width of a bitfield or 0.
type member struct {
	name        string
	typ         btf.TypeID
	bits, width uint32
}

func (b *builder) composite(kind btf.Kind, name string, size uint32, members ...member) btf.TypeID {
	flag := false
	for _, m := range members {
		flag = flag || m.width > 0
	}
	var words []uint32
	for _, m := range members {
		off := m.bits
		if flag {
			off |= m.width << 24
		}
		words = append(words, b.str(m.name), uint32(m.typ), off)
	}
	return b.add(name, kind, len(members), flag, size, words...)
}

func (b *builder) structure(name string, size uint32, members ...member) btf.TypeID {
	return b.composite(btf.KindStruct, name, size, members...)
}

func (b *builder) union(name string, size uint32, members ...member) btf.TypeID {
	return b.composite(btf.KindUnion, name, size, members...)
}

type enumerator struct {
	name  string
	value int64
}

func (b *builder) enum(name string, size uint32, isSigned bool, values ...enumerator) btf.TypeID {
	var words []uint32
	for _, v := range values {
		words = append(words, b.str(v.name), uint32(v.value))
	}
	return b.add(name, btf.KindEnum, len(values), isSigned, size, words...)
}

func (b *builder) enum64(name string, isSigned bool, values ...enumerator) btf.TypeID {
	var words []uint32
	for _, v := range values {
		words = append(words, b.str(v.name), uint32(v.value), uint32(v.value>>32))
	}
	return b.add(name, btf.KindEnum64, len(values), isSigned, 8, words...)
}

// proto returns a function prototype; its parameters are named p.
func (b *builder) proto(result btf.TypeID, params ...btf.TypeID) btf.TypeID {
	var words []uint32
	for _, p := range params {
		words = append(words, b.str("p"), uint32(p))
	}
	return b.add("", btf.KindFuncProto, len(params), false, uint32(result), words...)
}

func (b *builder) bytes() []byte {
	le := binary.LittleEndian
	raw := []byte{0x9f, 0xeb, 1, 0}
	for _, w := range []int{24, 0, len(b.types), len(b.types), len(b.strs)} {
		raw = le.AppendUint32(raw, uint32(w))
	}
	return append(append(raw, b.types...), b.strs...)
}

func (b *builder) spec(t testing.TB) *btf.Spec {
	t.Helper()
	spec, err := btf.Parse(b.bytes())
	assert.NilError(t, err)
	return spec
}
