package suites

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/vmimage"
	"github.com/bpfreplay/bpfreplay/vmimage/archive"
	"github.com/bpfreplay/bpfreplay/vmimage/cache"
)

// needed are the parts of a kernel's source that the selftests, bpftool and libbpf
// are built from.
var needed = []string{
	"include/uapi", "kernel/bpf", "scripts/bpf_doc.py", "tools/arch", "tools/bpf", "tools/build", "tools/include",
	"tools/lib", "tools/scripts", "tools/testing/selftests/bpf",
}

// selftests is the directory of the selftests in a kernel's source.
const selftests = "tools/testing/selftests/bpf"

func isNeeded(name string) bool {
	return slices.ContainsFunc(needed, func(n string) bool { return name == n || strings.HasPrefix(name, n+"/") })
}

// debianSuites are the suites with linux-source packages. Older suites have older kernels.
var debianSuites = []string{"sid", "trixie-backports", "trixie", "bookworm-backports", "bookworm", "bullseye"}

const prefixSource = "linux-source-"

// findSource returns the package with the source of a version, or the newest 7.x of sid for "".
func findSource(ctx context.Context, store *vmimage.Store, version string) (*vmimage.Package, error) {
	suites, pattern := debianSuites, prefixSource+version
	if version == "" {
		suites, pattern = debianSuites[:1], prefixSource+"7.*"
	}
	found, err := store.Packages(ctx, arch.Native, suites, pattern)
	if err != nil {
		return nil, err
	}
	return &found[0], nil
}

// sourceKey differs from the package's digest, which is the key of the package itself.
func sourceKey(p *vmimage.Package) string { return "source/" + cache.Key("source 1", p.SHA256) }

// unpackSource returns a directory with the needed parts of a package.
func unpackSource(ctx context.Context, store *vmimage.Store, p *vmimage.Package, say func(string)) (string, error) {
	return store.Cache().MakeDir(ctx, p.Name, sourceKey(p), func(dir string) error {
		return readSource(ctx, store, p, say, func(h *tar.Header, r io.Reader) error { return unpackEntry(dir, h, r) })
	})
}

// readSource calls fn for every entry of the source archive in a package.
func readSource(ctx context.Context, store *vmimage.Store, p *vmimage.Package, say func(string), fn func(*tar.Header, io.Reader) error) error {
	inner := "/usr/src/" + p.Name + ".tar.xz"
	seen := false
	err := store.ReadPackage(ctx, p, func(h *tar.Header, r io.Reader) error {
		if path.Clean("/"+h.Name) != inner {
			return nil
		}
		seen = true
		say("unpacking " + p.Name)
		return archive.Tar(r, func(h *tar.Header, r io.Reader) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return fn(h, r)
		})
	})
	if err == nil && !seen {
		err = fmt.Errorf("%s %s holds no %s", p.Name, p.Version, inner)
	}
	return err
}

// unpackEntry writes an entry of a source archive, without the first directory of its path. It
// refuses links that lead out of the tree, because later reads follow links.
func unpackEntry(dir string, h *tar.Header, r io.Reader) error {
	_, name, _ := strings.Cut(path.Clean(h.Name), "/")
	if !isNeeded(name) || !fs.ValidPath(name) {
		return nil
	}
	dst := filepath.Join(dir, filepath.FromSlash(name))
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeSymlink:
	default:
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeSymlink {
		if path.IsAbs(h.Linkname) || !fs.ValidPath(path.Join(path.Dir(name), h.Linkname)) {
			return fmt.Errorf("links to %s, out of the tree", h.Linkname)
		}
		return os.Symlink(h.Linkname, dst)
	}
	f, err := os.OpenFile(dst, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fs.FileMode(h.Mode)&0o777)
	if err != nil {
		return err
	}
	return fill(f, r)
}

// fill writes r to a new file and closes it.
func fill(f *os.File, r io.Reader) error {
	defer f.Close()
	if _, err := io.Copy(f, r); err != nil {
		return err
	}
	return f.Close()
}

// checkTree reports whether a directory is a kernel tree with selftests.
func checkTree(dir string) error {
	for _, part := range []string{selftests + "/progs", "tools/bpf/bpftool/Makefile", "tools/lib/bpf/Makefile"} {
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(part))); err != nil {
			return fmt.Errorf("%s is no kernel tree with BPF selftests: %w", dir, err)
		}
	}
	return nil
}

// digestOf returns a digest of names and contents of the wanted files in parts of a directory.
// Missing parts are skipped.
func digestOf(dir string, parts []string, wanted func(name string) bool) (string, error) {
	sum := sha256.New()
	for _, part := range parts {
		root := filepath.Join(dir, filepath.FromSlash(part))
		err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || d.IsDir() || !wanted(d.Name()) {
				return err
			}
			data, err := os.ReadFile(file) // follows links
			if errors.Is(err, fs.ErrNotExist) || err != nil && d.Type()&fs.ModeSymlink != 0 {
				return nil
			}
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(dir, file)
			if err != nil {
				return err
			}
			fmt.Fprintf(sum, "%s %x\n", rel, sha256.Sum256(data))
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func isHeader(name string) bool { return strings.HasSuffix(name, ".h") }
func isAny(string) bool         { return true }
