package vmimage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/hashicorp/go-multierror"

	"github.com/bpfreplay/bpfreplay/internal/failures"
	"github.com/bpfreplay/bpfreplay/vmimage/cache"
	"github.com/bpfreplay/bpfreplay/vmimage/catalog"
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
			if meta, err := readInstalled(s.cache.Path(cache.Kernels, keyOf(rec))); err == nil {
				line.Cached, line.Size = true, meta.Size
			}
		}
		out = append(out, line)
	}
	return out, nil
}

// Ready divides kernels into those that need no network and the others, each in the given order.
func (s *Store) Ready(names []string) (here, others []string, err error) {
	list, err := s.List()
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		i := slices.IndexFunc(list, func(l Listing) bool { return l.Name == name })
		if i >= 0 && !list[i].Cached {
			others = append(others, name)
		} else {
			here = append(here, name)
		}
	}
	return here, others, nil
}

// current returns the lock record that Resolve would use: the first whose kernel is cached, or else
// the first; nil if there is none.
func (s *Store) current(e *catalog.Entry) (*catalog.Locked, error) {
	var first *catalog.Locked
	for _, file := range s.lockFiles() {
		rec, err := s.locked(file, e)
		if err != nil {
			return nil, err
		}
		if rec == nil {
			continue
		}
		if _, err := os.Stat(s.cache.Path(cache.Kernels, keyOf(rec))); err == nil {
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
		return nil, fmt.Errorf("no kernel is called %q; %s", name, s.config.Known())
	}
	old, err := s.current(e)
	if err != nil {
		return nil, err
	}
	k, err := s.resolveSources(ctx, e)
	if err != nil {
		return nil, err
	}
	rec, err := s.locked(s.cache.Path(catalog.LockName), e)
	if err != nil || rec == nil || keyOf(rec) != k.key {
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

// Prune removes from the cache what neither the locks nor kernels.yaml refer to; with all it
// removes everything. It fails with [cache.ErrBusy] while other runs use the cache.
func (s *Store) Prune(all bool) ([]cache.Pruned, error) {
	return s.cache.Prune(all, func() ([]string, error) { return s.keep(all) })
}

// keep returns the directories of the kernels that the locks refer to, and of those that
// kernels.yaml names by their digest. With all it returns none of these. It returns that of
// kernels.yaml itself, too, which may be embedded.
func (s *Store) keep(all bool) ([]string, error) {
	keep := []string{filepath.Dir(s.config.File)}
	if all {
		return keep, nil
	}
	for _, e := range s.config.Kernels {
		for _, src := range e.Sources {
			if src.URL != nil {
				keep = append(keep, s.cache.Path(cache.Kernels, installKey(src.URL.SHA256)))
			}
		}
	}
	for _, file := range s.lockFiles() {
		l, err := catalog.ReadLock(file)
		if err != nil {
			return nil, err
		}
		for i := range l.Kernels {
			keep = append(keep, s.cache.Path(cache.Kernels, keyOf(&l.Kernels[i])))
		}
	}
	return keep, nil
}
