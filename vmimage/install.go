package vmimage

import (
	"archive/tar"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/internal/kversion"
	"github.com/bpfreplay/bpfreplay/vmimage/archive"
	"github.com/bpfreplay/bpfreplay/vmimage/cache"
	"github.com/bpfreplay/bpfreplay/vmimage/catalog"
	"github.com/bpfreplay/bpfreplay/vmimage/digest"
	"github.com/bpfreplay/bpfreplay/vmimage/fetch"
	"github.com/bpfreplay/bpfreplay/vmimage/kimage"
	"github.com/bpfreplay/bpfreplay/vmimage/oci"
)

// installFormat is part of the key of unpacked kernels. Change it when their layout changes.
const installFormat = "bpfreplay kernel 1\n"

// Names of the files of an unpacked kernel.
const (
	fileImage   = "vmlinuz"
	fileVmlinux = "vmlinux"
	fileConfig  = "config"
	fileModules = "modules"
	fileMeta    = "kernel.json"
	fileIndex   = "modules.json"
)

// installed describes an unpacked kernel in the cache.
type installed struct {
	Release string `json:"release"`
	Arch    string `json:"arch"`   // "" in files from before there were several
	SHA256  string `json:"sha256"` // of the image
	Boot    string `json:"boot"`   // fileVmlinux or fileImage
	Config  bool   `json:"config"`
	Modules bool   `json:"modules"`
	// Size of all files in bytes.
	Size int64 `json:"size"`
}

// keyOf identifies a kernel by its packages.
func keyOf(rec *catalog.Locked) string {
	var digests []string
	for _, p := range rec.Packages {
		digests = append(digests, p.SHA256)
	}
	return installKey(digests...)
}

func installKey(digests ...string) string {
	sum := sha256.Sum256([]byte(installFormat + strings.Join(digests, "\n")))
	return hex.EncodeToString(sum[:])
}

// install puts the kernel of a lock record into the cache, unless it is there. It fails with
// [fetch.ErrGone] if the archive no longer has the packages.
func (s *Store) install(ctx context.Context, name string, rec *catalog.Locked) error {
	dst := s.cache.Path(cache.Kernels, keyOf(rec))
	if rec.Packages[0].Archive == catalog.ArchiveOCI {
		return s.cache.Once(ctx, name, dst, func() error { return s.installOCI(ctx, name, rec, dst) })
	}
	return s.cache.Once(ctx, name, dst, func() error {
		var files []string
		for _, p := range rec.Packages {
			what := fmt.Sprintf("%s %s", p.Package, p.Version)
			address := s.mirrors.Base(p.Archive) + "/" + p.Path
			file, err := s.blob(ctx, digest.Digest{SHA256: p.SHA256, Size: p.Size}, what, address)
			if err != nil {
				return err
			}
			files = append(files, file)
		}
		return s.unpack(name, dst, rec.Release, packed(archive.Deb, files...), files...)
	})
}

// blob returns the path of the file with a digest. If the cache lacks it, blob downloads it from
// the first address that has it.
func (s *Store) blob(ctx context.Context, want digest.Digest, what string, addresses ...string) (string, error) {
	return s.blobFrom(ctx, want, what, func(f *os.File) error {
		var err error
		for _, address := range addresses {
			err = s.fetch.Checked(ctx, address, want, f)
			if !errors.Is(err, fetch.ErrGone) {
				break
			}
		}
		return err
	})
}

// blobFrom is blob with the caller's way to download.
func (s *Store) blobFrom(ctx context.Context, want digest.Digest, what string, get func(*os.File) error) (string, error) {
	dst := s.cache.Path(cache.Blobs, want.SHA256)
	err := s.cache.Once(ctx, what, dst, func() error {
		size := ""
		if want.Size > 0 {
			size = fmt.Sprintf(" (%s)", formatSize(want.Size))
		}
		s.say("downloading %s%s", what, size)
		return s.download(ctx, dst, get)
	})
	return dst, err
}

// download tries twice, because connections break.
func (s *Store) download(ctx context.Context, dst string, get func(*os.File) error) error {
	for attempt := 1; ; attempt++ {
		err := s.cache.WriteFile(dst, get)
		dead := (*fetch.UnreachableError)(nil)
		final := errors.Is(err, fetch.ErrGone) || errors.Is(err, oci.ErrRefused) || errors.Is(err, digest.ErrIntegrity) || errors.As(err, &dead) || cache.IsFull(err)
		if err == nil || final || attempt == 2 || ctx.Err() != nil {
			return err
		}
		s.say("note: %v; trying again", err)
	}
}

// formatSize returns a size in bytes in a readable unit.
func formatSize(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// contents calls a function for the entries of the archives of a kernel.
type contents func(entry func(*tar.Header, io.Reader) error) error

// packed are the contents of packages or other archives.
func packed(read archive.Reader, files ...string) contents {
	return func(entry func(*tar.Header, io.Reader) error) error {
		for _, file := range files {
			if err := archive.ReadFile(file, read, entry); err != nil {
				return err
			}
		}
		return nil
	}
}

// unpack makes the kernel directory dst from its contents. With release "" it accepts any release.
// Then it removes the files drop from the cache.
func (s *Store) unpack(name, dst, release string, fill contents, drop ...string) error {
	s.say("%s: unpacking", name)
	err := s.cache.WriteDir(dst, func(dir string) error {
		u := &unpacker{dir: dir, release: release, modules: make(map[string]bool)}
		if err := fill(u.entry); err != nil {
			return err
		}
		meta, err := s.finish(name, u)
		if err != nil {
			return err
		}
		data, err := json.MarshalIndent(meta, "", "  ")
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, fileMeta), data, 0o644)
	})
	if err != nil {
		return err
	}
	for _, file := range drop {
		os.Remove(file)
	}
	return nil
}

