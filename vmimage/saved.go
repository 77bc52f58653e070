package vmimage

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Saved guests are kept until they take more than this, in bytes; then those that
// were not used for the longest time go. One takes 100 to 200 MB.
const savedRoom = 4 << 30

// savedKeep is how long a saved guest lives without being used. They do not outlive
// a boot of this machine in any case.
const savedKeep = archiveKeep

// SavedGuest returns the directory of the saved guest with this key, which is
// made of lower-case letters and digits. What is in it is the caller's matter. If
// there is none yet fill makes it, in an empty directory of the cache; two
// runs that want the same one make it once. If fill fails, nothing is left. Others
// may remove it at any time, to make room.
func (s *Store) SavedGuest(ctx context.Context, key string, fill func(dir string) error) (string, error) {
	dir := s.cache.path(dirSaved, key)
	if s.touch(dir) {
		return dir, nil
	}
	unlock, err := s.cache.exclusive(ctx, "saved-"+key, func() { s.say("waiting for another run that saves the same guest") })
	if err != nil {
		return "", err
	}
	defer unlock()
	if s.touch(dir) {
		return dir, nil
	}
	s.dropOldGuests(savedRoom)
	tmp, err := os.MkdirTemp(s.cache.path(dirTemp), "saved-")
	if err != nil {
		return "", s.cache.explain(err)
	}
	defer os.RemoveAll(tmp)
	if err := fill(tmp); err != nil {
		return "", s.cache.explain(err)
	}
	// It is not flushed to the disk: nobody restores it after this machine went down.
	if err := os.Rename(tmp, dir); err != nil {
		return "", s.cache.explain(err)
	}
	return dir, nil
}

// DropGuest removes the saved guest with this key, if there is one.
func (s *Store) DropGuest(key string) error {
	dir := s.cache.path(dirSaved, key)
	if _, err := os.Stat(dir); os.IsNotExist(err) {
		return nil
	}
	return s.cache.remove(dir)
}

// dropOldGuests removes what is more than there is room for, in bytes, and what
// nobody has used for long.
func (s *Store) dropOldGuests(room int64) {
	entries, _ := os.ReadDir(s.cache.path(dirSaved))
	type saved struct {
		key  string
		used time.Time
		size int64
	}
	var all []saved
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil {
			all = append(all, saved{entry.Name(), info.ModTime(), diskUsage(s.cache.path(dirSaved, entry.Name()))})
		}
	}
	slices.SortFunc(all, func(a, b saved) int { return b.used.Compare(a.used) })
	var total int64
	for _, g := range all {
		total += g.size
		if total > room || time.Since(g.used) > savedKeep {
			_ = s.cache.remove(filepath.Join(s.cache.path(dirSaved), g.key)) // another run may have been first
		}
	}
}
