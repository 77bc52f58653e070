package vmimage

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// savedRoom bounds the size of all saved guests, in bytes. Beyond it the least recently used ones
// are removed. One takes 100 to 200 MB.
const savedRoom = 4 << 30

// savedKeep is how long a saved guest that is not used is kept. After a reboot of this machine none
// can be used.
const savedKeep = archiveKeep

// SavedGuest returns the directory of the saved guest with this key, which must consist of
// lower-case letters and digits. The caller defines its contents. If there is none, fill makes it
// in an empty directory of the cache; two runs that need the same one make it once. If fill fails,
// nothing is left. Other runs may remove the directory at any time, to make room.
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
	// It is not flushed to the disk, because a saved guest is useless after a crash of this
	// machine.
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

// dropOldGuests removes guests that exceed room, in bytes, and guests that were not used for long.
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
			_ = s.cache.remove(filepath.Join(s.cache.path(dirSaved), g.key)) // another run may have removed it
		}
	}
}
