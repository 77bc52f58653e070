package btf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unsafe"
)

// Errors for errors.Is.
var (
	// ErrMalformed: the blob violates the format.
	ErrMalformed = errors.New("malformed BTF")
	// ErrBigEndian: the blob is for a big-endian target.
	ErrBigEndian = errors.New("big-endian BTF is not supported")
	// ErrNotFound: no type has that id or name.
	ErrNotFound = errors.New("type not found in BTF")
)

const (
	magic        = 0xeB9F
	minHeader    = 24 // through str_len
	layoutHeader = 32 // with layout_off and layout_len (7.1)
	typeHeader   = 12
	maxStrings   = 0x7fffffff
)

var le = binary.LittleEndian

// Spec is a BTF blob: its raw bytes and where each type starts in them.
type Spec struct {
	raw     []byte
	hdrLen  uint32
	typeOff uint32 // of the type section, from the start of raw
	typeLen uint32
	strOff  uint32 // of the string section, from the start of raw
	strs    string // the string section of raw, which is never patched

	// offsets[i] is the offset in raw of type firstID+i.
	offsets  []uint32
	base     *Spec
	firstID  TypeID
	firstStr uint32

	names *names
}

// Parse reads the BTF of an object (section .BTF) and validates all of it: bounds, kinds, string
// offsets, type ids, and that no type contains itself other than through a pointer. It copies the
// bytes.
func Parse(raw []byte) (*Spec, error) {
	s, err := index(append([]byte(nil), raw...), nil)
	if err != nil {
		return nil, err
	}
	if err := s.validate(); err != nil {
		return nil, err
	}
	return s, nil
}

// ParseKernel reads the BTF of a running kernel or of a vmlinux file (/sys/kernel/btf/vmlinux). The
// kernel has validated such a blob, so ParseKernel checks only the extent of each type; the inside
// is checked when it is decoded. The Spec refers to raw, which the caller must not change.
func ParseKernel(raw []byte) (*Spec, error) {
	return index(raw, nil)
}

