package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	godigest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/bpfreplay/bpfreplay/vmimage/digest"
)

// maxManifest bounds manifests and configurations of images, in bytes. The specification asks
// registries to accept manifests of up to 4 MiB.
const maxManifest = 4 << 20

// Image is an image of a registry. Its errors are of type [Error].
type Image struct {
	// Name is the image's name in errors.
	Name string
	ref  string // a tag, or a digest
	repo *remote.Repository
}

// Locked returns the image whose manifest has this SHA-256, whatever the tag leads to now.
func (i *Image) Locked(sha256 string) *Image {
	return &Image{Name: fmt.Sprintf("%s (sha256:%s)", i.Name, sha256[:12]), ref: "sha256:" + sha256, repo: i.repo}
}

// Exists returns nil if the registry has the image now, without getting it.
func (i *Image) Exists(ctx context.Context) error {
	_, err := i.repo.Resolve(ctx, i.ref)
	return i.explain(err)
}

// manifest gets the manifest of the image.
func (i *Image) manifest(ctx context.Context) ([]byte, digest.Digest, error) {
	desc, body, err := i.repo.Manifests().FetchReference(ctx, i.ref)
	if err != nil {
		return nil, digest.Digest{}, i.explain(err)
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, maxManifest+1))
	switch {
	case err != nil:
		return nil, digest.Digest{}, i.explain(err)
	case len(data) > maxManifest:
		return nil, digest.Digest{}, &Error{i.Name, fmt.Errorf("manifest of more than %d bytes", maxManifest)}
	case desc.Digest.Algorithm() != godigest.SHA256:
		return nil, digest.Digest{}, &Error{i.Name, fmt.Errorf("digest %s: only SHA-256 is understood", desc.Digest)}
	}
	if got := godigest.FromBytes(data); got != desc.Digest {
		return nil, digest.Digest{}, &Error{i.Name, fmt.Errorf("%w: the digest of the manifest is %s, it must be %s", digest.ErrIntegrity, got, desc.Digest)}
	}
	return data, digest.Digest{SHA256: desc.Digest.Encoded(), Size: int64(len(data))}, nil
}

// Platform returns size and digest of the manifest for an architecture, in Debian's words: the
// tagged one, or one of the tagged index.
func (i *Image) Platform(ctx context.Context, arch string) (digest.Digest, error) {
	data, sum, err := i.manifest(ctx)
	if err != nil {
		return digest.Digest{}, err
	}
	index := new(ocispec.Index)
	if err := json.Unmarshal(data, index); err != nil {
		return digest.Digest{}, &Error{i.Name, fmt.Errorf("manifest: %w", err)}
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
			want, err := checked(m)
			if err != nil {
				return digest.Digest{}, &Error{i.Name, err}
			}
			return want, nil
		}
		have = append(have, m.Platform.OS+"/"+m.Platform.Architecture)
	}
	return digest.Digest{}, &Error{i.Name, fmt.Errorf("there is none for linux/%s, only for %s", arch, strings.Join(have, ", "))}
}

// checked returns size and digest of an untrusted descriptor, after checking them.
func checked(d ocispec.Descriptor) (digest.Digest, error) {
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

// Layer is a layer of an image.
type Layer struct {
	// Name in words, for messages.
	Name string
	// Want is what the layer must be.
	Want digest.Digest
	desc ocispec.Descriptor
}

// Layers returns the layers of an image for an architecture, the lowest first. The image must be
// [Image.Locked].
func (i *Image) Layers(ctx context.Context, arch string) ([]Layer, error) {
	data, _, err := i.manifest(ctx)
	if err != nil {
		return nil, err
	}
	manifest := new(ocispec.Manifest)
	if err := json.Unmarshal(data, manifest); err != nil {
		return nil, &Error{i.Name, fmt.Errorf("manifest: %w", err)}
	}
	if err := i.checkConfig(ctx, manifest, arch); err != nil {
		return nil, err
	}
	if len(manifest.Layers) == 0 {
		return nil, &Error{i.Name, errors.New("it has no layers")}
	}
	var layers []Layer
	for n, desc := range manifest.Layers {
		want, err := checked(desc)
		if err != nil {
			return nil, &Error{i.Name, fmt.Errorf("layer %d: %w", n+1, err)}
		}
		// "application/vnd.oci.image.layer.v1.tar+gzip" and
		// "application/vnd.docker.image.rootfs.diff.tar.gzip" among others.
		if !strings.Contains(desc.MediaType, ".tar") || strings.HasSuffix(desc.MediaType, "+encrypted") {
			return nil, &Error{i.Name, fmt.Errorf("layer %d: %s is no layer of files", n+1, desc.MediaType)}
		}
		name := fmt.Sprintf("layer %d of %d of %s", n+1, len(manifest.Layers), i.Name)
		layers = append(layers, Layer{Name: name, Want: want, desc: desc})
	}
	return layers, nil
}

// Fetch copies a layer to w. The error is [digest.ErrIntegrity] unless size and digest are as
// wanted.
func (i *Image) Fetch(ctx context.Context, l Layer, w io.Writer) error {
	return i.blob(ctx, l.desc, l.Want, w)
}

// blob copies a blob to w and fails with [digest.ErrIntegrity] unless size and digest are as
// wanted.
func (i *Image) blob(ctx context.Context, desc ocispec.Descriptor, want digest.Digest, w io.Writer) error {
	body, err := i.repo.Blobs().Fetch(ctx, desc)
	if err != nil {
		return i.explain(err)
	}
	defer body.Close()
	if err := digest.Copy(w, body, want); err != nil {
		return &Error{i.Name, fmt.Errorf("%s: %w", desc.Digest, err)}
	}
	return nil
}

// checkConfig checks that an image without an index is for the right architecture, if its
// configuration names one.
func (i *Image) checkConfig(ctx context.Context, manifest *ocispec.Manifest, arch string) error {
	want, err := checked(manifest.Config)
	if err != nil || want.Size > maxManifest || !strings.HasSuffix(manifest.Config.MediaType, "image.config.v1+json") && !strings.HasSuffix(manifest.Config.MediaType, "container.image.v1+json") {
		return nil
	}
	var data strings.Builder
	if err := i.blob(ctx, manifest.Config, want, &data); err != nil {
		return err
	}
	config := new(ocispec.Image)
	if err := json.Unmarshal([]byte(data.String()), config); err != nil {
		return &Error{i.Name, fmt.Errorf("configuration: %w", err)}
	}
	if config.Architecture != "" && arch != "" && config.Architecture != arch {
		return &Error{i.Name, fmt.Errorf("it is for %s/%s, not for linux/%s", config.OS, config.Architecture, arch)}
	}
	return nil
}
