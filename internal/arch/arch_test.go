package arch

import (
	"bytes"
	"testing"

	"gotest.tools/v3/assert"
)

func TestCut(t *testing.T) {
	for _, test := range []struct {
		spec, arch, name string
		explicit         bool
	}{
		{"6.12", Native, "6.12", false},
		{"arm64/6.12", "arm64", "6.12", true},
		{"aarch64/6.12", "arm64", "6.12", true},
		{"arm64/boot/Image", Native, "arm64/boot/Image", false}, // a path
		{"mips/6.12", Native, "mips/6.12", false},
		{"arm64/", Native, "arm64/", false},
	} {
		arch, name, explicit := Cut(test.spec)
		assert.Equal(t, arch, test.arch, test.spec)
		assert.Equal(t, name, test.name, test.spec)
		assert.Equal(t, explicit, test.explicit, test.spec)
	}
	for _, a := range All {
		arch, name, _ := Cut(Join(a.Name, "6.12"))
		assert.Equal(t, arch+" "+name, a.Name+" 6.12")
	}
}

func TestFind(t *testing.T) {
	for _, a := range All {
		for _, name := range append(a.Also, a.Name) {
			found, ok := Find(name)
			assert.Assert(t, ok && found == a, name)
		}
		found, ok := OfMachine(a.Machine)
		assert.Assert(t, ok && found == a)
		found, ok = OfDir(a.Dir)
		assert.Assert(t, ok && found == a)
	}
	_, err := Parse("mips")
	assert.ErrorContains(t, err, "there are amd64, arm64, riscv64")
}

func TestOfImage(t *testing.T) {
	image := make([]byte, 64)
	copy(image[0x38:], "ARM\x64")
	a, ok := OfImage(bytes.NewReader(image))
	assert.Assert(t, ok && a.Name == "arm64")
	for _, none := range [][]byte{nil, make([]byte, 64), image[:0x3a]} {
		_, ok := OfImage(bytes.NewReader(none))
		assert.Assert(t, !ok)
	}
}
