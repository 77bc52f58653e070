package oci

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/vmimage/archive"
)

// MaxUnpacked bounds the unpacked size of all layers of an image, in bytes: about ten times that of
// the largest kernels with debug symbols.
const MaxUnpacked = 8 << 30

var errTooLarge = errors.New("the layers unpack to more than a kernel can need")

// ReadLayers calls fn for the entries below /boot and /lib/modules in the layers of an image, where
// kernels are. It leaves out what a higher layer replaces or removes. files has the lowest layer
// first; ReadLayers begins with the highest, so fn never gets what it would have to remove. limit
// bounds the unpacked size, in bytes.
func ReadLayers(files []string, limit int64, fn func(*tar.Header, io.Reader) error) error {
	above := make(marks)
	for _, file := range slices.Backward(files) {
		here := make(marks)
		read := func(r io.Reader, fn func(*tar.Header, io.Reader) error) error {
			plain, err := archive.Plain(r)
			if err != nil {
				return err
			}
			return archive.PlainTar(&cappedReader{r: plain, left: &limit}, fn)
		}
		err := archive.ReadFile(file, read, func(h *tar.Header, r io.Reader) error {
			take, err := here.note(h, above)
			if err != nil || !take {
				return err
			}
			return fn(h, r)
		})
		if err != nil {
			return fmt.Errorf("layer %w", err)
		}
		above.add(here)
	}
	return nil
}

// cappedReader fails when more is read than what is left. An [io.LimitReader] would report the end
// of the data.
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
	markFile   mark = 1 << iota // hides this path and all below it
	markDir                     // hides this path, unless it is a directory
	markOpaque                  // hides the contents of the directory
	markGone                    // removes this path
)

// marks are the marks of paths that matter, without "usr/" at their beginning.
type marks map[string]mark

func (m marks) add(more marks) {
	for name, mark := range more {
		m[name] |= mark
	}
}

// Names by which a layer removes files of lower layers (image-spec, layer.md, "Whiteouts").
const (
	whiteout       = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
)

// note marks an entry, and reports whether to take it: it is no whiteout, and no layer above hides
// it.
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
			return false, nil // layerPath makes both the same
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

// hide reports whether the marks hide a path of a lower layer.
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

// layerPath returns a path in the form for comparing, in which lib and usr/lib are the same.
func layerPath(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if name == "usr" {
		return "lib"
	}
	return strings.TrimPrefix(name, "usr/")
}

// matters reports whether kernels are taken from this path, or from one below it.
func matters(name string) bool {
	return slices.ContainsFunc([]string{"boot", "lib/modules"}, func(dir string) bool {
		return name == dir || strings.HasPrefix(name, dir+"/") || strings.HasPrefix(dir, name+"/")
	})
}
