package vmimage

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/u-root/u-root/pkg/cpio"
	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/vmimage/digest"
	"github.com/bpfreplay/bpfreplay/vmimage/kmod"
)

// File is one entry of an initramfs.
type File struct {
	// Path in the guest, such as "/init".
	Path string
	// Mode holds the type and the permissions: a regular file, a directory, a
	// symbolic link or a character device.
	Mode fs.FileMode
	// Host is the file on this machine with the contents; "" if Data has them.
	Host string
	// Data are the contents, or the target of a symbolic link.
	Data []byte
	// Major and Minor are the numbers of a character device.
	Major, Minor uint32
}

// Initramfs describes the contents of an initramfs. The kernel unpacks the parts in this order, so
// a file of a later part replaces one of an earlier part.
type Initramfs struct {
	// Base are files that many runs share, such as the program that becomes PID 1. /dev/console is
	// always added.
	Base []File
	// Modules are the names of kernel modules. They and the modules that they need are uncompressed
	// below /lib/modules/RELEASE, with a modules.dep, and a modules.load that lists their paths in
	// the order of loading. The kernel's configuration is at /boot/config-RELEASE.
	Modules []string
	// Extra are files for this run only. They are not cached.
	Extra []File
}

// cpioFormat is part of the key of cached archives.
const cpioFormat = "bpfreplay cpio 1\n"

// archiveKeep is how long the cache keeps an archive that is not used.
const archiveKeep = 7 * 24 * time.Hour

// console is what PID 1 gets as standard input, output and error; the kernel
// opens it before anything could mount devtmpfs.
var console = File{Path: "/dev/console", Mode: fs.ModeDevice | fs.ModeCharDevice | 0o600, Major: 5, Minor: 1}

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
func (s *Store) parts(k *Kernel, what Initramfs, archive func([]File) (string, error)) (base, modules string, extra *bytes.Buffer, err error) {
	if base, err = archive(append([]File{console}, what.Base...)); err != nil {
		return "", "", nil, err
	}
	if modules, err = s.kernelArchive(k, what.Modules); err != nil {
		return "", "", nil, err
	}
	extra = &bytes.Buffer{}
	if len(what.Extra) > 0 {
		err = WriteCPIO(extra, what.Extra)
	}
	return base, modules, extra, err
}

func initramfsSum(base, modules string, extra []byte) string {
	sum := sha256.New()
	fmt.Fprintf(sum, "%s%s\n%s\n", cpioFormat, filepath.Base(base), filepath.Base(modules))
	sum.Write(extra)
	return hex.EncodeToString(sum.Sum(nil))
}

// concat writes one archive after the other. Each ends on a boundary of cpioBlock bytes, where the
// kernel looks for the next.
func concat(out *os.File, extra io.Reader, parts ...string) error {
	for _, part := range parts {
		if err := appendFile(out, part); err != nil {
			return err
		}
	}
	_, err := io.Copy(out, extra)
	return err
}

