package archive

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/therootcompany/xz"
)

// ErrCompression is returned for data in a format that is not known.
var ErrCompression = errors.New("unknown compression")

// compressions are told apart by their first bytes, so file names and header fields need not be
// trusted.
var compressions = []struct {
	magic string
	open  func(io.Reader) (io.Reader, error)
}{
	{"\x1f\x8b", openGzip},
	{"\xfd7zXZ\x00", openXZ},
	{"\x28\xb5\x2f\xfd", openZstd},
	{"\x02\x21\x4c\x18", openLZ4}, // the legacy frame that the kernel uses
	{"\x04\x22\x4d\x18", openLZ4},
	{"BZh", func(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil }},
}

func openGzip(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }

func openXZ(r io.Reader) (io.Reader, error) { return xz.NewReader(r, xz.DefaultDictMax) }

func openZstd(r io.Reader) (io.Reader, error) {
	// With one goroutine the decoder needs no Close.
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
}

func openLZ4(r io.Reader) (io.Reader, error) { return lz4.NewReader(r), nil }

// Decompress returns a reader for the contents of r, or [ErrCompression].
func Decompress(r io.Reader) (io.Reader, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	head, err := br.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	for _, c := range compressions {
		if !bytes.HasPrefix(head, []byte(c.magic)) {
			continue
		}
		out, err := c.open(br)
		if err != nil {
			return nil, fmt.Errorf("decompress: %w", err)
		}
		return out, nil
	}
	return nil, fmt.Errorf("%w (begins with %x)", ErrCompression, head)
}

// Plain is decompress, but returns data that is not compressed unchanged.
func Plain(r io.Reader) (io.Reader, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	out, err := Decompress(br) // decompress only peeks at br until it knows the format
	if errors.Is(err, ErrCompression) {
		return br, nil
	}
	return out, err
}

// Is reports whether a file begins like an archive.
func Is(file string) (bool, error) {
	f, err := os.Open(file)
	if err != nil {
		return false, err
	}
	defer f.Close()
	head := make([]byte, 512)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	head = head[:n]
	if bytes.HasPrefix(head, []byte(arMagic)) || n == len(head) && n > 262 && string(head[257:262]) == "ustar" {
		return true, nil
	}
	for _, c := range compressions {
		if bytes.HasPrefix(head, []byte(c.magic)) {
			return true, nil
		}
	}
	return false, nil
}
