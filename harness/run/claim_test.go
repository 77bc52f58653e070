package run

import (
	"os"
	"path/filepath"
	"testing"

	"gotest.tools/v3/assert"
)

func TestClaim(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out", "6.12")
	claim := func(want string) func() {
		t.Helper()
		got, release, err := Claim(dir)
		assert.NilError(t, err)
		assert.Equal(t, got, want)
		return release
	}
	first := claim(dir)
	second := claim(dir + ".2")
	third := claim(dir + ".3")
	second()
	claim(dir + ".2")()
	first()
	claim(dir)()
	third()
	entries, err := os.ReadDir(dir)
	assert.NilError(t, err)
	assert.Equal(t, len(entries), 0)

	file := filepath.Join(t.TempDir(), "file")
	assert.NilError(t, os.WriteFile(file, nil, 0o600))
	_, _, err = Claim(file)
	assert.ErrorContains(t, err, "not a directory")
}
