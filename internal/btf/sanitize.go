package btf

import (
	"slices"
	"strings"
)

// Word is four bytes at an offset in a blob.
type Word struct{ Off, Value uint32 }

// Fallback replaces the types of one kind by older ones of the same size, with libbpf's
// replacements. Type ids and string offsets stay, so func_info, line_info and CO-RE records remain
// valid.
type Fallback struct {
	Kind  string // the kind
	Since string // the first kernel that knows it
	Words []Word // empty if the blob has no such type
	// Probe is a small blob that a kernel accepts if it knows the kind.
	Probe []byte
}

// fallbacks are in the order in which they are tried on a kernel that refuses types: the newest
// kinds first. Kinds from before 5.10 are not replaced.
var fallbacks = []struct {
	kind, since string
	probe       []uint32 // types; 1 is the offset of "a", 3 of "?b"
	replace     func(s *Spec, id TypeID, b []byte)
}{
	{"DATASEC ?", "6.9", slices.Concat(anInt, aVar, []uint32{3, makeInfo(KindDatasec, 1, false), 4, 2, 0, 4}), func(s *Spec, _ TypeID, b []byte) {
		// Replace the '?' of a struct_ops section that is not loaded by default.
		if infoKind(le.Uint32(b[4:])) == KindDatasec && strings.HasPrefix(s.Name(le.Uint32(b)), "?") {
			s.raw[s.strOff+le.Uint32(b)] = '_'
		}
	}},
	{"ENUM64", "6.0", []uint32{1, makeInfo(KindEnum64, 1, false), 8, 1, 0, 0}, func(s *Spec, _ TypeID, b []byte) {
		switch info := le.Uint32(b[4:]); infoKind(info) {
		case KindEnum: // signed
			le.PutUint32(b[4:], makeInfo(KindEnum, infoVlen(info), false))
		case KindEnum64:
			s.enum64ToUnion(b, infoVlen(info))
		}
	}},
	{"TYPE_TAG", "5.17", slices.Concat(anInt, []uint32{1, makeInfo(KindTypeTag, 0, false), 1, 0, makeInfo(KindPtr, 0, false), 2}), func(_ *Spec, _ TypeID, b []byte) { toConst(b, KindTypeTag) }},
	{"DECL_TAG", "5.16", slices.Concat(anInt, aVar, []uint32{1, makeInfo(KindDeclTag, 0, false), 2, 0xffffffff}), func(_ *Spec, _ TypeID, b []byte) {
		if infoKind(le.Uint32(b[4:])) == KindDeclTag {
			le.PutUint32(b[4:], makeInfo(KindInt, 0, false))
			le.PutUint32(b[8:], 1)
			le.PutUint32(b[typeHeader:], 8)
		}
	}},
	{"FLOAT", "5.13", []uint32{1, makeInfo(KindFloat, 0, false), 4}, func(_ *Spec, _ TypeID, b []byte) {
		if infoKind(le.Uint32(b[4:])) == KindFloat {
			le.PutUint32(b, 0)
			le.PutUint32(b[4:], makeInfo(KindStruct, 0, false))
		}
	}},
	{"empty DATASEC", "5.12", []uint32{1, makeInfo(KindDatasec, 0, false), 4}, func(_ *Spec, _ TypeID, b []byte) {
		// libbpf has no replacement and continues without types.
		if info := le.Uint32(b[4:]); infoKind(info) == KindDatasec && infoVlen(info) == 0 {
			le.PutUint32(b[8:], 0)
			toConst(b, KindDatasec)
		}
	}},
}

// Types for probes: an int, and a variable of this type.
var (
	anInt = []uint32{1, makeInfo(KindInt, 0, false), 4, 32}
	aVar  = []uint32{1, makeInfo(KindVar, 0, false), 1, 1}
)

// toConst turns a type of a kind into an unnamed const.
func toConst(b []byte, kind Kind) {
	if infoKind(le.Uint32(b[4:])) == kind {
		le.PutUint32(b, 0)
		le.PutUint32(b[4:], makeInfo(KindConst, 0, false))
	}
}

// Fallbacks returns the changes for kernels that do not know a kind, one entry per kind and always
// the same kinds. Each entry assumes that the ones before it were applied.
func (s *Spec) Fallbacks() []Fallback {
	out := make([]Fallback, len(fallbacks))
	now := s.Clone()
	for i, f := range fallbacks {
		before := slices.Clone(now.raw)
		for id := range now.All() {
			f.replace(now, id, now.at(id))
		}
		now.strs = string(now.raw[now.strOff:][:len(now.strs)])
		out[i] = Fallback{Kind: f.kind, Since: f.since, Words: changes(before, now.raw), Probe: Encode("\x00a\x00?b\x00", f.probe)}
	}
	return out
}

// changes returns the words of b that differ from a, which has the same length. The last one may
// overlap the one before it.
func changes(a, b []byte) []Word {
	var out []Word
	for at := 0; at < len(a); at += 4 {
		at = min(at, len(a)-4)
		if v := le.Uint32(b[at:]); v != le.Uint32(a[at:]) {
			out = append(out, Word{uint32(at), v})
		}
	}
	return out
}

// enum64ToUnion turns an ENUM64 into a union whose members have the values' names, and an integer
// that fits as their type. Without such an integer in the blob, the ENUM64 stays.
func (s *Spec) enum64ToUnion(b []byte, vlen uint32) {
	size := le.Uint32(b[8:])
	for id := range s.All() {
		t := s.at(id)
		if infoKind(le.Uint32(t[4:])) != KindInt || le.Uint32(t[8:]) > size {
			continue
		}
		le.PutUint32(b[4:], makeInfo(KindUnion, vlen, false))
		for i := range vlen {
			e := b[typeHeader+i*12:]
			le.PutUint32(e[4:], uint32(id))
			le.PutUint32(e[8:], 0)
		}
		return
	}
}

func (s *Spec) hasLayout() bool {
	return s.hdrLen >= layoutHeader && (le.Uint32(s.raw[24:]) != 0 || le.Uint32(s.raw[28:]) != 0)
}

// WithoutLayout returns the types without a layout section, which kernels before 7.1 refuse. It
// returns the receiver if there is none.
func (s *Spec) WithoutLayout() *Spec {
	if !s.hasLayout() {
		return s
	}
	c := s.Clone()
	end := c.typeOff + c.typeLen
	c.raw = append(c.raw[:end:end], c.strs...)
	c.strOff = end
	le.PutUint32(c.raw[16:], end-c.hdrLen)
	le.PutUint32(c.raw[24:], 0)
	le.PutUint32(c.raw[28:], 0)
	return c
}
