package vmimage

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// maxUnpacked bounds what all layers of an image may unpack to, in bytes: it is
// some ten times what the largest kernels with debug symbols take.
const maxUnpacked = 8 << 30

var errTooLarge = errors.New("the layers unpack to more than a kernel can need")

// layers takes what is wanted of the layers of an image, the lowest first. They
// are read from the top, so that what a higher layer replaces or removes is
// never written. limit is in bytes.
func (u *unpacker) layers(files []string, limit int64) error {
	above := make(marks)
	for _, file := range slices.Backward(files) {
		here := make(marks)
		read := func(r io.Reader, fn func(*tar.Header, io.Reader) error) error {
			plain, err := decompressAny(r)
			if err != nil {
				return err
			}
			return readPlainTar(&cappedReader{r: plain, left: &limit}, fn)
		}
		err := u.archive(file, read, func(h *tar.Header, r io.Reader) error {
			take, err := here.note(h, above)
			if err != nil || !take {
				return err
			}
			return u.entry(h, r)
		})
		if err != nil {
			return fmt.Errorf("layer %w", err)
		}
		above.add(here)
	}
	return nil
}

// cappedReader fails when more is read than what is left, where an
// [io.LimitReader] would seem to be at the end.
type cappedReader struct {
	r    io.Reader
	left *int64
}

func (c *cappedReader) Read(p []byte) (int, error) {
	if *c.left <= 0 {
		return 0, errTooLarge
	}
	n, err := c.r.Read(p[:min(int64(len(p)), *c.left)])
	*c.left -= int64(n)
	return n, err
}

// mark is what an entry of a layer means for the layers below it.
type mark uint8

const (
	markFile   mark = 1 << iota // is in the way of what is there, and of all below
	markDir                     // is in the way of what is there, unless that is a directory
	markOpaque                  // hides what is in the directory
	markGone                    // removes what is there
)

// marks are those of paths that matter, without "usr/" at their beginning.
type marks map[string]mark

func (m marks) add(more marks) {
	for name, mark := range more {
		m[name] |= mark
	}
}

// Names by which a layer removes what lower ones have (image-spec, layer.md,
// "Whiteouts").
const (
	whiteout       = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
)

// note marks an entry, and reports whether it counts: it is no whiteout, and
// none of the layers above hides it.
func (m marks) note(h *tar.Header, above marks) (take bool, err error) {
	if slices.Contains(strings.Split(h.Name, "/"), "..") {
		return false, errors.New("the name leads out of the image")
	}
	name := layerPath(h.Name)
	dir, base := path.Split(name)
	dir = strings.TrimSuffix(dir, "/")
	if base == whiteoutOpaque {
		m[dir] |= markOpaque
		return false, nil
	}
	if gone, ok := strings.CutPrefix(base, whiteout); ok {
		m[layerPath(path.Join(dir, gone))] |= markGone
		return false, nil
	}
	if !matters(name) {
		return false, nil
	}
	switch h.Typeflag {
	case tar.TypeDir:
		m[name] |= markDir
	case tar.TypeSymlink:
		if name == "lib" && strings.Trim(h.Linkname, "./") == "usr/lib" {
			return false, nil // the same place to us
		}
		fallthrough
	default:
		if m[name]&markFile != 0 {
			return false, errors.New("it is twice in one layer")
		}
		m[name] |= markFile
	}
	return !above.hide(name, h.Typeflag == tar.TypeDir), nil
}

// hide reports whether a path of a lower layer cannot be seen.
func (m marks) hide(name string, dir bool) bool {
	if m[name]&(markFile|markGone) != 0 || !dir && m[name]&markDir != 0 {
		return true
	}
	for at := name; at != ""; {
		at, _ = path.Split(at)
		at = strings.TrimSuffix(at, "/")
		if m[at]&(markFile|markGone|markOpaque) != 0 {
			return true
		}
	}
	return false
}

// layerPath is a path as it is compared: lib and usr/lib are one.
func layerPath(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if name == "usr" {
		return "lib"
	}
	return strings.TrimPrefix(name, "usr/")
}

// matters reports whether a path is one that kernels are taken from, or above
// one.
func matters(name string) bool {
	for _, dir := range []string{"boot", "lib/modules"} {
		if name == dir || strings.HasPrefix(name, dir+"/") || strings.HasPrefix(dir, name+"/") {
			return true
		}
	}
	return false
}
