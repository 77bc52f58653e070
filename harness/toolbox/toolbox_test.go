package toolbox

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
)

// When it is called by another name, the test binary is the toolbox.
func TestMain(m *testing.M) {
	if status, ok := Main(os.Args); ok {
		os.Exit(status)
	}
	os.Exit(m.Run())
}

// called runs a command of the toolbox, with only the toolbox in $PATH.
func called(t *testing.T, stdin string, name string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	self, err := os.Executable()
	assert.NilError(t, err)
	bin := t.TempDir()
	for _, n := range Names() {
		assert.NilError(t, os.Symlink(self, filepath.Join(bin, n)))
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, name), args...)
	cmd.Args[0] = name
	cmd.Env = []string{"PATH=" + bin}
	cmd.Dir = t.TempDir()
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func TestNames(t *testing.T) {
	for _, n := range Names() {
		if n != Shell && n != powerOff {
			assert.Assert(t, command(n) != nil, n)
		}
	}
	assert.Assert(t, command("bpfreplay") == nil)
	assert.Assert(t, slices.IsSorted(Names()))
}

func TestShell(t *testing.T) {
	for _, c := range []struct {
		name, stdin    string
		args           []string
		stdout, stderr string
		status         int
	}{
		{name: "pipe", stdin: "mkdir -p a/b; echo hi >a/b/c; find a -name c | xargs cat", stdout: "hi\n"},
		{name: "status of the last", stdin: "true\ncat nowhere\n", stderr: "cat: ", status: 1},
		{name: "status of the one before", stdin: "cat nowhere 2>/dev/null\necho $?\n", stdout: "1\n"},
		{name: "exit", stdin: "exit 7\necho no\n", status: 7},
		{name: "no such command", stdin: "frobnicate", stderr: "frobnicate", status: 127},
		{name: "no shell", stdin: "echo begun\nif then", stdout: "begun\n", stderr: "sh: ", status: statusUsage},
		{name: "-c", args: []string{"-c", "for i in 1 2; do echo $i; done; exit 3"}, stdout: "1\n2\n", status: 3},
		{name: "set -e", stdin: "set -e\ncat nowhere 2>/dev/null\necho no", status: 1},
		{name: "unknown flag", args: []string{"-frobnicate"}, stderr: "not defined", status: statusUsage},
	} {
		t.Run(c.name, func(t *testing.T) {
			stdout, stderr, status := called(t, c.stdin, Shell, c.args...)
			assert.Equal(t, stdout, c.stdout)
			assert.Equal(t, status, c.status, stderr)
			assert.Assert(t, strings.Contains(stderr, c.stderr) && (c.stderr != "") == (stderr != ""), stderr)
		})
	}
}

func TestShellScript(t *testing.T) {
	dir := t.TempDir()
	first, script := filepath.Join(dir, "first"), filepath.Join(dir, "script")
	assert.NilError(t, os.WriteFile(first, []byte("word=first; cat nowhere 2>/dev/null"), 0o644))
	assert.NilError(t, os.WriteFile(script, []byte(`echo "$word $1 $2"`), 0o644))
	stdout, stderr, status := called(t, "", Shell, "-init", first, script, "a b", "c")
	assert.Equal(t, stdout, "first a b c\n", stderr)
	assert.Equal(t, status, 0)
	// An error in the init file does not affect the shell's status.
	_, stderr, status = called(t, "", Shell, "-init", first)
	assert.Equal(t, status, 0, stderr)
}

func TestComplete(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{"alpha", "beta", ".hidden"} {
		assert.NilError(t, os.WriteFile(filepath.Join(dir, f), nil, 0o755))
	}
	assert.NilError(t, os.Mkdir(filepath.Join(dir, "album"), 0o755))
	t.Setenv("PATH", dir)
	t.Chdir(dir)
	s, err := newSession(nil, true)
	assert.NilError(t, err)
	s.runner.Reset()
	for _, c := range []struct {
		before, after, head string
		words               []string
	}{
		{"al", "", "", []string{"album ", "alpha "}},
		{"cat x | b", " y", "cat x | ", []string{"beta "}},
		{"cat al", "", "cat ", []string{"album/", "alpha "}},
		{"cat ", "", "cat ", []string{"album/", "alpha ", "beta "}},
		{"cat .h", "", "cat ", []string{".hidden "}},
		{"cat " + dir + "/be", "", "cat ", []string{dir + "/beta "}},
		{"cat nothing", "", "cat ", nil},
	} {
		head, words, tail := s.complete(c.before+c.after, len([]rune(c.before)))
		assert.Equal(t, head, c.head, c.before)
		assert.DeepEqual(t, words, c.words)
		assert.Equal(t, tail, c.after)
	}
}
