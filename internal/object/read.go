package object

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// MaxFileBytes bounds the size of an object's file unless [Options.MaxFileBytes] says otherwise.
// The largest objects of real projects, with their DWARF, have a tenth of it.
const MaxFileBytes = 256 << 20

// Options change how objects are opened. The zero value is what [Open] and its
// siblings use.
type Options struct {
	// MaxFileBytes bounds the size of the file in bytes; 0 means [MaxFileBytes].
	MaxFileBytes int64
	// SectionRules select what section names mean for the programs in them.
	SectionRules SectionRules
}

// Open reads the object in a regular file of at most [MaxFileBytes]. It refuses pipes and devices,
// and never waits for one.
func Open(path string) (*Object, error) { return Options{}.Open(path) }

// OpenReader reads the object in the first size bytes of r. name is as in [Options.Read].
func OpenReader(r io.ReaderAt, size int64, name string) (*Object, error) {
	return Options{}.OpenReader(r, size, name)
}

// OpenBytes reads the object in raw, which it does not keep. name is as in [Options.Read].
func OpenBytes(raw []byte, name string) (*Object, error) { return Options{}.OpenBytes(raw, name) }

// ReadFile reads an object's file without opening the object, with the checks and limits of [Open].
func ReadFile(path string) ([]byte, error) { return Options{}.ReadFile(path) }

// Open is [Open] with these options.
func (opts Options) Open(path string) (*Object, error) {
	raw, err := opts.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return opts.OpenBytes(raw, path)
}

// OpenFS reads the object in a file of a file system, for example an embed.FS.
func (opts Options) OpenFS(fsys fs.FS, name string) (*Object, error) {
	st, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("open object: %w", err)
	}
	if err := regular(st, name); err != nil {
		return nil, err
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open object: %w", err)
	}
	defer f.Close()
	raw, err := opts.readFile(f, name)
	if err != nil {
		return nil, err
	}
	return opts.OpenBytes(raw, name)
}

// Read reads an object from r until EOF, at most MaxFileBytes. If the first 64 bytes are not an
// object's, it reads no further. name is a file name, for errors; the object's name is the part
// before its first dot.
func (opts Options) Read(r io.Reader, name string) (*Object, error) {
	raw, err := opts.read(r, name, 0)
	if err != nil {
		return nil, err
	}
	return opts.OpenBytes(raw, name)
}

// OpenReader is [OpenReader] with these options.
func (opts Options) OpenReader(r io.ReaderAt, size int64, name string) (*Object, error) {
	raw, err := opts.read(io.NewSectionReader(r, 0, size), name, size)
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) < size {
		return nil, fileError(name, fmt.Errorf("%w: %d of %d bytes", ErrTruncated, len(raw), size))
	}
	return opts.OpenBytes(raw, name)
}

// OpenBytes is [OpenBytes] with these options.
func (opts Options) OpenBytes(raw []byte, name string) (*Object, error) {
	if int64(len(raw)) > opts.maxFileBytes() {
		return nil, fileError(name, opts.tooLarge())
	}
	return open(raw, name, copies*uint64(len(raw))+spare, opts.SectionRules)
}

// ReadFile is [ReadFile] with these options.
func (opts Options) ReadFile(path string) ([]byte, error) {
	// Opening a device can have effects, and opening a pipe without a writer blocks. So check the
	// kind of the file first, and again after opening it.
	st, err := os.Stat(path)
	if failed := (*fs.PathError)(nil); errors.As(err, &failed) {
		failed.Op = "open" // as for os.Open
	}
	if err != nil {
		return nil, fmt.Errorf("open object: %w", err)
	}
	if err := regular(st, path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open object: %w", err)
	}
	defer f.Close()
	return opts.readFile(f, path)
}

func (opts Options) readFile(f fs.File, name string) ([]byte, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open object: %w", err)
	}
	if err := regular(st, name); err != nil {
		return nil, err
	}
	return opts.read(f, name, st.Size())
}

// regular refuses files that may have no end or block a reader.
func regular(st fs.FileInfo, name string) error {
	var what string
	switch mode := st.Mode(); {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		what = "it is a directory"
	case mode&fs.ModeNamedPipe != 0:
		what = "it is a pipe; write the object to a file first"
	case mode&fs.ModeDevice != 0:
		what = "it is a device"
	case mode&fs.ModeSocket != 0:
		what = "it is a socket"
	default:
		what = "its mode is " + mode.String()
	}
	return fileError(name, fmt.Errorf("%w: %s", ErrNotFile, what))
}

func (opts Options) maxFileBytes() int64 {
	return cmp.Or(max(opts.MaxFileBytes, 0), MaxFileBytes)
}

func (opts Options) tooLarge() error {
	return fmt.Errorf("%w: the file has more than %d bytes (Options.MaxFileBytes); remove its debug information with llvm-strip -g", ErrTooLarge, opts.maxFileBytes())
}

// read reads a file until EOF if it begins like an object. A file that does not may have no end.
// size is the expected size, 0 if unknown.
func (opts Options) read(r io.Reader, name string, size int64) ([]byte, error) {
	limit := opts.maxFileBytes()
	var b bytes.Buffer
	if _, err := io.Copy(&b, io.LimitReader(r, elfHeaderSize)); err != nil {
		return nil, readError(name, err)
	}
	if err := checkIdent(b.Bytes()); err != nil {
		return nil, fileError(name, err)
	}
	if size > limit {
		return nil, fileError(name, opts.tooLarge())
	}
	b.Grow(int(max(size-int64(b.Len()), 0)) + bytes.MinRead)
	if _, err := io.Copy(&b, io.LimitReader(r, limit+1-int64(b.Len()))); err != nil {
		return nil, readError(name, err)
	}
	if int64(b.Len()) > limit {
		return nil, fileError(name, opts.tooLarge())
	}
	return b.Bytes(), nil
}

func readError(name string, err error) error { return fmt.Errorf("read object %q: %w", name, err) }

// fileError returns an error about a whole file.
func fileError(name string, err error) error {
	return &Error{Object: objectName(name), Path: name, Err: err}
}

// objectName returns libbpf's name for an object: the first 15 characters of the file's name, cut
// at the first dot.
func objectName(path string) string {
	name := filepath.Base(path)
	name = name[:min(len(name), maxNameLen)]
	name, _, _ = strings.Cut(name, ".")
	return name
}
