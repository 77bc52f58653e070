// Package fetch gets files over HTTP, checks them, and gives up early on hosts that do not answer.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/bpfreplay/bpfreplay/vmimage/digest"
)

// Timeouts for a host. Dialling and the first byte together take less than ten seconds, so a host
// that is down is quickly told from a slow one.
const (
	dialTimeout   = 5 * time.Second
	headerTimeout = 8 * time.Second
	idleTimeout   = 60 * time.Second
)

// maxSmallFile bounds files of unknown size, such as InRelease.
const maxSmallFile = 16 << 20

// ErrGone means that the server answered that it does not have the file.
var ErrGone = errors.New("not there (404)")

// ErrNoAnswer means that the watchdog ended a request.
var ErrNoAnswer = errors.New("no answer in time")

// UnreachableError means that the server did not answer at all.
type UnreachableError struct {
	host string
	err  error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("%s cannot be reached: %v", e.host, e.err)
}

func (e *UnreachableError) Unwrap() error { return e.err }

// Fetcher gets files over HTTP. It is also the transport of its client, and gives up on hosts that
// do not answer.
type Fetcher struct {
	Client *http.Client
	inner  http.RoundTripper

	// dead has the hosts that did not answer, so that each costs its timeout only once.
	mu   sync.Mutex
	dead map[string]error
}

func New(client *http.Client) *Fetcher {
	if client == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.DialContext = (&net.Dialer{Timeout: dialTimeout}).DialContext
		transport.TLSHandshakeTimeout = dialTimeout
		// The digests are those of the files before any transfer encoding.
		transport.DisableCompression = true
		client = &http.Client{Transport: transport}
	}
	f := &Fetcher{dead: make(map[string]error), inner: client.Transport}
	if f.inner == nil {
		f.inner = http.DefaultTransport
	}
	watched := *client
	watched.Transport = f
	f.Client = &watched
	return f
}

// Small gets a file of unknown size into memory.
func (f *Fetcher) Small(ctx context.Context, address string) ([]byte, error) {
	var data []byte
	err := f.get(ctx, address, func(r io.Reader) error {
		var err error
		data, err = io.ReadAll(io.LimitReader(r, maxSmallFile+1))
		if err == nil && len(data) > maxSmallFile {
			return fmt.Errorf("larger than %d bytes", maxSmallFile)
		}
		return err
	})
	return data, err
}

// Checked copies a file to w and fails with [digest.ErrIntegrity] unless size and digest are as
// wanted. It reads at most one byte more than the wanted size.
func (f *Fetcher) Checked(ctx context.Context, address string, want digest.Digest, w io.Writer) error {
	return f.get(ctx, address, func(r io.Reader) error { return digest.Copy(w, r, want) })
}

// get requests address and passes the body to fn. Errors name the address.
func (f *Fetcher) get(ctx context.Context, address string, fn func(io.Reader) error) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", UserAgent)
	resp, err := f.Client.Do(req)
	if err != nil {
		return WithoutAddress(err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone:
		return fmt.Errorf("%s: %w", u.Redacted(), ErrGone)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: the server says %s", u.Redacted(), resp.Status)
	}
	if err := fn(resp.Body); err != nil {
		return fmt.Errorf("%s: %w", u.Redacted(), err)
	}
	return nil
}

// UserAgent is the name in requests.
const UserAgent = "bpfreplay"

// WithoutAddress removes method and address from an error of a client, because the caller adds the
// address.
func WithoutAddress(err error) error {
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// RoundTrip sends one request, unless the host is known not to answer. Reading the answer fails
// after idleTimeout without data.
func (f *Fetcher) RoundTrip(req *http.Request) (*http.Response, error) {
	host := req.URL.Host
	f.mu.Lock()
	dead := f.dead[host]
	f.mu.Unlock()
	if dead != nil {
		return nil, dead
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	watchdog := time.AfterFunc(headerTimeout, func() { cancel(ErrNoAnswer) })
	resp, err := f.inner.RoundTrip(req.WithContext(ctx))
	if err != nil {
		err = f.remember(ctx, host, err)
		watchdog.Stop()
		cancel(nil)
		return nil, err
	}
	resp.Body = &watchedBody{ReadCloser: resp.Body, ctx: ctx, cancel: cancel, watchdog: watchdog}
	return resp, nil
}

// remember turns the error of a failed request into an [UnreachableError] if the host did not
// answer, and keeps it. A broken connection stays an ordinary error.
func (f *Fetcher) remember(ctx context.Context, host string, err error) error {
	cause := context.Cause(ctx)
	if cause != nil && !errors.Is(cause, ErrNoAnswer) {
		return cause
	}
	dial := (*net.OpError)(nil)
	switch {
	case cause != nil:
		err = cause
	case errors.As(err, &dial) && dial.Op == "dial":
	default:
		return fmt.Errorf("%s: %w", host, err)
	}
	dead := &UnreachableError{host: host, err: err}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead[host] = dead
	return dead
}

// watchedBody gives the watchdog another idleTimeout with every read.
type watchedBody struct {
	io.ReadCloser
	ctx      context.Context
	cancel   context.CancelCauseFunc
	watchdog *time.Timer
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.watchdog.Reset(idleTimeout)
	n, err := b.ReadCloser.Read(p)
	if cause := context.Cause(b.ctx); err != nil && cause != nil {
		err = cause
	}
	return n, err
}

func (b *watchedBody) Close() error {
	b.watchdog.Stop()
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}

// Exists requests a file without reading it.
func (f *Fetcher) Exists(ctx context.Context, address string) error {
	return f.get(ctx, address, func(io.Reader) error { return nil })
}