// ParseSplit reads the BTF of a kernel module (/sys/kernel/btf/MODULE). Its type ids and string
// offsets continue those of base, the kernel's BTF. Like [ParseKernel] it keeps raw and checks the
// inside of types when it decodes them.
func ParseSplit(raw []byte, base *Spec) (*Spec, error) {
	if base == nil {
		return nil, errors.New("split BTF needs the BTF that it extends")
	}
	return index(raw, base)
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

type header struct {
	len, typeOff, typeLen, strOff, strLen, layoutOff, layoutLen uint32
}

func parseHeader(raw []byte) (header, error) {
	var h header
	if len(raw) < minHeader {
		return h, malformed("%d bytes are too few for a header of %d", len(raw), minHeader)
	}
	switch m := le.Uint16(raw); {
	case m == magic:
	case m == magic>>8|magic&0xff<<8:
		return h, ErrBigEndian
	default:
		return h, malformed("magic is %#x, not %#x", m, magic)
	}
	if v := raw[2]; v != 1 {
		return h, malformed("version %d is unknown, only 1 is", v)
	}
	h.len = le.Uint32(raw[4:])
	h.typeOff, h.typeLen = le.Uint32(raw[8:]), le.Uint32(raw[12:])
	h.strOff, h.strLen = le.Uint32(raw[16:]), le.Uint32(raw[20:])
	if h.len < minHeader || uint64(h.len) > uint64(len(raw)) {
		return h, malformed("header length %d outside %d..%d", h.len, minHeader, len(raw))
	}
	if h.len >= layoutHeader {
		h.layoutOff, h.layoutLen = le.Uint32(raw[24:]), le.Uint32(raw[28:])
	}
	return h, h.check(uint64(len(raw)))
}

// check requires types, layout (if any) and strings in this order, inside the blob.
func (h *header) check(size uint64) error {
	room := size - uint64(h.len)
	typeEnd := uint64(h.typeOff) + uint64(h.typeLen)
	if uint64(h.strOff)+uint64(h.strLen) > room {
		return malformed("strings at %d+%d end beyond the blob's %d bytes", h.strOff, h.strLen, room)
	}
	if h.typeOff%4 != 0 || typeEnd > uint64(h.strOff) {
		return malformed("types at %d+%d are misaligned or run into the strings at %d", h.typeOff, h.typeLen, h.strOff)
	}
	if h.layoutLen == 0 {
		return nil
	}
	layoutEnd := uint64(h.layoutOff) + uint64(h.layoutLen)
	if h.layoutOff%4 != 0 || uint64(h.layoutOff) < typeEnd || layoutEnd > uint64(h.strOff) {
		return malformed("layout at %d+%d is not between types and strings", h.layoutOff, h.layoutLen)
	}
	return nil
}

func index(raw []byte, base *Spec) (*Spec, error) {
	h, err := parseHeader(raw)
	if err != nil {
		return nil, err
	}
	s := &Spec{
		raw: raw, base: base, firstID: 1,
		hdrLen: h.len, typeOff: h.len + h.typeOff, typeLen: h.typeLen, strOff: h.len + h.strOff,
		strs:  stringOf(raw[h.len+h.strOff:][:h.strLen]),
		names: new(names),
	}
	if base != nil {
		s.firstID = TypeID(base.NumTypes())
		s.firstStr = base.firstStr + uint32(len(base.strs))
	}
	if err := s.checkStrings(); err != nil {
		return nil, err
	}
	var extra []byte
	if h.layoutLen > 0 {
		extra = raw[h.len+h.layoutOff:][:h.layoutLen]
	}
	return s, s.indexTypes(extra)
}

// stringOf returns b as a string that shares its memory. The names of a kernel's types are two
// megabytes, and copying them takes longer than finding one.
func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func (s *Spec) checkStrings() error {
	if s.base != nil && s.strs == "" {
		return nil
	}
	if s.strs == "" || len(s.strs) > maxStrings || s.strs[len(s.strs)-1] != 0 {
		return malformed("string section of %d bytes is empty or does not end with NUL", len(s.strs))
	}
	if s.base == nil && s.strs[0] != 0 {
		return malformed("string section does not begin with the empty string; split BTF needs its base")
	}
	return nil
}

// indexTypes records the offset of each type. extra is the blob's own layout section (7.1), which
// describes kinds that are newer than this package.
func (s *Spec) indexTypes(extra []byte) error {
	types := s.raw[s.typeOff:][:s.typeLen]
	offsets := make([]uint32, 0, len(types)/20)
	for off := 0; off < len(types); {
		id := s.firstID + TypeID(len(offsets))
		if len(types)-off < typeHeader {
			return malformed("type %d is cut off", id)
		}
		info := le.Uint32(types[off+4:])
		kind, vlen := infoKind(info), infoVlen(info)
		l, ok := kindLayout(kind, extra)
		if !ok {
			return malformed("type %d has unknown %v", id, kind)
		}
		size := typeHeader + int(l.info) + int(vlen)*int(l.elem)
		if size > len(types)-off {
			return malformed("type %d (%v with %d elements) is cut off", id, kind, vlen)
		}
		offsets = append(offsets, s.typeOff+uint32(off))
		off += size
	}
	s.offsets = offsets
	return nil
}

func kindLayout(k Kind, extra []byte) (layout, bool) {
	if k >= KindInt && k <= kindMax {
		return layouts[k], true
	}
	if at := int(k) * 4; k > kindMax && at+4 <= len(extra) && (extra[at]|extra[at+1])%4 == 0 {
		return layout{info: extra[at], elem: extra[at+1]}, true
	}
	return layout{}, false
}

// The info word: bits 0-23 vlen (16 bits before 7.2, the rest zero), bits 24-30
// kind (5 bits before 7.1), bit 31 kind_flag.
func infoKind(info uint32) Kind   { return Kind(info >> 24 & 0x7f) }
func infoVlen(info uint32) uint32 { return info & 0xffffff }
func infoFlag(info uint32) bool   { return info>>31 != 0 }

func makeInfo(k Kind, vlen uint32, flag bool) uint32 {
	info := uint32(k)<<24 | vlen
	if flag {
		info |= 1 << 31
	}
	return info
}

// Raw returns the blob with its patches. It must not be changed.
func (s *Spec) Raw() []byte { return s.raw }

// NumTypes returns the highest type id plus one. For split BTF this includes the types of the base.
func (s *Spec) NumTypes() int { return int(s.firstID) + len(s.offsets) }

// FirstID returns the lowest id that this blob itself defines: 1, or for split BTF the number of
// types of its base.
func (s *Spec) FirstID() TypeID { return s.firstID }

// Name returns the string at an offset, "" if there is none.
func (s *Spec) Name(off uint32) string {
	name, _ := s.lookupString(off)
	return name
}

func (s *Spec) lookupString(off uint32) (string, bool) {
	if off < s.firstStr {
		return s.base.lookupString(off)
	}
	off -= s.firstStr
	if uint64(off) >= uint64(len(s.strs)) {
		return "", off == 0 && s.strs == ""
	}
	tail := s.strs[off:]
	end := strings.IndexByte(tail, 0)
	if end < 0 {
		return "", false
	}
	return tail[:end], true
}

// at returns the bytes from the type's header to the end of the type section of the Spec that holds
// it. Nil for void and ids out of range.
func (s *Spec) at(id TypeID) []byte {
	for s.base != nil && id < s.firstID {
		s = s.base
	}
	i := id - s.firstID
	if id < s.firstID || int(i) >= len(s.offsets) {
		return nil
	}
	return s.raw[s.offsets[i] : s.typeOff+s.typeLen]
}

// Offset returns the offset in Raw of a type of this Spec itself, not of its base.
func (s *Spec) Offset(id TypeID) uint32 { return s.offsets[id-s.firstID] }

// KindOf returns the kind of a type without decoding it: KindVoid for id 0 and for ids out of
// range.
func (s *Spec) KindOf(id TypeID) Kind {
	b := s.at(id)
	if b == nil {
		return KindVoid
	}
	return infoKind(le.Uint32(b[4:]))
}

// TypeName returns the name of a type without decoding it.
func (s *Spec) TypeName(id TypeID) string {
	b := s.at(id)
	if b == nil {
		return ""
	}
	return s.Name(le.Uint32(b))
}
