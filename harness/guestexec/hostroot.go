package guestexec

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/guest"
	"github.com/bpfreplay/bpfreplay/harness/vm"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/internal/arch"
)

// HostRootArg is the first argument of this program when it is to become the server
// of this machine's files. Behind it comes the directory that the server may change,
// which it has as descriptor writableFD, empty for none, and then the server's command line.
const HostRootArg = "__serve-root"

const writableFD = 100

// HostRootMain makes this process's view of this machine's files read-only, but for
// the directory that args names first, and becomes the server. It only returns an error.
func HostRootMain(args []string) error {
	if len(args) < 2 {
		return errors.New("no server was named")
	}
	writable, server := args[0], args[1:]
	// The rest changes the mounts of a namespace that is made here: a process that took itself to be in
	// one already would make its machine read-only if it was not. The thread becomes the process.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("mounts of its own: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mounts of its own: %w", err)
	}
	// A copy of the directory's mounts keeps their flags: what is read-only here remains so.
	kept := -1
	if writable != "" {
		var err error
		if kept, err = unix.OpenTree(unix.AT_FDCWD, writable, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE); err != nil {
			return fmt.Errorf("mount of %s: %w", writable, err)
		}
	}
	// Since Linux 5.12.
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &attr); err != nil {
		return fmt.Errorf("make this machine's files read-only (it needs Linux 5.12): %w", err)
	}
	if writable != "" {
		if err := unix.MoveMount(kept, "", unix.AT_FDCWD, writable, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("mount of %s: %w", writable, err)
		}
		// The server's options are separated by commas, and paths may have some.
		dir, err := unix.Open(writable, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Dup3(dir, writableFD, 0)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", writable, err)
		}
	}
	// The server ends when QEMU has gone, and if not, with us.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	return unix.Exec(server[0], server, os.Environ())
}

// rootServers are the places of servers: the one in Rust, which Debian has since 13,
// and the one in C that came with QEMU up to 7.2 (package qemu-system-common).
var rootServers = []string{"virtiofsd", "/usr/libexec/virtiofsd", "/usr/lib/virtiofsd", "/usr/lib/qemu/virtiofsd", "/usr/libexec/qemu/virtiofsd"}

// FindRootServer returns the path of the server that gives guests this machine's files. If it returns an error, the
// path is that of a server that cannot do so, or empty if this machine has none.
func FindRootServer() (string, error) {
	path, err := findServer()
	if err != nil {
		return "", err
	}
	return path, canServeRoot(path)
}

func findServer() (string, error) {
	for _, name := range rootServers {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no virtiofsd on this machine: install Debian's package virtiofsd (Debian 13), or qemu-system-common (Debian 12)")
}

// canServeRoot returns nil if a server can give a guest this machine's files, or else why not. The guest reads
// them without a change of their access times (overlayfs opens with O_NOATIME), which is their owner's and root's right.
// The server in C does not do it the other way.
func canServeRoot(server string) error {
	if !old(server) {
		return nil
	}
	fd, err := unix.Open(server, unix.O_RDONLY|unix.O_NOATIME|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%s gives a guest only those files of this machine that are the user's own: "+
			"run it as root, with Debian 13's virtiofsd, or name the files by --with instead", server)
	}
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// fileServer serves a directory of this machine to one guest.
type fileServer struct {
	socket *os.File // for QEMU
	cmd    *exec.Cmd
	ended  chan struct{}
	log    strings.Builder // its output; to be read when it has ended
}

// serverWait is how long a server may take to end when its guest is gone.
const serverWait = 5 * time.Second

// serveRoot starts a server of this machine's root, which it cannot change.
func serveRoot(self string) (*fileServer, error) {
	server, err := FindRootServer()
	if err != nil {
		return nil, err
	}
	return serve(self, server, "/", "")
}

// serveWritable starts a server of a directory that the guest may change. It cannot
// change anything else.
func serveWritable(self, dir string) (*fileServer, error) {
	server, err := findServer()
	if err != nil {
		return nil, fmt.Errorf("--rwdir %s: %w", dir, err)
	}
	return serve(self, server, fmt.Sprintf("/proc/self/fd/%d/.", writableFD), dir)
}

// serve starts a server. The caller closes it when the guest is gone. No file
// is needed, and nothing is left if this program is killed: the server ends when
// the guest does.
func serve(self, server, dir, writable string) (_ *fileServer, err error) {
	listening, connected, err := namelessSocket()
	if err != nil {
		return nil, fmt.Errorf("socket for virtiofsd: %w", err)
	}
	defer listening.Close()
	fs := &fileServer{socket: connected, ended: make(chan struct{})}
	fs.cmd = exec.Command(self, HostRootArg, writable, server)
	if old(server) {
		fs.cmd.Args = append(fs.cmd.Args, "--fd=3", "-o", "source="+dir, "-o", "sandbox=chroot", "-o", "cache=auto", "-o", "log_level=err")
	} else {
		fs.cmd.Args = append(fs.cmd.Args, "--fd=3", "--shared-dir="+dir, "--sandbox=none", "--cache=auto", "--log-level=error", "--inode-file-handles=never")
	}
	fs.cmd.ExtraFiles = []*os.File{listening}
	fs.cmd.Stdout, fs.cmd.Stderr = &fs.log, &fs.log
	if uid := os.Geteuid(); uid != 0 {
		// It may have mounts of its own as root of a user namespace, which a process with threads cannot make.
		fs.cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
		}
	}
	err = vm.StartBound(fs.cmd, func() {
		_ = fs.cmd.Wait()
		close(fs.ended)
	})
	if err != nil {
		connected.Close()
		if os.Geteuid() != 0 {
			return nil, fmt.Errorf("virtiofsd in a user namespace of its own: %w: run it as root, or name files by --with instead", err)
		}
		return nil, fmt.Errorf("virtiofsd: %w", err)
	}
	return fs, nil
}

