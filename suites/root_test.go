package suites

import (
	"archive/tar"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// entries are those of a package: name, kind, and text or target.
type entries [][3]string

func (e entries) unpack(t *testing.T, r *root) error {
	t.Helper()
	for _, entry := range e {
		h := &tar.Header{Name: entry[0], Mode: 0o755, Typeflag: tar.TypeReg}
		switch entry[1] {
		case "link":
			h.Typeflag, h.Linkname = tar.TypeSymlink, entry[2]
		case "hard":
			h.Typeflag, h.Linkname = tar.TypeLink, entry[2]
		case "dir":
			h.Typeflag = tar.TypeDir
		}
		if err := r.unpack(h, strings.NewReader(entry[2])); err != nil {
			return err
		}
	}
	return nil
}

func TestRoot(t *testing.T) {
	dir := t.TempDir()
	vmlinux := filepath.Join(t.TempDir(), "vmlinux")
	assert.NilError(t, os.WriteFile(vmlinux, []byte("types"), 0o644))
	k := &vmimage.Kernel{Arch: arch.BzImage, Release: "6.1-x", BootPath: vmlinux}
	r, err := newRoot(dir)
	assert.NilError(t, err)
	defer r.close()
	assert.NilError(t, entries{
		{"./bin/", "dir", ""}, {"./bin/dash", "", "dash"}, {"./usr/bin/mawk", "", "mawk"}, {"./usr/bin/perl", "", "perl"},
		{"./usr/bin/perl5", "hard", "./usr/bin/perl"}, {"./lib64/ld.so", "link", "/lib/x/ld.so"}, {"./lib/x/ld.so", "", "ld"},
		{"./usr/share/doc/x/copyright", "", "long"}, {"./usr/libexec/lto1", "", "large"}, {"./etc/passwd", "", "root"},
		{"./usr/src/linux-headers-6.1-x/Makefile", "", "all:"}, {"./usr/src/linux-headers-6.1-x/tools", "link", "../../lib/linux-kbuild-6.1/tools"},
		{"./usr/lib/linux-kbuild-6.1/tools/objtool/objtool", "", "o"},
		{"./usr/lib/linux-kbuild-6.12/tools/bpf/resolve_btfids/resolve_btfids", "", "finds ids"},
	}.unpack(t, r))
	assert.NilError(t, r.finish(k))
	for name, want := range map[string]string{
		"bin/dash": "dash", "usr/bin/perl5": "perl", "usr/lib/x/ld.so": "ld",
		"usr/src/linux-headers-6.1-x/vmlinux": "types",
	} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		assert.NilError(t, err)
		assert.Check(t, is.Equal(string(data), want), name)
	}
	// Absolute links are relative to the root.
	target, err := os.Readlink(filepath.Join(dir, "usr/src/linux-headers-6.1-x/../../lib/linux-kbuild-6.1/tools/bpf/resolve_btfids/resolve_btfids"))
	assert.NilError(t, err)
	assert.Check(t, is.Equal(target, "/usr/lib/linux-kbuild-6.12/tools/bpf/resolve_btfids/resolve_btfids"))
	for _, name := range []string{"usr/share", "usr/libexec/lto1", "etc"} {
		_, err := os.Lstat(filepath.Join(dir, name))
		assert.Check(t, os.IsNotExist(err), name)
	}
	for name, want := range map[string]string{"usr/bin/sh": "dash", "usr/bin/awk": "mawk", "usr/lib64/ld.so": "/lib/x/ld.so"} {
		got, err := os.Readlink(filepath.Join(dir, name))
		assert.NilError(t, err)
		assert.Check(t, is.Equal(got, want), name)
	}
}

// TestRootStays: nothing is written outside of a root.
func TestRootStays(t *testing.T) {
	for _, e := range []entries{
		{{"../out", "", "x"}},
		{{"/out", "", "x"}},
		{{"./usr/lib/y", "hard", "../../../out"}},
	} {
		above := t.TempDir()
		dir := filepath.Join(above, "root")
		assert.NilError(t, os.Mkdir(dir, 0o755))
		assert.NilError(t, os.WriteFile(filepath.Join(above, "out"), nil, 0o644))
		r, err := newRoot(dir)
		assert.NilError(t, err)
		if e[0][1] == "hard" {
			assert.Check(t, is.ErrorContains(e.unpack(t, r), "no such file"))
		} else {
			assert.NilError(t, e.unpack(t, r))
		}
		data, err := os.ReadFile(filepath.Join(above, "out"))
		assert.NilError(t, err)
		assert.Check(t, is.Len(data, 0))
		r.close()
	}
	// An existing link leads nowhere else.
	dir, other := t.TempDir(), t.TempDir()
	assert.NilError(t, os.MkdirAll(filepath.Join(dir, "usr"), 0o755))
	assert.NilError(t, os.Symlink(other, filepath.Join(dir, "usr/share")))
	r, err := newRoot(dir)
	assert.NilError(t, err)
	defer r.close()
	assert.ErrorContains(t, entries{{"./usr/share/x", "", "x"}}.unpack(t, r), "escapes")
}

func TestLeaveOut(t *testing.T) {
	for name, want := range map[string]bool{
		"linux-image-6.1.0-56-cloud-amd64": true, "linux-base-7.3.4+deb13-cloud-amd64": true, "libasan8": true,
		"linux-headers-6.1.0-56-common": false, "linux-kbuild-6.1": false, "libgcc-14-dev": false, "libc6": false, "tar": true,
	} {
		assert.Check(t, leaveOut(name) == want, name)
	}
}
