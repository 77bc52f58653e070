package mutate

import (
	"bytes"

	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/trace"
)

// Offsets in struct btf_header and struct btf_type.
const (
	btfHdrLen  = 4
	btfTypeOff = 8
	btfTypeLen = 12
	btfStrOff  = 16
	btfStrLen  = 20

	btfTypeSize = 12
	btfInfo     = 4
	btfSizeType = 8 // size, or the type that the record refers to
)

// onBTF changes the object's types before they are loaded.
func onBTF(do func(raw []byte)) change {
	return on(anyBTF, func(c *trace.LoadBTF) {
		c.Data = bytes.Clone(c.Data)
		do(c.Data)
	})
}

// renameBTF replaces a name in the strings of the types by another one of the same length.
func renameBTF(from, to string) change {
	return onBTF(func(raw []byte) { renameIn(raw, from, to) })
}

func renameIn(raw []byte, from, to string) {
	if i := bytes.Index(raw, []byte("\x00"+from+"\x00")); i >= 0 {
		copy(raw[i+1:], to)
	}
}

// onType changes the type of this kind and name. do gets the blob from its struct btf_type on.
func onType(kind btf.Kind, name string, do func(typ []byte)) change {
	return onBTF(func(raw []byte) {
		spec, err := btf.Parse(raw)
		if err != nil {
			return
		}
		at := int(le.Uint32(raw[btfHdrLen:]) + le.Uint32(raw[btfTypeOff:]))
		for id := btf.TypeID(1); int(id) < spec.NumTypes(); id++ {
			if spec.KindOf(id) == kind && spec.TypeName(id) == name {
				do(raw[at:])
				return
			}
			at += typeSize(raw[at:])
		}
	})
}

// typeSize returns the size of a type's record in bytes.
func typeSize(typ []byte) int {
	info := le.Uint32(typ[btfInfo:])
	n := int(info & 0xffff)
	switch btf.Kind(info >> 24 & 0x1f) {
	case btf.KindInt, btf.KindVar, btf.KindDeclTag:
		return btfTypeSize + 4
	case btf.KindArray:
		return btfTypeSize + 12
	case btf.KindStruct, btf.KindUnion, btf.KindDatasec, btf.KindEnum64:
		return btfTypeSize + 12*n
	case btf.KindEnum, btf.KindFuncProto:
		return btfTypeSize + 8*n
	}
	return btfTypeSize
}
