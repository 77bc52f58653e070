// Package inguest distinguishes a guest that the harness has booted from every other machine.
//
// The same program is the user's command and the init of guests. As init it mounts file systems,
// sets sysctls and powers the machine off, so it must not mistake another machine for a guest. A
// container proves nothing: any process can be PID 1, be root, and have any environment there. So
// the harness marks its guests in two places that only a kernel's command line reaches:
//
//   - [Param] is a parameter of the guest's kernel. Every process in every namespace sees it in
//     /proc/cmdline, which is always the running kernel's: a container sees the host's.
//   - [InitArg] follows "--" on that command line, so the kernel passes it to its init as an
//     argument. It tells the first process of a guest from the first process of a PID namespace in
//     that guest.
//
// [Check] requires the first, [CheckInit] both. Neither changes anything, even if /proc is not
// mounted.
package inguest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// Param is on the command line of every guest's kernel. Because of the dot the kernel takes it
	// for a parameter of a module that does not exist, and does not pass it to init.
	Param = "bpfreplay.agent=1"
	// InitArg is the argument with which a guest's kernel starts its init.
	InitArg = "__agent"
)

// ErrNotGuest is returned if something that only guests may do is asked for on another machine.
var ErrNotGuest = errors.New("this machine is not a guest of bpfreplay's: its kernel was booted without " + Param)

// IsInit reports whether the arguments of this process ask for the init of a guest. Use [CheckInit]
// to check that the process may be one.
func IsInit(args []string) bool { return isInit(args, os.Getpid()) }

// isInit also accepts InitArg as the last argument of PID 1. The kernel puts parameters that it
// does not know and that have no value before it (unknown_bootoption in init/main.c), such as one
// that only older kernels had.
func isInit(args []string, pid int) bool {
	if len(args) < 2 {
		return false
	}
	return args[1] == InitArg || pid == 1 && args[len(args)-1] == InitArg
}

// CheckInit returns nil if this process was started as the init of a guest, or else the reason.
func CheckInit(args []string) error {
	if !IsInit(args) {
		return fmt.Errorf("the argument %s is missing", InitArg)
	}
	if err := Check(); err != nil {
		return err
	}
	if pid := os.Getpid(); pid != 1 {
		return fmt.Errorf("this is process %d of a guest, and not its first", pid)
	}
	return nil
}

// Check returns nil if the running kernel is a guest's. The error is [ErrNotGuest], or the reason
// why Check could not tell.
func Check() error {
	line, err := commandLine()
	if err != nil {
		return fmt.Errorf("whether this machine is a guest of bpfreplay's: %w", err)
	}
	if !hasParam(line) {
		return ErrNotGuest
	}
	return nil
}

// hasParam reports whether a kernel's command line has Param before the arguments of init.
func hasParam(line string) bool {
	words := strings.Fields(line)
	if i := slices.Index(words, "--"); i >= 0 {
		words = words[:i]
	}
	return slices.Contains(words, Param)
}

// commandLine returns the command line of the running kernel. A guest's init runs before anything
// is mounted, so /proc may be missing. If something other than procfs is mounted there, commandLine
// returns an error.
func commandLine() (string, error) {
	f, err := os.Open("/proc/cmdline")
	if errors.Is(err, os.ErrNotExist) {
		f, err = openDetached()
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil {
		return "", fmt.Errorf("%s: %w", f.Name(), err)
	}
	if fs.Type != unix.PROC_SUPER_MAGIC {
		return "", fmt.Errorf("%s is not the kernel's", f.Name())
	}
	line, err := io.ReadAll(io.LimitReader(f, maxLine))
	return string(line), err
}

// maxLine is larger than COMMAND_LINE_SIZE of any architecture, in bytes.
const maxLine = 64 << 10

// openDetached opens the kernel's command line in a procfs that is not mounted in any directory
// (fsopen, Linux 5.2). The procfs goes away when the file is closed.
func openDetached() (*os.File, error) {
	fs, err := unix.Fsopen("proc", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("/proc is not mounted, and fsopen: %w", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("/proc is not mounted, and fsconfig: %w", err)
	}
	mount, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("/proc is not mounted, and fsmount: %w", err)
	}
	defer unix.Close(mount)
	fd, err := unix.Openat(mount, "cmdline", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("/proc is not mounted, and cmdline of another: %w", err)
	}
	return os.NewFile(uintptr(fd), "the command line of the kernel"), nil
}
