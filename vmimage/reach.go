package vmimage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/failures"
	"github.com/bpfreplay/bpfreplay/vmimage/apt"
	"github.com/bpfreplay/bpfreplay/vmimage/fetch"
)

// Reach describes whether a source of a kernel answers now.
type Reach struct {
	Name string
	// Source is the first source that answers, in words; "" if none does.
	Source string
	// Failed are the errors of the sources before it.
	Failed []error
}

// reachTimeout bounds the time of all requests together.
const reachTimeout = 6 * time.Second

// Reach asks the sources of all kernels at the same time, each place once: an archive for its
// Release file, a registry for the tag. It checks and keeps nothing, and does not look for matching
// kernels in an archive.
func (s *Store) Reach(ctx context.Context) []Reach {
	ctx, cancel := context.WithTimeoutCause(ctx, reachTimeout, fetch.ErrNoAnswer)
	defer cancel()
	asked := make(map[string]func() error)
	var group errgroup.Group
	group.SetLimit(16)
	ask := func(p place) func() error {
		answer, ok := asked[p.name]
		if !ok {
			answer = sync.OnceValue(func() error { return p.ask(ctx) })
			asked[p.name] = answer
			group.Go(func() error { answer(); return nil })
		}
		return answer
	}
	type question struct {
		name   string
		answer func() error
	}
	questions := make([][]question, len(s.config.Kernels))
	for i := range s.config.Kernels {
		for _, src := range s.config.Kernels[i].Sources {
			for _, p := range s.places(src) {
				questions[i] = append(questions[i], question{p.name, ask(p)})
			}
		}
	}
	_ = group.Wait() // the answers have the errors
	out := make([]Reach, len(questions))
	for i, list := range questions {
		out[i].Name = s.config.Kernels[i].Spec()
		for _, q := range list {
			if err := q.answer(); err != nil {
				out[i].Failed = append(out[i].Failed, fmt.Errorf("%s: %w", q.name, err))
				continue
			}
			out[i].Source = q.name
			break
		}
	}
	return out
}

// place is one part of a source, such as a suite. The source answers if any of its places does.
type place struct {
	name string
	ask  func(context.Context) error
}

func (s *Store) places(src Source) []place {
	switch {
	case src.Debian != nil:
		return s.suitePlaces(src.Debian, "")
	case src.Snapshot != nil:
		return s.suitePlaces(&src.Snapshot.DebianSource, src.Snapshot.Timestamp)
	case src.OCI != nil:
		image, err := s.ociRepository(src.OCI.Image)
		return []place{{"OCI image " + src.OCI.Image + ":" + src.OCI.Tag, func(ctx context.Context) error {
			if err != nil {
				return err
			}
			_, err := image.Resolve(ctx, src.OCI.Tag)
			if err = image.explain(err); err != nil {
				return errors.Unwrap(err) // the place has the name
			}
			return nil
		}}}
	case src.URL != nil:
		return []place{{src.URL.Address, func(ctx context.Context) error { return s.fetch.Exists(ctx, src.URL.Address) }}}
	case src.File != "":
		return []place{{src.File, func(context.Context) error { _, err := os.Stat(src.File); return errors.Unwrap(err) }}}
	default:
		return []place{{src.Tree, func(context.Context) error {
			options, err := readGoodOptions(src.Tree)
			if err == nil {
				_, err = treeImage(src.Tree, options.Machine())
			}
			return err
		}}}
	}
}

func (s *Store) suitePlaces(src *DebianSource, timestamp string) []place {
	var out []place
	for _, suite := range src.Suites {
		archive, name := apt.ArchiveOf(suite), "Debian "+suite
		if timestamp != "" {
			archive, name = apt.ArchiveSnapshot+timestamp, name+" of "+timestamp
		}
		dist := s.mirrors.Base(archive) + "/dists/" + suite
		out = append(out, place{name, func(ctx context.Context) error {
			err := s.fetch.Exists(ctx, dist+"/InRelease")
			if errors.Is(err, fetch.ErrGone) {
				err = s.fetch.Exists(ctx, dist+"/Release")
			}
			return err
		}})
	}
	return out
}

// Usage is the size of the cache, in bytes, and the room for more.
type Usage struct {
	Dir  string
	Size int64
	// Free is the free space of the file system for this user.
	Free int64
	// Saved is the number of saved guests.
	Saved int
	// Err is the reason why the cache cannot be written, such as a full disk; nil if it can.
	Err error
}

// Usage returns the usage of the cache.
func (s *Store) Usage() Usage {
	u := Usage{Dir: s.cache.dir, Size: diskUsage(s.cache.dir)}
	var fs unix.Statfs_t
	if err := unix.Statfs(s.cache.dir, &fs); err == nil {
		u.Free = int64(fs.Bavail) * int64(fs.Bsize)
	}
	if saved, err := os.ReadDir(s.cache.path(dirSaved)); err == nil {
		u.Saved = len(saved)
	}
	f, err := os.CreateTemp(s.cache.path(dirTemp), "usage-")
	if err != nil {
		u.Err = s.cache.explain(err)
		return u
	}
	defer os.Remove(f.Name())
	_, err = f.Write(make([]byte, 1<<16))
	u.Err = s.cache.explain(failures.All(err, f.Close()))
	return u
}

// ConfigFile returns the path of kernels.yaml; "" if there is none.
func (s *Store) ConfigFile() string { return s.config.path }

// LockFile returns the path of the lock file that pins kernels; "" if only the cache has one.
func (s *Store) LockFile() string { return s.opts.Lock }

// Mirror returns the address of the Debian mirror in use.
func (s *Store) Mirror() string { return s.mirrors.Main }
