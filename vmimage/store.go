package vmimage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/go-multierror"

	"github.com/bpfreplay/bpfreplay/internal/failures"
	"github.com/bpfreplay/bpfreplay/vmimage/apt"
	"github.com/bpfreplay/bpfreplay/vmimage/cache"
	"github.com/bpfreplay/bpfreplay/vmimage/catalog"
	"github.com/bpfreplay/bpfreplay/vmimage/digest"
	"github.com/bpfreplay/bpfreplay/vmimage/fetch"
	"github.com/bpfreplay/bpfreplay/vmimage/oci"
)

// Options configures a [Store]. The zero value is right for most callers.
type Options struct {
	// Config is the path of kernels.yaml; "" for the nearest one at or above
	// the working directory.
	Config string
	// Cache is the directory of the cache; "" for the default of [cache.Open].
	Cache string
	// Lock is the path of the lock file that pins kernels; "" for the kernels.lock beside
	// kernels.yaml, if there is one. Kernels that it lacks are locked in the kernels.lock of the
	// cache.
	Lock string
	// Keyrings are the archive keys; nil for [apt.Keyrings].
	Keyrings []string
	// Progress is called with one line for each long step; nil for no messages.
	Progress func(line string)
	// Client makes the HTTP requests; nil for one with sensible timeouts.
	Client *http.Client

	// aptDir is the directory of apt's sources.
	aptDir string
	// maxUnpacked bounds the unpacked size of the layers of an OCI image, in bytes.
	maxUnpacked int64
}

// Store resolves kernels and caches them. It holds a shared lock on its cache until it is closed.
// It must not be used by several goroutines at once; open one for each.
type Store struct {
	opts    Options
	config  *catalog.Config
	cache   *cache.Dir
	fetch   *fetch.Fetcher
	mirrors apt.Mirrors
	suites  map[string][]apt.Package // the kernels of suites that were read
	oci     oci.Client
}

// Open reads kernels.yaml and opens the cache. It needs no network. The caller must close the
// store.
func Open(opts Options) (*Store, error) {
	if opts.Keyrings == nil {
		opts.Keyrings = apt.Keyrings
	}
	opts.aptDir, opts.maxUnpacked = cmp.Or(opts.aptDir, "/etc/apt"), cmp.Or(opts.maxUnpacked, oci.MaxUnpacked)
	config, err := openConfig(opts.Config)
	if err != nil {
		return nil, err
	}
	if opts.Lock == "" && config.File != "" {
		beside := filepath.Join(filepath.Dir(config.File), catalog.LockName)
		if _, err := os.Stat(beside); err == nil {
			opts.Lock = beside
		}
	}
	s := &Store{
		opts:    opts,
		config:  config,
		fetch:   fetch.New(opts.Client),
		mirrors: apt.FindMirrors(opts.aptDir),
		suites:  make(map[string][]apt.Package),
	}
	s.oci = oci.Client{HTTP: s.fetch.Client, Say: s.say}
	if s.cache, err = cache.Open(opts.Cache, s.say); err != nil {
		return nil, err
	}
	return s, nil
}

// openConfig reads the named file, or else the nearest one. Without any, only paths of kernels
// work.
func openConfig(file string) (*catalog.Config, error) {
	if file == "" {
		found, err := catalog.FindFile(".")
		if errors.Is(err, fs.ErrNotExist) {
			return new(catalog.Config), nil
		}
		if err != nil {
			return nil, err
		}
		file = found
	}
	return catalog.Read(file)
}

// Close releases the lock on the cache. Kernels stay usable, but other runs may then prune them.
func (s *Store) Close() error { return s.cache.Close() }

// Cache returns the cache. The store closes it.
func (s *Store) Cache() *cache.Dir { return s.cache }

// Config returns the parsed kernels.yaml; it is empty if there is none.
func (s *Store) Config() *catalog.Config { return s.config }

func (s *Store) say(format string, args ...any) {
	if s.opts.Progress != nil {
		s.opts.Progress(fmt.Sprintf(format, args...))
	}
}

