package vmimage

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/bpfreplay/bpfreplay/vmimage/initramfs"
	"github.com/bpfreplay/bpfreplay/vmimage/kmod"
)

// Initramfs describes the contents of an initramfs. The kernel unpacks the parts in this order, so
// a file of a later part replaces one of an earlier part.
type Initramfs struct {
	// Base are files that many runs share, such as the program that becomes PID 1. /dev/console is
	// always added.
	Base []initramfs.File
	// Modules are the names of kernel modules. They and the modules that they need are uncompressed
	// below /lib/modules/RELEASE, with a modules.dep, and a modules.load that lists their paths in
	// the order of loading. The kernel's configuration is at /boot/config-RELEASE.
	Modules []string
	// Extra are files for this run only. They are not cached.
	Extra []initramfs.File
}

// Initramfs writes the file dst, an uncompressed initramfs for a kernel, and returns the SHA-256 of
// its contents. The same input gives the same bytes. Base and modules come from the cache if an
// earlier run needed them. If it fails, dst does not exist.
func (s *Store) Initramfs(dst string, k *Kernel, what Initramfs) (string, error) {
	out, err := os.OpenFile(dst, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return "", fmt.Errorf("initramfs: %w", err)
	}
	sum, err := s.WriteInitramfs(out, k, what)
	if closed := out.Close(); err == nil && closed != nil {
		err = fmt.Errorf("initramfs: %w", closed)
	}
	if err != nil {
		os.Remove(dst)
		return "", err
	}
	return sum, nil
}

// WriteInitramfs is [Store.Initramfs] for an open file.
func (s *Store) WriteInitramfs(out *os.File, k *Kernel, what Initramfs) (string, error) {
	base, modules, extra, err := s.parts(k, what, s.archive)
	if err != nil {
		return "", fmt.Errorf("initramfs: %w", err)
	}
	sum := initramfsSum(base, modules, extra.Bytes())
	if err := concat(out, extra, base, modules); err != nil {
		return "", fmt.Errorf("initramfs: %w", err)
	}
	return sum, nil
}

// InitramfsSum returns what [Store.Initramfs] would return, without writing a file. It reads next
// to nothing if the parts are cached.
func (s *Store) InitramfsSum(k *Kernel, what Initramfs) (string, error) {
	base, modules, extra, err := s.parts(k, what, s.archiveKey)
	if err != nil {
		return "", fmt.Errorf("initramfs: %w", err)
	}
	return initramfsSum(base, modules, extra.Bytes()), nil
}

// parts returns the parts of an initramfs. archive returns the file of the first part, or its key.
func (s *Store) parts(k *Kernel, what Initramfs, archive func([]initramfs.File) (string, error)) (base, modules string, extra *bytes.Buffer, err error) {
	if base, err = archive(append([]initramfs.File{initramfs.Console}, what.Base...)); err != nil {
		return "", "", nil, err
	}
	if modules, err = s.kernelArchive(k, what.Modules); err != nil {
		return "", "", nil, err
	}
	extra = &bytes.Buffer{}
	if len(what.Extra) > 0 {
		err = initramfs.Write(extra, what.Extra)
	}
	return base, modules, extra, err
}

func initramfsSum(base, modules string, extra []byte) string {
	sum := sha256.New()
	fmt.Fprintf(sum, "%s%s\n%s\n", initramfs.Format, filepath.Base(base), filepath.Base(modules))
	sum.Write(extra)
	return hex.EncodeToString(sum.Sum(nil))
}

// concat writes one archive after the other. Each ends on a boundary of 512 bytes, where the kernel
// looks for the next.
func concat(out *os.File, extra io.Reader, parts ...string) error {
	for _, part := range parts {
		in, err := os.Open(part)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, in)
		in.Close()
		if err != nil {
			return err
		}
	}
	_, err := io.Copy(out, extra)
	return err
}

// kernelArchive returns the part with the configuration and the modules of a
// kernel. For a kernel in the cache, whose files never change, the names are
// enough to know that the archive is there.
func (s *Store) kernelArchive(k *Kernel, names []string) (string, error) {
	if k.key == "" {
		return s.newKernelArchive(k, names)
	}
	sum := sha256.Sum256([]byte(initramfs.Format + k.key + "\n" + strings.Join(names, "\n")))
	memo := hex.EncodeToString(sum[:]) + ".ref"
	if key := s.cache.Recall(memo); key != "" {
		if file, ok := s.cache.FindArchive(key); ok {
			return file, nil
		}
	}
	file, err := s.newKernelArchive(k, names)
	if err != nil {
		return "", err
	}
	return file, s.cache.Remember(memo, filepath.Base(file))
}

func (s *Store) newKernelArchive(k *Kernel, names []string) (string, error) {
	modules, err := k.Modules(names...)
	if err != nil {
		return "", err
	}
	files, err := kernelFiles(k, modules)
	if err != nil {
		return "", err
	}
	return s.archive(files)
}

// kernelFiles returns the files of a kernel for a guest.
func kernelFiles(k *Kernel, modules []kmod.Module) ([]initramfs.File, error) {
	dir := path.Join("/lib/modules", k.Release)
	files := []initramfs.File{
		{Path: path.Join(dir, "modules.dep"), Mode: 0o644, Data: kmod.Dep(modules)},
		{Path: path.Join(dir, "modules.load"), Mode: 0o644, Data: kmod.Load(modules)},
	}
	if k.ConfigPath != "" {
		files = append(files, initramfs.File{Path: "/boot/config-" + k.Release, Mode: 0o644, Host: k.ConfigPath})
	}
	for _, m := range modules {
		data, err := kmod.Read(m.File)
		if err != nil {
			return nil, err
		}
		files = append(files, initramfs.File{Path: path.Join(dir, m.Path), Mode: 0o644, Data: data})
	}
	return files, nil
}

// archive returns the cached archive of the files. It makes the archive if the cache lacks it.
func (s *Store) archive(files []initramfs.File) (string, error) {
	key, err := s.archiveKey(files)
	if err != nil {
		return "", err
	}
	return s.cache.Archive(key, func(f *os.File) error { return initramfs.Write(f, files) })
}

func (s *Store) archiveKey(files []initramfs.File) (string, error) {
	return initramfs.Key(files, s.cache.Sum)
}
