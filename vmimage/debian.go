package vmimage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/hashicorp/go-multierror"

	"github.com/bpfreplay/bpfreplay/internal/failures"
	"github.com/bpfreplay/bpfreplay/vmimage/apt"
	"github.com/bpfreplay/bpfreplay/vmimage/catalog"
	"github.com/bpfreplay/bpfreplay/vmimage/digest"
	"github.com/bpfreplay/bpfreplay/vmimage/fetch"
	"github.com/bpfreplay/bpfreplay/vmimage/kimage"
)

// candidate is a kernel in an archive, with all of its packages.
type candidate struct {
	release  string
	signed   bool
	packages []apt.Package
}

func (c *candidate) version() string { return c.packages[0].Version }

// The packages of a kernel with release R. Up to 6.18 linux-image-R (signed
// for Secure Boot) and linux-image-R-unsigned hold everything. From 6.19 on
// linux-image-R is an empty package that depends on three others: the image
// proper (signed or not), the modules, and configuration and lists.
const (
	prefixImage    = "linux-image-"
	suffixUnsigned = "-unsigned"
	prefixBinary   = "linux-binary-"
	prefixUnsigned = "linux-binary-unsigned-"
	prefixModules  = "linux-modules-"
	prefixBase     = "linux-base-"
)

// isKernelPackage reports whether a package may hold a kernel or a part of one.
func isKernelPackage(name string) bool {
	return slices.ContainsFunc([]string{prefixImage, prefixBinary, prefixModules, prefixBase}, func(prefix string) bool {
		return strings.HasPrefix(name, prefix)
	})
}

// candidates returns the kernels that match, the best first: newest version first, and of one
// version the signed one first.
func candidates(packages []apt.Package, want *catalog.Debian) []candidate {
	var out []candidate
	for _, p := range packages {
		c, ok := candidateFor(p, packages)
		if !ok || strings.Contains(p.Version, "~rc") != want.Candidate {
			continue
		}
		if match, err := path.Match(want.Release, c.release); err != nil || !match {
			continue
		}
		out = append(out, c)
	}
	slices.SortStableFunc(out, func(a, b candidate) int {
		switch c := apt.Compare(b.version(), a.version()); {
		case c != 0 || a.signed == b.signed:
			return c
		case a.signed:
			return -1
		}
		return 1
	})
	return out
}

// candidateFor returns the kernel whose image is in p.
func candidateFor(p apt.Package, all []apt.Package) (candidate, bool) {
	if release, ok := strings.CutPrefix(p.Name, prefixImage); ok {
		release, unsigned := strings.CutSuffix(release, suffixUnsigned)
		// Packages without contents of their own depend on another image.
		meta := strings.Contains(p.Depends, prefixImage) || strings.Contains(p.Depends, prefixBinary)
		ok := kimage.IsRelease(release) && !meta && !strings.HasSuffix(release, "-dbg")
		return candidate{release: release, signed: !unsigned, packages: []apt.Package{p}}, ok
	}
	release, unsigned := strings.CutPrefix(p.Name, prefixUnsigned)
	if !unsigned {
		var ok bool
		if release, ok = strings.CutPrefix(p.Name, prefixBinary); !ok {
			return candidate{}, false
		}
	}
	if !kimage.IsRelease(release) {
		return candidate{}, false
	}
	c := candidate{release: release, signed: !unsigned, packages: []apt.Package{p}}
	for _, name := range []string{prefixModules + release, prefixBase + release} {
		i := slices.IndexFunc(all, func(o apt.Package) bool { return o.Name == name && o.Version == p.Version })
		if i < 0 {
			return candidate{}, false
		}
		c.packages = append(c.packages, all[i])
	}
	return c, true
}

// packages returns the packages of a suite whose names are wanted, from an index that a signed
// Release file vouches for.
func (s *Store) packages(ctx context.Context, archive, suite, arch string, wanted func(name string) bool) ([]apt.Package, error) {
	dist := s.mirrors.Base(archive) + "/dists/" + suite
	release, err := s.release(ctx, dist, suite, strings.HasPrefix(archive, apt.ArchiveSnapshot))
	if err != nil {
		return nil, err
	}
	name, want, err := release.Index(arch)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dist, err)
	}
	addresses := []string{dist + "/" + name}
	if release.ByHash {
		// By its digest the index is there even while the mirror replaces it.
		addresses = slices.Insert(addresses, 0, dist+"/"+path.Dir(name)+"/by-hash/SHA256/"+want.SHA256)
	}
	file, err := s.blob(ctx, want, "the package index of "+suite, addresses...)
	if err != nil {
		return nil, err
	}
	packages, err := apt.ReadIndex(file, wanted)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dist, err)
	}
	for i := range packages {
		packages[i].Archive, packages[i].Suite = archive, suite
	}
	return packages, nil
}

