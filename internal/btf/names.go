package btf

import "bytes"

// maxName is the length of the longest name that a kernel accepts (KSYM_NAME_LEN of 6.1 and later;
// 128 before).
const maxName = 512

// BadNames returns the offsets of strings that are used as names but that kernels refuse as such,
// for example "Box<long, 2>" (kernel/bpf/btf.c, btf_name_valid_identifier: letters, digits, '_' and
// '.').
func (s *Spec) BadNames() []uint32 {
	var bad []uint32
	seen := make(map[uint32]bool)
	check := func(off uint32) {
		if off != 0 && !seen[off] {
			seen[off] = true
			if !validName(s.Name(off)) {
				bad = append(bad, off)
			}
		}
	}
	for id := range s.All() {
		b := s.at(id)
		info := le.Uint32(b[4:])
		kind, vlen := infoKind(info), infoVlen(info)
		switch kind {
		case KindStruct, KindUnion, KindEnum, KindEnum64, KindFwd, KindTypedef, KindFunc, KindVar:
			check(le.Uint32(b))
		}
		switch kind {
		case KindStruct, KindUnion, KindEnum, KindEnum64, KindFuncProto: // elements begin with their names
			for i := range vlen {
				check(le.Uint32(b[typeHeader+i*uint32(layouts[kind].elem):]))
			}
		}
	}
	return bad
}

func validName(name string) bool {
	if len(name) > maxName {
		return false
	}
	for i := range len(name) {
		switch c := name[i]; {
		case c == '_' || c == '.' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z':
		case '0' <= c && c <= '9':
			if i == 0 {
				return false
			}
		case c >= 0xc0 && c != 0xd7 && c != 0xf7: // Latin-1 letters, as in the kernel's ctype
		default:
			return false
		}
	}
	return true
}

// Rename returns a copy with underscores in place of the characters that kernels refuse in names,
// in the strings at the given offsets. It cuts names that are too long.
func (s *Spec) Rename(bad []uint32) *Spec {
	c := s.Clone()
	for _, off := range bad {
		if off < c.firstStr {
			continue
		}
		text := c.raw[c.strOff+off-c.firstStr:]
		text = text[:bytes.IndexByte(text, 0)]
		for i := range text {
			if !validName("a" + string(text[i:i+1])) {
				text[i] = '_'
			}
		}
		if text[0] >= '0' && text[0] <= '9' {
			text[0] = '_'
		}
		if len(text) > maxName {
			text[maxName] = 0
		}
	}
	c.strs = string(c.raw[c.strOff:][:len(c.strs)])
	c.names = new(names)
	return c
}

// String returns the offset of a string, which may be the end of a longer one. It appends the
// string if there is none.
func (s *Spec) String(text string) uint32 {
	if offs := s.stringOffsets(text); len(offs) > 0 {
		return offs[0]
	}
	off := s.firstStr + uint32(len(s.strs))
	s.raw = append(append(bytes.Clone(s.raw[:s.strOff]), s.strs...), text+"\x00"...)
	s.strs = string(s.raw[s.strOff:])
	le.PutUint32(s.raw[20:], uint32(len(s.strs)))
	return off
}

// Encode builds a blob from types, given as words, and their names.
func Encode(names string, types []uint32) []byte {
	const headerLen = 24
	raw := []byte{0x9f, 0xeb, 1, 0}
	for _, v := range append([]uint32{headerLen, 0, uint32(4 * len(types)), uint32(4 * len(types)), uint32(len(names))}, types...) {
		raw = le.AppendUint32(raw, v)
	}
	return append(raw, names...)
}
