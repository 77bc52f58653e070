package apt

import (
	"errors"
	"io"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
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
		_, err := ParseRelease([]byte(test.file))
		assert.ErrorContains(t, err, test.err)
	}
	r, err := ParseRelease([]byte(date))
	assert.NilError(t, err)
	_, _, err = r.Index("amd64")
	assert.ErrorContains(t, err, "no package index for amd64")
}
