package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/internal/need"
)

// Seeds found by fuzzing, and artifacts of tests, are on this machine when go test ends.
func TestExecOfGoTestLeaves(t *testing.T) {
	need.QEMU(t)
	need.Kernel(t, "6.12")
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module x\n\ngo 1.26\n",
		"x_test.go": `package x

import (
	"os"
	"path/filepath"
	"testing"
)

func TestArtifact(t *testing.T) {
	if err := os.WriteFile(filepath.Join(t.ArtifactDir(), "left"), []byte("of the guest"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func FuzzLength(f *testing.F) {
	f.Add([]byte("abc"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 3 {
			t.Fatal("too long")
		}
	})
}
`,
	} {
		assert.NilError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	run := func(args ...string) (string, error) {
		// Outside the tree there is no kernels.yaml, so use a path.
		cmd := exec.CommandContext(t.Context(), "go", append([]string{"test", "-count=1",
			"-exec", command + " exec --kernel " + need.Kernel(t, "6.12").BootPath + " --accel tcg --"}, args...)...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOCACHE="+goCache(t))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := run("-artifacts", "-run", "TestArtifact", ".")
	assert.NilError(t, err, out)
	var left []string
	for path := range contents(t, filepath.Join(dir, "_artifacts")) {
		left = append(left, filepath.Base(path))
	}
	assert.DeepEqual(t, left, []string{"left"})

	out, err = run("-run", "^$", "-fuzz", "FuzzLength", ".")
	assert.ErrorContains(t, err, "exit status 1", out)
	assert.Assert(t, is.Contains(out, "too long"))
	seeds, err := filepath.Glob(filepath.Join(dir, "testdata", "fuzz", "FuzzLength", "*"))
	assert.NilError(t, err)
	assert.Assert(t, is.Len(seeds, 1), out)
	// The seed is now part of all tests, including those in guests.
	out, err = run(".")
	assert.ErrorContains(t, err, "exit status 1", out)
	assert.Assert(t, is.Contains(out, "FuzzLength/"+filepath.Base(seeds[0])))
}

func goCache(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOCACHE").Output()
	assert.NilError(t, err)
	return strings.TrimSpace(string(out))
}
