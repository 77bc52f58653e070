package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"gotest.tools/v3/assert"
	"gotest.tools/v3/golden"

	"github.com/bpfreplay/bpfreplay/internal/need"
)

// command is the program under test, built like `make build` does: static, because it is also PID 1
// of the guests.
var command string

func TestMain(m *testing.M) {
	// Some tests fail commands on purpose. Keep that out of the summary of a GitHub job.
	os.Unsetenv("GITHUB_STEP_SUMMARY")
	if os.Getenv(showSummary) != "" {
		fmt.Printf("summary: %q\n", os.Getenv("GITHUB_STEP_SUMMARY"))
		os.Exit(0)
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "bpfreplay-cmd-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		command = filepath.Join(dir, "bpfreplay")
		build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", command, ".")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build the command: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// showSummary makes the test binary print the file that it takes for a job's summary, and exit.
const showSummary = "BPFREPLAY_TEST_SUMMARY"

// Tests do not write to the summary of the job that runs them.
func TestNoSummary(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), showSummary+"=1", "GITHUB_STEP_SUMMARY="+filepath.Join(t.TempDir(), "summary.md"))
	out, err := cmd.Output()
	assert.NilError(t, err)
	assert.Equal(t, string(out), "summary: \"\"\n")
}

// root is the top of the tree.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	assert.NilError(t, err)
	return dir
}

// runScripts runs the scripts of a directory below testdata. In them $ROOT is the top of the tree,
// $ESC starts with an escape character, and
//
//	status N bpfreplay ARG...
//
// runs the command and requires this exit status. The user's cache is not touched unless a script
// asks for it.
func runScripts(t *testing.T, dir string, env ...string) {
	top := root(t)
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", dir),
		UpdateScripts:       golden.FlagUpdate(),
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("ROOT", top)
			e.Setenv("BPFREPLAY", command)
			e.Setenv("ESC", "\x1b[31m")
			e.Setenv("PATH", filepath.Dir(command)+":"+e.Getenv("PATH"))
			e.Setenv("BPFREPLAY_CACHE", filepath.Join(e.WorkDir, "cache"))
			for i := 0; i < len(env); i += 2 {
				e.Setenv(env[i], env[i+1])
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"status": status},
	})
}

func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit status is %d, not %d", got, want)
	}
}

// The scripts in testdata/host need nothing but the command.
func TestHost(t *testing.T) { runScripts(t, "host") }

// The scripts in testdata/guest boot kernels.
func TestGuest(t *testing.T) {
	need.QEMU(t)
	for _, name := range []string{"5.10", "6.1", "6.12"} {
		need.Kernel(t, name)
	}
	runScripts(t, "guest", "BPFREPLAY_CACHE", cacheDir(t))
}

// The scripts in testdata/signed boot kernels that verify signatures, each with its own contract.
func TestSigned(t *testing.T) {
	need.QEMU(t)
	need.Program(t, "openssl")
	for _, name := range []string{"6.18", "stable"} {
		need.Kernel(t, name)
	}
	runScripts(t, "signed", "BPFREPLAY_CACHE", cacheDir(t))
}

// cacheDir returns the cache of kernels that the command uses by default.
func cacheDir(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("BPFREPLAY_CACHE"); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	assert.NilError(t, err)
	return filepath.Join(dir, "bpfreplay")
}
