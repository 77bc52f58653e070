package vmimage

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// toolSuite is the Debian suite for programs of other architectures: the stable release, which has
// all of them.
const toolSuite = "trixie"

// Tool returns a directory with a Debian package for another architecture, and all that it depends
// on: the root for [initramfs.ProgramsIn]. The cache keeps the version that was fetched first.
func (s *Store) Tool(ctx context.Context, of, name string) (root string, err error) {
	what := fmt.Sprintf("%s for %s", name, of)
	return s.cache.MakeDir(ctx, what, path.Join("tools", of, name), func(dir string) error {
		s.say("fetching Debian's %s", what)
		d := &Distribution{store: s, arch: of, suites: related(toolSuite, false)}
		packages, err := d.Closure(ctx, []string{name}, func(string) bool { return false })
		if err != nil {
			return err
		}
		r, err := os.OpenRoot(dir)
		if err != nil {
			return err
		}
		defer r.Close()
		defer s.Hush()()
		for i := range packages {
			if err := s.ReadPackage(ctx, &packages[i], func(h *tar.Header, data io.Reader) error { return unpackTool(r, h, data) }); err != nil {
				return err
			}
		}
		return nil
	})
}

// unpackTool unpacks programs and libraries of a package. Links in it cannot lead out of the root.
func unpackTool(r *os.Root, h *tar.Header, data io.Reader) error {
	name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
	if !strings.HasPrefix(name, "usr/") && h.Typeflag != tar.TypeDir {
		name = "usr/" + name // /lib and /sbin are links to these
	}
	dir, _, _ := strings.Cut(strings.TrimPrefix(name, "usr/"), "/")
	if !slices.Contains([]string{"bin", "sbin", "lib", "lib64"}, dir) || h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeSymlink {
		return nil
	}
	if err := r.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeSymlink {
		err := r.Symlink(h.Linkname, name)
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	}
	f, err := r.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fs.FileMode(h.Mode)&0o755|0o600)
	if err != nil {
		return err
	}
	return extract(f, data)
}
