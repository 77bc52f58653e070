package vmimage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"

	godigest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/bpfreplay/bpfreplay/vmimage/digest"
	"github.com/bpfreplay/bpfreplay/vmimage/fetch"
)

// OCISource is an OCI image in the layout of ghcr.io/cilium/ci-kernels: boot/vmlinuz, and
// optionally modules and a configuration.
type OCISource struct {
	// Image is registry and repository, such as "ghcr.io/cilium/ci-kernels". A registry on this
	// machine is used without TLS.
	Image string `yaml:"image" json:"image"`
	// Tag is looked up when the kernel is resolved, such as "6.12". The resulting digest is locked.
	Tag string `yaml:"tag" json:"tag"`
}

func (s *OCISource) check() error {
	host, _, ok := strings.Cut(s.Image, "/")
	if !ok || !strings.ContainsAny(host, ".:") && host != "localhost" {
		return fmt.Errorf("oci: image %q is not of the form ghcr.io/cilium/ci-kernels", s.Image)
	}
	ref, err := registry.ParseReference(s.Image + ":" + s.Tag)
	if err == nil {
		err = ref.ValidateReferenceAsTag()
	}
	if err != nil {
		return fmt.Errorf("oci: %w", err)
	}
	return nil
}

// archiveOCI is the name of the archive in the lock file for OCI images.
const archiveOCI = "oci"

// maxManifest bounds manifests and configurations of images, in bytes. The specification asks
// registries to accept manifests of up to 4 MiB.
const maxManifest = 4 << 20

// errRefused means that a registry requires a login, or refused the one it got.
var errRefused = errors.New("the registry refuses to give it")

// ociError is the error of one image.
type ociError struct {
	image string
	err   error
}

func (e *ociError) Error() string { return "OCI image " + e.image + ": " + e.err.Error() }
func (e *ociError) Unwrap() error { return e.err }

// ociImage is a repository of a registry.
type ociImage struct {
	*remote.Repository
	// name is the image's name in errors.
	name string
}

// ociRepository returns a repository. It does not contact the registry yet.
func (s *Store) ociRepository(image string) (*ociImage, error) {
	repo, err := remote.NewRepository(image)
	if err != nil {
		return nil, &ociError{image, err}
	}
	repo.PlainHTTP = isLoopback(repo.Reference.Registry)
	repo.Client = s.ociClient()
	return &ociImage{repo, image}, nil
}

// ociClient returns the client for registries. It logs in with the credentials of `docker login`,
// if there are any, and caches tokens.
func (s *Store) ociClient() *auth.Client {
	if s.oci != nil {
		return s.oci
	}
	s.oci = &auth.Client{Client: s.fetch.Client, Cache: auth.NewCache(), Header: http.Header{"User-Agent": {fetch.UserAgent}}}
	store, err := credentials.NewStoreFromDocker(credentials.StoreOptions{})
	if err != nil {
		s.say("note: registries are asked as nobody, as the credentials of docker cannot be read: %v", err)
		return s.oci
	}
	known := credentials.Credential(store)
	s.oci.Credential = func(ctx context.Context, host string) (auth.Credential, error) {
		credential, err := known(ctx, host)
		if err != nil {
			// For example, the credential helper is not installed.
			s.say("note: %s is asked as nobody: %v", host, err)
			return auth.EmptyCredential, nil
		}
		return credential, nil
	}
	return s.oci
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
func (i *ociImage) explain(err error) error {
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
		err = i.login("401 Unauthorized")
	case errors.As(err, &said):
		err = i.answer(said)
	default:
		err = fetch.WithoutAddress(err)
	}
	return &ociError{i.name, err}
}

func (i *ociImage) answer(said *errcode.ErrorResponse) error {
	status := fmt.Sprintf("%d %s", said.StatusCode, http.StatusText(said.StatusCode))
	switch said.StatusCode {
	case http.StatusNotFound, http.StatusGone:
		return fetch.ErrGone
	case http.StatusUnauthorized, http.StatusForbidden:
		return i.login(status)
	}
	if len(said.Errors) > 0 {
		return fmt.Errorf("%s says %s: %w", said.URL.Host, status, said.Errors)
	}
	return fmt.Errorf("%s says %s", said.URL.Host, status)
}