func appendFile(out *os.File, part string) error {
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
	sum := sha256.Sum256([]byte(cpioFormat + k.key + "\n" + strings.Join(names, "\n")))
	memo := s.cache.path(dirCPIO, hex.EncodeToString(sum[:])+".ref")
	if target, err := os.ReadFile(memo); err == nil && digest.IsSHA256(string(target)) {
		file := s.cache.path(dirCPIO, string(target))
		if s.touch(file) {
			s.touch(memo)
			return file, nil
		}
	}
	file, err := s.newKernelArchive(k, names)
	if err != nil {
		return "", err
	}
	err = s.cache.writeFile(memo, func(f *os.File) error {
		_, err := f.WriteString(filepath.Base(file))
		return err
	})
	return file, err
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
func kernelFiles(k *Kernel, modules []kmod.Module) ([]File, error) {
	dir := path.Join("/lib/modules", k.Release)
	files := []File{
		{Path: path.Join(dir, "modules.dep"), Mode: 0o644, Data: kmod.Dep(modules)},
		{Path: path.Join(dir, "modules.load"), Mode: 0o644, Data: kmod.Load(modules)},
	}
	if k.ConfigPath != "" {
		files = append(files, File{Path: "/boot/config-" + k.Release, Mode: 0o644, Host: k.ConfigPath})
	}
	for _, m := range modules {
		data, err := kmod.Read(m.File)
		if err != nil {
			return nil, err
		}
		files = append(files, File{Path: path.Join(dir, m.Path), Mode: 0o644, Data: data})
	}
	return files, nil
}

// archive returns the cached archive of the files. It makes the archive if the cache lacks it.
func (s *Store) archive(files []File) (string, error) {
	key, err := s.archiveKey(files)
	if err != nil {
		return "", err
	}
	dst := s.cache.path(dirCPIO, key)
	if s.touch(dst) {
		return dst, nil
	}
	s.dropOldArchives()
	return dst, s.cache.writeFile(dst, func(f *os.File) error { return WriteCPIO(f, files) })
}

// touch marks a file as used, and reports whether it exists.
func (s *Store) touch(file string) bool {
	now := time.Now()
	return os.Chtimes(file, now, now) == nil
}

// dropOldArchives removes archives that no run has used for a week. Every new build of the guest's
// program makes a new archive.
func (s *Store) dropOldArchives() {
	entries, _ := os.ReadDir(s.cache.path(dirCPIO))
	for _, entry := range entries {
		info, err := entry.Info()
		if err == nil && time.Since(info.ModTime()) > archiveKeep {
			os.Remove(s.cache.path(dirCPIO, entry.Name()))
		}
	}
}

// archiveKey is a digest of all that goes into an archive.
func (s *Store) archiveKey(files []File) (string, error) {
	sum := sha256.New()
	io.WriteString(sum, cpioFormat)
	for _, f := range slices.SortedStableFunc(slices.Values(files), byPath) {
		var content string
		if f.Host != "" {
			var err error
			if content, err = s.cache.hashUnchanged(f.Host); err != nil {
				return "", err
			}
		} else {
			digest := sha256.Sum256(f.Data)
			content = hex.EncodeToString(digest[:])
		}
		fmt.Fprintf(sum, "%q %o %d:%d %s\n", cleanGuest(f.Path), uint32(f.Mode), f.Major, f.Minor, content)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func byPath(a, b File) int { return cmp.Compare(cleanGuest(a.Path), cleanGuest(b.Path)) }

// cleanGuest returns the name in the archive for a path in the guest.
func cleanGuest(p string) string { return strings.TrimPrefix(path.Clean("/"+p), "/") }

// WriteCPIO writes an archive in the format that the kernel unpacks. It ends on a boundary of 512
// bytes. Missing directories are added. Order, inode numbers and times only depend on the input.
func WriteCPIO(w io.Writer, files []File) error {
	sorted, err := withParents(files)
	if err != nil {
		return err
	}
	out := &padWriter{w: w}
	records := cpio.Newc.Writer(out)
	for i, f := range sorted {
		if err := writeRecord(records, f, uint64(i+1)); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	if err := cpio.WriteTrailer(records); err != nil {
		return err
	}
	return out.pad()
}

// withParents sorts the files, parents first, and adds missing directories.
func withParents(files []File) ([]File, error) {
	byName := make(map[string]File)
	for _, f := range files {
		name := cleanGuest(f.Path)
		if name == "" {
			return nil, fmt.Errorf("%q: not the path of a file", f.Path)
		}
		f.Path = name
		// Programs share libraries, so the same file may be listed for each.
		if old, twice := byName[name]; twice && !reflect.DeepEqual(old, f) {
			return nil, fmt.Errorf("/%s: there are two files of that name", name)
		}
		byName[name] = f
	}
	for _, f := range files {
		for dir := path.Dir(cleanGuest(f.Path)); dir != "."; dir = path.Dir(dir) {
			parent, ok := byName[dir]
			if ok && !parent.Mode.IsDir() {
				return nil, fmt.Errorf("%s: %s is not a directory", f.Path, dir)
			}
			if !ok {
				byName[dir] = File{Path: dir, Mode: fs.ModeDir | 0o755}
			}
		}
	}
	// A parent is a prefix of its children, so it sorts before them.
	return slices.SortedFunc(maps.Values(byName), byPath), nil
}

func writeRecord(w cpio.RecordWriter, f File, inode uint64) error {
	kind, err := unixType(f.Mode)
	if err != nil {
		return err
	}
	info := cpio.Info{
		Ino:    inode,
		Mode:   kind | uint64(f.Mode.Perm()),
		NLink:  1,
		Rmajor: uint64(f.Major),
		Rminor: uint64(f.Minor),
		Name:   f.Path,
	}
	if f.Host == "" {
		if kind != unix.S_IFREG && kind != unix.S_IFLNK && len(f.Data) > 0 {
			return errors.New("only files and links have contents")
		}
		return w.WriteRecord(cpio.StaticRecord(f.Data, info))
	}
	host, err := os.Open(f.Host)
	if err != nil {
		return err
	}
	defer host.Close()
	stat, err := host.Stat()
	if err != nil {
		return err
	}
	if !stat.Mode().IsRegular() || kind != unix.S_IFREG {
		return fmt.Errorf("%s is not a regular file", f.Host)
	}
	info.FileSize = uint64(stat.Size())
	return w.WriteRecord(cpio.Record{ReaderAt: host, Info: info})
}

func unixType(mode fs.FileMode) (uint64, error) {
	switch mode.Type() {
	case 0:
		return unix.S_IFREG, nil
	case fs.ModeDir:
		return unix.S_IFDIR, nil
	case fs.ModeSymlink:
		return unix.S_IFLNK, nil
	case fs.ModeDevice | fs.ModeCharDevice:
		return unix.S_IFCHR, nil
	default:
		return 0, fmt.Errorf("a file of type %s cannot be in an initramfs", mode.Type())
	}
}

// cpioBlock is the unit that archives are padded to, in bytes, as by cpio(1).
const cpioBlock = 512

// padWriter counts the bytes that were written.
type padWriter struct {
	w io.Writer
	n int64
}

func (p *padWriter) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	p.n += int64(n)
	return n, err
}

func (p *padWriter) pad() error {
	_, err := p.Write(make([]byte, -p.n&(cpioBlock-1)))
	return err
}
