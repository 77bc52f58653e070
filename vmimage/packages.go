package vmimage

import (
	"archive/tar"
	"bufio"
	"cmp"
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
	"github.com/bpfreplay/bpfreplay/vmimage/catalog"
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

// ErrNoPackage means that the index of an archive names no such package.
var ErrNoPackage = errors.New("no package")

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

// Distribution is the part of Debian's archive that a kernel came from: its suite
// and those that belong to it.
type Distribution struct {
	store   *Store
	arch    string
	archive string // the snapshot archive; "" for each suite's own
	// suites by rank: a later one is only used for packages that no earlier one has.
	suites [][]string

	packages [][]apt.Package // of the suites, by rank
}

// ErrNoDistribution means that a kernel did not come from Debian's archive.
var ErrNoDistribution = errors.New("not from Debian's archive")

// Distribution returns the part of the archive that a kernel came from. It needs no network. If the
// kernel did not come from Debian's archive, the error is [ErrNoDistribution].
func (s *Store) Distribution(k *Kernel) (*Distribution, error) {
	none := fmt.Errorf("kernel %s: %w", k.Name, ErrNoDistribution)
	e, ok := s.config.Find(k.Name)
	if !ok || k.key == "" {
		return nil, none
	}
	rec, err := s.current(e)
	if err != nil {
		return nil, err
	}
	if rec == nil || keyOf(rec) != k.key || rec.Packages[0].Archive == catalog.ArchiveOCI {
		return nil, none
	}
	d := &Distribution{store: s, arch: e.Arch}
	isSnapshot := strings.HasPrefix(rec.Packages[0].Archive, apt.ArchiveSnapshot)
	if isSnapshot {
		d.archive = rec.Packages[0].Archive
	}
	for _, src := range e.Sources {
		want, _ := src.OfDebian()
		if want == nil {
			continue
		}
		for _, suite := range want.Suites {
			if strings.HasPrefix(rec.Source, sourceWords(suite, rec.Packages[0].Archive)+", ") {
				d.suites = related(suite, isSnapshot)
				return d, nil
			}
		}
	}
	return nil, none
}

// related returns a suite and the suites that its packages may depend on, by rank. Snapshots have
// no security suites, whose archive is elsewhere.
func related(suite string, isSnapshot bool) [][]string {
	base := suite
	for _, suffix := range []string{"-security", "-updates", "-backports"} {
		base = strings.TrimSuffix(base, suffix)
	}
	if base == "experimental" {
		base = "sid"
	}
	first := []string{base}
	if base != "sid" && !isSnapshot {
		first = append(first, base+"-security")
	}
	if slices.Contains(first, suite) {
		return [][]string{first}
	}
	return [][]string{first, {suite}}
}

// On returns the same part of the archive, with the packages for another architecture.
func (d *Distribution) On(arch string) *Distribution {
	return &Distribution{store: d.store, arch: arch, archive: d.archive, suites: d.suites}
}

// Suites returns the names of the suites, by rank.
func (d *Distribution) Suites() []string { return slices.Concat(d.suites...) }

// all returns the packages of all suites. It reads them once.
func (d *Distribution) all(ctx context.Context) ([][]apt.Package, error) {
	if d.packages != nil {
		return d.packages, nil
	}
	var out [][]apt.Package
	for _, suites := range d.suites {
		var found []apt.Package
		for _, suite := range suites {
			more, err := d.store.packages(ctx, cmp.Or(d.archive, apt.ArchiveOf(suite)), suite, d.arch, func(string) bool { return true })
			if err != nil {
				return nil, condense(err)
			}
			found = append(found, more...)
		}
		out = append(out, found)
	}
	d.packages = out
	return out, nil
}

// Find returns the packages whose names match a pattern (path.Match), the newest
// first. It needs the network.
func (d *Distribution) Find(ctx context.Context, pattern string) ([]Package, error) {
	if _, err := path.Match(pattern, ""); err != nil {
		return nil, fmt.Errorf("package %q: %w", pattern, err)
	}
	all, err := d.all(ctx)
	if err != nil {
		return nil, err
	}
	var found []apt.Package
	for _, packages := range all {
		for _, p := range packages {
			if ok, _ := path.Match(pattern, p.Name); ok {
				found = append(found, p)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b apt.Package) int { return apt.Compare(b.Version, a.Version) })
	return exported(found), nil
}

// Closure returns the packages that the relations in wanted ask for (such as "make" or "gcc-14 (>=
// 14.2)"), and all that these depend on, sorted by name. Packages for which leaveOut is true count
// as installed, and so do packages that only these need. It needs the network. The error is
// [fetch.ErrGone] if a package is not in the archive.
func (d *Distribution) Closure(ctx context.Context, wanted []string, leaveOut func(name string) bool) ([]Package, error) {
	all, err := d.all(ctx)
	if err != nil {
		return nil, err
	}
	u, err := apt.NewUniverse(all...)
	if err != nil {
		return nil, err
	}
	found, err := u.Closure(wanted, leaveOut)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", strings.Join(d.Suites(), ", "), err)
	}
	return exported(found), nil
}

func exported(found []apt.Package) []Package {
	out := make([]Package, 0, len(found))
	for _, p := range found {
		out = append(out, Package{Name: p.Name, Version: p.Version, Suite: p.Suite, SHA256: p.Want.SHA256, from: p})
	}
	return out
}