// login returns the advice for a refusal. Registries refuse missing images in the same way, so that
// nobody learns which exist.
func (i *ociImage) login(status string) error {
	return fmt.Errorf("%w (%s): it is not there, or not for everyone; `docker login %s`, if you may have it",
		errRefused, status, i.Reference.Registry)
}

// manifest gets a manifest by its tag or its digest.
func (i *ociImage) manifest(ctx context.Context, ref string) ([]byte, digest.Digest, error) {
	desc, body, err := i.Manifests().FetchReference(ctx, ref)
	if err != nil {
		return nil, digest.Digest{}, i.explain(err)
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, maxManifest+1))
	switch {
	case err != nil:
		return nil, digest.Digest{}, i.explain(err)
	case len(data) > maxManifest:
		return nil, digest.Digest{}, &ociError{i.name, fmt.Errorf("manifest of more than %d bytes", maxManifest)}
	case desc.Digest.Algorithm() != godigest.SHA256:
		return nil, digest.Digest{}, &ociError{i.name, fmt.Errorf("digest %s: only SHA-256 is understood", desc.Digest)}
	}
	if got := godigest.FromBytes(data); got != desc.Digest {
		return nil, digest.Digest{}, &ociError{i.name, fmt.Errorf("%w: the digest of the manifest is %s, it must be %s", digest.ErrIntegrity, got, desc.Digest)}
	}
	return data, digest.Digest{SHA256: desc.Digest.Encoded(), Size: int64(len(data))}, nil
}

// platform returns the manifest for an architecture, in Debian's words: the tagged one, or one of
// the tagged index.
func (i *ociImage) platform(ctx context.Context, tag, arch string) (digest.Digest, error) {
	data, sum, err := i.manifest(ctx, tag)
	if err != nil {
		return digest.Digest{}, err
	}
	index := new(ocispec.Index)
	if err := json.Unmarshal(data, index); err != nil {
		return digest.Digest{}, &ociError{i.name, fmt.Errorf("manifest: %w", err)}
	}
	if len(index.Manifests) == 0 {
		return sum, nil
	}
	var have []string
	for _, m := range index.Manifests {
		if m.Platform == nil {
			continue
		}
		if m.Platform.OS == "linux" && m.Platform.Architecture == arch {
			want, err := ociDigest(m)
			if err != nil {
				return digest.Digest{}, &ociError{i.name, err}
			}
			return want, nil
		}
		have = append(have, m.Platform.OS+"/"+m.Platform.Architecture)
	}
	return digest.Digest{}, &ociError{i.name, fmt.Errorf("there is none for linux/%s, only for %s", arch, strings.Join(have, ", "))}
}

// ociDigest returns size and digest of an untrusted descriptor, after checking them.
func ociDigest(d ocispec.Descriptor) (digest.Digest, error) {
	if err := d.Digest.Validate(); err != nil {
		return digest.Digest{}, err
	}
	if d.Digest.Algorithm() != godigest.SHA256 {
		return digest.Digest{}, fmt.Errorf("digest %s: only SHA-256 is understood", d.Digest)
	}
	if d.Size <= 0 {
		return digest.Digest{}, fmt.Errorf("%s: a size of %d bytes", d.Digest, d.Size)
	}
	return digest.Digest{SHA256: d.Digest.Encoded(), Size: d.Size}, nil
}

// resolveOCI looks up a tag and installs its image.
func (s *Store) resolveOCI(ctx context.Context, e *Entry, src *OCISource) (*Locked, error) {
	image, err := s.ociRepository(src.Image)
	if err != nil {
		return nil, err
	}
	image.name += ":" + src.Tag
	sum, err := image.platform(ctx, src.Tag, e.Arch)
	if err != nil {
		return nil, err
	}
	rec := &Locked{
		Name: e.Name, Arch: e.Arch, Entry: e.id(),
		Source: fmt.Sprintf("OCI image %s:%s (sha256:%s)", src.Image, src.Tag, sum.SHA256[:12]),
		Packages: []LockedPackage{{
			Package: src.Image, Version: src.Tag, Archive: archiveOCI, Path: src.Image, SHA256: sum.SHA256, Size: sum.Size,
		}},
	}
	if err := s.install(ctx, e.Spec(), rec); err != nil {
		return nil, err
	}
	meta, err := readInstalled(s.cache.path(dirKernels, rec.key()))
	if err != nil {
		return nil, err
	}
	rec.Release = meta.Release
	return rec, nil
}

