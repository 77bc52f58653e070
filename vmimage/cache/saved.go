package cache

import (
	"context"
	"os"
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
func (d *Dir) SavedGuest(ctx context.Context, key string, fill func(dir string) error) (string, error) {
	dir := d.Path(saved, key)
	if touch(dir) {
		return dir, nil
	}
	unlock, err := d.Lock(ctx, "saved-"+key, "waiting for another run that saves the same guest")
	if err != nil {
		return "", err
	}
	defer unlock()
	if touch(dir) {
		return dir, nil
	}
	d.dropOldGuests(savedRoom)
	tmp, err := d.TempDir()
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := fill(tmp); err != nil {
		return "", d.Explain(err)
	}
	// It is not flushed to the disk, because a saved guest is useless after a crash of this
	// machine.
	if err := os.Rename(tmp, dir); err != nil {
		return "", d.Explain(err)
	}
	return dir, nil
}

// DropGuest removes the saved guest with this key, if there is one.
func (d *Dir) DropGuest(key string) error {
	dir := d.Path(saved, key)
	if !exists(dir) {
		return nil
	}
	return d.remove(dir)
}

// dropOldGuests removes guests that exceed room, in bytes, and guests that were not used for long.
func (d *Dir) dropOldGuests(room int64) {
	entries, _ := os.ReadDir(d.Path(saved))
	type guest struct {
		dir  string
		used time.Time
		size int64
	}
	var all []guest
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil {
			dir := d.Path(saved, entry.Name())
			all = append(all, guest{dir, info.ModTime(), Size(dir)})
		}
	}
	slices.SortFunc(all, func(a, b guest) int { return b.used.Compare(a.used) })
	var total int64
	for _, g := range all {
		total += g.size
		if total > room || time.Since(g.used) > savedKeep {
			_ = d.remove(g.dir) // another run may have removed it
		}
	}
}
