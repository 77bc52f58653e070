package vmimage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/failures"
	"github.com/bpfreplay/bpfreplay/vmimage/digest"
)

// CacheEnv names the environment variable with the directory of the cache.
const CacheEnv = "BPFREPLAY_CACHE"

// Directories of the cache. Everything in them is complete: files and
// directories are made in tmp, flushed to the disk, and then renamed.
const (
	dirBlobs   = "blobs"   // what was downloaded, by SHA-256
	dirKernels = "kernels" // unpacked packages, by the SHA-256 of the packages
	dirImages  = "images"  // kernels taken apart, by the SHA-256 of the image
	dirCPIO    = "cpio"    // parts of initramfs archives, by the SHA-256 of their contents
	dirSuites  = "suites"  // see [Store.MakeDir]
	dirSaved   = "saved"   // guests to be restored, by what the harness makes them from
	dirLocks   = "locks"   // one empty file for each thing being made
	dirTemp    = "tmp"     // things being made
)

// lockPoll is how often a lock that another process holds is tried.
const lockPoll = 50 * time.Millisecond

// cache is the directory with the kernels. Each process that uses it holds a shared lock on it,
// which the kernel releases even after a kill -9. So a process that gets the exclusive lock knows
// that no other uses the cache, and that the files in tmp are left over.
type cache struct {
	dir  string
	lock *os.File
}

// defaultCacheDir returns the directory to use if the caller names none.
func defaultCacheDir() (string, error) {
	if dir := os.Getenv(CacheEnv); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no place for the cache: %w; set %s", err, CacheEnv)
	}
	return filepath.Join(dir, "bpfreplay"), nil
}

func openCache(dir string) (*cache, error) {
	for _, sub := range []string{dirBlobs, dirKernels, dirImages, dirCPIO, dirSuites, dirSaved, dirEmbedded, dirLocks, dirTemp} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, fmt.Errorf("cache: %w", err)
		}
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	c := &cache{dir: dir, lock: lock}
	if c.tryExclusive() {
		c.sweep()
	}
	if err := c.share(); err != nil {
		lock.Close()
		return nil, err
	}
	return c, nil
}

// share takes the shared lock, or downgrades to it.
func (c *cache) share() error {
	if err := flock(c.lock, unix.LOCK_SH); err != nil {
		return fmt.Errorf("cache: lock %s: %w", c.lock.Name(), err)
	}
	return nil
}

func (c *cache) close() error { return c.lock.Close() }

// tryExclusive tries to take the exclusive lock, and reports whether it did: no other process uses
// the cache then.
func (c *cache) tryExclusive() bool {
	return flock(c.lock, unix.LOCK_EX|unix.LOCK_NB) == nil
}

// sweep removes what killed processes left behind. The caller holds the exclusive lock.
func (c *cache) sweep() {
	for _, sub := range []string{dirTemp, dirLocks} {
		left, _ := os.ReadDir(filepath.Join(c.dir, sub))
		for _, entry := range left {
			os.RemoveAll(filepath.Join(c.dir, sub, entry.Name()))
		}
	}
}

func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func (c *cache) path(elem ...string) string {
	return filepath.Join(append([]string{c.dir}, elem...)...)
}

// exclusive waits until no other process or goroutine makes the thing called key, and takes its
// lock. It calls waiting once if that takes long.
func (c *cache) exclusive(ctx context.Context, key string, waiting func()) (unlock func(), err error) {
	f, err := os.OpenFile(c.path(dirLocks, key), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, c.explain(err)
	}
	// The lock file stays. If it were removed, two processes could hold locks on two files of the
	// same name.
	for first := true; ; first = false {
		err := flock(f, unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		if first && waiting != nil {
			waiting()
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		case <-time.After(lockPoll):
		}
	}
}

// writeFile makes the complete file dst, or nothing. fill writes to a temporary file.
func (c *cache) writeFile(dst string, fill func(*os.File) error) error {
	tmp, err := renameio.NewPendingFile(dst, renameio.WithTempDir(c.path(dirTemp)), renameio.WithStaticPermissions(0o644))
	if err != nil {
		return c.explain(err)
	}
	defer tmp.Cleanup()
	if err := fill(tmp.File); err != nil {
		return c.explain(err)
	}
	if err := tmp.CloseAtomicallyReplace(); err != nil {
		return c.explain(err)
	}
	return syncDir(filepath.Dir(dst))
}

// writeDir makes the complete directory dst, or nothing. fill gets a temporary one.
func (c *cache) writeDir(dst string, fill func(dir string) error) error {
	tmp, err := os.MkdirTemp(c.path(dirTemp), "dir-")
	if err != nil {
		return c.explain(err)
	}
	defer os.RemoveAll(tmp)
	if err := fill(tmp); err != nil {
		return c.explain(err)
	}
	if err := failures.All(os.Chmod(tmp, 0o755), syncFilesystem(tmp)); err != nil {
		return c.explain(err)
	}
	return c.publish(tmp, dst)
}

func (c *cache) publish(tmp, dst string) error {
	err := os.Rename(tmp, dst)
	if _, statErr := os.Stat(dst); err != nil && statErr == nil {
		return nil // another process was first, with the same contents
	}
	if err != nil {
		return c.explain(err)
	}
	return syncDir(filepath.Dir(dst))
}

// syncFilesystem flushes a directory of many files at once.
func syncFilesystem(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("flush %s: %w", dir, err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func isFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// explain adds to an error of a full disk what to do about it.
func (c *cache) explain(err error) error {
	if !isFull(err) {
		return err
	}
	return fmt.Errorf("the disk with the cache %s is full; make room, run `bpfreplay kernels prune`, or set %s: %w", c.dir, CacheEnv, err)
}

// settled is the age that a file must have before its digest is remembered. A file that changes
// twice within a tick of the clock keeps its modification time.
const settled = 2 * time.Second

// hashUnchanged is [digest.OfFile], remembered until the file changes. The program that runs in
// guests has ten megabytes, and every run needs its digest.
func (c *cache) hashUnchanged(file string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(file, &st); err != nil {
		return "", &fs.PathError{Op: "stat", Path: file, Err: err}
	}
	id := sha256.Sum256(fmt.Appendf(nil, "%q %d %d %d %v %v", file, st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim))
	memo := c.path(dirCPIO, hex.EncodeToString(id[:])+".sum")
	if sum, err := os.ReadFile(memo); err == nil && digest.IsSHA256(string(sum)) {
		now := time.Now()
		_ = os.Chtimes(memo, now, now)
		return string(sum), nil
	}
	sum, err := digest.OfFile(file)
	if err != nil || time.Since(time.Unix(st.Ctim.Unix())) < settled || time.Since(time.Unix(st.Mtim.Unix())) < settled {
		return sum, err
	}
	// A result that cannot be stored is computed again.
	_ = c.writeFile(memo, func(f *os.File) error {
		_, err := f.WriteString(sum)
		return err
	})
	return sum, nil
}

// diskUsage returns the disk space of the files in a directory, in bytes. It counts blocks, because
// the memory file of a saved guest is mostly holes.
func diskUsage(dir string) int64 {
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
