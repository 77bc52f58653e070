package cache

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrBusy means that the cache is in use, so that nothing may be removed.
var ErrBusy = errors.New("the cache is in use by another run")

// Pruned describes one thing that [Dir.Prune] removed from the cache.
type Pruned struct {
	Path string `json:"path"`
	// Size in bytes.
	Size int64 `json:"size"`
}

// Prune removes everything but the paths that keep returns, and what the suites use; with all it
// also removes the suites. It calls keep when no other run can use the cache. It fails with
// [ErrBusy] while other runs do.
func (d *Dir) Prune(all bool, keep func() ([]string, error)) ([]Pruned, error) {
	if !d.alone() {
		// A failed attempt may have lost the shared lock, too.
		if err := d.share(); err != nil {
			return nil, err
		}
		return nil, ErrBusy
	}
	defer d.share()
	kept, err := keep()
	if err != nil {
		return nil, err
	}
	var unused []string
	for _, dir := range []string{Blobs, Kernels, Images, cpio, saved, embedded} {
		entries, err := os.ReadDir(d.Path(dir))
		if err != nil {
			return nil, fmt.Errorf("cache: %w", err)
		}
		for _, entry := range entries {
			if file := d.Path(dir, entry.Name()); !slices.Contains(kept, file) {
				unused = append(unused, file)
			}
		}
	}
	ofSuites, err := d.unusedSuites(all)
	if err != nil {
		return nil, err
	}
	var out []Pruned
	for _, file := range append(unused, ofSuites...) {
		size := Size(file)
		if err := d.remove(file); err != nil {
			return out, err
		}
		out = append(out, Pruned{Path: file, Size: size})
	}
	return out, nil
}

// remove moves a thing out of its place and then deletes it, so a kill leaves no partly deleted
// thing there.
func (d *Dir) remove(file string) error {
	gone := d.Path(temp, "gone-"+filepath.Base(file))
	if err := os.Rename(file, gone); err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	if err := os.RemoveAll(gone); err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	return nil
}

// unusedSuites returns the paths below "suites" that no suite's list ("suites/NAME.json", with
// "uses") names. With all it returns everything, lists included.
func (d *Dir) unusedSuites(all bool) (unused []string, err error) {
	root := os.DirFS(d.Path(suites))
	var used []string
	if all {
		unused, err = fs.Glob(root, "*")
	} else if used, err = d.usedBySuites(root); err == nil {
		unused, err = fs.Glob(root, "*/*")
	}
	unused = slices.DeleteFunc(unused, func(name string) bool { return slices.Contains(used, name) })
	for i, name := range unused {
		unused[i] = d.SuitePath(name)
	}
	return unused, err
}

// usedBySuites returns what the suites' lists name.
func (d *Dir) usedBySuites(root fs.FS) (used []string, err error) {
	lists, err := fs.Glob(root, "*.json")
	for _, name := range lists {
		list := struct {
			Uses []string `json:"uses"`
		}{}
		data, err := os.ReadFile(d.SuitePath(name))
		if err == nil {
			err = json.Unmarshal(data, &list)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w; remove it", d.SuitePath(name), err)
		}
		used = append(used, list.Uses...)
	}
	return used, err
}

// Size returns the disk space of the files in a directory, in bytes. It counts blocks, because the
// memory file of a saved guest is mostly holes.
func Size(dir string) int64 {
	var total int64
	// Files that vanish meanwhile count nothing.
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			total += min(info.Size(), 512*st.Blocks)
		}
		return nil
	})
	return total
}

// Usage is the size of the cache, in bytes, and the room for more.
type Usage struct {
	Dir  string
	Size int64
	// Free is the free space of the file system for this user.
	Free int64
	// Saved is the number of saved guests.
	Saved int
	// Err is the reason why the cache cannot be written, such as a full disk; nil if it can.
	Err error
}

// Usage returns the usage of the cache.
func (d *Dir) Usage() Usage {
	u := Usage{Dir: d.root, Size: Size(d.root)}
	var fs unix.Statfs_t
	if err := unix.Statfs(d.root, &fs); err == nil {
		u.Free = int64(fs.Bavail) * int64(fs.Bsize)
	}
	if guests, err := os.ReadDir(d.Path(saved)); err == nil {
		u.Saved = len(guests)
	}
	dir, err := d.TempDir()
	if err != nil {
		u.Err = err
		return u
	}
	defer os.RemoveAll(dir)
	u.Err = d.Explain(os.WriteFile(filepath.Join(dir, "file"), make([]byte, 1<<16), 0o600))
	return u
}
