package cache

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"gotest.tools/v3/assert"
)

func open(t *testing.T, dir string) *Dir {
	t.Helper()
	d, err := Open(dir, nil)
	assert.NilError(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}

func TestSavedGuestIsMadeOnce(t *testing.T) {
	root := t.TempDir()
	var made atomic.Int32
	var all errgroup.Group
	for range 3 {
		d := open(t, root)
		all.Go(func() error {
			dir, err := d.SavedGuest(t.Context(), "key", func(dir string) error {
				made.Add(1)
				time.Sleep(2 * lockPoll)
				return os.WriteFile(filepath.Join(dir, "memory"), []byte("all of it"), 0o644)
			})
			if err != nil {
				return err
			}
			data, err := os.ReadFile(filepath.Join(dir, "memory"))
			assert.Check(t, string(data) == "all of it")
			return err
		})
	}
	assert.NilError(t, all.Wait())
	assert.Equal(t, made.Load(), int32(1))

	d := open(t, root)
	assert.NilError(t, d.DropGuest("key"))
	assert.NilError(t, d.DropGuest("key"), "it is gone already")
	failure := errors.New("no")
	_, err := d.SavedGuest(t.Context(), "key", func(dir string) error {
		assert.NilError(t, os.WriteFile(filepath.Join(dir, "memory"), []byte("half"), 0o644))
		return failure
	})
	assert.ErrorIs(t, err, failure)
	for _, sub := range []string{saved, temp} {
		left, err := os.ReadDir(filepath.Join(root, sub))
		assert.NilError(t, err)
		assert.Equal(t, len(left), 0, "%s: %v", sub, left)
	}
}

// The most recently used guests are kept, as many as there is room for.
func TestSavedGuestsThatAreDropped(t *testing.T) {
	root := t.TempDir()
	d := open(t, root)
	guest := func(key string, used time.Duration) {
		dir, err := d.SavedGuest(t.Context(), key, func(dir string) error { return os.WriteFile(filepath.Join(dir, "memory"), make([]byte, 8<<10), 0o644) })
		assert.NilError(t, err)
		at := time.Now().Add(-used)
		assert.NilError(t, os.Chtimes(dir, at, at))
	}
	kept := func() (keys []string) {
		entries, err := os.ReadDir(filepath.Join(root, saved))
		assert.NilError(t, err)
		for _, e := range entries {
			keys = append(keys, e.Name())
		}
		return keys
	}
	guest("a", 3*time.Hour)
	guest("b", time.Hour)
	guest("c", 2*time.Hour)
	guest("d", savedKeep+time.Hour)
	d.dropOldGuests(1 << 20)
	assert.DeepEqual(t, kept(), []string{"a", "b", "c"})
	d.dropOldGuests(20 << 10)
	assert.DeepEqual(t, kept(), []string{"b", "c"})

	// Using a guest renews it.
	_, err := d.SavedGuest(t.Context(), "c", nil)
	assert.NilError(t, err)
	d.dropOldGuests(10 << 10)
	assert.DeepEqual(t, kept(), []string{"c"})
	pruned, err := d.Prune(false, keepNone)
	assert.NilError(t, err)
	assert.Equal(t, len(pruned), 1)
	assert.Equal(t, len(kept()), 0)
}

// A file that was hashed before is not read again, unless it may have changed.
func TestSum(t *testing.T) {
	d := open(t, t.TempDir())
	file := filepath.Join(t.TempDir(), "program")
	write := func(text string) {
		assert.NilError(t, os.WriteFile(file, []byte(text), 0o644))
	}
	hash := func() string {
		sum, err := d.Sum(file)
		assert.NilError(t, err)
		return sum
	}
	memos := func() int {
		entries, err := filepath.Glob(d.Path(cpio, "*.sum"))
		assert.NilError(t, err)
		return len(entries)
	}
	write("one")
	one := hash()
	assert.Equal(t, memos(), 0, "it was written a moment ago")
	write("two")
	assert.Assert(t, hash() != one)

	time.Sleep(settled)
	two := hash()
	assert.Equal(t, memos(), 1)
	assert.Equal(t, hash(), two)
	write("six")
	assert.Assert(t, hash() != two)
	_, err := d.Sum(file + "x")
	assert.ErrorIs(t, err, os.ErrNotExist)
}
