package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/suites"
)

// cacheWithSuite makes a cache with a kernel, a suite "kernel" of one case, and a test module for
// the kernel. The module is one of the kernel's own, because the contents of the Linux selftests'
// modules do not matter here.
func cacheWithSuite(t *testing.T, kernel, module, object string) string {
	t.Helper()
	k := need.Kernel(t, kernel)
	cache := t.TempDir()
	for _, name := range []string{"blobs", "kernels", "images"} {
		assert.NilError(t, os.Symlink(filepath.Join(cacheDir(t), name), filepath.Join(cache, name)))
	}
	lock, err := os.ReadFile(filepath.Join(cacheDir(t), "kernels.lock"))
	assert.NilError(t, err)
	assert.NilError(t, os.WriteFile(filepath.Join(cache, "kernels.lock"), lock, 0o644))

	dir := filepath.Join(cache, "suites")
	assert.NilError(t, os.MkdirAll(filepath.Join(dir, "made"), 0o755))
	found, err := filepath.Glob(filepath.Join(k.ModulesDir, "kernel/drivers/*", module+".ko.xz"))
	assert.NilError(t, err)
	assert.Assert(t, is.Len(found, 1))
	code, err := exec.Command(need.Program(t, "xz"), "-dc", found[0]).Output()
	assert.NilError(t, err)
	assert.NilError(t, os.WriteFile(filepath.Join(dir, "made", module+".ko"), code, 0o644))
	data, err := os.ReadFile(object)
	assert.NilError(t, err)
	assert.NilError(t, os.WriteFile(filepath.Join(dir, "made", "one.bpf.o"), data, 0o644))

	write := func(name string, v any) {
		text, err := json.Marshal(v)
		assert.NilError(t, err)
		assert.NilError(t, os.WriteFile(filepath.Join(dir, name), text, 0o644))
	}
	tree := t.TempDir()
	for _, sub := range []string{"bpf_testmod", "test_kmods"} {
		assert.NilError(t, os.MkdirAll(filepath.Join(tree, "tools/testing/selftests/bpf", sub), 0o755))
	}
	write("kernel.json", suites.Corpus{Name: "kernel", Source: "a test", Tree: tree, Objects: []suites.Object{{Name: "one", File: "made/one.bpf.o"}}})
	write("modules.json", map[string]any{"uses": []string{}, "kernels": []suites.TestModules{{
		Release: k.Release, Kernel: k.SHA256, Source: "a test", Files: []string{"made/" + module + ".ko"},
	}}})
	return cache
}

// The commands that examine a case accept the same suites as vmtest: each line of again.sh runs,
// and a shell has the modules that vmtest loaded.
func TestSiblingsOfVMTest(t *testing.T) {
	need.QEMU(t)
	t.Setenv("BPFREPLAY_CACHE", cacheWithSuite(t, "6.12", "dummy", filepath.Join(root(t), "selftests", "bpf", "maps_hash.bpf.o")))
	run := func(input, name string, args ...string) (string, int) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir, cmd.Stdin = root(t), strings.NewReader(input)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	dir := filepath.Join(t.TempDir(), "out")
	out, status := run("", command, "vmtest", "--kernel", "6.12", "--accel", "tcg", "--suite", "kernel", "--engines", "trace,replay",
		"--fault", "one=kasan", "--no-retry", "--out", dir, "--baselines", "none")
	assert.Assert(t, is.Equal(status, cli.ExitFailed), out)
	assert.Assert(t, is.Contains(out, "test modules: dummy of a test"))
	script, err := os.ReadFile(filepath.Join(dir, "6.12", "failed", "one", "again.sh"))
	assert.NilError(t, err)

	out, status = run("", "sh", "-c", string(script))
	assert.Assert(t, is.Equal(status, cli.ExitFailed), out)
	ran := 0
	for line := range strings.Lines(string(script)) {
		line, ok := strings.CutPrefix(line, "# "+command)
		if !ok {
			continue
		}
		ran++
		out, status = run("cat /proc/modules; bpfreplay compare -e trace,replay --suite /case/cases.yaml --case one", "sh", "-c", command+line)
		if strings.HasPrefix(line, " shell") {
			assert.Check(t, is.Equal(status, cli.ExitOK), out)
			assert.Check(t, is.Contains(out, "\ndummy "))
			assert.Check(t, is.Contains(out, "equal        one"))
			continue
		}
		assert.Check(t, is.Equal(status, cli.ExitFailed), out) // same result as before
		assert.Check(t, is.Contains(out, "FAILED       one"))
		assert.Check(t, is.Contains(out, "test modules: dummy of a test"))
		assert.Check(t, !strings.Contains(out, "compared with"), out)
	}
	assert.Check(t, is.Equal(ran, 2))

	out, status = run("grep -c dummy /proc/modules", command, "shell", "--kernel", "6.12", "--accel", "tcg", "--suite", "kernel", "--case", "one")
	assert.Check(t, is.Equal(status, cli.ExitOK), out)
	out, status = run("", command, "compare", "--suite", "kernel", "--case", "none")
	assert.Check(t, is.Equal(status, cli.ExitTrouble))
	assert.Check(t, is.Contains(out, `no case matches "none"`))
}
