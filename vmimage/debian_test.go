package vmimage

import (
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/vmimage/apt"
	"github.com/bpfreplay/bpfreplay/vmimage/catalog"
	"github.com/bpfreplay/bpfreplay/vmimage/kimage"
)

func TestReadPackagesErrors(t *testing.T) {
	good := newArchive(t, "sid")
	good.add("linux-image-6.1.0-1-cloud-amd64", "6.1-1", "", []byte("x"))
	stanza := good.stanzas[0]
	packages, err := apt.ReadPackages(strings.NewReader(stanza), isKernelPackage)
	assert.NilError(t, err)
	assert.Equal(t, len(packages), 1)
	for _, test := range []struct{ old, new, err string }{
		{"Size: 1", "Size: -1", "not a number of bytes"},
		{"Size: 1", "Size: x", "not a number of bytes"},
		{"SHA256: ", "SHA256: 0", "no SHA-256"},
		{"Filename: pool", "Filename: ../pool", "not relative"},
		{"Filename: pool", "Filename: /pool", "not relative"},
	} {
		damaged := strings.Replace(stanza, test.old, test.new, 1)
		assert.Assert(t, damaged != stanza)
		_, err := apt.ReadPackages(strings.NewReader(damaged), isKernelPackage)
		assert.ErrorContains(t, err, test.err)
	}
}

func FuzzReadPackages(f *testing.F) {
	a := newArchive(f, "sid")
	a.new("7.2.9-cloud-amd64", "7.2.9-1")
	f.Add(strings.Join(a.stanzas, "\n"))
	f.Add("Package: linux-image-x\nSize: 1\nFilename: a\nSHA256: 0\n")
	f.Add("A: b\n c\n#\n\n\nD:")
	f.Fuzz(func(t *testing.T, file string) {
		packages, err := apt.ReadPackages(strings.NewReader(file), isKernelPackage)
		if err != nil {
			return
		}
		for _, p := range packages {
			if p.Want.Size <= 0 || !apt.SafePath(p.Path) {
				t.Errorf("accepted %+v", p)
			}
		}
		for _, c := range candidates(packages, &catalog.Debian{Release: "*"}) {
			if !kimage.IsRelease(c.release) || len(c.packages) != 1 && len(c.packages) != 3 {
				t.Errorf("accepted %+v", c)
			}
		}
	})
}

func FuzzParseRelease(f *testing.F) {
	a := newArchive(f, "sid")
	a.detached = true
	f.Add(a.files(f)["/debian/dists/sid/Release"])
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := apt.ParseRelease(file)
		if (r == nil) == (err == nil) {
			t.Errorf("%v, %v", r, err)
		}
	})
}
