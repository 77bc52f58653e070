package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Env names the environment variable with the directory of the cache.
const Env = "BPFREPLAY_CACHE"

// Directories of the cache, for [Dir.Path].
const (
	Blobs    = "blobs"    // what was downloaded, by SHA-256
	Kernels  = "kernels"  // unpacked packages, by the SHA-256 of the packages
	Images   = "images"   // kernels taken apart, by the SHA-256 of the image
	cpio     = "cpio"     // parts of initramfs archives, by the SHA-256 of their contents
	suites   = "suites"   // see [Dir.MakeDir]
	saved    = "saved"    // guests to be restored, by what the harness makes them from
	embedded = "embedded" // trees that programs embed
	locks    = "locks"    // one empty file for each thing being made
	temp     = "tmp"      // things being made
)

// lockPoll is how often a lock that another process holds is tried.
const lockPoll = 50 * time.Millisecond

// Dir is an open cache. Several goroutines may use it at once.
type Dir struct {
	root string
	// lock has the shared lock of each process that uses the cache. The kernel releases it even
	// after a kill -9. So a process that gets the exclusive lock knows that no other uses the
	// cache, and that the files in tmp are left over.
	lock *os.File
	say  func(format string, args ...any)
}

// Open opens the cache in a directory, and makes the directory if it does not exist. With dir "" it
// is that of the variable [Env], or else "bpfreplay" in the user's cache directory. say is called
// with messages of progress; nil for none. The caller must close the cache.
func Open(dir string, say func(format string, args ...any)) (*Dir, error) {
	dir, err := orDefault(dir)
	if err != nil {
		return nil, err
	}
	for _, sub := range []string{Blobs, Kernels, Images, cpio, suites, saved, embedded, locks, temp} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, fmt.Errorf("cache: %w", err)
		}
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	if say == nil {
		say = func(string, ...any) {}
	}
	d := &Dir{root: dir, lock: lock, say: say}
	if d.alone() {
		d.sweep()
	}
	if err := d.share(); err != nil {
		lock.Close()
		return nil, err
	}
	return d, nil
}

func orDefault(dir string) (string, error) {
	if dir != "" {
		return dir, nil
	}
	if dir := os.Getenv(Env); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no place for the cache: %w; set %s", err, Env)
	}
	return filepath.Join(dir, "bpfreplay"), nil
}

// Close releases the lock on the cache. What is in the cache stays usable, but other runs may then
// prune it.
func (d *Dir) Close() error { return d.lock.Close() }

// share takes the shared lock, or downgrades to it.
func (d *Dir) share() error {
	if err := flock(d.lock, unix.LOCK_SH); err != nil {
		return fmt.Errorf("cache: lock %s: %w", d.lock.Name(), err)
	}
	return nil
}

// alone tries to take the exclusive lock, and reports whether it did: no other process uses the
// cache then.
func (d *Dir) alone() bool { return flock(d.lock, unix.LOCK_EX|unix.LOCK_NB) == nil }

// sweep removes what killed processes left behind. The caller holds the exclusive lock.
func (d *Dir) sweep() {
	for _, sub := range []string{temp, locks} {
		left, _ := os.ReadDir(d.Path(sub))
		for _, entry := range left {
			os.RemoveAll(d.Path(sub, entry.Name()))
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

// Path returns a path below the directory of the cache.
func (d *Dir) Path(elem ...string) string {
	return filepath.Join(append([]string{d.root}, elem...)...)
}

// Lock waits until no other process or goroutine has the lock with this name, and takes it. If that
// takes long, waiting is a message of progress; "" for none.
func (d *Dir) Lock(ctx context.Context, name, waiting string) (unlock func(), err error) {
	f, err := os.OpenFile(d.Path(locks, name), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, d.Explain(err)
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
		if first && waiting != "" {
			d.say("%s", waiting)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		case <-time.After(lockPoll):
		}
	}
}

// Once calls fill to make dst, a path of the cache, unless it exists. Others that want dst
// meanwhile wait, and what appears in their messages of progress.
func (d *Dir) Once(ctx context.Context, what, dst string, fill func() error) error {
	if exists(dst) {
		return nil
	}
	unlock, err := d.Lock(ctx, filepath.Base(dst), what+": waiting for another run, which is fetching it")
	if err != nil {
		return err
	}
	defer unlock()
	if exists(dst) {
		return nil
	}
	return fill()
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// Key returns a digest of strings, in hexadecimal.
func Key(parts ...string) string {
	sum := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(sum, "%d\n%s\n", len(p), p)
	}
	return hex.EncodeToString(sum.Sum(nil))
}
