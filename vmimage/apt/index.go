// Package apt reads Debian's archive as apt does: which mirror to ask, whether a suite's [Release]
// is signed, which packages its index names, and what these depend on. It fetches nothing.
package apt

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/bpfreplay/bpfreplay/vmimage/archive"
	"github.com/bpfreplay/bpfreplay/vmimage/digest"
)

// Package is a package of a package index.
type Package struct {
	Name, Version string
	// Depends, PreDepends and Provides are relations to packages, as the index has them.
	Depends, PreDepends, Provides string
	// Path in the archive, such as [ArchiveMain]. [ReadPackages] does not know archive and suite.
	Archive, Suite, Path string
	Want                 digest.Digest
}

// ReadPackages reads those packages of a package index whose names are wanted.
func ReadPackages(r io.Reader, wanted func(name string) bool) ([]Package, error) {
	var out []Package
	err := readStanzas(r, func(s stanza) error {
		name := s["package"]
		if !wanted(name) {
			return nil
		}
		size, err := strconv.ParseInt(s["size"], 10, 64)
		if err != nil || size <= 0 {
			return fmt.Errorf("package %s: size %q is not a number of bytes", name, s["size"])
		}
		if !digest.IsSHA256(s["sha256"]) {
			return fmt.Errorf("package %s: no SHA-256", name)
		}
		if !SafePath(s["filename"]) {
			return fmt.Errorf("package %s: path %q is not relative to the archive", name, s["filename"])
		}
		out = append(out, Package{
			Name:       name,
			Version:    s["version"],
			Depends:    s["depends"],
			PreDepends: s["pre-depends"],
			Provides:   s["provides"],
			Path:       s["filename"],
			Want:       digest.Digest{SHA256: s["sha256"], Size: size},
		})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("package index: %w", err)
	}
	return out, nil
}

func ReadIndex(file string, wanted func(name string) bool) ([]Package, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	plain, err := archive.Plain(f)
	if err != nil {
		return nil, err
	}
	return ReadPackages(plain, wanted)
}

// SafePath reports whether an untrusted path stays below its root.
func SafePath(p string) bool {
	return fs.ValidPath(p) && p != "." && !strings.ContainsAny(p, "?#%\\")
}
