package built

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/need"
)

// TestMakefile checks that make rebuilds the command if any file changes that it is built from. A
// prerequisite that is missing in the Makefile leaves a stale binary.
func TestMakefile(t *testing.T) {
	need.Program(t, "make")
	root, err := filepath.Abs("../..")
	assert.NilError(t, err)
	database := output(t, root, 1, "make", "--print-data-base", "--question", "bpfreplay") // 1: stale
	var known []string
	for line := range strings.Lines(database) {
		if list, ok := strings.CutPrefix(line, "bpfreplay: "); ok {
			known = strings.Fields(list)
		}
	}
	assert.Assert(t, len(known) > 0, "no rule for bpfreplay in what make prints")
	const files = `{{if and .Module .Module.Main}}{{range .GoFiles}}{{$.Dir}}/{{.}}
{{end}}{{range .EmbedFiles}}{{$.Dir}}/{{.}}
{{end}}{{end}}`
	used := strings.Fields(output(t, root, 0, "go", "list", "-deps", "-f", files, "./cmd/bpfreplay"))
	assert.Assert(t, len(used) > 100, "go list names %d files", len(used))
	for _, file := range used {
		rel, err := filepath.Rel(root, file)
		assert.NilError(t, err)
		assert.Check(t, slices.Contains(known, rel), "the rule for bpfreplay lacks %s", rel)
	}
}

// output runs a program and returns its output. The exit status must be 0 or status.
func output(t *testing.T, dir string, status int, name string, args ...string) string {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	// Under `make test` these variables would make it a part of that run.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "MAKE") })
	out, err := cmd.Output()
	if err != nil && cmd.ProcessState.ExitCode() != status {
		t.Fatalf("%s: %v", cmd, err)
	}
	return string(out)
}
