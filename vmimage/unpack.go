package vmimage

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/bpfreplay/bpfreplay/vmimage/archive"
	"github.com/bpfreplay/bpfreplay/vmimage/cache"
	"github.com/bpfreplay/bpfreplay/vmimage/digest"
	"github.com/bpfreplay/bpfreplay/vmimage/kimage"
	"github.com/bpfreplay/bpfreplay/vmimage/kmod"
)

// unpacker writes the files of kernel packages into a directory.
type unpacker struct {
	dir string
	// release is the only release to take; "" for any.
	release string
	// image, elf and config mean that a bzImage, a vmlinux and a configuration were found.
	image, elf, config bool
	// imageRelease is the release in the image's path; "" if the path has none.
	imageRelease string
	// modules are the releases that have modules.
	modules map[string]bool
	// odd is the reason why a kernel image was skipped.
	odd string
}

// dirReleases has the modules, by release, until the release of the image is known.
const dirReleases = "releases"

// entry takes the image, its configuration and its modules from an archive. It skips all else,
// especially links, so that no archive can write elsewhere.
func (u *unpacker) entry(h *tar.Header, r io.Reader) error {
	name := strings.TrimPrefix(strings.TrimPrefix(path.Clean("/"+h.Name), "/"), "usr/")
	file, release := placeOf(name)
	if h.Typeflag != tar.TypeReg {
		isImage := (file == fileImage || file == fileVmlinux) && (release == "" || kimage.IsRelease(release))
		if isImage && h.Typeflag != tar.TypeDir {
			u.odd = name + " is no regular file"
		}
		return nil
	}
	if file == "" || !u.is(release) {
		return nil
	}
	switch file {
	case fileImage:
		if u.image && u.imageRelease != "" && release != "" && u.imageRelease != release {
			return fmt.Errorf("kernels of two releases, %s and %s: which one is meant?", u.imageRelease, release)
		}
		if u.image {
			return nil // some archives have the same image twice
		}
		u.image, u.imageRelease = true, release
	case fileVmlinux:
		if u.elf {
			return errors.New("a second vmlinux: which one is meant?")
		}
		u.elf = true
	case fileConfig:
		if u.config {
			return nil
		}
		u.config = true
	default:
		u.modules[release] = true
	}
	return u.write(file, r)
}

// placeOf returns the place in a kernel's directory for a path in an archive, and the release in
// that path, "" if it has none. The place is "" for what is no part of a kernel.
func placeOf(name string) (file, release string) {
	if name, ok := strings.CutPrefix(name, "boot/"); ok {
		file, release, _ = strings.Cut(name, "-")
		if file != fileImage && file != fileVmlinux && file != fileConfig {
			return "", ""
		}
		return file, release
	}
	rest, below := strings.CutPrefix(name, "lib/modules/")
	release, file, ok := strings.Cut(rest, "/")
	switch {
	case !below || !ok:
		return "", ""
	case file == "vmlinuz" || file == "vmlinuz.unsigned":
		return fileImage, release
	case file == "config":
		return fileConfig, release
	case kmod.IsFile(file) || strings.HasPrefix(file, "modules.") && !strings.Contains(file, "/"):
		return path.Join(dirReleases, release, file), release
	}
	return "", ""
}

// is reports whether to take a file of that release. Some archives have no release in the names of
// /boot: their files are taken if any release is.
func (u *unpacker) is(release string) bool {
	if release == "" {
		return u.release == ""
	}
	return kimage.IsRelease(release) && (u.release == "" || u.release == release)
}

func (u *unpacker) write(name string, r io.Reader) error {
	dst := filepath.Join(u.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(dst, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return extract(f, r)
}

// extract copies the contents of an entry to a new file, and closes it.
func extract(f *os.File, r io.Reader) error {
	defer f.Close()
	if _, err := io.Copy(f, r); err != nil {
		return err
	}
	return f.Close()
}

// finish takes the image apart and lists the modules.
func (s *Store) finish(name string, u *unpacker) (*installed, error) {
	meta, err := s.finishImage(name, u)
	if err != nil {
		return nil, err
	}
	if u.release != "" && meta.Release != u.release {
		return nil, fmt.Errorf("the package is for %s, but its image says %s", u.release, meta.Release)
	}
	if meta.SHA256, err = digest.OfFile(filepath.Join(u.dir, fileImage)); err != nil {
		return nil, err
	}
	meta.Config, meta.Modules = u.config, u.modules[meta.Release]
	if meta.Modules {
		modules := filepath.Join(u.dir, fileModules)
		if err := os.Rename(filepath.Join(u.dir, dirReleases, meta.Release), modules); err != nil {
			return nil, err
		}
		if err := kmod.WriteIndex(modules, filepath.Join(u.dir, fileIndex)); err != nil {
			return nil, err
		}
	} else if len(u.modules) > 0 {
		s.say("note: %s: no modules: those that came with it are not for %s", name, meta.Release)
	}
	if err := os.RemoveAll(filepath.Join(u.dir, dirReleases)); err != nil {
		return nil, err
	}
	meta.Size = cache.Size(u.dir)
	return meta, nil
}

// finishImage identifies the image and chooses the file to boot.
func (s *Store) finishImage(name string, u *unpacker) (*installed, error) {
	file, vmlinux := filepath.Join(u.dir, fileImage), filepath.Join(u.dir, fileVmlinux)
	if !u.image {
		if !u.elf {
			return nil, u.noImage()
		}
		// A vmlinux is a kernel, too; that of riscv64 is an Image with the name of one.
		if err := os.Rename(vmlinux, file); err != nil {
			return nil, err
		}
	}
	image, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer image.Close()
	info, err := kimage.Read(image)
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	meta := &installed{Release: info.Release, Arch: info.Arch, Boot: fileImage}
	if info.Bz == nil {
		return meta, os.RemoveAll(vmlinux) // there may be none
	}
	meta.Boot = fileVmlinux
	// It replaces a vmlinux from the archive, which may be huge.
	err = kimage.WriteVmlinux(image, info.Bz, vmlinux)
	if errors.Is(err, archive.ErrCompression) || errors.Is(err, kimage.ErrNoPVH) {
		s.say("note: %s: the guest has to unpack the image by itself, which is slower: %v", name, err)
		meta.Boot = fileImage
		err = os.Remove(vmlinux)
	}
	return meta, err
}

func (u *unpacker) noImage() error {
	if u.odd != "" {
		return fmt.Errorf("there is no kernel image: %s", u.odd)
	}
	return errors.New("there is no kernel image: neither boot/vmlinuz nor boot/vmlinux nor lib/modules/RELEASE/vmlinuz")
}
