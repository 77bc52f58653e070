// Package oci gets kernels from the registries of container images. A [Client] asks registries, an
// [Image] is a tag there, and [ReadLayers] reads the files of its layers. Images are not signed:
// the caller looks up a tag once ([Image.Platform]) and keeps the digest, which [Image.Locked]
// holds the registry to from then on.
package oci

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/bpfreplay/bpfreplay/vmimage/fetch"
)

// ErrRefused means that a registry requires a login, or refused the one it got.
var ErrRefused = errors.New("the registry refuses to give it")

// Error is the error of one image.
type Error struct {
	Image string
	Err   error
}

func (e *Error) Error() string { return "OCI image " + e.Image + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Client asks registries. It must not be used by several goroutines at once; the images it returns
// may be.
type Client struct {
	// HTTP makes the requests.
	HTTP *http.Client
	// Say is called with notes for the user.
	Say func(format string, args ...any)

	auth *auth.Client // nil until the first image
}

// Image returns the image of a repository, such as "ghcr.io/cilium/ci-kernels", with a tag. It does
// not contact the registry yet.
func (c *Client) Image(repository, tag string) (*Image, error) {
	repo, err := remote.NewRepository(repository)
	if err != nil {
		return nil, &Error{repository, err}
	}
	repo.PlainHTTP = isLoopback(repo.Reference.Registry)
	repo.Client = c.login()
	return &Image{Name: repository + ":" + tag, ref: tag, repo: repo}, nil
}

// login returns the client for registries. It logs in with the credentials of `docker login`, if
// there are any, and caches tokens.
func (c *Client) login() *auth.Client {
	if c.auth != nil {
		return c.auth
	}
	c.auth = &auth.Client{Client: c.HTTP, Cache: auth.NewCache(), Header: http.Header{"User-Agent": {fetch.UserAgent}}}
	store, err := credentials.NewStoreFromDocker(credentials.StoreOptions{})
	if err != nil {
		c.Say("note: registries are asked as nobody, as the credentials of docker cannot be read: %v", err)
		return c.auth
	}
	known := credentials.Credential(store)
	c.auth.Credential = func(ctx context.Context, host string) (auth.Credential, error) {
		credential, err := known(ctx, host)
		if err != nil {
			// For example, the credential helper is not installed.
			c.Say("note: %s is asked as nobody: %v", host, err)
			return auth.EmptyCredential, nil
		}
		return credential, nil
	}
	return c.auth
}

// isLoopback reports whether a registry is on this machine.
func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// explain turns the registry's answer into an error for the user.
func (i *Image) explain(err error) error {
	var said *errcode.ErrorResponse
	var dead *fetch.UnreachableError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &dead):
		err = dead
	case errors.Is(err, errdef.ErrNotFound):
		err = fetch.ErrGone
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		err = i.refused("401 Unauthorized")
	case errors.As(err, &said):
		err = i.answer(said)
	default:
		err = fetch.WithoutAddress(err)
	}
	return &Error{i.Name, err}
}

func (i *Image) answer(said *errcode.ErrorResponse) error {
	status := fmt.Sprintf("%d %s", said.StatusCode, http.StatusText(said.StatusCode))
	switch said.StatusCode {
	case http.StatusNotFound, http.StatusGone:
		return fetch.ErrGone
	case http.StatusUnauthorized, http.StatusForbidden:
		return i.refused(status)
	}
	if len(said.Errors) > 0 {
		return fmt.Errorf("%s says %s: %w", said.URL.Host, status, said.Errors)
	}
	return fmt.Errorf("%s says %s", said.URL.Host, status)
}

// refused returns the advice for a refusal. Registries refuse missing images in the same way, so
// that nobody learns which exist.
func (i *Image) refused(status string) error {
	return fmt.Errorf("%w (%s): it is not there, or not for everyone; `docker login %s`, if you may have it",
		ErrRefused, status, i.repo.Reference.Registry)
}
