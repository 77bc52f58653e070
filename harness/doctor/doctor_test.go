package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/internal/arch"
	"github.com/bpfreplay/bpfreplay/internal/askbpf"
	"github.com/bpfreplay/bpfreplay/vmimage/apt"
)

func TestMain(m *testing.M) {
	askbpf.Child()
	os.Exit(m.Run())
}

// TestScripts: the set-up scripts install the tools that the package looks for, and build objects
// with the compiler that it expects.
func TestScripts(t *testing.T) {
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join("..", "..", name))
		assert.NilError(t, err)
		return string(data)
	}
	setup := read("scripts/setup.sh")
	purpose := func(line string) string {
		if line == setupGuest {
			assert.Assert(t, is.Contains(read("Makefile"), "\nsetup: setup-vmtest "))
			line = "scripts/setup.sh guest()"
		}
		name, ok := strings.CutPrefix(line, "scripts/setup.sh ")
		assert.Assert(t, ok, line)
		_, body, ok := strings.Cut(setup, "\n"+name+" {")
		if !ok {
			_, body, ok = strings.Cut(setup, "\t"+name+")")
		}
		assert.Assert(t, ok, "setup.sh has no purpose %s", name)
		body, _, _ = strings.Cut(body, ";;")
		return body
	}
	for _, test := range []struct{ line, has string }{
		{setupGuest, "program qemu-system-x86_64 "},
		{setupGuest, "file " + apt.Keyrings[0] + " "},
		{setupObjects, "program " + clangProgram + " "},
		{setupBpftool, "program bpftool "},
		{setupExtras, "program gdb "},
		{setupExtras, "program pahole "},
		{setupExtras, "virtiofsd"},
		{"scripts/setup.sh arm64", "program qemu-system-aarch64 "},
		{"scripts/setup.sh riscv64", "program qemu-system-riscv64 "},
	} {
		assert.Check(t, is.Contains(purpose(test.line), test.has), test.line)
	}
	objects := read("scripts/objects.sh")
	assert.Check(t, is.Contains(objects, "\npinned="+clangPinned+"\n"))
	assert.Check(t, is.Contains(objects, "{CLANG:-"+clangProgram+"}"))
}

// program writes a program that runs a shell script to a directory.
func program(t *testing.T, dir, name, script string) {
	t.Helper()
	assert.NilError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755))
}

func TestTools(t *testing.T) {
	for _, test := range []struct {
		name, script string
		status       Status
		detail       string
	}{
		{"good", "echo 'Debian clang version 19.1.7 (3)'", OK, "19.1.7"},
		{"other", "echo 'Debian clang version 19.1.2 (3)'", Note, "19.1.2, but objects of the core suite are built with 19.1.7"},
		{"silent", "exit 0", Note, "does not say its version"},
		{"broken", "echo 'no such library' >&2; exit 127", Note, "does not run: exit status 127 no such library"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			program(t, dir, clangProgram, test.script)
			t.Setenv("PATH", dir)
			c := clang(t.Context())
			assert.Equal(t, c.Status, test.status)
			assert.Check(t, is.Contains(c.Detail, test.detail))
			assert.Equal(t, c.Mend == "", c.Status == OK)
		})
	}
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	c := clang(t.Context())
	assert.Check(t, c.Status == Note && c.Mend == setupObjects)
	program(t, dir, "bpftool", "echo bpftool v7.1.0; echo using libbpf v1.1")
	c = bpftool(t.Context())
	assert.Equal(t, c.Detail, "7.1.0 with libbpf 1.1, "+filepath.Join(dir, "bpftool"))
	c = tool(t.Context(), "gdb", "debug", "gdb")
	assert.DeepEqual(t, c, Check{Name: "gdb", Status: Note, Detail: "not there: only to debug", Mend: setupExtras})
}

func TestQEMU(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	native, _ := arch.Find(arch.Native)
	o := Options{}
	c := o.qemu(t.Context(), native, true)
	assert.Check(t, c.Status == Missing && c.Needed && c.Mend == setupGuest)
	for v, status := range map[string]Status{"4.0.1": Note, "4.1": OK, "10.0.2": OK} {
		program(t, dir, native.QEMU, "echo 'QEMU emulator version "+v+" (Debian 1:"+v+")'")
		c = o.qemu(t.Context(), native, true)
		assert.Equal(t, c.Status, status, v)
		assert.Check(t, is.Contains(c.Detail, v))
	}
}

func TestRoom(t *testing.T) {
	assert.Equal(t, Options{FreeMiB: 4096}.room().Status, OK)
	assert.Equal(t, Options{}.room().Status, Note)
	c := Options{FreeMiB: 100}.room()
	assert.Check(t, c.Status == Missing && c.Needed)
}
