// Package archive reads the archives that kernels come in: Debian packages and tar archives, in
// whatever way they are compressed. It reads them as streams, once, and writes nothing: [Deb] and
// [Tar] hand each entry to a function of the caller's.
package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	arMagic      = "!<arch>\n"
	arHeaderSize = 60
)

// ReaderOf returns the reader for an archive: a package, or an archive of tar's, compressed or not.
func ReaderOf(f io.ReaderAt) Reader {
	head := make([]byte, len(arMagic))
	if _, err := f.ReadAt(head, 0); err == nil && string(head) == arMagic {
		return Deb
	}
	return Tar
}

// ReadFile calls fn for every entry of the archive in a file, in the way of the given reader.
// Errors begin with the name of the file.
func ReadFile(file string, read Reader, fn func(*tar.Header, io.Reader) error) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := read(bufio.NewReaderSize(f, 1<<20), fn); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(file), err)
	}
	return nil
}

// Deb calls fn for every entry of the data archive of a Debian package (deb(5)). It reads the
// package as a stream, once; the library for Debian's other formats needs a reader that can seek.
func Deb(r io.Reader, fn func(*tar.Header, io.Reader) error) error {
	magic := make([]byte, len(arMagic))
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != arMagic {
		return errors.New("not a Debian package: no ar archive")
	}
	for {
		name, size, err := readArHeader(r)
		if errors.Is(err, io.EOF) {
			return errors.New("not a Debian package: no data archive")
		}
		if err != nil {
			return err
		}
		member := io.LimitReader(r, size)
		if strings.HasPrefix(name, "data.tar") {
			if err := Tar(member, fn); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		}
		// Members begin at even offsets.
		skip := size + size%2
		if n, err := io.CopyN(io.Discard, r, skip); err != nil {
			return fmt.Errorf("%s: %d of %d bytes: %w", name, n, size, io.ErrUnexpectedEOF)
		}
	}
}

func readArHeader(r io.Reader) (name string, size int64, err error) {
	var h [arHeaderSize]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return "", 0, err
	}
	if h[58] != '`' || h[59] != '\n' {
		return "", 0, errors.New("ar archive: damaged member header")
	}
	size, err = strconv.ParseInt(string(bytes.TrimRight(h[48:58], " ")), 10, 64)
	if err != nil || size < 0 {
		return "", 0, fmt.Errorf("ar archive: damaged member size %q", h[48:58])
	}
	return strings.TrimSuffix(string(bytes.TrimRight(h[:16], " ")), "/"), size, nil
}

// Tar calls fn for every entry of a tar archive, compressed or not.
func Tar(r io.Reader, fn func(*tar.Header, io.Reader) error) error {
	plain, err := Plain(r)
	if err != nil {
		return err
	}
	return PlainTar(plain, fn)
}

// PlainTar calls fn for every entry of a tar archive that is not compressed.
func PlainTar(r io.Reader, fn func(*tar.Header, io.Reader) error) error {
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := fn(h, tr); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
}

// Reader calls a function for every entry of an archive.
type Reader func(io.Reader, func(*tar.Header, io.Reader) error) error
