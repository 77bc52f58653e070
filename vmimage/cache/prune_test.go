package cache

import (
	"os"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"
)

func keepNone() ([]string, error) { return nil, nil }

// TestPruneBusy: nothing is removed while another run uses the cache.
func TestPruneBusy(t *testing.T) {
	root := t.TempDir()
	first, second := open(t, root), open(t, root)
	_, err := second.Prune(false, keepNone)
	assert.ErrorIs(t, err, ErrBusy)
	assert.NilError(t, first.Close())
	_, err = second.Prune(false, keepNone)
	assert.NilError(t, err)
}

func TestPruneSuites(t *testing.T) {
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
	_, err := d.Prune(false, keepNone)
	assert.NilError(t, err)
	assert.Check(t, is.DeepEqual(there(), []string{"objects/used", "some.json"}))
	_, err = d.Prune(true, keepNone)
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
