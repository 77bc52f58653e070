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

// makeFiles makes the host's files. After an error, too, all that the host sends
// of them is received.
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

// makeFile makes one, and the directories that it is in. It replaces what is there,
// but for a directory, which stays as it is.
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
	// Not what the umask leaves of it.
	return errors.Join(err, file.Chmod(f.Mode.Perm()), file.Close())
}

// gotChunk is how much of an archive one Output has, in bytes.
const gotChunk = 64 << 10

// sendFiles sends files, and directories with all that is in them, as a tar
// archive. One that is not there does not keep the others from being sent.
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

// addFile adds a file, a directory or a symbolic link; other kinds are left out.
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
		// The header has said how much comes.
		return fmt.Errorf("%s became shorter while it was sent", path)
	}
	return err
}

// chunks sends what is written in larger pieces.
type chunks struct {
	send func(*wire.Output) error
	buf  []byte
	err  error // of sending: the host cannot be reached
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
