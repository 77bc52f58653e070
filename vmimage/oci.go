package vmimage

import (
	"archive/tar"
	"context"
	"io"
	"os"

	"github.com/bpfreplay/bpfreplay/vmimage/catalog"
	"github.com/bpfreplay/bpfreplay/vmimage/oci"
)

// resolveOCI looks up a tag and installs its image.
func (s *Store) resolveOCI(ctx context.Context, e *catalog.Entry, src *catalog.OCI) (*catalog.Locked, error) {
	image, err := s.oci.Image(src.Image, src.Tag)
	if err != nil {
		return nil, err
	}
	sum, err := image.Platform(ctx, e.Arch)
	if err != nil {
		return nil, err
	}
	rec := &catalog.Locked{
		Name: e.Name, Arch: e.Arch, Entry: e.ID(),
		Source: "OCI image " + image.Locked(sum.SHA256).Name,
		Packages: []catalog.LockedPackage{{
			Package: src.Image, Version: src.Tag, Archive: catalog.ArchiveOCI, Path: src.Image, SHA256: sum.SHA256, Size: sum.Size,
		}},
	}
	if err := s.install(ctx, e.Spec(), rec); err != nil {
		return nil, err
	}
	k, err := s.loadDir(keyOf(rec))
	if err != nil {
		return nil, err
	}
	rec.Release = k.Release
	return rec, nil
}

// installOCI makes the kernel directory dst of the image whose manifest is locked. It fails with
// [fetch.ErrGone] if the registry no longer has it.
func (s *Store) installOCI(ctx context.Context, name string, rec *catalog.Locked, dst string) error {
	locked := rec.Packages[0]
	image, err := s.oci.Image(locked.Path, locked.Version)
	if err != nil {
		return err
	}
	image = image.Locked(locked.SHA256)
	layers, err := image.Layers(ctx, rec.Arch)
	if err != nil {
		return err
	}
	var files []string
	for _, layer := range layers {
		file, err := s.blobFrom(ctx, layer.Want, layer.Name, func(f *os.File) error { return image.Fetch(ctx, layer, f) })
		if err != nil {
			return err
		}
		files = append(files, file)
	}
	read := func(entry func(*tar.Header, io.Reader) error) error {
		return oci.ReadLayers(files, s.opts.maxUnpacked, entry)
	}
	if err := s.unpack(name, dst, "", read, files...); err != nil {
		return &oci.Error{Image: image.Name, Err: err}
	}
	return nil
}
