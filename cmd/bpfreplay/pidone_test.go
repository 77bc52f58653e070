package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/cmd/internal/cli"
	"github.com/bpfreplay/bpfreplay/harness/inguest"
	"github.com/bpfreplay/bpfreplay/internal/need"
)

// sysctls are those that the agent sets in a guest, and others that would show a write to this
// machine's.
var sysctls = []string{
	"/proc/sys/kernel/kptr_restrict",
	"/proc/sys/kernel/perf_event_paranoid",
	"/proc/sys/kernel/printk_devkmsg",
	"/proc/sys/kernel/bpf_stats_enabled",
	"/proc/sys/kernel/watchdog_thresh",
	"/proc/sys/net/core/bpf_jit_enable",
	"/proc/sys/net/core/bpf_jit_harden",
}

// keepsSysctls calls do and fails if a sysctl of this machine has changed, which it then restores.
func keepsSysctls(t *testing.T, do func()) {
	t.Helper()
	read := func() map[string]string {
		values := make(map[string]string)
		for _, path := range sysctls {
			value, err := os.ReadFile(path)
			if errors.Is(err, os.ErrNotExist) {
				continue // this kernel does not have it
			}
			assert.NilError(t, err)
			values[path] = string(value)
		}
		return values
	}
	before := read()
	defer func() {
		for path, now := range read() {
			if now != before[path] {
				t.Errorf("%s was %q and is %q", path, before[path], now)
				assert.Check(t, os.WriteFile(path, []byte(before[path]), 0))
			}
		}
	}()
	do()
}

// pidNamespaces are ways to be process 1 outside a guest: as root with this machine's rights, and
// as root of a user namespace, as in a container.
var pidNamespaces = map[string][]string{
	"privileged": {"--pid", "--fork", "--kill-child", "--mount-proc"},
	"user":       {"--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"},
}

// asFirst runs a command with unshare(1) as process 1 of a PID namespace. A program that believes
// to be a guest's init would wait forever for its port.
func asFirst(t *testing.T, unshare []string, name string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	return outcome(t, "unshare", slices.Concat(unshare, []string{name}, args)...)
}

