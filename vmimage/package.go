package vmimage

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/vmimage/apt"
	"github.com/bpfreplay/bpfreplay/vmimage/archive"
	"github.com/bpfreplay/bpfreplay/vmimage/digest"
)

// Package is a package of Debian's archive other than a kernel: sources, headers, objects.
type Package struct {
	Name    string `json:"package"`
	Version string `json:"version"`
	Suite   string `json:"suite"`
	// SHA256 is the digest of the package, in hexadecimal, from the signed index.
	SHA256 string `json:"sha256"`

	want digest.Digest
	base string // of the archive
	path string // there
}

// Packages returns the packages of these suites of Debian whose names match one of the patterns
// (path.Match): the newest version first, and packages of one version in the order of the suites.
// It needs the network, for the package indexes. If there is none, the error is [ErrNoPackage].
func (s *Store) Packages(ctx context.Context, arch string, suites []string, patterns ...string) ([]Package, error) {
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil {
			return nil, fmt.Errorf("package %q: %w", p, err)
		}
	}
	wanted := func(name string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool { ok, _ := path.Match(p, name); return ok })
	}
	pattern := strings.Join(patterns, ", ")
	found, failed, err := fromSuites(ctx, suites, func(suite string) ([]apt.Package, error) {
		return s.packages(ctx, apt.ArchiveOf(suite), suite, arch, wanted)
	})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 && failed != nil {
		return nil, fmt.Errorf("package %s: %w", pattern, condense(failed))
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%w in %s is called %s", ErrNoPackage, strings.Join(suites, ", "), pattern)
	}
	slices.SortStableFunc(found, func(a, b apt.Package) int { return apt.Compare(b.Version, a.Version) })
	return s.exported(found), nil
}

func (s *Store) exported(found []apt.Package) []Package {
	out := make([]Package, 0, len(found))
	for _, p := range found {
		out = append(out, Package{
			Name: p.Name, Version: p.Version, Suite: p.Suite, SHA256: p.Want.SHA256,
			want: p.Want, base: s.mirrors.Base(p.Archive), path: p.Path,
		})
	}
	return out
}

// ErrNoPackage means that the index of an archive names no such package.
var ErrNoPackage = errors.New("no package")

// ReadPackage downloads a package, checks its digest, and calls fn for every entry of its data
// archive, in order. It then removes the package from the cache; fn keeps what it needs.
func (s *Store) ReadPackage(ctx context.Context, p *Package, fn func(h *tar.Header, r io.Reader) error) error {
	file, err := s.blob(ctx, p.want, p.Name+" "+p.Version, p.base+"/"+p.path)
	if err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := archive.Deb(bufio.NewReaderSize(f, 1<<20), fn); err != nil {
		return fmt.Errorf("%s %s: %w", p.Name, p.Version, err)
	}
	return os.Remove(file)
}

// Hush silences progress messages until the caller calls back. It is for work of many small parts,
// which the caller reports once.
func (s *Store) Hush() (back func()) {
	progress := s.opts.Progress
	s.opts.Progress = nil
	return func() { s.opts.Progress = progress }
}

// MakeDir returns the path of a directory in the cache for a suite of objects, below "suites". If
// it does not exist, fill gets an empty one, which is renamed to its place when fill returns nil.
// Others that ask for it meanwhile wait, and what appears in their progress messages.
//
// key should have a digest of all inputs (see [Key]), because an existing directory is never
// replaced.
func (s *Store) MakeDir(ctx context.Context, what, key string, fill func(dir string) error) (string, error) {
	dst := s.cache.path(dirSuites, filepath.FromSlash(key))
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return "", s.cache.explain(err)
	}
	err := s.once(ctx, what, dst, func() error { return s.cache.writeDir(dst, fill) })
	return dst, err
}

// MakeFile is [Store.MakeDir] for a file, and replaces an existing one. Several goroutines may call
// it at once.
func (s *Store) MakeFile(key string, data []byte) error {
	dst := s.cache.path(dirSuites, filepath.FromSlash(key))
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return s.cache.explain(err)
	}
	return s.cache.writeFile(dst, func(f *os.File) error { _, err := f.Write(data); return err })
}

// SuitePath returns the path where [Store.MakeDir] and [Store.MakeFile] keep the thing with this
// key.
func (s *Store) SuitePath(key string) string {
	return s.cache.path(dirSuites, filepath.FromSlash(key))
}

// TempDir returns an empty temporary directory in the cache. The caller removes it; if the caller
// is killed, the next run does.
func (s *Store) TempDir() (string, error) {
	dir, err := os.MkdirTemp(s.cache.path(dirTemp), "work-")
	if err != nil {
		return "", s.cache.explain(err)
	}
	return dir, nil
}

// Key returns a digest of strings, in hexadecimal.
func Key(parts ...string) string {
	sum := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(sum, "%d\n%s\n", len(p), p)
	}
	return hex.EncodeToString(sum.Sum(nil))
}
