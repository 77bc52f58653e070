package vmimage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/hashicorp/go-multierror"

	"github.com/bpfreplay/bpfreplay/internal/failures"
)

// Listing describes one kernel in the list of [Store.List].
type Listing struct {
	Name    string   `json:"name"`
	Arch    string   `json:"arch"`
	Version string   `json:"version,omitempty"`
	Tiers   []string `json:"tiers,omitempty"`
	// Locked means that the name is locked, to Release from Source.
	Locked  bool   `json:"locked"`
	Release string `json:"release,omitempty"`
	Source  string `json:"source,omitempty"`
	// Cached means that the kernel is on this machine. It takes Size bytes there.
	Cached bool  `json:"cached"`
	Size   int64 `json:"size,omitempty"`
}

// List describes every kernel of kernels.yaml. It needs no network.
func (s *Store) List() ([]Listing, error) {
	out := make([]Listing, 0, len(s.config.Kernels))
	for i := range s.config.Kernels {
		e := &s.config.Kernels[i]
		line := Listing{Name: e.Spec(), Arch: e.Arch, Version: e.Version, Tiers: e.Tiers}
		rec, err := s.current(e)
		if err != nil {
			return nil, err
		}
		if rec != nil {
			line.Locked, line.Release, line.Source = true, rec.Release, rec.Source
			if meta, err := readInstalled(s.cache.path(dirKernels, rec.key())); err == nil {
				line.Cached, line.Size = true, meta.Size
			}
		}
		out = append(out, line)
	}
	return out, nil
}

// current returns the lock record that Resolve would use: the first whose kernel is cached, or else
// the first; nil if there is none.
func (s *Store) current(e *Entry) (*Locked, error) {
	var first *Locked
	for _, file := range s.lockFiles() {
		rec, err := s.locked(file, e)
		if err != nil {
			return nil, err
		}
		if rec == nil {
			continue
		}
		if _, err := os.Stat(s.cache.path(dirKernels, rec.key())); err == nil {
			return rec, nil
		}
		if first == nil {
			first = rec
		}
	}
	return first, nil
}

// Fetch resolves the named kernels, or all for this machine's architecture if none is named. It
// continues after a failure, and returns the kernels that it got and all errors joined.
func (s *Store) Fetch(ctx context.Context, names ...string) ([]*Kernel, error) {
	return forEach(s, names, func(name string) ([]*Kernel, error) {
		k, err := s.Resolve(ctx, name)
		return []*Kernel{k}, err
	})
}

// forEach calls do for the names, or for all of this architecture if there is none. It continues
// after a failure.
func forEach[T any](s *Store, names []string, do func(name string) ([]T, error)) ([]T, error) {
	if len(names) == 0 {
		names = s.config.Native()
	}
	var out []T
	var failed *multierror.Error
	for _, name := range names {
		more, err := do(name)
		if err != nil {
			failed = multierror.Append(failed, err)
			continue
		}
		out = append(out, more...)
	}
	return out, failures.All(failed)
}

// Change describes the update of one kernel.
type Change struct {
	Name string `json:"name"`
	// Old and New are releases; Old is "" for a kernel that was not locked.
	Old string `json:"old,omitempty"`
	New string `json:"new"`
}

// Update resolves the named kernels, or all for this machine's architecture, ignoring the locks. It
// fetches newer kernels and renews the locks: the lock file that pins kernels if there is one, and
// the one in the cache. Files and trees have nothing to update. It continues after a failure.
func (s *Store) Update(ctx context.Context, names ...string) ([]Change, error) {
	return forEach(s, names, func(name string) ([]Change, error) { return s.update(ctx, name) })
}

// update returns the change of one kernel, nil if it stays the same.
func (s *Store) update(ctx context.Context, name string) ([]Change, error) {
	e, ok := s.config.Find(name)
	if !ok {
		return nil, fmt.Errorf("no kernel is called %q; %s", name, s.known())
	}
	old, err := s.current(e)
	if err != nil {
		return nil, err
	}
	k, err := s.resolveSources(ctx, e)
	if err != nil {
		return nil, err
	}
	rec, err := s.locked(s.cache.path(LockName), e)
	if err != nil || rec == nil || rec.key() != k.key {
		return nil, err // not from an archive, so nothing is locked
	}
	if s.opts.Lock != "" {
		if err := s.remember(ctx, s.opts.Lock, *rec); err != nil {
			return nil, err
		}
	}
	change := Change{Name: name, New: rec.Release}
	if old != nil {
		change.Old = old.Release
	}
	return []Change{change}, nil
}

// ErrBusy means that the cache is in use, so that nothing may be removed.
var ErrBusy = errors.New("the cache is in use by another run")

// Pruned describes one thing that Prune removed from the cache.
type Pruned struct {
	Path string `json:"path"`
	// Size in bytes.
	Size int64 `json:"size"`
}

// Prune removes from the cache what neither the locks nor kernels.yaml refer to; with all it
// removes everything. It fails with [ErrBusy] while other runs use the cache.
func (s *Store) Prune(all bool) ([]Pruned, error) {
	if !s.cache.tryExclusive() {
		// A failed attempt may have lost the shared lock, too.
		if err := s.cache.share(); err != nil {
			return nil, err
		}
		return nil, ErrBusy
	}
	defer s.cache.share()
	keep, err := s.keep(all)
	if err != nil {
		return nil, err
	}
	var unused []string
	for _, dir := range []string{dirBlobs, dirKernels, dirImages, dirCPIO, dirSaved, dirEmbedded} {
		entries, err := os.ReadDir(s.cache.path(dir))
		if err != nil {
			return nil, fmt.Errorf("cache: %w", err)
		}
		for _, entry := range entries {
			file := s.cache.path(dir, entry.Name())
			if dir == dirKernels && slices.Contains(keep, entry.Name()) || file == filepath.Dir(s.config.path) {
				continue
			}
			unused = append(unused, file)
		}
	}
	suites, err := s.cache.unusedSuites(all)
	if err != nil {
		return nil, err
	}
	var out []Pruned
	for _, file := range append(unused, suites...) {
		size := diskUsage(file)
		if err := s.cache.remove(file); err != nil {
			return out, err
		}
		out = append(out, Pruned{Path: file, Size: size})
	}
	return out, nil
}

// keep returns the keys of the kernels that the locks refer to, and of those
// that kernels.yaml names by their digest.
func (s *Store) keep(all bool) ([]string, error) {
	if all {
		return nil, nil
	}
	var keep []string
	for _, e := range s.config.Kernels {
		for _, src := range e.Sources {
			if src.URL != nil {
				keep = append(keep, installKey(src.URL.SHA256))
			}
		}
	}
	for _, file := range s.lockFiles() {
		l, err := readLockFile(file)
		if err != nil {
			return nil, err
		}
		for i := range l.Kernels {
			keep = append(keep, l.Kernels[i].key())
		}
	}
	return keep, nil
}

// remove moves a thing out of its place and then deletes it, so a kill leaves no partly deleted
// thing there.
func (c *cache) remove(file string) error {
	gone := c.path(dirTemp, "gone-"+filepath.Base(file))
	if err := os.Rename(file, gone); err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	if err := os.RemoveAll(gone); err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	return nil
}
