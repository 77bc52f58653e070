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

func TestPruneSuites(t *testing.T) {
	none := func() ([]string, error) { return nil, nil }
	d := open(t, t.TempDir())
	for _, key := range []string{"objects/used", "objects/old", "types/old"} {
		_, err := d.MakeDir(t.Context(), "", key, func(dir string) error { return nil })
		assert.NilError(t, err)
	}
	assert.NilError(t, d.MakeFile("some.json", []byte(`{"uses": ["objects/used"]}`)))
	there := func() (keys []string) {
		for _, key := range []string{"objects/used", "objects/old", "types/old", "some.json"} {
			if _, err := os.Stat(d.SuitePath(key)); err == nil {
				keys = append(keys, key)
			}
		}
		return keys
	}
	_, err := d.Prune(false, none)
	assert.NilError(t, err)
	assert.Check(t, is.DeepEqual(there(), []string{"objects/used", "some.json"}))
	_, err = d.Prune(true, none)
	assert.NilError(t, err)
	assert.Check(t, is.Len(there(), 0))
}

func TestUsage(t *testing.T) {
	d := open(t, t.TempDir())
	u := d.Usage()
	assert.Equal(t, u.Dir, d.Path())
	assert.Check(t, u.Err == nil && u.Free > 0 && u.Size == 0 && u.Saved == 0)
	left, err := os.ReadDir(d.Path(temp))
	assert.NilError(t, err)
	assert.Check(t, is.Len(left, 0))
}
