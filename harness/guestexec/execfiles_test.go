package guestexec

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/vmimage/initramfs"
)

func guestPaths(t *testing.T, c Command) map[string]initramfs.File {
	t.Helper()
	files, err := c.files(arch.Native)
	assert.NilError(t, err)
	byPath := make(map[string]initramfs.File)
	for _, f := range files {
		byPath[f.Path] = f
	}
	return byPath
}

// self returns this test program, which may be static or dynamic.
func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	assert.NilError(t, err)
	return path
}

func TestGuestFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, mode fs.FileMode) {
		path := filepath.Join(dir, name)
		assert.NilError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		assert.NilError(t, os.WriteFile(path, []byte("#!/bin/sh\n"), mode))
	}
	write("tree/script", 0o755)
	write("tree/deep/er/text", 0o640)
	assert.NilError(t, os.Symlink("../elsewhere", filepath.Join(dir, "tree/link")))
	assert.NilError(t, os.Symlink("script", filepath.Join(dir, "tree/alias")))
	assert.NilError(t, os.Mkdir(filepath.Join(dir, "tree/empty"), 0o700))
	assert.NilError(t, unix.Mkfifo(filepath.Join(dir, "tree/fifo"), 0o600))
	assert.NilError(t, os.Symlink("tree", filepath.Join(dir, "other")))
	t.Chdir(dir)

	program := self(t)
	real, err := filepath.EvalSymlinks(program)
	assert.NilError(t, err)
	// A named link is followed. It wins over the same link inside a named directory.
	files := guestPaths(t, Command{Program: program, Dir: dir, With: []string{"tree", "tree/alias", "other", dir + "/tree"}})
	assert.Equal(t, files[program].Host, real)
	assert.Equal(t, files[dir].Mode.Type(), fs.ModeDir)
	for _, top := range []string{"tree", "other"} {
		at := filepath.Join(dir, top)
		assert.Equal(t, files[at].Mode.Type(), fs.ModeDir)
		assert.DeepEqual(t, files[at+"/script"], initramfs.File{Path: at + "/script", Mode: 0o755, Host: filepath.Join(dir, "tree/script")})
		assert.Equal(t, files[at+"/deep/er/text"].Mode, fs.FileMode(0o640))
		assert.Equal(t, files[at+"/empty"].Mode, fs.ModeDir|0o700)
		assert.Equal(t, string(files[at+"/link"].Data), "../elsewhere")
		_, there := files[at+"/fifo"]
		assert.Assert(t, !there)
	}
	assert.Equal(t, files[dir+"/tree/alias"].Host, filepath.Join(dir, "tree/script"))
	assert.Equal(t, string(files[dir+"/other/alias"].Data), "script")

	for _, test := range []struct{ with, err string }{
		{"nowhere", "no such file or directory"},
		{"/proc/self/maps", "guests have a /proc of their own"},
		{"/sys", "guests have a /sys of their own"},
		{"/", "cannot be taken into a guest"},
		{"/init", "cannot be taken into a guest"},
	} {
		_, err := (&Command{Program: program, Dir: dir, With: []string{test.with}}).files(arch.Native)
		assert.Check(t, is.ErrorContains(err, test.err), test.with)
	}
	_, err = (&Command{Program: "tree/script", Dir: dir}).files(arch.Native)
	assert.ErrorIs(t, err, initramfs.ErrProgram)
	_, err = (&Command{Program: program, Dir: dir + "/tree/script", With: []string{"tree"}}).files(arch.Native)
	assert.ErrorContains(t, err, "both "+dir+"/tree/script and a directory")
}

// TestGuestPrograms: programs bring their libraries, whether they are named or are inside a
// directory.
func TestGuestPrograms(t *testing.T) {
	sh, err := exec.LookPath("sh")
	assert.NilError(t, err)
	if !needsLibraries(arch.Native, sh) {
		t.Skip("needs a program with shared libraries, and sh is none")
	}
	libraries := func(files map[string]initramfs.File) (n int) {
		for path := range files {
			if strings.HasPrefix(path, guestLibraries+"/lib/") {
				n++
			}
		}
		return n
	}
	named := guestPaths(t, Command{Program: sh, Dir: "/"})
	assert.Assert(t, libraries(named) > 0)
	assert.Assert(t, named[sh].Host != "" || named[sh].Mode.Type() == fs.ModeSymlink)

	dir := t.TempDir()
	// A program that is called by a link goes to its real path, where it looks for its own files
	// ($ORIGIN).
	tree := t.TempDir()
	assert.NilError(t, os.MkdirAll(filepath.Join(tree, "opt/bin"), 0o755))
	binary, err := os.ReadFile(sh)
	assert.NilError(t, err)
	real := filepath.Join(tree, "opt/bin/tool")
	assert.NilError(t, os.WriteFile(real, binary, 0o755))
	called := filepath.Join(tree, "tool")
	assert.NilError(t, os.Symlink("opt/bin/tool", called))
	for _, c := range []Command{{Program: called, Dir: "/"}, {Program: sh, Dir: "/", With: []string{called}}} {
		files := guestPaths(t, c)
		assert.Equal(t, files[called].Mode.Type(), fs.ModeSymlink)
		assert.Equal(t, string(files[called].Data), real)
		assert.Equal(t, files[real].Host, real)
	}
	data, err := os.ReadFile(sh)
	assert.NilError(t, err)
	assert.NilError(t, os.WriteFile(filepath.Join(dir, "copy"), data, 0o755))
	static := filepath.Join(dir, "static")
	build := exec.Command(need.Program(t, "go"), "build", "-o", static, "../engine/testdata/flip")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	assert.NilError(t, err, string(out))
	assert.Equal(t, libraries(guestPaths(t, Command{Program: static, Dir: "/"})), 0)
	inside := guestPaths(t, Command{Program: static, Dir: "/", With: []string{dir}})
	assert.Equal(t, libraries(inside), libraries(named))
	assert.Equal(t, inside[dir+"/copy"].Host, filepath.Join(dir, "copy"))
}

func TestGuestMemory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "large")
	f, err := os.Create(file)
	assert.NilError(t, err)
	defer f.Close()
	assert.NilError(t, f.Truncate(100<<20))
	assert.Equal(t, memoryFor([]initramfs.File{{Path: "/large", Mode: 0o644, Host: file}, {Path: "/dir", Mode: fs.ModeDir}}), 300)
}

func TestLibraryPath(t *testing.T) {
	assert.DeepEqual(t, libraryPath([]string{"A=1"}), []string{"LD_LIBRARY_PATH=/bpfreplay/lib"})
	assert.Assert(t, is.Len(libraryPath([]string{"LD_LIBRARY_PATH="}), 0))
}
