package btf

import "strings"

// Features says which kinds of BTF the target's kernel accepts. The zero value
// is a kernel that knows none of the optional ones. It comes from probes on the
// target; this package never asks a kernel.
type Features struct {
	Func         bool // FUNC and FUNC_PROTO, 5.0
	Datasec      bool // VAR and DATASEC, 5.2
	GlobalFunc   bool // FUNC with global linkage, 5.6
	EmptyDatasec bool // DATASEC without elements, as of a section that holds only literals, 5.12
	Float        bool // FLOAT, 5.13
	DeclTag      bool // DECL_TAG, 5.16
	TypeTag      bool // TYPE_TAG, 5.17
	Enum64       bool // ENUM64 and signed enums, 6.0
	QmarkDatasec bool // DATASEC names that begin with '?', 6.9
	Layout       bool // layout section, 7.1
}

// AllFeatures is a kernel that accepts everything that this package knows.
var AllFeatures = Features{true, true, true, true, true, true, true, true, true, true}

// Sanitize returns a copy in which kinds that the kernel does not know are
// replaced by older ones of the same size, as libbpf replaces them, and some
// that libbpf has no answer to. Type ids
// and string offsets stay, so func_info, line_info and CO-RE records go on to
// fit. The blob has the same size, with two exceptions: an ENUM64 that has to
// go needs an integer type, which is appended, and a layout section that has to
// go is cut out. If nothing has to change the receiver itself is returned.
//
// CO-RE must be done on the original: the replacements lose information.
func (s *Spec) Sanitize(f Features) *Spec {
	if s.base != nil || !s.needs(f) {
		return s
	}
	c := s.Clone()
	if !f.Layout {
		c.dropLayout()
	}
	z := sanitizer{Spec: c, f: f}
	for id := c.firstID; int(id) < c.NumTypes(); id++ {
		z.one(id)
	}
	c.strs = string(c.raw[c.strOff:][:len(c.strs)])
	return c
}

func (s *Spec) needs(f Features) bool {
	if !f.Layout && s.hasLayout() {
		return true
	}
	for id := range s.All() {
		b := s.at(id)
		info := le.Uint32(b[4:])
		switch infoKind(info) {
		case KindFunc:
			if !f.Func || !f.GlobalFunc && infoVlen(info) != 0 {
				return true
			}
		case KindFuncProto:
			if !f.Func {
				return true
			}
		case KindVar:
			if !f.Datasec {
				return true
			}
		case KindDatasec:
			if !f.Datasec || !f.EmptyDatasec && infoVlen(info) == 0 || !f.QmarkDatasec && strings.HasPrefix(s.TypeName(id), "?") {
				return true
			}
		case KindFloat:
			if !f.Float {
				return true
			}
		case KindDeclTag:
			if !f.DeclTag {
				return true
			}
		case KindTypeTag:
			if !f.TypeTag {
				return true
			}
		case KindEnum:
			if !f.Enum64 && infoFlag(info) {
				return true
			}
		case KindEnum64:
			if !f.Enum64 {
				return true
			}
		}
	}
	return false
}

func (s *Spec) hasLayout() bool {
	return s.hdrLen >= layoutHeader && (le.Uint32(s.raw[24:]) != 0 || le.Uint32(s.raw[28:]) != 0)
}

// dropLayout moves the strings to the end of the types and clears the two words
// of the header that older kernels want to be zero.
func (s *Spec) dropLayout() {
	if !s.hasLayout() {
		return
	}
	end := s.typeOff + s.typeLen
	s.raw = append(s.raw[:end:end], s.strs...)
	s.strOff = end
	le.PutUint32(s.raw[16:], end-s.hdrLen)
	le.PutUint32(s.raw[24:], 0)
	le.PutUint32(s.raw[28:], 0)
}

type sanitizer struct {
	*Spec
	f           Features
	placeholder TypeID // the integer that members of a former ENUM64 have
}

// one replaces a type if it has to be. The order of the cases is libbpf's.
func (z *sanitizer) one(id TypeID) {
	b := z.at(id)
	info := le.Uint32(b[4:])
	kind, vlen := infoKind(info), infoVlen(info)
	set := func(k Kind, vlen uint32) { le.PutUint32(b[4:], makeInfo(k, vlen, false)) }
	switch {
	case kind == KindVar && !z.f.Datasec, kind == KindDeclTag && !z.f.DeclTag:
		// One byte is the only size that fits into every variable.
		set(KindInt, 0)
		le.PutUint32(b[8:], 1)
		le.PutUint32(b[typeHeader:], 8)
	case kind == KindDatasec && !z.f.Datasec:
		z.rename(b, ".?")
		set(KindStruct, vlen)
		z.varsToMembers(b, vlen)
	case kind == KindDatasec && !z.f.EmptyDatasec && vlen == 0:
		// libbpf has no replacement and goes on without any types.
		le.PutUint32(b, 0)
		le.PutUint32(b[8:], 0)
		set(KindConst, 0)
	case kind == KindDatasec && !z.f.QmarkDatasec:
		if strings.HasPrefix(z.Name(le.Uint32(b)), "?") {
			z.raw[z.strOff+le.Uint32(b)] = '_'
		}
	case kind == KindFuncProto && !z.f.Func:
		set(KindEnum, vlen)
		le.PutUint32(b[8:], 4)
	case kind == KindFunc && !z.f.Func:
		set(KindTypedef, 0)
	case kind == KindFunc && !z.f.GlobalFunc:
		set(KindFunc, uint32(Static))
	case kind == KindFloat && !z.f.Float:
		le.PutUint32(b, 0)
		set(KindStruct, 0)
	case kind == KindTypeTag && !z.f.TypeTag:
		le.PutUint32(b, 0)
		set(KindConst, 0)
	case kind == KindEnum && !z.f.Enum64:
		set(KindEnum, vlen)
	case kind == KindEnum64 && !z.f.Enum64:
		z.enum64ToUnion(id, vlen)
	}
}

// rename replaces characters of a type's name in place by underscores. The name
// is read from the bytes, which earlier replacements may have changed.
func (z *sanitizer) rename(b []byte, chars string) {
	for at := z.strOff + le.Uint32(b); int(at) < len(z.raw) && z.raw[at] != 0; at++ {
		if strings.IndexByte(chars, z.raw[at]) >= 0 {
			z.raw[at] = '_'
		}
	}
}

// varsToMembers rewrites elements (type, offset in bytes, size) to members
// (name, type, offset in bits). Both have 12 bytes.
func (z *sanitizer) varsToMembers(b []byte, vlen uint32) {
	for i := range vlen {
		e := b[typeHeader+i*12:]
		ref, off := le.Uint32(e), le.Uint32(e[4:])
		var name uint32
		if v := z.at(TypeID(ref)); v != nil {
			name = le.Uint32(v)
		}
		le.PutUint32(e, name)
		le.PutUint32(e[4:], ref)
		le.PutUint32(e[8:], off*8)
	}
}

// enum64ToUnion keeps the names of the values as those of members.
func (z *sanitizer) enum64ToUnion(id TypeID, vlen uint32) {
	if z.placeholder == 0 {
		z.placeholder = z.AppendInt("enum64_placeholder", 1, false)
	}
	b := z.at(id) // appending moved it
	le.PutUint32(b[4:], makeInfo(KindUnion, vlen, false))
	for i := range vlen {
		e := b[typeHeader+i*12:]
		le.PutUint32(e[4:], uint32(z.placeholder))
		le.PutUint32(e[8:], 0)
	}
}
