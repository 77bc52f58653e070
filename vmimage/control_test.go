package vmimage

import (
	"errors"
	"io"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/vmimage/kimage"
)

func TestReadStanzas(t *testing.T) {
	const file = "\n# comment\nPackage: a\nDescription: short\n long\n\tlonger\r\nEmpty:\n\n\n \nPackage: b\nX:y:z"
	var got []stanza
	assert.NilError(t, readStanzas(strings.NewReader(file), func(s stanza) error {
		got = append(got, s)
		return nil
	}))
	assert.DeepEqual(t, got, []stanza{
		{"package": "a", "description": "short\nlong\nlonger", "empty": ""},
		{"package": "b", "x": "y:z"},
	})
}

func TestReadStanzasErrors(t *testing.T) {
	for _, test := range []struct{ file, err string }{
		{" x\nA: b", "stanza 1: a line that belongs to no field"},
		{"A: b\nnonsense", "Bad line"},
		{"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nA: b", "Bad line"},
		{"A: b\n\n: b", "stanza 2: a line that belongs to no field"},
		{"A: b\na: c", "or a field that appears twice"},
		{"A: b\nA: c", "or a field that appears twice"},
		{"A: " + strings.Repeat("x", maxStanza), "longer than"},
		{"A: b\n" + strings.Repeat(" "+strings.Repeat("x", 1<<16)+"\n", maxStanza>>16), "longer than"},
	} {
		err := readStanzas(strings.NewReader(test.file), func(stanza) error { return nil })
		assert.ErrorContains(t, err, test.err)
	}
	stop := errors.New("stop")
	assert.ErrorIs(t, readStanzas(strings.NewReader("A: b\n\nA: c"), func(stanza) error { return stop }), stop)
	assert.ErrorIs(t, readStanzas(&brokenReader{}, func(stanza) error { return nil }), io.ErrClosedPipe)
}

type brokenReader struct{}

func (*brokenReader) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestReadPackagesErrors(t *testing.T) {
	good := newArchive(t, "sid")
	good.add("linux-image-6.1.0-1-cloud-amd64", "6.1-1", "", []byte("x"))
	stanza := good.stanzas[0]
	packages, err := readPackages(strings.NewReader(stanza), isKernelPackage)
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
		_, err := readPackages(strings.NewReader(damaged), isKernelPackage)
		assert.ErrorContains(t, err, test.err)
	}
}

func TestParseReleaseErrors(t *testing.T) {
	const date = "Date: Sat, 12 Sep 2026 09:27:08 UTC\n"
	for _, test := range []struct{ file, err string }{
		{"", "it is empty"},
		{"Suite: x\n", "is not a date"},
		{date + "\n" + date, "more than one paragraph"},
		{date + "Valid-Until: soon\n", "is not a date"},
		{date + "SHA256:\n 12 34\n", "damaged line"},
		{date + "SHA256:\n " + strings.Repeat("0", 64) + " -1 x\n", "damaged line"},
		{date + "SHA256:\n " + strings.Repeat("z", 64) + " 1 x\n", "damaged line"},
	} {
		_, err := parseRelease([]byte(test.file))
		assert.ErrorContains(t, err, test.err)
	}
	r, err := parseRelease([]byte(date))
	assert.NilError(t, err)
	_, _, err = r.index("amd64")
	assert.ErrorContains(t, err, "no package index for amd64")
}

func FuzzReadPackages(f *testing.F) {
	a := newArchive(f, "sid")
	a.new("7.2.9-cloud-amd64", "7.2.9-1")
	f.Add(strings.Join(a.stanzas, "\n"))
	f.Add("Package: linux-image-x\nSize: 1\nFilename: a\nSHA256: 0\n")
	f.Add("A: b\n c\n#\n\n\nD:")
	f.Fuzz(func(t *testing.T, file string) {
		packages, err := readPackages(strings.NewReader(file), isKernelPackage)
		if err != nil {
			return
		}
		for _, p := range packages {
			if p.want.Size <= 0 || !safePath(p.path) {
				t.Errorf("accepted %+v", p)
			}
		}
		for _, c := range candidates(packages, &DebianSource{Release: "*"}) {
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
		r, err := parseRelease(file)
		if (r == nil) == (err == nil) {
			t.Errorf("%v, %v", r, err)
		}
	})
}
