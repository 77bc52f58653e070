package vmimage

import (
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

// WriteInitramfs writes an uncompressed initramfs for a kernel. The same input gives the same
// bytes. Base and modules come from the cache if an earlier run needed them.
func (s *Store) WriteInitramfs(out io.Writer, k *Kernel, what Initramfs) error {
	base, modules, err := s.parts(k, what, s.archive)
	// Each part ends on a boundary of 512 bytes, where the kernel looks for the next.
	for _, part := range []string{base, modules} {
		if err == nil {
			err = appendFile(out, part)
		}
	}
	if err == nil && len(what.Extra) > 0 {
		err = initramfs.Write(out, what.Extra)
	}
	if err != nil {
		return fmt.Errorf("initramfs: %w", err)
	}
	return nil
}

// InitramfsSum returns a digest of what [Store.WriteInitramfs] would write, in hexadecimal. It
// reads next to nothing if the parts are cached.
func (s *Store) InitramfsSum(k *Kernel, what Initramfs) (string, error) {
	base, modules, err := s.parts(k, what, s.archiveKey)
	sum := sha256.New()
	fmt.Fprintf(sum, "%s%s\n%s\n", initramfs.Format, base, filepath.Base(modules))
	if err == nil && len(what.Extra) > 0 {
		err = initramfs.Write(sum, what.Extra)
	}
	if err != nil {
		return "", fmt.Errorf("initramfs: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// parts returns the cached parts of an initramfs. archive returns the file of the first, or its
// key.
func (s *Store) parts(k *Kernel, what Initramfs, archive func([]initramfs.File) (string, error)) (base, modules string, err error) {
	if base, err = archive(append([]initramfs.File{initramfs.Console}, what.Base...)); err != nil {
		return "", "", err
	}
	modules, err = s.kernelArchive(k, what.Modules)
	return base, modules, err
}

func appendFile(out io.Writer, part string) error {
	in, err := os.Open(part)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = io.Copy(out, in)
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
			return "", err
		}
		files = append(files, initramfs.File{Path: path.Join(dir, m.Path), Mode: 0o644, Data: data})
	}
	return s.archive(files)
}

// archive returns the cached archive of the files, and makes it if the cache lacks it.
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
