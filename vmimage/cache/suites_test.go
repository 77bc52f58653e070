package cache

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"
)

func TestMakeDir(t *testing.T) {
	d := open(t, t.TempDir())
	made := 0
	fill := func(dir string) error {
		made++
		return os.WriteFile(filepath.Join(dir, "file"), nil, 0o644)
	}
	_, err := d.MakeDir(t.Context(), "a thing", "kind/one", func(dir string) error {
		return errors.Join(fill(dir), errors.New("no"))
	})
	assert.ErrorContains(t, err, "no")
	_, err = os.Stat(d.SuitePath("kind/one"))
	assert.ErrorIs(t, err, os.ErrNotExist)
	for range 2 {
		dir, err := d.MakeDir(t.Context(), "a thing", "kind/one", fill)
		assert.NilError(t, err)
		assert.Check(t, is.Equal(dir, d.SuitePath("kind/one")))
	}
	assert.Check(t, is.Equal(made, 2)) // the one that failed, and another
	left, err := os.ReadDir(d.Path(temp))
	assert.NilError(t, err)
	assert.Check(t, is.Len(left, 0))
}
