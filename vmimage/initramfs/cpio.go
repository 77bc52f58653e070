// Package initramfs writes the archives that a kernel unpacks as its first file system. Begin with
// [File], an entry, and [Write]. [Programs] collects programs of this machine with the libraries
// that they need. The package knows neither kernels nor the cache; package vmimage joins these.
package initramfs

import (
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
	"reflect"
	"slices"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"
	"golang.org/x/sys/unix"
)

// Format is part of the keys of cached archives. Change it when [Write] writes other bytes.
const Format = "bpfreplay cpio 1\n"

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

// Console is what PID 1 gets as standard input, output and error. The kernel opens it before
// anything could mount devtmpfs.
var Console = File{Path: "/dev/console", Mode: fs.ModeDevice | fs.ModeCharDevice | 0o600, Major: 5, Minor: 1}

// Key returns a digest of all that goes into an archive of these files, in hexadecimal. sum returns
// the digest of a file of this machine.
func Key(files []File, sum func(file string) (string, error)) (string, error) {
	key := sha256.New()
	io.WriteString(key, Format)
	for _, f := range slices.SortedStableFunc(slices.Values(files), byPath) {
		digest := sha256.Sum256(f.Data)
		content := hex.EncodeToString(digest[:])
		if f.Host != "" {
			var err error
			if content, err = sum(f.Host); err != nil {
				return "", err
			}
		}
		fmt.Fprintf(key, "%q %o %d:%d %s\n", cleanGuest(f.Path), uint32(f.Mode), f.Major, f.Minor, content)
	}
	return hex.EncodeToString(key.Sum(nil)), nil
}

func byPath(a, b File) int { return cmp.Compare(cleanGuest(a.Path), cleanGuest(b.Path)) }

// cleanGuest returns the name in the archive for a path in the guest.
func cleanGuest(p string) string { return strings.TrimPrefix(path.Clean("/"+p), "/") }

// Write writes an archive in the format that the kernel unpacks. It ends on a boundary of 512
// bytes. Missing directories are added. Order, inode numbers and times only depend on the input.
func Write(w io.Writer, files []File) error {
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
	kind, ok := unixTypes[f.Mode.Type()]
	if !ok {
		return fmt.Errorf("a file of type %s cannot be in an initramfs", f.Mode.Type())
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

// unixTypes are the types of files that can be in an initramfs.
var unixTypes = map[fs.FileMode]uint64{
	0:                                 unix.S_IFREG,
	fs.ModeDir:                        unix.S_IFDIR,
	fs.ModeSymlink:                    unix.S_IFLNK,
	fs.ModeDevice | fs.ModeCharDevice: unix.S_IFCHR,
}

// block is the unit that archives are padded to, in bytes, as by cpio(1).
const block = 512

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
	_, err := p.Write(make([]byte, -p.n&(block-1)))
	return err
}
