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
	"github.com/bpfreplay/bpfreplay/harness/guestexec"
	"github.com/bpfreplay/bpfreplay/internal/need"
)

// A program in a guest sees this machine's files and may write, but changes nothing here.
func TestHostRoot(t *testing.T) {
	need.QEMU(t)
	need.Kernel(t, "6.12")
	const server = "/usr/lib/qemu/virtiofsd" // Debian 12's
	if _, err := os.Stat(server); err != nil {
		if _, err := exec.LookPath("virtiofsd"); err != nil {
			if _, err := os.Stat("/usr/libexec/virtiofsd"); err != nil {
				t.Skip("no virtiofsd: install Debian's package virtiofsd, or qemu-system-common up to Debian 12")
			}
		}
	}
	dir, temp := t.TempDir(), t.TempDir()
	assert.NilError(t, os.WriteFile(filepath.Join(dir, "given"), []byte("of this machine\n"), 0o644))
	cmd := exec.CommandContext(t.Context(), command, "exec", "--accel", "tcg", "--rootfs", "host", "--",
		"sh", "-c", `cat given; echo of the guest >given; cat given; echo new >new; cat new; touch /usr/canary && ls /usr/canary; exit 9`)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	assert.NilError(t, os.Symlink(filepath.Join(root(t), "kernels.yaml"), filepath.Join(dir, "kernels.yaml")))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	assert.ErrorContains(t, err, "exit status 9", stderr.String())
	assert.Equal(t, string(out), "of this machine\nof the guest\nnew\n/usr/canary\n", stderr.String())
	given, err := os.ReadFile(filepath.Join(dir, "given"))
	assert.NilError(t, err)
	assert.Equal(t, string(given), "of this machine\n")
	_, err = os.Stat(filepath.Join(dir, "new"))
	assert.Check(t, os.IsNotExist(err))
	_, err = os.Stat("/usr/canary")
	assert.Check(t, os.IsNotExist(err))
	assert.Check(t, is.Len(files(t, temp), 0))
}

// The server sees this machine read-only, in mounts of its own, also if the command was started by
// hand.
func TestServersMounts(t *testing.T) {
	need.Root(t)
	need.Program(t, "unshare")
	dir := t.TempDir()
	// Use the test's own mounts, so that a bug cannot make the machine's read-only.
	out, errs, status := outcome(t, "unshare", "--mount", "sh", "-c",
		`"$1" `+guestexec.HostRootArg+` "" /bin/sh -c 'touch "$1/inside"' sh "$2"; touch "$2/outside"`, "sh", command, dir)
	assert.Check(t, is.Equal(out, ""))
	assert.Check(t, is.Contains(errs, "Read-only file system"))
	assert.Check(t, is.Equal(status, 0), errs)
	left := files(t, dir)
	assert.DeepEqual(t, left, []string{"outside"})
}

// For a user that Debian 12's server does not support, the command fails before it starts a guest,
// and doctor reports it.
func TestHostRootOfUser(t *testing.T) {
	need.Root(t)
	need.Program(t, "setpriv")
	kernel := need.Kernel(t, "6.12")
	if server, err := guestexec.FindRootServer(); !strings.Contains(server, "/qemu/") {
		t.Skipf("needs the virtiofsd that came with QEMU up to 7.2: %q, %v", server, err)
	}
	dir, err := os.MkdirTemp("", "bpfreplay-user-test-") // only root may enter t.TempDir
	assert.NilError(t, err)
	defer os.RemoveAll(dir)
	assert.NilError(t, os.Chmod(dir, 0o777))
	self := filepath.Join(dir, "bpfreplay")
	data, err := os.ReadFile(command)
	assert.NilError(t, err)
	assert.NilError(t, os.WriteFile(self, data, 0o755))
	for from, to := range map[string]string{kernel.BootPath: "vmlinux", filepath.Join(root(t), "kernels.yaml"): "kernels.yaml"} {
		data, err := os.ReadFile(from)
		assert.NilError(t, err)
		assert.NilError(t, os.WriteFile(filepath.Join(dir, to), data, 0o644))
	}
	assert.NilError(t, os.CopyFS(filepath.Join(dir, "modules"), os.DirFS(kernel.ModulesDir)))
	user := []string{"--reuid=65534", "--regid=65534", "--clear-groups", "env", "-C", dir, "HOME=" + dir, "TMPDIR=" + dir, self}
	out, errs, status := outcome(t, "setpriv", append(user, "exec", "--rootfs", "host", "--kernel", filepath.Join(dir, "vmlinux"), "--", "true")...)
	assert.Check(t, is.Equal(out, ""))
	assert.Check(t, is.Contains(errs, "gives a guest only those files of this machine that are the user's own"))
	assert.Check(t, is.Equal(status, cli.ExitTrouble))
	out, errs, _ = outcome(t, "setpriv", append(user, "doctor", "--offline")...)
	assert.Check(t, is.Contains(out, "note     virtiofsd         /usr/lib/qemu/virtiofsd gives a guest only"), errs)
}