// Hush silences progress messages until the caller calls back. It is for work of many small parts,
// which the caller reports once.
func (s *Store) Hush() (back func()) {
	progress := s.opts.Progress
	s.opts.Progress = nil
	return func() { s.opts.Progress = progress }
}

// UnavailableError means that a kernel comes from the Debian snapshot archive, and that neither it
// nor another source has provided the kernel.
type UnavailableError struct {
	Name string
	// Nearest are kernels of kernels.yaml that need no snapshot archive.
	Nearest []string
	// Err is the error of the archive, Others those of other sources.
	Err    error
	Others []error
}

func (e *UnavailableError) Error() string {
	msg := fmt.Sprintf("kernel %s comes from the Debian snapshot archive, which failed: %v", e.Name, e.Err)
	if dead := (*fetch.UnreachableError)(nil); errors.As(e.Err, &dead) {
		msg = fmt.Sprintf("kernel %s comes from the Debian snapshot archive, and %v", e.Name, dead)
	}
	for _, other := range e.Others {
		msg += "; " + other.Error()
	}
	if len(e.Nearest) > 0 {
		msg += "; the nearest kernels that can be had: " + strings.Join(e.Nearest, ", ")
	}
	return msg
}

func (e *UnavailableError) Unwrap() []error { return append([]error{e.Err}, e.Others...) }

// Resolve returns the kernel that spec names: a name of kernels.yaml, with an architecture before
// it if that is not this machine's ("arm64/6.12"), the path of an image, or the path of a built
// kernel tree. A kernel that is cached and locked needs no network.
//
// The error is an [UnavailableError] if a kernel of the snapshot archive is not available, and
// [digest.ErrIntegrity] for a bad signature or digest.
func (s *Store) Resolve(ctx context.Context, spec string) (*Kernel, error) {
	if e, ok := s.config.Find(spec); ok {
		return s.resolveEntry(ctx, e)
	}
	file, info, err := s.config.Path(spec)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return s.fromTree(ctx, spec, file, "")
	}
	return s.fromFile(ctx, spec, file)
}

// resolveEntry tries the locks and then the sources.
func (s *Store) resolveEntry(ctx context.Context, e *catalog.Entry) (*Kernel, error) {
	for _, file := range s.lockFiles() {
		rec, err := s.locked(file, e)
		if err != nil {
			return nil, err
		}
		if rec == nil {
			continue
		}
		err = s.install(ctx, e.Spec(), rec)
		if err == nil {
			return s.load(e, rec)
		}
		if !errors.Is(err, fetch.ErrGone) {
			err = s.unavailable(e, rec.Packages[0].Archive, err)
			if unavailable := (*UnavailableError)(nil); errors.As(err, &unavailable) {
				return nil, err
			}
			return nil, fmt.Errorf("kernel %s: %w", e.Spec(), err)
		}
		s.say("note: %s: the locked %s %s has left the archive; looking for another (`bpfreplay kernels update` renews the lock)",
			e.Spec(), rec.Packages[0].Package, rec.Packages[0].Version)
	}
	return s.resolveSources(ctx, e)
}

// lockFiles returns the paths of the lock files in order of precedence.
func (s *Store) lockFiles() []string {
	files := []string{s.cache.Path(catalog.LockName)}
	if s.opts.Lock != "" {
		files = slices.Insert(files, 0, s.opts.Lock)
	}
	return files
}

// locked returns the record for an entry; nil if there is none.
func (s *Store) locked(file string, e *catalog.Entry) (*catalog.Locked, error) {
	l, err := catalog.ReadLock(file)
	if err != nil {
		return nil, err
	}
	return l.Find(e), nil
}

