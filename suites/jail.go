package suites

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
)

// enter is a shell script for a new mount namespace. It mounts /proc, from which objtool reads its
// limits since 7.3, and /dev/null, which shells need.
const enter = `mount --bind /dev/null "$0/dev/null" && mount --rbind /proc "$0/proc" && exec chroot "$0" "$@"`

// jail returns a program that runs with root as its root directory, and a clean environment. A user
// who is not root becomes root of a user namespace first. If root may not create a mount namespace,
// as in most containers, the program has no /proc.
func jail(ctx context.Context, root string, args ...string) *exec.Cmd {
	env := []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=C", "HOME=/", "SHELL=/bin/sh", "TMPDIR=/tmp"}
	if os.Geteuid() == 0 && !mayMount() {
		cmd := command(ctx, filepath.Join("/usr/bin", args[0]), args[1:]...)
		cmd.Err = nil // the program is in the root, perhaps not on this machine
		cmd.Env, cmd.Dir = env, "/"
		cmd.SysProcAttr.Chroot = root
		return cmd
	}
	cmd := command(ctx, "/bin/sh", append([]string{"-c", enter, root}, args...)...)
	cmd.Env = env
	namespace(cmd.SysProcAttr)
	return cmd
}

// namespace gives a process a new mount namespace.
func namespace(attr *syscall.SysProcAttr) {
	if os.Geteuid() == 0 {
		attr.Unshareflags = syscall.CLONE_NEWNS // mounts there are private
		return
	}
	attr.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS
	attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
}

// mayMount reports whether this process may create a mount namespace.
var mayMount = sync.OnceValue(func() bool {
	cmd := exec.Command("/bin/true")
	cmd.SysProcAttr = new(syscall.SysProcAttr)
	namespace(cmd.SysProcAttr)
	return cmd.Run() == nil
})
