package state

import "github.com/bpfreplay/bpfreplay/internal/btf"

// typesHash hashes the types and their names. It ignores the offsets of the names in the string
// section, and strings that no type uses, such as those of CO-RE records.
func typesHash(spec *btf.Spec) string {
	var b []byte
	number := func(values ...uint32) {
		for _, v := range values {
			b = le.AppendUint32(b, v)
		}
	}
	text := func(s string) {
		number(uint32(len(s)))
		b = append(b, s...)
	}
	flag := map[bool]uint32{true: 1}
	for id := range spec.All() {
		t, err := spec.Type(id)
		if err != nil {
			return contentHash(spec.Raw())
		}
		number(uint32(t.Kind), flag[t.Flag], t.Vlen, t.Size, uint32(t.Ref), uint32(t.Linkage), uint32(t.Component),
			flag[t.Int.Signed], flag[t.Int.Char], flag[t.Int.Bool], uint32(t.Int.Offset), uint32(t.Int.Bits),
			uint32(t.Array.Elem), uint32(t.Array.Index), t.Array.Len)
		text(t.Name)
		for _, m := range t.Members {
			text(m.Name)
			number(uint32(m.Type), m.BitOffset, m.BitSize)
		}
		for _, p := range t.Params {
			text(p.Name)
			number(uint32(p.Type))
		}
		for _, v := range t.Values {
			text(v.Name)
			number(uint32(v.Value), uint32(v.Value>>32))
		}
		for _, v := range t.Vars {
			number(uint32(v.Type), v.Offset, v.Size)
		}
	}
	return contentHash(b)
}