// resolveSources asks the sources in order.
func (s *Store) resolveSources(ctx context.Context, e *catalog.Entry) (*Kernel, error) {
	var failed *multierror.Error
	for _, src := range e.Sources {
		k, err := s.resolveSource(ctx, e, src)
		if err == nil {
			return k, nil
		}
		if stops(err) || ctx.Err() != nil {
			return nil, fmt.Errorf("kernel %s: %w", e.Spec(), err)
		}
		failed = multierror.Append(failed, err)
	}
	for i, err := range failed.WrappedErrors() {
		if unavailable := (*UnavailableError)(nil); errors.As(err, &unavailable) {
			unavailable.Others = slices.Delete(failed.Errors, i, i+1)
			return nil, unavailable
		}
	}
	return nil, fmt.Errorf("kernel %s: %w", e.Spec(), condense(failed))
}

// stops reports whether an error forbids trying other sources. A damaged OCI image does not,
// because images are not signed.
func stops(err error) bool {
	image := (*oci.Error)(nil)
	return errors.Is(err, digest.ErrIntegrity) && !errors.As(err, &image) || cache.IsFull(err)
}

// condense joins errors, with one line for each host that does not answer.
func condense(failed ...error) error {
	var out []error
	said := make(map[*fetch.UnreachableError]bool)
	for _, err := range multierror.Append(nil, failed...).Errors {
		dead, image := (*fetch.UnreachableError)(nil), (*oci.Error)(nil)
		if errors.As(err, &dead) && !errors.As(err, &image) {
			if said[dead] {
				continue
			}
			said[dead] = true
			err = fmt.Errorf("the Debian mirror: %w; set %s to one that can", dead, apt.MirrorEnv)
		}
		out = append(out, err)
	}
	return failures.All(out...)
}

func (s *Store) resolveSource(ctx context.Context, e *catalog.Entry, src catalog.Source) (*Kernel, error) {
	var k *Kernel
	var rec *catalog.Locked // of an archive
	var err error
	switch {
	case src.File != "":
		k, err = s.fromFile(ctx, e.Spec(), src.File)
	case src.Tree != "":
		k, err = s.fromTree(ctx, e.Spec(), src.Tree, "")
	case src.URL != nil:
		k, err = s.fromURL(ctx, e.Spec(), src.URL)
	case src.OCI != nil:
		rec, err = s.resolveOCI(ctx, e, src.OCI)
	default:
		want, archive := src.OfDebian()
		rec, err = s.resolveDebian(ctx, e, want, archive)
		err = s.unavailable(e, archive, err)
	}
	if err != nil {
		return nil, err
	}
	if rec == nil {
		return s.describe(k, e)
	}
	if err := s.remember(ctx, s.cache.Path(catalog.LockName), *rec); err != nil {
		return nil, err
	}
	return s.load(e, rec)
}

// unavailable returns an [UnavailableError] for an error of the snapshot archive.
func (s *Store) unavailable(e *catalog.Entry, archive string, err error) error {
	if err == nil || !strings.HasPrefix(archive, apt.ArchiveSnapshot) || errors.Is(err, digest.ErrIntegrity) || errors.Is(err, context.Canceled) {
		return err
	}
	return &UnavailableError{Name: e.Spec(), Nearest: s.config.Nearest(e), Err: err}
}

// remember puts a record into a lock file.
func (s *Store) remember(ctx context.Context, file string, rec catalog.Locked) error {
	unlock, err := s.cache.Lock(ctx, "lockfile", "")
	if err != nil {
		return err
	}
	defer unlock()
	l, err := catalog.ReadLock(file)
	if err != nil {
		return err
	}
	l.Put(rec)
	return s.cache.Explain(l.Write(file))
}

// describe adds name, version and exceptions of an entry to its kernel.
func (s *Store) describe(k *Kernel, e *catalog.Entry) (*Kernel, error) {
	if k.Arch != e.Arch {
		return nil, fmt.Errorf("%s is a kernel for %s, and %s says %s", k.Origin, k.Arch, catalog.FileName, e.Arch)
	}
	k.Name = e.Spec()
	if e.Version != "" {
		k.Version = e.Version
	}
	k.capabilities, k.without = s.config.Capabilities, e.Without
	return k, nil
}
