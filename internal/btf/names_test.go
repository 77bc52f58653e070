package btf

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"
)

// named adds a type with a name in the given place.
var named = map[string]func(b *blob, name string){
	"struct":  func(b *blob, name string) { b.add(name, makeInfo(KindStruct, 0, false), 0) },
	"union":   func(b *blob, name string) { b.add(name, makeInfo(KindUnion, 0, false), 0) },
	"enum":    func(b *blob, name string) { b.add(name, makeInfo(KindEnum, 0, false), 4) },
	"enum64":  func(b *blob, name string) { b.add(name, makeInfo(KindEnum64, 0, false), 8) },
	"fwd":     func(b *blob, name string) { b.add(name, makeInfo(KindFwd, 0, false), 0) },
	"typedef": func(b *blob, name string) { b.add(name, makeInfo(KindTypedef, 0, false), 1) },
	"var":     func(b *blob, name string) { b.add(name, makeInfo(KindVar, 0, false), 1, uint32(Global)) },
	"func": func(b *blob, name string) {
		b.add("", makeInfo(KindFuncProto, 0, false), 0)
		b.add(name, makeInfo(KindFunc, uint32(Static), false), 2)
	},
	"member":     func(b *blob, name string) { b.add("s", makeInfo(KindStruct, 1, false), 4, b.string(name), 1, 0) },
	"enumerator": func(b *blob, name string) { b.add("e", makeInfo(KindEnum, 1, false), 4, b.string(name), 1) },
	"wide one":   func(b *blob, name string) { b.add("e", makeInfo(KindEnum64, 1, false), 8, b.string(name), 1, 0) },
	"parameter":  func(b *blob, name string) { b.add("", makeInfo(KindFuncProto, 1, false), 0, b.string(name), 1) },
}

func (b *blob) string(name string) uint32 {
	off := uint32(len(b.strs))
	b.strs += name + "\x00"
	return off
}

// TestBadNames asks the kernel which names it accepts, and checks that it accepts what Rename makes
// of the others.
func TestBadNames(t *testing.T) {
	load := kernelTakes(t)
	names := []string{
		"plain", "_", "a.b", ".dot", "a1", "CamelCase", strings.Repeat("n", 100),
		"Box<long, 2>", "1st", "a b", "a-b", "operator()", "~Box", "a::b", "a$b", "a\x01b", "a\x7fb", "a\x80b",
		"\xc3\xa9t\xc3\xa9", "\xe9t\xe9", "\xd7", "\xf7a", strings.Repeat("n", maxName-1), strings.Repeat("n", maxName),
		strings.Repeat("n", maxName+1), strings.Repeat("<", maxName+9),
	}
	bad := 0
	for where, add := range named {
		for _, name := range names {
			text := fmt.Sprintf("%s %.20q of %d bytes", where, name, len(name))
			b := newBlob("\x00int\x00")
			b.words(1, makeInfo(KindInt, 0, false), 4, 32)
			add(b, name)
			s, err := Parse(b.bytes())
			assert.NilError(t, err, text)
			err = load(s.Raw())
			assert.Check(t, err == nil || err == error(unix.EINVAL), "%s: %v", text, err)
			offs := s.BadNames()
			assert.Check(t, (err == nil) == (len(offs) == 0), "%s: the kernel says %v, BadNames %v", text, err, offs)
			if len(offs) == 0 {
				continue
			}
			bad++
			was := string(s.Raw())
			renamed := s.Rename(offs)
			assert.Equal(t, string(s.Raw()), was, "%s: Rename changes the original", text)
			assert.Equal(t, len(renamed.BadNames()), 0, text)
			assert.Equal(t, len(renamed.Raw()), len(was), text)
			assert.Check(t, load(renamed.Raw()) == nil, "%s: renamed to %.20q", text, renamed.Name(offs[0]))
			again, err := Parse(renamed.Raw())
			assert.NilError(t, err)
			assert.Equal(t, again.Name(offs[0]), renamed.Name(offs[0]), text)
		}
	}
	assert.Assert(t, bad > 12*12, "only %d are bad", bad)
}

func TestRename(t *testing.T) {
	for name, want := range map[string]string{
		"Box<long, 2>": "Box_long__2_", "2fast": "_fast", "a::b": "a__b", strings.Repeat("n", maxName+9): strings.Repeat("n", maxName),
	} {
		b := newBlob("\x00int\x00kept\x00")
		b.words(1, makeInfo(KindInt, 0, false), 4, 32)
		b.add(name, makeInfo(KindStruct, 0, false), 0)
		b.add("kept", makeInfo(KindStruct, 0, false), 0)
		s, err := Parse(b.bytes())
		assert.NilError(t, err)
		s = s.Rename(s.BadNames())
		assert.Equal(t, s.TypeName(2), want)
		assert.Equal(t, s.TypeName(3), "kept")
		id, err := s.First(want, KindStruct)
		assert.NilError(t, err)
		assert.Equal(t, id, TypeID(2), "it is found by its new name")
	}
}

// TestString: an existing string is reused, another one is appended.
func TestString(t *testing.T) {
	s := parseTypes(t)
	before := len(s.Raw())
	assert.Equal(t, s.Name(s.String("node")), "node")
	assert.Equal(t, len(s.Raw()), before)
	off := s.String("0:1:2:3:4:5:6:7")
	again, err := Parse(s.Raw())
	assert.NilError(t, err)
	assert.Equal(t, again.Name(off), "0:1:2:3:4:5:6:7")
	assert.Equal(t, again.NumTypes(), s.NumTypes())
	assert.Equal(t, s.String("0:1:2:3:4:5:6:7"), off)
}
