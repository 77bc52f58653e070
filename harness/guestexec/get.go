package guestexec

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bpfreplay/bpfreplay/internal/failures"
)

// getter copies files out of a guest. The guest is not trusted: getter creates only what was asked
// for, and no symbolic link leads it elsewhere.
type getter struct {
	wanted []string // absolute, clean
	more   []string // the end of wanted: may be missing, and never overwrite files on this machine
	pipe   *io.PipeWriter
	result chan error
}

func newGetter(names, more []string) (*getter, error) {
	g := &getter{}
	for _, name := range slices.Concat(names, more) {
		at, err := filepath.Abs(name)
		if err != nil {
			return nil, err
		}
		if at == "/" {
			return nil, errors.New("/: name what is to be copied out of the guest")
		}
		g.wanted = append(g.wanted, at)
	}
	g.more = g.wanted[len(names):]
	return g, nil
}

func (g *getter) paths() []string { return g.wanted }

// take takes the next part of the guest's tar archive.
func (g *getter) take(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if g.pipe == nil {
		r, w := io.Pipe()
		g.pipe, g.result = w, make(chan error, 1)
		go func() {
			err := g.extract(tar.NewReader(r))
			r.CloseWithError(err) // later writes to the pipe return err
			g.result <- err
		}()
	}
	_, err := g.pipe.Write(b)
	if errors.Is(err, io.ErrClosedPipe) {
		return nil // padding after the end of the archive
	}
	return err
}

// finish waits until all files are written.
func (g *getter) finish() error {
	if g.pipe == nil {
		return nil
	}
	g.pipe.Close()
	return <-g.result
}

func (g *getter) extract(archive *tar.Reader) error {
	roots := make(map[string]*os.Root)
	defer func() {
		for _, r := range roots {
			r.Close()
		}
	}()
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("files from the guest: %w", err)
		}
		at := path.Clean("/" + header.Name)
		i := slices.IndexFunc(g.wanted, func(w string) bool { return at == w || strings.HasPrefix(at, w+"/") })
		if i < 0 {
			return fmt.Errorf("files from the guest: %s was not asked for", at)
		}
		dir := filepath.Dir(g.wanted[i])
		if roots[dir] == nil {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			if roots[dir], err = os.OpenRoot(dir); err != nil {
				return err
			}
		}
		if slices.Contains(g.more, g.wanted[i]) && !header.FileInfo().IsDir() {
			if _, err := os.Lstat(at); err == nil {
				continue
			}
		}
		if err := place(roots[dir], strings.TrimPrefix(at, strings.TrimSuffix(dir, "/")+"/"), header, archive); err != nil {
			return fmt.Errorf("%s, from the guest: %w", at, err)
		}
	}
}

// place creates one file, link or directory below root. A file is replaced as a whole or not at
// all.
func place(root *os.Root, name string, header *tar.Header, data io.Reader) error {
	mode := header.FileInfo().Mode()
	switch mode.Type() {
	case fs.ModeDir:
		return root.MkdirAll(name, mode.Perm()|0o700)
	case fs.ModeSymlink:
		if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return root.Symlink(header.Linkname, name)
	case 0:
	default:
		return fmt.Errorf("%s is neither file nor directory", mode.Type())
	}
	part := name + ".part"
	f, err := root.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode.Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(f, data)
	err = failures.All(err, f.Close())
	if err == nil {
		err = root.Chtimes(part, time.Time{}, header.ModTime)
	}
	if err == nil {
		err = root.Rename(part, name)
	}
	if err != nil {
		_ = root.Remove(part)
	}
	return err
}