func outcome(t *testing.T, name string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v", cmd, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// As process 1 of a container a command works as usual, and leaves the machine unchanged.
func TestFirstProcess(t *testing.T) {
	need.Program(t, "unshare")
	for name, unshare := range pidNamespaces {
		t.Run(name, func(t *testing.T) {
			if name == "privileged" {
				need.Root(t)
			}
			if _, errs, status := asFirst(t, unshare, "true"); status != 0 {
				t.Skipf("unshare %s: %s", strings.Join(unshare, " "), errs)
			}
			for _, args := range [][]string{{"--help"}, {"kernels", "list"}, {"exec", "--help"}, {"no-such-command"}} {
				want, wantErrs, wantStatus := outcome(t, command, args...)
				keepsSysctls(t, func() {
					got, errs, status := asFirst(t, unshare, command, args...)
					assert.Check(t, is.Equal(got, want), "%v", args)
					assert.Check(t, is.Equal(errs, wantErrs), "%v", args)
					assert.Check(t, is.Equal(status, wantStatus), "%v", args)
				})
			}
			// Memory and rights may look different there, but nothing else.
			_, _, wantStatus := outcome(t, command, "doctor", "--offline")
			keepsSysctls(t, func() {
				got, errs, status := asFirst(t, unshare, command, "doctor", "--offline")
				assert.Check(t, is.Contains(got, "kernels.yaml: "), errs)
				assert.Check(t, is.Equal(status, wantStatus), errs)
			})
			// The init's argument alone is not enough, either.
			keepsSysctls(t, func() {
				got, errs, status := asFirst(t, unshare, command, inguest.InitArg)
				assert.Check(t, is.Equal(got, ""))
				assert.Check(t, is.Contains(errs, inguest.ErrNotGuest.Error()))
				assert.Check(t, is.Equal(status, cli.ExitTrouble))
			})
		})
	}
}

// The check for a guest changes nothing, even without a /proc to read.
func TestFirstProcessOfAnEmptyRoot(t *testing.T) {
	need.Root(t)
	need.Program(t, "unshare")
	dir := t.TempDir()
	in, err := os.Open(command)
	assert.NilError(t, err)
	defer in.Close()
	out, err := os.OpenFile(filepath.Join(dir, "bpfreplay"), os.O_CREATE|os.O_WRONLY, 0o755)
	assert.NilError(t, err)
	_, err = io.Copy(out, in)
	assert.NilError(t, err)
	assert.NilError(t, out.Close())
	unshare := []string{"--pid", "--fork", "--kill-child", "--root=" + dir}
	keepsSysctls(t, func() {
		got, errs, status := asFirst(t, unshare, "/bpfreplay", "--help")
		assert.Check(t, is.Contains(got, "Available Commands"), errs)
		assert.Check(t, is.Equal(status, cli.ExitOK))
		_, errs, status = asFirst(t, unshare, "/bpfreplay", inguest.InitArg)
		assert.Check(t, is.Contains(errs, inguest.ErrNotGuest.Error()))
		assert.Check(t, is.Equal(status, cli.ExitTrouble))
	})
	left, err := os.ReadDir(dir)
	assert.NilError(t, err)
	assert.Equal(t, len(left), 1, "%v", left)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	assert.NilError(t, err)
	assert.Assert(t, !strings.Contains(string(mounts), dir))
}

// A program also runs in a guest if the command is process 1 of a container.
func TestExecAsFirstProcess(t *testing.T) {
	need.Root(t)
	need.QEMU(t)
	kernel := need.Kernel(t, "6.12")
	need.Program(t, "unshare")
	keepsSysctls(t, func() {
		got, errs, status := asFirst(t, pidNamespaces["privileged"], command, "exec", "--kernel", "6.12", "--accel", "tcg", "--", "uname", "-r")
		assert.Check(t, is.Equal(got, kernel.Release+"\n"), errs)
		assert.Check(t, is.Equal(status, cli.ExitOK))
	})
}

// Functions that change the machine only work in guests, whatever the user asks for.
func TestOnlyInGuests(t *testing.T) {
	if inguest.Check() == nil {
		t.Skip("this is a guest")
	}
	poweroff := filepath.Join(t.TempDir(), "poweroff")
	assert.NilError(t, os.Symlink(command, poweroff))
	t.Run("effects", func(t *testing.T) {
		keepsSysctls(t, func() {
			_, errs, status := outcome(t, command, "compare", "--effects", filepath.Join(root(t), "selftests", "bpf", "prog_tc.bpf.o"))
			assert.Check(t, is.Contains(errs, inguest.ErrNotGuest.Error()))
			assert.Check(t, is.Equal(status, cli.ExitTrouble))
		})
	})
	// Drop the right to switch off the machine, in case of a bug.
	t.Run("poweroff", func(t *testing.T) {
		need.Root(t)
		need.Program(t, "setpriv")
		_, errs, status := outcome(t, "setpriv", "--bounding-set", "-sys_boot", "--inh-caps", "-sys_boot", poweroff)
		assert.Check(t, is.Contains(errs, inguest.ErrNotGuest.Error()))
		assert.Check(t, is.Equal(status, cli.ExitFailed))
	})
}

// Only arguments select what the process does: child processes inherit the environment, so a
// variable would also affect processes it was not set for.
func TestEnvironmentSaysNothing(t *testing.T) {
	t.Setenv("BPFREPLAY_ASK_BPF", "1")
	out, errs, status := outcome(t, command, "--help")
	assert.Check(t, is.Contains(out, "Available Commands"), errs)
	assert.Check(t, is.Equal(status, cli.ExitOK))
}
