package artefact

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// The file. All numbers are little-endian.
//
//	0   8 bytes  magic
//	8   u32      version, 1
//	12  u32      number of sections
//	16  each section: u32 kind, u32 zero, u64 offset, u64 size
//
// The sections follow in this order. Each begins at a multiple of 8 bytes, after zeros.
const (
	magic        = "\x89BPFREP\n"
	version      = 1
	headerSize   = 16
	sectionSize  = 24
	sectionAlign = 8
)

// Kinds of sections. A file has one of each; signatures are optional.
const (
	sectionManifest   = 1 // JSON, UTF-8
	sectionInsns      = 2
	sectionBlob       = 3
	sectionSignatures = 4 // JSON, UTF-8
)

// MaxSize is the size in bytes of the largest file that is read or written.
const MaxSize = 1 << 30

// ErrFormat is wrapped by errors about files that are not artefacts, or are damaged.
var ErrFormat = errors.New("not an artefact of bpfreplay")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}

// IsArtefact reports whether head, the first bytes of a file, begins with the magic number.
func IsArtefact(head []byte) bool { return bytes.HasPrefix(head, []byte(magic)) }

// MarshalBinary returns the content of the file. The same artefact gives the same bytes.
func (a *Artefact) MarshalBinary() ([]byte, error) {
	manifest, err := json.MarshalIndent(a.manifest(), "", " ")
	if err != nil {
		return nil, fmt.Errorf("artefact of %s: manifest: %w", a.Object, err)
	}
	type section struct {
		kind uint32
		data []byte
	}
	sections := []section{{sectionManifest, append(manifest, '\n')}, {sectionInsns, a.Insns}, {sectionBlob, a.Blob}}
	if a.Signed != nil {
		signatures, err := a.Signed.marshal()
		if err != nil {
			return nil, fmt.Errorf("artefact of %s: signatures: %w", a.Object, err)
		}
		sections = append(sections, section{sectionSignatures, signatures})
	}
	out := []byte(magic)
	out = binary.LittleEndian.AppendUint32(out, version)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(sections)))
	at := align(headerSize + sectionSize*len(sections))
	for _, s := range sections {
		out = binary.LittleEndian.AppendUint32(out, s.kind)
		out = binary.LittleEndian.AppendUint32(out, 0)
		out = binary.LittleEndian.AppendUint64(out, uint64(at))
		out = binary.LittleEndian.AppendUint64(out, uint64(len(s.data)))
		at = align(at + len(s.data))
	}
	for _, s := range sections {
		out = append(out, make([]byte, align(len(out))-len(out))...)
		out = append(out, s.data...)
	}
	if len(out) > MaxSize {
		return nil, fmt.Errorf("artefact of %s: %d bytes, at most %d are possible", a.Object, len(out), MaxSize)
	}
	return out, nil
}

func align(n int) int { return (n + sectionAlign - 1) / sectionAlign * sectionAlign }

// Parse reads the content of a file. The artefact refers to these bytes: the caller must not change
// them. Every offset of the result is in bounds. The error wraps [ErrFormat].
func Parse(file []byte) (*Artefact, error) {
	if !IsArtefact(file) {
		return nil, malformed("it does not begin with the magic number")
	}
	if len(file) < headerSize {
		return nil, malformed("it ends within the header")
	}
	if v := binary.LittleEndian.Uint32(file[8:]); v != version {
		return nil, malformed("version %d: this version of bpfreplay reads version %d", v, version)
	}
	sections, err := split(file)
	if err != nil {
		return nil, err
	}
	a := &Artefact{Insns: sections[sectionInsns], Blob: sections[sectionBlob]}
	if err := parseJSON("manifest", sections[sectionManifest], a.parseManifest); err != nil {
		return nil, err
	}
	if data, ok := sections[sectionSignatures]; ok {
		if err := parseJSON("signatures", data, a.parseSignatures); err != nil {
			return nil, err
		}
	}
	if err := a.check(); err != nil {
		return nil, err
	}
	return a, nil
}

func split(file []byte) (map[uint32][]byte, error) {
	n := binary.LittleEndian.Uint32(file[12:])
	if n > 16 || headerSize+sectionSize*int(n) > len(file) {
		return nil, malformed("it ends within the table of %d sections", n)
	}
	sections := make(map[uint32][]byte)
	end := headerSize + sectionSize*int(n)
	for i := range int(n) {
		h := file[headerSize+sectionSize*i:]
		kind, zero := binary.LittleEndian.Uint32(h), binary.LittleEndian.Uint32(h[4:])
		off, size := binary.LittleEndian.Uint64(h[8:]), binary.LittleEndian.Uint64(h[16:])
		switch _, twice := sections[kind]; {
		case kind < sectionManifest || kind > sectionSignatures:
			return nil, malformed("section of kind %d, which this version of bpfreplay does not know", kind)
		case twice:
			return nil, malformed("two sections of kind %d", kind)
		case off != uint64(align(end)) || size > uint64(len(file)) || off+size > uint64(len(file)):
			return nil, malformed("section of kind %d: %d bytes at %d of %d", kind, size, off, len(file))
		case zero != 0 || slices.ContainsFunc(file[end:off], func(b byte) bool { return b != 0 }):
			return nil, malformed("section of kind %d: what is to be zero in its header or before it is not", kind)
		}
		sections[kind] = file[off : off+size : off+size]
		end = int(off + size)
	}
	for kind := uint32(sectionManifest); kind <= sectionBlob; kind++ {
		if _, ok := sections[kind]; !ok {
			return nil, malformed("it has no section of kind %d", kind)
		}
	}
	if end != len(file) {
		return nil, malformed("%d bytes after its end", len(file)-end)
	}
	return sections, nil
}

// ReadFile reads an artefact from a file.
func ReadFile(path string) (*Artefact, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, fmt.Errorf("artefact: %w", err)
	}
	defer f.Close()
	return read(f, path)
}

// openRegular opens a regular file. It refuses others, such as pipes, which could block.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w", path, malformed("not a regular file"))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// ReadFS reads an artefact from a file system, such as an embed.FS.
func ReadFS(fsys fs.FS, name string) (*Artefact, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("artefact: %w", err)
	}
	defer f.Close()
	return read(f, name)
}

// IsFile reports whether a file begins with the magic number. It reads no further.
func IsFile(path string) (bool, error) {
	f, err := openRegular(path)
	if errors.Is(err, ErrFormat) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	head := make([]byte, len(magic))
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	return IsArtefact(head[:n]), nil
}

// read checks the magic number before it reads more, to refuse large or endless files at once.
func read(r io.Reader, name string) (*Artefact, error) {
	head := make([]byte, len(magic))
	n, err := io.ReadFull(r, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, fmt.Errorf("artefact %s: %w", name, err)
	}
	if !IsArtefact(head[:n]) {
		return nil, fmt.Errorf("artefact %s: %w", name, malformed("it does not begin with the magic number"))
	}
	rest, err := io.ReadAll(io.LimitReader(r, MaxSize-int64(n)+1))
	if err != nil {
		return nil, fmt.Errorf("artefact %s: %w", name, err)
	}
	if len(rest) > MaxSize-n {
		return nil, fmt.Errorf("artefact %s: %w", name, malformed("more than %d bytes", MaxSize))
	}
	a, err := Parse(append(head, rest...))
	if err != nil {
		return nil, fmt.Errorf("artefact %s: %w", name, err)
	}
	return a, nil
}
