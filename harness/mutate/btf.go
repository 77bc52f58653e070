package mutate

import (
	"bytes"

	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/trace"
)

// Offsets in struct btf_header and struct btf_type.
const (
	btfStrLen = 20

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
	return onBTF(renameIn(from, to))
}

func renameIn(from, to string) func(raw []byte) {
	return func(raw []byte) {
		if i := bytes.Index(raw, []byte("\x00"+from+"\x00")); i >= 0 {
			copy(raw[i+1:], to)
		}
	}
}

// onType changes the type of this kind and name. do gets the blob from its struct btf_type on.
func onType(kind btf.Kind, name string, do func(typ []byte)) change {
	return onBTF(func(raw []byte) {
		spec, err := btf.Parse(raw)
		if err != nil {
			return
		}
		for t := range spec.OfKind(kind) {
			if t.Name == name {
				do(raw[spec.Offset(t.ID):])
				return
			}
		}
	})
}
