package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/internal/need"
)

// A rerun changes no file of the run, whether it fails or passes.
func TestAgainChangesNothing(t *testing.T) {
	need.QEMU(t)
	need.Kernel(t, "6.12")
	need.Program(t, "mktemp")
	dir := t.TempDir()
	junit, markdown, summary := filepath.Join(dir, "junit.xml"), filepath.Join(dir, "summary.md"), filepath.Join(dir, "step.md")
	t.Setenv("GITHUB_STEP_SUMMARY", summary)
	run := func(name string, args ...string) (string, int) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = root(t)
		cmd.Env = append(os.Environ(), "TMPDIR="+dir)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	out, status := run(command, "vmtest", "--kernel", "6.12", "--accel", "tcg", "--case", "maps_array", "--case", "maps_hash", "--engines", "trace,replay",
		"--fault", "maps_hash=kasan:once", "--out", filepath.Join(dir, "out"), "--junit", junit, "--markdown", markdown)
	before := contents(t, dir)
	evidence := filepath.Join(dir, "out", "6.12", "failed", "maps_hash")
	assert.Assert(t, is.Contains(before, filepath.Join(evidence, "again.sh")), "%d: %s", status, out)

	// It fails like the first time, and writes its own files beside the artifacts.
	_, status = run(filepath.Join(evidence, "again.sh"), "--no-retry")
	assert.Equal(t, status, cli.ExitFailed)
	after := contents(t, dir)
	var more string
	for path, text := range after {
		if old, ok := before[path]; ok {
			assert.Check(t, is.Equal(text, old), path)
			continue
		}
		assert.Assert(t, strings.HasPrefix(path, filepath.Join(evidence, "again-")), path)
		if filepath.Base(path) == "report.json" && strings.Contains(path, "failed") {
			more = path
		}
	}
	assert.Assert(t, more != "")
	for path := range before {
		assert.Assert(t, is.Contains(after, path))
	}

	// A rerun that passes leaves nothing behind.
	_, status = run(filepath.Join(evidence, "again.sh"))
	assert.Equal(t, status, cli.ExitOK)
	assert.DeepEqual(t, contents(t, dir), after)
	for _, path := range []string{junit, markdown, summary} {
		assert.Assert(t, is.Contains(after, path))
	}
}

// contents returns all files below a directory.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	assert.NilError(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		files[path] = string(data)
		return err
	}))
	return files
}
