package suites

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/internal/failures"
	"github.com/bpfreplay/bpfreplay/vmimage"
	"github.com/bpfreplay/bpfreplay/vmimage/cache"
)

// buildTools are the packages with programs that kbuild runs, besides those that a headers package
// depends on.
var buildTools = []string{
	"make", "pahole | dwarves", "binutils", "dash", "bash", "coreutils", "sed", "grep", "mawk | gawk", "findutils", "diffutils", "perl-base",
}

// leaveOut reports whether a build does not need a package although others depend on it: the kernel
// itself, packages for installing, and libraries for programs in user space.
func leaveOut(name string) bool {
	return slices.ContainsFunc([]string{
		"linux-image-", "linux-base", "debconf", "install-info", "tzdata", "libc-bin", "libc-dev-bin", "libgomp", "libitm", "libasan",
		"liblsan", "libtsan", "libubsan", "libhwasan", "libquadmath", "libpam", "libaudit", "libcrypt", "dpkg", "tar", "initramfs",
	}, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// unwanted are patterns for directories of packages that no build reads.
var unwanted = []string{
	"usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian", "usr/share/bash-completion", "usr/share/gdb",
	"usr/lib/*/gconv", "usr/lib/*/perl-base/unicore", "var", "etc", "run", "boot",
}

// rootFormat is part of the key of roots.
const rootFormat = "root 1"

func rootKey(k *vmimage.Kernel, packages []vmimage.Package) string {
	parts := []string{rootFormat}
	for _, p := range packages {
		parts = append(parts, p.SHA256)
	}
	return "roots/" + cache.Key(append(parts, k.SHA256)...)
}

// makeRoot returns a directory with the unpacked packages that modules for a kernel are built with,
// to be the root of a process. It runs no script of a package.
func makeRoot(ctx context.Context, store *vmimage.Store, k *vmimage.Kernel, packages []vmimage.Package, say func(string)) (string, error) {
	return store.Cache().MakeDir(ctx, "what modules are built with", rootKey(k, packages), func(dir string) error {
		say(fmt.Sprintf("fetching %d packages that modules for kernel %s are built with", len(packages), k.Release))
		defer store.Hush()()
		r, err := newRoot(dir)
		if err != nil {
			return err
		}
		defer r.close()
		for i := range packages {
			if err := store.ReadPackage(ctx, &packages[i], func(h *tar.Header, data io.Reader) error {
				if err := ctx.Err(); err != nil {
					return err
				}
				return r.unpack(h, data)
			}); err != nil {
				return err
			}
		}
		return r.finish(k)
	})
}

// rootPackages returns the packages of a root: the headers of a kernel and what they depend on, the
// build tools, and the newest resolve_btfids.
func rootPackages(ctx context.Context, d *vmimage.Distribution, k *vmimage.Kernel) ([]vmimage.Package, error) {
	if k.Arch != arch.Native {
		return crossPackages(ctx, d, k)
	}
	wanted := append([]string{headersOf(k)}, buildTools...)
	kbuild, err := d.Find(ctx, "linux-kbuild-*")
	if err != nil {
		return nil, err
	}
	if len(kbuild) > 0 {
		wanted = append(wanted, kbuild[0].Name)
	}
	return d.Closure(ctx, wanted, leaveOut)
}

// compilerName is the compiler that headers depend on, such as "gcc-14".
var compilerName = regexp.MustCompile(`^gcc-[0-9]+$`)

// crossPackages are the packages of a root for a kernel of another architecture: its headers, and for
// this machine kbuild, the compiler that the headers ask for, and what these run.
func crossPackages(ctx context.Context, d *vmimage.Distribution, k *vmimage.Kernel) ([]vmimage.Package, error) {
	of, err := arch.Parse(k.Arch)
	if err != nil {
		return nil, err
	}
	packages, err := d.Closure(ctx, []string{headersOf(k)}, func(name string) bool {
		return !strings.HasPrefix(name, "linux-headers-") && !strings.HasPrefix(name, "linux-kbuild-") && !compilerName.MatchString(name)
	})
	if err != nil {
		return nil, err
	}
	wanted := slices.Clone(buildTools)
	packages = slices.DeleteFunc(packages, func(p vmimage.Package) bool {
		switch {
		case compilerName.MatchString(p.Name):
			wanted = append(wanted, p.Name+"-"+of.Triplet)
		case strings.HasPrefix(p.Name, "linux-kbuild-"):
			wanted = append(wanted, p.Name)
		default:
			return false
		}
		return true
	})
	tools, err := d.On(arch.Native).Closure(ctx, wanted, leaveOut)
	return append(packages, tools...), err
}

func headersOf(k *vmimage.Kernel) string { return "linux-headers-" + k.Release }

// headersDir returns the path of a kernel's headers in a root.
func headersDir(k *vmimage.Kernel) string { return "usr/src/" + headersOf(k) }

// root is a directory that packages are unpacked into. Links in them cannot lead
// out of it.
type root struct {
	dir *os.Root
	// links are created after all other entries: following them while unpacking could lead out of
	// the root, because some in Debian's packages are absolute.
	links []link
}

type link struct{ name, target string }

// merged are directories that are links to those in usr (since Debian 12; packages
// before 13 still have files in them).
var merged = []string{"bin", "sbin", "lib", "lib64"}

func newRoot(dir string) (*root, error) {
	d, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range merged {
		err = failures.All(err, d.MkdirAll(path.Join("usr", name), 0o755), d.Symlink("usr/"+name, name))
	}
	for _, name := range []string{"dev", "proc", "tmp", "build"} {
		err = failures.All(err, d.MkdirAll(name, 0o755))
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return &root{dir: d}, nil
}

func (r *root) close() { r.dir.Close() }

// isUnwanted reports whether name or a directory above it is unwanted.
func isUnwanted(name string) bool {
	for ; name != "."; name = path.Dir(name) {
		if slices.ContainsFunc(unwanted, func(dir string) bool { ok, _ := path.Match(dir, name); return ok }) {
			return true
		}
	}
	return false
}

// place returns the path in the root for an entry of a package, "" if it is unwanted.
func (r *root) place(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if first, _, _ := strings.Cut(name, "/"); slices.Contains(merged, first) {
		name = "usr/" + name
	}
	if isUnwanted(name) {
		return ""
	}
	// The link-time optimiser is as large as the compiler.
	if base := path.Base(name); base == "lto1" || base == "lto-wrapper" {
		return ""
	}
	return name
}

func (r *root) unpack(h *tar.Header, data io.Reader) error {
	name := r.place(h.Name)
	if name == "" {
		return nil
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeLink, tar.TypeSymlink:
	case tar.TypeDir:
		return r.dir.MkdirAll(name, 0o755)
	default:
		return nil
	}
	if err := r.dir.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeSymlink:
		r.links = append(r.links, link{name, h.Linkname})
		return nil
	case tar.TypeLink:
		return r.dir.Link(r.place(h.Linkname), name)
	}
	f, err := r.dir.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fs.FileMode(h.Mode)&0o755|0o600)
	if err != nil {
		return err
	}
	return fill(f, data)
}

// finish creates the links, and the files that scripts of packages would create.
func (r *root) finish(k *vmimage.Kernel) error {
	for _, l := range r.links {
		if err := r.dir.Symlink(l.target, l.name); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	for _, l := range []link{{"usr/bin/sh", "dash"}, {"usr/bin/awk", "mawk"}, {"usr/bin/awk", "gawk"}} {
		if _, err := r.dir.Stat(path.Join("usr/bin", l.target)); err != nil {
			continue
		}
		if err := r.dir.Symlink(l.target, l.name); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := r.types(k); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		// jail mounts the machine's own over it for users who are not root.
		return r.dir.WriteFile("dev/null", nil, 0o666)
	}
	return unix.Mknod(path.Join(r.dir.Name(), "dev/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3)))
}

// types adds what Debian's headers of 6.1 and before lack: a vmlinux, whose BTF is the base of a
// module's, and resolve_btfids.
func (r *root) types(k *vmimage.Kernel) error {
	vmlinux := path.Join(headersDir(k), "vmlinux")
	if _, err := r.dir.Stat(vmlinux); err == nil {
		return nil
	}
	src, err := openTypes(k)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := r.dir.Create(vmlinux)
	if err != nil {
		return err
	}
	if err := fill(dst, src); err != nil {
		return err
	}
	const resolve = "tools/bpf/resolve_btfids/resolve_btfids"
	if _, err := r.dir.Stat(path.Join(headersDir(k), resolve)); err == nil {
		return nil
	}
	found, err := fs.Glob(r.dir.FS(), "usr/lib/linux-kbuild-*/"+resolve)
	if err != nil || len(found) == 0 {
		return err // kbuild reports what it lacks
	}
	tools, err := r.dir.Readlink(path.Join(headersDir(k), "tools"))
	if err != nil {
		return err
	}
	at := path.Join(headersDir(k), tools, strings.TrimPrefix(resolve, "tools/"))
	if err := r.dir.MkdirAll(path.Dir(at), 0o755); err != nil {
		return err
	}
	return r.dir.Symlink("/"+found[0], at)
}
