package btf

import (
	"testing"
)

// FuzzParse: no input causes a panic or an endless loop, and a blob that passes validation can be
// decoded, rendered and downgraded.
func FuzzParse(f *testing.F) {
	f.Add(readTypes(f))
	b := newBlob("\x00")
	b.add("s", makeInfo(KindStruct, 2, true), 8, 0, 2, 3<<24, 0, 2, 5<<24|3)
	b.add("int", makeInfo(KindInt, 0, false), 4, 1<<24|32)
	b.add("e", makeInfo(KindEnum64, 1, true), 8, 0, 1, 2)
	b.add(".data", makeInfo(KindDatasec, 1, false), 4, 5, 0, 4)
	b.add("v", makeInfo(KindVar, 0, false), 2, 1)
	f.Add(b.bytes())
	b.layout = make([]byte, 80)
	f.Add(b.bytes())
	f.Fuzz(func(t *testing.T, raw []byte) {
		if s, err := ParseKernel(append([]byte(nil), raw...)); err == nil {
			walk(s)
		}
		s, err := Parse(raw)
		if err != nil {
			return
		}
		for id := range s.All() {
			if _, err := s.Type(id); err != nil {
				t.Fatalf("valid blob, but: %v", err)
			}
			if _, err := s.SkipModifiers(id); err != nil {
				t.Fatalf("valid blob, but: %v", err)
			}
		}
		down := s.WithoutLayout()
		down = down.Rename(down.BadNames())
		if bad := down.BadNames(); len(bad) > 0 {
			t.Fatalf("renamed blob: %d bad names", len(bad))
		}
		last := down.Raw()
		for _, f := range down.Fallbacks() {
			last = apply(last, f)
		}
		old, err := ParseKernel(last)
		if err != nil {
			t.Fatalf("blob for old kernels: %v", err)
		}
		if old.NumTypes() != s.NumTypes() {
			t.Fatalf("%d types of %d are left", old.NumTypes(), s.NumTypes())
		}
		s.AppendVar("v", s.AppendInt("i", 4, true), Global)
		if _, err := Parse(s.Raw()); err != nil {
			t.Fatalf("extended blob: %v", err)
		}
	})
}
