package kimage

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/vmimage/internal/fake"
)

func TestUnpackBzImage(t *testing.T) {
	elf := fake.Vmlinux(fake.Release, true)
	images := map[string][]byte{
		"lz4": fake.BzImageWith(fake.Release, binary.LittleEndian.AppendUint32(fake.LZ4(elf), uint32(len(elf)))),
	}
	for _, kind := range []string{"", "gz", "xz", "zst"} {
		images[kind] = fake.BzImage(fake.Release, kind, true)
	}
	for kind, image := range images {
		t.Run(kind, func(t *testing.T) {
			h, err := readBzHeader(bytes.NewReader(image))
			assert.NilError(t, err)
			assert.Equal(t, h.release, fake.Release)
			var out bytes.Buffer
			assert.NilError(t, unpackBzImage(bytes.NewReader(image), h, &out))
			assert.Check(t, bytes.Equal(out.Bytes(), elf))
		})
	}
}

// TestTruncatedBzImage: wherever an image ends too early, there is an error.
func TestTruncatedBzImage(t *testing.T) {
	for _, kind := range []string{"", "gz", "xz", "zst"} {
		image := fake.BzImage(fake.Release, kind, true)
		for size := range len(image) - len("the end") {
			r := bytes.NewReader(image[:size])
			h, err := readBzHeader(r)
			if err != nil {
				continue
			}
			var out bytes.Buffer
			assert.Assert(t, unpackBzImage(r, h, &out) != nil, "%s: %d bytes of %d", kind, size, len(image))
		}
	}
}

func TestBzHeaderErrors(t *testing.T) {
	change := func(at int, with ...byte) []byte {
		image := fake.BzImage(fake.Release, "gz", true)
		copy(image[at:], with)
		return image
	}
	for _, test := range []struct {
		image []byte
		err   string
	}{
		{nil, "not a bzImage"},
		{[]byte("text"), "not a bzImage"},
		{change(bzBootFlag, 0), "not a bzImage"},
		{change(bzMagic, 'X'), "not a bzImage"},
		{change(bzVersion, 7, 2), "boot protocol 2.07"},
		{change(bzKernelVersion, 0xff, 0xff), "names no kernel release"},
		{change(0x500, '/'), "names no kernel release"},
	} {
		_, err := readBzHeader(bytes.NewReader(test.image))
		assert.Check(t, is.ErrorContains(err, test.err))
	}
}

func TestElfRelease(t *testing.T) {
	padded := append(make([]byte, 1<<20-70), fake.Vmlinux(fake.Release, true)...)
	for _, data := range [][]byte{fake.Vmlinux(fake.Release, true), padded} {
		release, err := elfRelease(bytes.NewReader(data))
		assert.NilError(t, err)
		assert.Equal(t, release, fake.Release)
	}
	_, err := elfRelease(strings.NewReader("Linux version "))
	assert.ErrorContains(t, err, "no kernel version")
}

func FuzzBzImage(f *testing.F) {
	for _, kind := range []string{"", "gz", "xz", "zst"} {
		f.Add(fake.BzImage(fake.Release, kind, true))
	}
	f.Fuzz(func(t *testing.T, image []byte) {
		h, err := readBzHeader(bytes.NewReader(image))
		if err != nil {
			return
		}
		if !IsRelease(h.release) {
			t.Errorf("accepted the release %q", h.release)
		}
		var out bytes.Buffer
		if unpackBzImage(bytes.NewReader(image), h, &out) == nil {
			_ = checkPVH(bytes.NewReader(out.Bytes()))
		}
	})
}