// old reports whether a server is the one in C, which has options of its own.
func old(server string) bool { return strings.Contains(server, "/qemu/") }

// namelessSocket is a listening socket, and one that is connected to it. Its name,
// which the kernel chooses, is no file's.
func namelessSocket() (listening, connected *os.File, err error) {
	open := func(name string) (*os.File, error) {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), name), nil
	}
	if listening, err = open("virtiofsd"); err != nil {
		return nil, nil, err
	}
	if connected, err = open("guest"); err != nil {
		listening.Close()
		return nil, nil, err
	}
	err = unix.Bind(int(listening.Fd()), &unix.SockaddrUnix{Name: ""})
	if err == nil {
		err = unix.Listen(int(listening.Fd()), 1)
	}
	var name unix.Sockaddr
	if err == nil {
		name, err = unix.Getsockname(int(listening.Fd()))
	}
	if err == nil {
		err = unix.Connect(int(connected.Fd()), name)
	}
	if err != nil {
		listening.Close()
		connected.Close()
		return nil, nil, err
	}
	return listening, connected, nil
}

// close waits for the server's end, which the guest's has brought about.
func (fs *fileServer) close() {
	fs.socket.Close()
	select {
	case <-fs.ended:
	case <-time.After(serverWait):
		_ = unix.Kill(-fs.cmd.Process.Pid, unix.SIGKILL)
		<-fs.ended
	}
}

// blame adds to the failure of a guest the last words of a server that has ended
// before it.
func (fs *fileServer) blame(err error) error {
	select {
	case <-fs.ended:
	case <-time.After(serverWait / 10):
		return err
	}
	text := strings.TrimSpace(fs.log.String())
	if text = text[strings.LastIndexByte(text, '\n')+1:]; text == "" {
		return err
	}
	return fmt.Errorf("%w (virtiofsd: %s)", err, text)
}

// hasHostRoot returns nil if a kernel can have this machine's root.
func hasHostRoot(c *guest.Config) error {
	if c.Kernel.Arch != arch.Native {
		return fmt.Errorf("--rootfs host: kernel %s is for %s, for which this machine's programs are not", c.Kernel.Name, c.Kernel.Arch)
	}
	return hasModules(c, "--rootfs host", wire.HostRootModules)
}

// hasModules returns nil if the kernel has the modules that a flag needs.
func hasModules(c *guest.Config, flag string, modules []string) error {
	for _, m := range modules {
		if _, err := c.Kernel.Modules(m); err != nil {
			return fmt.Errorf("%s: kernel %s has no %s: %w", flag, c.Kernel.Name, m, err)
		}
	}
	return nil
}
