package vmimage

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/vmimage/apt"
	"github.com/bpfreplay/bpfreplay/vmimage/archive"
)

// Package is a package of Debian's archive other than a kernel: sources, headers, objects.
type Package struct {
	Name    string `json:"package"`
	Version string `json:"version"`
	Suite   string `json:"suite"`
	// SHA256 is the digest of the package, in hexadecimal, from the signed index.
	SHA256 string `json:"sha256"`

	from apt.Package
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
	return exported(found), nil
}

func exported(found []apt.Package) []Package {
	out := make([]Package, 0, len(found))
	for _, p := range found {
		out = append(out, Package{Name: p.Name, Version: p.Version, Suite: p.Suite, SHA256: p.Want.SHA256, from: p})
	}
	return out
}

// ErrNoPackage means that the index of an archive names no such package.
var ErrNoPackage = errors.New("no package")

// ReadPackage downloads a package, checks its digest, and calls fn for every entry of its data
// archive, in order. It then removes the package from the cache; fn keeps what it needs.
func (s *Store) ReadPackage(ctx context.Context, p *Package, fn func(h *tar.Header, r io.Reader) error) error {
	file, err := s.blob(ctx, p.from.Want, p.Name+" "+p.Version, s.mirrors.Base(p.from.Archive)+"/"+p.from.Path)
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