// release gets and checks the Release file of a suite.
func (s *Store) release(ctx context.Context, dist, suite string, old bool) (*apt.Release, error) {
	keys, err := apt.ReadKeyrings(s.opts.Keyrings)
	if err != nil {
		return nil, err
	}
	var text []byte
	signed, err := s.fetch.Small(ctx, dist+"/InRelease")
	switch {
	case errors.Is(err, fetch.ErrGone):
		text, err = s.detachedRelease(ctx, keys, dist, old)
	case err == nil:
		text, err = apt.OpenInRelease(keys, signed, old)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dist, err)
	}
	release, err := apt.ParseRelease(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dist, err)
	}
	if !release.Is(suite) {
		return nil, fmt.Errorf("%s: %w: the Release file is for the suite %s (%s)", dist, digest.ErrIntegrity, release.Suite, release.Codename)
	}
	// An index that is too old hides security updates, which matters little here, and stale mirrors
	// are common. So print a note and continue.
	if until := release.ValidUntil; !old && !until.IsZero() && until.Before(time.Now()) {
		s.say("note: %s: the index is out of date since %s; the mirror seems to stand still", dist, until.Format(time.DateOnly))
	}
	return release, nil
}

// detachedRelease gets a Release file and the signature beside it. Old archives have no other form.
func (s *Store) detachedRelease(ctx context.Context, keys openpgp.EntityList, dist string, old bool) ([]byte, error) {
	text, err := s.fetch.Small(ctx, dist+"/Release")
	if err != nil {
		return nil, err
	}
	signature, err := s.fetch.Small(ctx, dist+"/Release.gpg")
	if err != nil {
		return nil, err
	}
	return text, apt.CheckDetached(keys, text, signature, old)
}

// fromSuites joins the packages of suites. It collects the errors of suites in failed and
// continues, unless an error must stop the search (err).
func fromSuites(ctx context.Context, suites []string, read func(suite string) ([]apt.Package, error)) (found []apt.Package, failed *multierror.Error, err error) {
	for _, suite := range suites {
		more, err := read(suite)
		if errors.Is(err, digest.ErrIntegrity) || ctx.Err() != nil {
			return nil, nil, err
		}
		if err != nil {
			failed = multierror.Append(failed, err)
		}
		found = append(found, more...)
	}
	return found, failed, nil
}

// resolveDebian finds and installs the best kernel of an archive. It skips packages that the pool
// no longer has.
func (s *Store) resolveDebian(ctx context.Context, e *catalog.Entry, want *catalog.Debian, archive string) (*catalog.Locked, error) {
	packages, failed, err := fromSuites(ctx, want.Suites, func(suite string) ([]apt.Package, error) {
		archive := cmp.Or(archive, apt.ArchiveOf(suite))
		key := archive + " " + suite + " " + e.Arch
		if packages, ok := s.suites[key]; ok {
			return packages, nil
		}
		packages, err := s.packages(ctx, archive, suite, e.Arch, isKernelPackage)
		if err == nil {
			s.suites[key] = packages
		}
		return packages, err
	})
	if err != nil {
		return nil, err
	}
	if len(failed.WrappedErrors()) == len(want.Suites) {
		return nil, failures.All(failed)
	}
	for _, err := range failed.WrappedErrors() {
		s.say("note: %s: %v", e.Spec(), err)
	}
	found := candidates(packages, want)
	if len(found) == 0 {
		return nil, fmt.Errorf("no kernel in %s matches %s", strings.Join(want.Suites, ", "), want.Release)
	}
	for _, c := range found {
		rec := c.lock(e)
		err := s.install(ctx, e.Spec(), rec)
		if err == nil {
			return rec, nil
		}
		if !errors.Is(err, fetch.ErrGone) {
			return nil, err
		}
		s.say("note: %s: %s %s is in the index, but no longer in the pool; trying the next best", e.Spec(), c.packages[0].Name, c.version())
	}
	return nil, fmt.Errorf("%w: the pool has none of the %d matching kernels of the index", fetch.ErrGone, len(found))
}

// sourceWords describes a suite. [catalog.Locked.Source] begins with it.
func sourceWords(suite, archive string) string {
	if at, ok := strings.CutPrefix(archive, apt.ArchiveSnapshot); ok {
		return "Debian " + suite + " of " + at
	}
	return "Debian " + suite
}

func (c *candidate) lock(e *catalog.Entry) *catalog.Locked {
	first := c.packages[0]
	source := sourceWords(first.Suite, first.Archive) + ", " + first.Name + " " + first.Version
	rec := &catalog.Locked{Name: e.Name, Arch: e.Arch, Entry: e.ID(), Release: c.release, Source: source}
	for _, p := range c.packages {
		rec.Packages = append(rec.Packages, catalog.LockedPackage{
			Package: p.Name, Version: p.Version, Archive: p.Archive, Path: p.Path, SHA256: p.Want.SHA256, Size: p.Want.Size,
		})
	}
	return rec
}
