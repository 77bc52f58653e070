package vmimage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bpfreplay/bpfreplay/vmimage/apt"
	"github.com/bpfreplay/bpfreplay/vmimage/catalog"
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
	out := make([]Reach, len(s.config.Kernels))
	places := make([][]place, len(out))
	answers := make(map[string]*error)
	var group errgroup.Group
	group.SetLimit(16)
	for i, e := range s.config.Kernels {
		out[i].Name = e.Spec()
		for _, src := range e.Sources {
			places[i] = append(places[i], s.places(src)...)
		}
		for _, p := range places[i] {
			if answers[p.name] == nil {
				answer := new(error)
				answers[p.name] = answer
				group.Go(func() error { *answer = p.ask(ctx); return nil })
			}
		}
	}
	_ = group.Wait() // the answers have the errors
	for i := range out {
		for _, p := range places[i] {
			if err := *answers[p.name]; err != nil {
				out[i].Failed = append(out[i].Failed, fmt.Errorf("%s: %w", p.name, err))
				continue
			}
			out[i].Source = p.name
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

func (s *Store) places(src catalog.Source) []place {
	switch {
	case src.OCI != nil:
		image, err := s.oci.Image(src.OCI.Image, src.OCI.Tag)
		return []place{{"OCI image " + src.OCI.Image + ":" + src.OCI.Tag, func(ctx context.Context) error {
			if err != nil {
				return err
			}
			return errors.Unwrap(image.Exists(ctx)) // the place has the name
		}}}
	case src.URL != nil:
		return []place{{src.URL.Address, func(ctx context.Context) error { return s.fetch.Exists(ctx, src.URL.Address) }}}
	case src.File != "":
		return []place{{src.File, func(context.Context) error { _, err := os.Stat(src.File); return errors.Unwrap(err) }}}
	case src.Tree != "":
		return []place{{src.Tree, func(context.Context) error {
			options, err := readGoodOptions(src.Tree)
			if err == nil {
				_, err = treeImage(src.Tree, options.Machine())
			}
			return err
		}}}
	}
	var out []place
	want, archive := src.OfDebian()
	for _, suite := range want.Suites {
		archive := cmp.Or(archive, apt.ArchiveOf(suite))
		dist := s.mirrors.Base(archive) + "/dists/" + suite
		out = append(out, place{sourceWords(suite, archive), func(ctx context.Context) error {
			err := s.fetch.Exists(ctx, dist+"/InRelease")
			if errors.Is(err, fetch.ErrGone) {
				err = s.fetch.Exists(ctx, dist+"/Release")
			}
			return err
		}})
	}
	return out
}

// LockFile returns the path of the lock file that pins kernels; "" if only the cache has one.
func (s *Store) LockFile() string { return s.opts.Lock }

// Mirror returns the address of the Debian mirror in use.
func (s *Store) Mirror() string { return s.mirrors.Main }