// installOCI makes the kernel directory dst of the image whose manifest is locked. It fails with
// [fetch.ErrGone] if the registry no longer has it.
func (s *Store) installOCI(ctx context.Context, name string, rec *Locked, dst string) error {
	locked := rec.Packages[0]
	image, err := s.ociRepository(locked.Path)
	if err != nil {
		return err
	}
	image.name = fmt.Sprintf("%s:%s (sha256:%s)", locked.Path, locked.Version, locked.SHA256[:12])
	data, _, err := image.manifest(ctx, "sha256:"+locked.SHA256)
	if err != nil {
		return err
	}
	manifest := new(ocispec.Manifest)
	if err := json.Unmarshal(data, manifest); err != nil {
		return &ociError{image.name, fmt.Errorf("manifest: %w", err)}
	}
	if err := image.checkConfig(ctx, manifest, rec.Arch); err != nil {
		return err
	}
	files, err := s.ociLayers(ctx, image, manifest)
	if err != nil {
		return err
	}
	err = s.unpackAndDrop(name, dst, "", files, func(u *unpacker) error { return u.layers(files, s.opts.maxUnpacked) })
	if err != nil {
		return &ociError{image.name, err}
	}
	return nil
}

// ociLayers gets the layers of an image, the lowest first.
func (s *Store) ociLayers(ctx context.Context, image *ociImage, manifest *ocispec.Manifest) ([]string, error) {
	if len(manifest.Layers) == 0 {
		return nil, &ociError{image.name, errors.New("it has no layers")}
	}
	var files []string
	for n, layer := range manifest.Layers {
		want, err := ociDigest(layer)
		if err != nil {
			return nil, &ociError{image.name, fmt.Errorf("layer %d: %w", n+1, err)}
		}
		// "application/vnd.oci.image.layer.v1.tar+gzip" and
		// "application/vnd.docker.image.rootfs.diff.tar.gzip" among others.
		if !strings.Contains(layer.MediaType, ".tar") || strings.HasSuffix(layer.MediaType, "+encrypted") {
			return nil, &ociError{image.name, fmt.Errorf("layer %d: %s is no layer of files", n+1, layer.MediaType)}
		}
		what := fmt.Sprintf("layer %d of %d of %s", n+1, len(manifest.Layers), image.name)
		file, err := s.blobFrom(ctx, want, what, func(dst string) error {
			return s.download(ctx, dst, func(f *os.File) error { return image.blob(ctx, layer, want, f) })
		})
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

// blob copies a blob to w and fails with [digest.ErrIntegrity] unless size and digest are as
// wanted.
func (i *ociImage) blob(ctx context.Context, desc ocispec.Descriptor, want digest.Digest, w io.Writer) error {
	body, err := i.Blobs().Fetch(ctx, desc)
	if err != nil {
		return i.explain(err)
	}
	defer body.Close()
	if err := digest.Copy(w, body, want); err != nil {
		return &ociError{i.name, fmt.Errorf("%s: %w", desc.Digest, err)}
	}
	return nil
}

// checkConfig checks that an image without an index is for the right architecture, if its
// configuration names one.
func (i *ociImage) checkConfig(ctx context.Context, manifest *ocispec.Manifest, arch string) error {
	want, err := ociDigest(manifest.Config)
	if err != nil || want.Size > maxManifest || !strings.HasSuffix(manifest.Config.MediaType, "image.config.v1+json") && !strings.HasSuffix(manifest.Config.MediaType, "container.image.v1+json") {
		return nil
	}
	var data strings.Builder
	if err := i.blob(ctx, manifest.Config, want, &data); err != nil {
		return err
	}
	config := new(ocispec.Image)
	if err := json.Unmarshal([]byte(data.String()), config); err != nil {
		return &ociError{i.name, fmt.Errorf("configuration: %w", err)}
	}
	if config.Architecture != "" && arch != "" && config.Architecture != arch {
		return &ociError{i.name, fmt.Errorf("it is for %s/%s, not for linux/%s", config.OS, config.Architecture, arch)}
	}
	return nil
}
