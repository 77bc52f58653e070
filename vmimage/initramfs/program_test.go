package initramfs

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/internal/arch"
)

// dynamic finds a program with shared libraries that Debian has everywhere.
func dynamic(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"bpftool", "/usr/sbin/bpftool", "apt-get", "ls"} {
		file, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		e, err := elf.Open(file)
		if err != nil {
			continue
		}
		linker := interpreter(e)
		e.Close()
		if linker != "" {
			return file
		}
	}
	t.Skip("no dynamic program to look at: neither bpftool nor ls is one")
	return ""
}

// TestPrograms compares the libraries with those that the dynamic linker finds.
func TestPrograms(t *testing.T) {
	program := dynamic(t)
	files, err := Programs(arch.Native, "/tool", program)
	assert.NilError(t, err)
	var got []string
	linker := ""
	for _, f := range files {
		stat, err := os.Lstat(f.Host)
		assert.NilError(t, err)
		assert.Check(t, stat.Mode().IsRegular(), f.Host)
		if name, ok := strings.CutPrefix(f.Path, "/tool/lib/"); ok {
			got = append(got, name)
		} else if f.Path != "/tool/bin/"+filepath.Base(program) {
			linker = f.Path
		}
	}
	assert.Assert(t, linker != "")

	out, err := exec.Command(linker, "--list", program).Output()
	if err != nil {
		t.Skipf("the dynamic linker does not list libraries: %v", err)
	}
	var want []string
	for _, m := range regexp.MustCompile(`(?m)^\s*(\S+) => /`).FindAllStringSubmatch(string(out), -1) {
		want = append(want, m[1])
	}
	slices.Sort(want)
	assert.Check(t, is.DeepEqual(got, want))

	// The programs run without this machine's files.
	root := t.TempDir()
	for _, f := range files {
		to := filepath.Join(root, f.Path)
		assert.NilError(t, os.MkdirAll(filepath.Dir(to), 0o755))
		b, err := os.ReadFile(f.Host)
		assert.NilError(t, err)
		assert.NilError(t, os.WriteFile(to, b, 0o755))
	}
	cmd := exec.Command(filepath.Join(root, linker), "--inhibit-cache", "--library-path", filepath.Join(root, "tool/lib"), "--list",
		filepath.Join(root, "tool/bin", filepath.Base(program)))
	out, err = cmd.CombinedOutput()
	assert.NilError(t, err, string(out))
	assert.Check(t, !strings.Contains(string(out), "not found"), string(out))
	for _, name := range got {
		assert.Check(t, is.Contains(string(out), filepath.Join(root, "tool/lib", name)))
	}
}

func TestStaticProgram(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	assert.NilError(t, os.WriteFile(source, []byte("package main\nfunc main() {}\n"), 0o644))
	program := filepath.Join(dir, "static")
	cmd := exec.Command("go", "build", "-o", program, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GO111MODULE=off")
	out, err := cmd.CombinedOutput()
	assert.NilError(t, err, string(out))
	files, err := Programs(arch.Native, "/tool", program)
	assert.NilError(t, err)
	assert.Equal(t, len(files), 1)
	assert.Equal(t, files[0].Path, "/tool/bin/static")
	assert.Equal(t, files[0].Mode, os.FileMode(0o755))

	_, err = Programs(arch.Native, "/tool", program, program)
	assert.ErrorIs(t, err, ErrProgram)
	assert.ErrorContains(t, err, "the name of")
}

func TestProgramsErrors(t *testing.T) {
	dir := t.TempDir()
	_, err := Programs(arch.Native, "/tool", filepath.Join(dir, "nowhere"))
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = Programs(arch.Native, "/tool", dir)
	assert.ErrorIs(t, err, ErrProgram)

	self, err := os.ReadFile("/proc/self/exe")
	assert.NilError(t, err)
	other := slices.Clone(self[:4096])
	other[18], other[19] = 0x16, 0 // EM_S390
	for name, test := range map[string]struct{ content, err string }{
		"script":    {"#!/bin/sh\nexec bpftool\n", "a script is none"},
		"empty":     {"", "not a program for a guest"},
		"truncated": {string(self[:100]), "not a program for a guest"},
		"machine":   {string(other), "not a program for a guest"},
	} {
		file := filepath.Join(dir, name)
		assert.NilError(t, os.WriteFile(file, []byte(test.content), 0o755))
		_, err := Programs(arch.Native, "/tool", file)
		assert.Check(t, is.ErrorIs(err, ErrProgram), name)
		assert.Check(t, is.ErrorContains(err, test.err), name)
	}
}

func TestLDConf(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		assert.NilError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		assert.NilError(t, os.WriteFile(file, []byte(text), 0o644))
		return file
	}
	write("conf.d/b.conf", "/b # not /c\n")
	write("conf.d/a.conf", "# nothing\n/a:\n\n/a2 /a3\n")
	main := write("main.conf", "/first\ninclude conf.d/*.conf\ninclude "+dir+"/main.conf\n/last\n")
	got := ldConf(main, 0)
	assert.Check(t, is.DeepEqual(got[:5], []string{"/first", "/a", "/a2", "/a3", "/b"}))
	assert.Equal(t, got[len(got)-1], "/last")
	assert.Check(t, is.Len(ldConf(filepath.Join(dir, "nowhere"), 0), 0))
}
