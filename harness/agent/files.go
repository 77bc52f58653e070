package agent

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// makeFiles creates the files that the host sends. If one fails, it still receives the contents of
// the others.
func makeFiles(c *wire.Conn, files []wire.File) error {
	var failed error
	for _, f := range files {
		contents := io.MultiReader(bytes.NewReader(f.Data), io.LimitReader(c, f.Size))
		if failed == nil {
			failed = makeFile(&f, contents)
		}
		if _, err := io.Copy(io.Discard, contents); err != nil {
			return err
		}
	}
	return failed
}

// makeFile creates a file, directory or link, with its parent directories. It replaces a file that
// exists; a directory that exists keeps its contents.
func makeFile(f *wire.File, contents io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
		return err
	}
	if f.Mode.IsDir() {
		if err := os.Mkdir(f.Path, f.Mode.Perm()); err != nil {
			if info, statErr := os.Stat(f.Path); statErr == nil && info.IsDir() {
				return nil
			}
			return err
		}
		return os.Chmod(f.Path, f.Mode.Perm())
	}
	if err := os.Remove(f.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if f.Mode.Type() == fs.ModeSymlink {
		return os.Symlink(string(f.Data), f.Path)
	}
	file, err := os.OpenFile(f.Path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, f.Mode.Perm())
	if err != nil {
		return err
	}
	n, err := io.Copy(file, contents)
	if want := int64(len(f.Data)) + f.Size; err == nil && n < want {
		err = fmt.Errorf("%s: %d of %d bytes came", f.Path, n, want)
	}
	// The umask must not restrict the mode.
	return errors.Join(err, file.Chmod(f.Mode.Perm()), file.Close())
}

// gotChunk is the size from which chunks sends a part of an archive, in bytes.
const gotChunk = 64 << 10

// sendFiles sends files, and directories with their contents, as a tar archive. If a file is
// missing, the others are still sent.
func sendFiles(names []string, send func(*wire.Output) error) error {
	out := &chunks{send: send}
	archive := tar.NewWriter(out)
	var missing error
	for _, name := range names {
		err := filepath.WalkDir(name, func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return addFile(archive, path)
		})
		if out.err != nil {
			return out.err
		}
		missing = errors.Join(missing, err)
	}
	if err := archive.Close(); err != nil {
		return errors.Join(missing, err)
	}
	return errors.Join(missing, out.flush())
}

// addFile adds a file, a directory or a symbolic link to an archive. It skips other kinds of files.
func addFile(archive *tar.Writer, path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	target := ""
	switch {
	case info.Mode().Type() == fs.ModeSymlink:
		if target, err = os.Readlink(path); err != nil {
			return err
		}
	case !info.Mode().IsRegular() && !info.IsDir():
		return nil
	}
	header, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	header.Name = strings.TrimPrefix(path, "/")
	if !info.Mode().IsRegular() {
		return archive.WriteHeader(header)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	n, err := io.Copy(archive, io.LimitReader(f, header.Size))
	if err == nil && n < header.Size {
		// The header has announced the size.
		return fmt.Errorf("%s became shorter while it was sent", path)
	}
	return err
}

// chunks collects small writes and sends them in larger messages.
type chunks struct {
	send func(*wire.Output) error
	buf  []byte
	err  error // the host cannot be reached
}

func (c *chunks) Write(b []byte) (int, error) {
	c.buf = append(c.buf, b...)
	if len(c.buf) >= gotChunk {
		if err := c.flush(); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

func (c *chunks) flush() error {
	if len(c.buf) > 0 && c.err == nil {
		c.err = c.send(&wire.Output{Got: c.buf})
		c.buf = c.buf[:0]
	}
	return c.err
}
