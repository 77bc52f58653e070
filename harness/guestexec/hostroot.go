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

// HostRootArg is the first argument of this program if it is to become the server of this machine's
// files: see HostRootMain. The next argument is the directory that the server may change, or empty;
// it is then open as descriptor writableFD. The server's command line follows.
const HostRootArg = "__serve-root"

const writableFD = 100

// HostRootMain makes this process's view of this machine's files read-only, except for the
// directory args[0], and then executes the server. It returns only if that fails.
func HostRootMain(args []string) error {
	if len(args) < 2 {
		return errors.New("no server was named")
	}
	writable, server := args[0], args[1:]
	// Always create a mount namespace here: a process that wrongly assumed that it was in its own
	// would make the whole machine read-only. The locked thread is the one that executes the
	// server.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("mounts of its own: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mounts of its own: %w", err)
	}
	// The copy of the directory's mounts keeps their flags, so a mount that is read-only stays
	// read-only.
	kept := -1
	if writable != "" {
		var err error
		if kept, err = unix.OpenTree(unix.AT_FDCWD, writable, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE); err != nil {
			return fmt.Errorf("mount of %s: %w", writable, err)
		}
	}
	// mount_setattr(2) is new in Linux 5.12.
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &attr); err != nil {
		return fmt.Errorf("make this machine's files read-only (it needs Linux 5.12): %w", err)
	}
	if writable != "" {
		if err := unix.MoveMount(kept, "", unix.AT_FDCWD, writable, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("mount of %s: %w", writable, err)
		}
		// The directory is passed as a descriptor, because the server's options are separated by
		// commas and a path may contain some.
		dir, err := unix.Open(writable, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Dup3(dir, writableFD, 0)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", writable, err)
		}
	}
	// The server ends when QEMU closes the connection. If it does not, it dies with this program.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	return unix.Exec(server[0], server, os.Environ())
}

// rootServers are the names and paths of known virtiofsd programs: the one in Rust, in Debian since
// 13, and the one in C that came with QEMU until 7.2 (package qemu-system-common).
var rootServers = []string{"virtiofsd", "/usr/libexec/virtiofsd", "/usr/lib/virtiofsd", "/usr/lib/qemu/virtiofsd", "/usr/libexec/qemu/virtiofsd"}

// FindRootServer returns the path of the virtiofsd that can give guests this machine's root
// directory. If it returns an error, the path is that of a virtiofsd that cannot do so, or empty if
// this machine has none.
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

// canServeRoot returns nil if a server can give a guest this machine's root directory, or else the
// reason. The guest's overlayfs opens files with O_NOATIME, which only their owner and root may do.
// The server in C passes the flag on and does not fall back.
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

// fileServer is a running virtiofsd that serves one directory of this machine to one guest.
type fileServer struct {
	socket *os.File // for QEMU
	cmd    *exec.Cmd
	ended  chan struct{}
	log    strings.Builder // its output; read it only after ended is closed
}

// serverWait is how long a server may take to end after its guest.
const serverWait = 5 * time.Second

// serveRoot starts a server of this machine's root directory, read-only.
func serveRoot(self string) (*fileServer, error) {
	server, err := FindRootServer()
	if err != nil {
		return nil, err
	}
	return serve(self, server, "/", "")
}

// serveWritable starts a server of a directory that the guest may change. The server can change
// nothing else.
func serveWritable(self, dir string) (*fileServer, error) {
	server, err := findServer()
	if err != nil {
		return nil, fmt.Errorf("--rwdir %s: %w", dir, err)
	}
	return serve(self, server, fmt.Sprintf("/proc/self/fd/%d/.", writableFD), dir)
}

// serve starts a server. The caller closes it when the guest has ended. It creates no files, and
// leaves nothing behind if this program is killed: the server ends with the guest.
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
		// As root of a user namespace the server may create a mount namespace. It cannot create the
		// user namespace itself, because a process with threads cannot.
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

// old reports whether a server is the one in C, whose options differ.
func old(server string) bool { return strings.Contains(server, "/qemu/") }

// namelessSocket returns a listening socket and a socket connected to it. The kernel chooses an
// abstract name, so there is no file.
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

// close closes the socket and waits for the server to end. The guest must have ended.
func (fs *fileServer) close() {
	fs.socket.Close()
	select {
	case <-fs.ended:
	case <-time.After(serverWait):
		_ = unix.Kill(-fs.cmd.Process.Pid, unix.SIGKILL)
		<-fs.ended
	}
}

// blame adds the last line of the server's output to an error of the guest, if the server ended
// first.
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

// hasHostRoot returns nil if a guest with this kernel can have this machine's root directory.
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
