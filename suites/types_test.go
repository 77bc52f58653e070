package suites

import (
	"bytes"
	"encoding/binary"
	"testing"

	"gotest.tools/v3/assert"
)

// btfOf makes BTF with a header of that many bytes and these sections.
func btfOf(header uint32, types, strings string) []byte {
	b := bytes.Clone(btfMagic)
	for _, v := range []uint32{header, 0, uint32(len(types)), uint32(len(types)), uint32(len(strings))} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	b = append(b, make([]byte, header-uint32(len(b)))...)
	return append(append(b, types...), strings...)
}

func TestFindBTF(t *testing.T) {
	small, large := btfOf(24, "type", "\x00a\x00"), btfOf(32, "types of a kernel", "\x00names\x00")
	for name, test := range map[string]struct{ data, want []byte }{
		"nothing":         {nil, nil},
		"none":            {[]byte("no types"), nil},
		"alone":           {small, small},
		"largest":         {bytes.Join([][]byte{[]byte("x"), small, []byte("yz"), large, small, []byte("end")}, nil), large},
		"cut off":         {large[:len(large)-1], nil},
		"only the magic":  {append([]byte("x"), btfMagic...), nil},
		"only the header": {append([]byte("x"), large[:24]...), nil},
		"no end":          {btfOf(24, "type", "\x00a"), nil},
		"no beginning":    {btfOf(24, "type", "a\x00"), nil},
		"short header":    {func() []byte { b := bytes.Clone(small); b[4] = 20; return b }(), nil},
	} {
		assert.Check(t, bytes.Equal(findBTF(test.data), test.want), name)
	}
}