// load returns the kernel of a lock record that is installed.
func (s *Store) load(e *catalog.Entry, rec *catalog.Locked) (*Kernel, error) {
	k, err := s.loadDir(keyOf(rec))
	if err != nil {
		return nil, fmt.Errorf("kernel %s: %w", e.Spec(), err)
	}
	k.Origin = rec.Source
	return s.describe(k, e)
}

func (s *Store) loadDir(key string) (*Kernel, error) {
	dir := s.cache.Path(cache.Kernels, key)
	meta, err := readInstalled(dir)
	if err != nil {
		return nil, err
	}
	k := &Kernel{
		Arch:      cmp.Or(meta.Arch, arch.BzImage),
		Release:   meta.Release,
		Version:   shortVersion(meta.Release),
		SHA256:    meta.SHA256,
		BootPath:  filepath.Join(dir, meta.Boot),
		ImagePath: filepath.Join(dir, fileImage),
		key:       key,
	}
	if meta.Config {
		k.ConfigPath = filepath.Join(dir, fileConfig)
	}
	if meta.Modules {
		k.ModulesDir = filepath.Join(dir, fileModules)
	}
	return k, nil
}

func readInstalled(dir string) (*installed, error) {
	data, err := os.ReadFile(filepath.Join(dir, fileMeta))
	if err != nil {
		return nil, err
	}
	meta := new(installed)
	if err := json.Unmarshal(data, meta); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, fileMeta), err)
	}
	if meta.Boot != fileVmlinux && meta.Boot != fileImage {
		return nil, fmt.Errorf("%s: damaged; remove %s", fileMeta, dir)
	}
	return meta, nil
}

// shortVersion is the major and minor number of a release.
func shortVersion(release string) string {
	v, ok := kversion.Parse(release)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%d.%d", v[0], v[1])
}

// fromURL downloads one file, and unpacks it if it is an archive.
func (s *Store) fromURL(ctx context.Context, name string, src *catalog.URL) (*Kernel, error) {
	key := installKey(src.SHA256)
	k, err := s.loadDir(key)
	if err != nil {
		k, err = s.installURL(ctx, name, src, key)
	}
	if err != nil {
		return nil, err
	}
	k.Origin = src.Address
	return k, nil
}

func (s *Store) installURL(ctx context.Context, name string, src *catalog.URL, key string) (*Kernel, error) {
	file, err := s.blob(ctx, digest.Digest{SHA256: src.SHA256}, name+" from "+src.Address, src.Address)
	if err != nil {
		return nil, err
	}
	read, err := archiveKind(file)
	if err != nil {
		return nil, err
	}
	if read == nil {
		return s.fromFile(ctx, name, file)
	}
	return s.installFile(ctx, name, key, file, read)
}

// installFile puts the kernel of an archive into the cache, unless it is there.
func (s *Store) installFile(ctx context.Context, name, key, file string, read archive.Reader) (*Kernel, error) {
	dst := s.cache.Path(cache.Kernels, key)
	err := s.cache.Once(ctx, name, dst, func() error { return s.unpack(name, dst, "", packed(read, file)) })
	if err != nil {
		return nil, err
	}
	return s.loadDir(key)
}

// archiveKind returns the reader for an archive, nil for a kernel image.
func archiveKind(file string) (archive.Reader, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if is, err := kimage.Is(f); is || err != nil {
		return nil, err
	}
	return archive.ReaderOf(f), nil
}

// image returns the kernel of an image without other files.
func (s *Store) image(ctx context.Context, name, file string) (*Kernel, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sum, err := digest.OfFile(file)
	if err != nil {
		return nil, err
	}
	info, err := kimage.Read(f)
	if errors.Is(err, kimage.ErrNoPVH) {
		return nil, fmt.Errorf("%w; give the bzImage instead", err)
	}
	if err != nil {
		return nil, err
	}
	k := &Kernel{
		Name: name, Arch: info.Arch, Release: info.Release, Version: shortVersion(info.Release),
		SHA256: sum, Origin: file, ImagePath: file, BootPath: file,
	}
	if info.Bz != nil {
		k.BootPath, err = s.apart(ctx, name, f, info.Bz, sum)
	}
	return k, err
}

// apart returns the vmlinux of a bzImage, from the cache if it is there; or
// the bzImage itself if it can only be booted as it is.
func (s *Store) apart(ctx context.Context, name string, image *os.File, h *kimage.BzHeader, sum string) (string, error) {
	dst := s.cache.Path(cache.Images, sum)
	err := s.cache.Once(ctx, name, dst, func() error {
		return s.cache.WriteFile(dst, func(out *os.File) error {
			return kimage.WriteVmlinux(image, h, out.Name())
		})
	})
	if errors.Is(err, archive.ErrCompression) || errors.Is(err, kimage.ErrNoPVH) {
		s.say("note: %s: the guest has to unpack the image by itself, which is slower: %v", name, err)
		return image.Name(), nil
	}
	return dst, err
}

func firstExisting(paths ...string) string {
	for _, p := range paths {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	return ""
}
