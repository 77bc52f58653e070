package cache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/failures"
)

// WriteFile makes the complete file dst, a path of the cache, or nothing. fill writes to a
// temporary file.
func (d *Dir) WriteFile(dst string, fill func(*os.File) error) error {
	tmp, err := renameio.NewPendingFile(dst, renameio.WithTempDir(d.Path(temp)), renameio.WithStaticPermissions(0o644))
	if err != nil {
		return d.Explain(err)
	}
	defer tmp.Cleanup()
	if err := fill(tmp.File); err != nil {
		return d.Explain(err)
	}
	if err := tmp.CloseAtomicallyReplace(); err != nil {
		return d.Explain(err)
	}
	return syncDir(filepath.Dir(dst))
}

// WriteDir makes the complete directory dst, a path of the cache, or nothing. fill gets a temporary
// directory.
func (d *Dir) WriteDir(dst string, fill func(dir string) error) error {
	tmp, err := d.TempDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := fill(tmp); err != nil {
		return d.Explain(err)
	}
	if err := failures.All(os.Chmod(tmp, 0o755), syncFilesystem(tmp)); err != nil {
		return d.Explain(err)
	}
	if err := os.Rename(tmp, dst); err != nil {
		if exists(dst) {
			return nil // another process was first, with the same contents
		}
		return d.Explain(err)
	}
	return syncDir(filepath.Dir(dst))
}

// TempDir returns an empty temporary directory in the cache. The caller removes it; if the caller
// is killed, the next run does.
func (d *Dir) TempDir() (string, error) {
	dir, err := os.MkdirTemp(d.Path(temp), "work-")
	if err != nil {
		return "", d.Explain(err)
	}
	return dir, nil
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

// IsFull reports whether an error means that the disk is full.
func IsFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// Explain adds to an error of a full disk what to do about it.
func (d *Dir) Explain(err error) error {
	if !IsFull(err) {
		return err
	}
	return fmt.Errorf("the disk with the cache %s is full; make room, run `bpfreplay kernels prune`, or set %s: %w", d.root, Env, err)
}
