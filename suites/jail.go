package suites

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
)

// enter is what a shell does in a mount namespace of its own: objtool wants to know
// its limits from /proc since 7.3, and shells want /dev/null.
const enter = `mount --bind /dev/null "$0/dev/null" && mount --rbind /proc "$0/proc" && exec chroot "$0" "$@"`

// jail is a program that runs in a root, with an environment of its own. Who is not
// root becomes root of a user namespace first. Where root may not have a mount
// namespace, as in most containers, it does without /proc.
func jail(ctx context.Context, root string, args ...string) *exec.Cmd {
	env := []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=C", "HOME=/", "SHELL=/bin/sh", "TMPDIR=/tmp"}
	if os.Geteuid() == 0 && !mayMount() {
		cmd := command(ctx, filepath.Join("/usr/bin", args[0]), args[1:]...)
		cmd.Err = nil // it is there in the root, and perhaps not here
		cmd.Env, cmd.Dir = env, "/"
		cmd.SysProcAttr.Chroot = root
		return cmd
	}
	cmd := command(ctx, "/bin/sh", append([]string{"-c", enter, root}, args...)...)
	cmd.Env = env
	namespace(cmd.SysProcAttr)
	return cmd
}

// namespace gives a process a mount namespace.
func namespace(attr *syscall.SysProcAttr) {
	if os.Geteuid() == 0 {
		attr.Unshareflags = syscall.CLONE_NEWNS // nothing that is mounted there is seen elsewhere
		return
	}
	attr.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS
	attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
}

// mayMount reports whether this process may have a mount namespace.
var mayMount = sync.OnceValue(func() bool {
	cmd := exec.Command("/bin/true")
	cmd.SysProcAttr = new(syscall.SysProcAttr)
	namespace(cmd.SysProcAttr)
	return cmd.Run() == nil
})
