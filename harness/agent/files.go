package agent

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// makeFiles makes the host's files.
func makeFiles(files []File) error {
	for _, f := range files {
		if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(f.Path, f.Data, f.Mode.Perm()); err != nil {
			return err
		}
	}
	return nil
}

// gotChunk is how much of an archive one Output has, in bytes.
const gotChunk = 64 << 10

// sendFiles sends files, and directories with all that is in them, as a tar
// archive. One that is not there does not keep the others from being sent.
func sendFiles(names []string, send func(*Output) error) error {
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
	send func(*Output) error
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
		c.err = c.send(&Output{Got: c.buf})
		c.buf = c.buf[:0]
	}
	return c.err
}
