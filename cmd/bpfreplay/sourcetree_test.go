package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/vmimage/catalog"
)

// In any directory, every command finds the kernels and suites of the source tree that contains its
// program.
func TestElsewhere(t *testing.T) {
	tree, elsewhere := t.TempDir(), t.TempDir()
	self := filepath.Join(tree, "bpfreplay")
	assert.NilError(t, os.Link(command, self))
	for _, name := range []string{"kernels.yaml", "selftests"} {
		assert.NilError(t, os.Symlink(filepath.Join(root(t), name), filepath.Join(tree, name)))
	}
	// These directories contain files with the names of kernels.
	for _, name := range []string{"6.12", "ci"} {
		assert.NilError(t, os.Mkdir(filepath.Join(elsewhere, name), 0o755))
	}
	object := filepath.Join(root(t), "selftests", "bpf", "maps_hash.bpf.o")
	config, err := catalog.Read(filepath.Join(root(t), "kernels.yaml"))
	assert.NilError(t, err)
	names := config.Names()

	run := func(args ...string) (string, int) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), self, args...)
		cmd.Dir = elsewhere
		cmd.Env = append(os.Environ(), "BPFREPLAY_CACHE="+filepath.Join(elsewhere, "cache"))
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	out, status := run("kernels", "list")
	assert.Check(t, is.Equal(status, cli.ExitOK), out)
	for _, name := range names {
		assert.Check(t, is.Contains(out, "\n"+name+" "))
	}
	out, _ = run("doctor", "--offline", "--kernel", "ci")
	assert.Check(t, is.Contains(out, tree+"/kernels.yaml: "))
	assert.Check(t, is.Contains(out, "core suite        "+tree+"/selftests/cases.yaml"))
	assert.Check(t, is.Contains(out, "missing  kernel 6.12"))
	for _, args := range [][]string{
		{"exec", "--kernel", "none", "--", "true"},
		{"vmtest", "--kernel", "none", object},
		{"vmtest", "--kernel", "none"},
		{"matrix", "--kernel", "none"},
		{"check", "--kernel", "none", object},
		{"mutate", "--kernel", "none"},
		{"shell", "--kernel", "none", "--case", "maps_hash"},
		{"fuzz-diff", "--kernel", "none", "-n", "1"},
		{"kernels", "fetch", "none"},
		{"suite", "modules", "none"},
	} {
		out, status := run(args...)
		assert.Check(t, is.Equal(status, cli.ExitTrouble), "%v", args)
		assert.Check(t, is.Contains(out, `no kernel is called "none"`), "%v", args)
		assert.Check(t, is.Contains(out, "kernels.yaml has "+names[0]), "%v", args)
	}
	for _, args := range [][]string{
		{"vmtest", "--case", "none"}, {"matrix", "--case", "none"}, {"shell", "--case", "none"}, {"compare", "--case", "none"},
	} {
		out, _ := run(args...)
		assert.Check(t, is.Contains(out, `no case matches "none"`), "%v", args)
	}

	// Outside a tree the command uses the embedded one; --config names another.
	self = filepath.Join(t.TempDir(), "bpfreplay")
	assert.NilError(t, os.Link(command, self))
	for _, args := range [][]string{{"vmtest", "--case", "none"}, {"shell", "--case", "none"}, {"compare", "--case", "none"}} {
		out, status = run(args...)
		assert.Check(t, is.Equal(status, cli.ExitTrouble))
		assert.Check(t, is.Contains(out, `no case matches "none"`), "%v", args)
	}
	out, _ = run("kernels", "list")
	for _, name := range names {
		assert.Check(t, is.Contains(out, "\n"+name+" "))
	}
	out, _ = run("doctor", "--offline")
	assert.Check(t, is.Contains(out, filepath.Join(elsewhere, "cache", "embedded")))
	other := filepath.Join(t.TempDir(), "mine.yaml")
	assert.NilError(t, os.WriteFile(other, []byte("kernels: [{name: mine, arch: amd64, sources: [{file: nowhere}]}]\n"), 0o644))
	out, _ = run("kernels", "list", "--config", other)
	assert.Check(t, is.Contains(out, "mine"))
	out, status = run("vmtest", "--config", filepath.Join(elsewhere, "missing.yaml"))
	assert.Check(t, is.Equal(status, cli.ExitTrouble))
	assert.Check(t, is.Contains(out, "missing.yaml: no such file"))
}
