package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/vmimage/digest"
)

// archiveKeep is how long the cache keeps an archive or a digest that is not used.
const archiveKeep = 7 * 24 * time.Hour

// FindArchive returns the path of the archive with this key, and marks the archive as used. It
// reports whether there is one.
func (d *Dir) FindArchive(key string) (file string, ok bool) {
	file = d.Path(cpio, key)
	return file, touch(file)
}

// Archive returns the path of the archive with this key. It makes the archive if the cache lacks
// it.
func (d *Dir) Archive(key string, fill func(*os.File) error) (string, error) {
	file, ok := d.FindArchive(key)
	if ok {
		return file, nil
	}
	d.dropOldArchives()
	return file, d.WriteFile(file, fill)
}

// touch marks a file as used, and reports whether it exists.
func touch(file string) bool {
	now := time.Now()
	return os.Chtimes(file, now, now) == nil
}

// dropOldArchives removes archives that no run has used for a week. Every new build of the guest's
// program makes a new archive.
func (d *Dir) dropOldArchives() {
	entries, _ := os.ReadDir(d.Path(cpio))
	for _, entry := range entries {
		info, err := entry.Info()
		if err == nil && time.Since(info.ModTime()) > archiveKeep {
			os.Remove(d.Path(cpio, entry.Name()))
		}
	}
}

// Recall returns the digest that was remembered under a name, and marks it as used; "" if there is
// none.
func (d *Dir) Recall(name string) string {
	file := d.Path(cpio, name)
	sum, err := os.ReadFile(file)
	if err != nil || !digest.IsSHA256(string(sum)) {
		return ""
	}
	touch(file)
	return string(sum)
}

// Remember keeps a digest for [Dir.Recall], as long as an archive.
func (d *Dir) Remember(name, sum string) error {
	return d.WriteFile(d.Path(cpio, name), func(f *os.File) error {
		_, err := f.WriteString(sum)
		return err
	})
}

// settled is the age that a file must have before its digest is remembered. A file that changes
// twice within a tick of the clock keeps its modification time.
const settled = 2 * time.Second

// Sum is [digest.OfFile], remembered until the file changes. The program that runs in guests has
// ten megabytes, and every run needs its digest.
func (d *Dir) Sum(file string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(file, &st); err != nil {
		return "", &fs.PathError{Op: "stat", Path: file, Err: err}
	}
	id := sha256.Sum256(fmt.Appendf(nil, "%q %d %d %d %v %v", file, st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim))
	memo := hex.EncodeToString(id[:]) + ".sum"
	if sum := d.Recall(memo); sum != "" {
		return sum, nil
	}
	sum, err := digest.OfFile(file)
	if err != nil || time.Since(time.Unix(st.Ctim.Unix())) < settled || time.Since(time.Unix(st.Mtim.Unix())) < settled {
		return sum, err
	}
	_ = d.Remember(memo, sum) // otherwise it is computed again
	return sum, nil
}
