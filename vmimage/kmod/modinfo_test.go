package kmod

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/vmimage/internal/fake"
)

func TestReadModinfo(t *testing.T) {
	m, err := readInfo(fake.Module("name=x-y", "depends=a,b-c,", "alias=crypto-x", "alias=pci:v1*", "softdep=post: p pre: q r", "junk", "", "alias=fs-x"))
	assert.NilError(t, err)
	assert.DeepEqual(t, *m, Info{
		Name: "x_y", Depends: []string{"a", "b_c"}, Soft: []string{"q", "r"}, Aliases: []string{"crypto_x", "fs_x"},
	})
	_, err = readInfo(fake.Vmlinux(fake.Release, true))
	assert.ErrorContains(t, err, "not a kernel module")
	_, err = readInfo([]byte("this is no module, but a text"))
	assert.ErrorContains(t, err, "bad magic number")
	whole := fake.Module("depends=")
	for size := range len(whole) {
		_, err := readInfo(whole[:size])
		assert.Check(t, err != nil, "%d bytes of %d", size, len(whole))
	}
}

func FuzzReadModinfo(f *testing.F) {
	for _, data := range slices.SortedFunc(maps.Values(fake.Modules("")), slices.Compare) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := readInfo(data)
		if (m == nil) == (err == nil) {
			t.Errorf("%v, %v", m, err)
		}
		if m == nil {
			return
		}
		for _, name := range slices.Concat(m.Depends, m.Soft, m.Aliases) {
			if strings.ContainsAny(name, "-\x00") {
				t.Errorf("accepted %q", name)
			}
		}
	})
}

func FuzzParseModinfo(f *testing.F) {
	f.Add([]byte("name=x\x00depends=a,b\x00softdep=pre: c\x00alias=d\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if parseInfo(data) == nil {
			t.Error("nil")
		}
	})
}
