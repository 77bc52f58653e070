// Package inguest tells a guest that the harness booted from every other machine.
//
// One program is the command of a user and the init of guests. As init it mounts file
// systems, sets sysctls and switches the machine off, so nothing that merely looks like a
// guest may do: a process is PID 1 in any container, has root in many, and sees whatever
// environment it was started with. The harness therefore says so, in two places that only
// the command line of a kernel reaches:
//
//   - [Param] is a parameter of the guest's kernel. /proc/cmdline shows it to every
//     process, in every namespace, and it is the kernel's own: in a container it is the host's.
//   - [InitArg], behind "--" on that command line, is what the kernel hands to its init as
//     an argument. It tells the first process of a guest from the first process of a PID
//     namespace in that guest.
//
// [Check] needs the first, [CheckInit] both. Neither changes anything, also where /proc is not mounted.
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
	// Param is on the command line of each guest's kernel. The dot keeps the kernel from
	// passing it on to init: it is taken for a parameter of a module that is not there.
	Param = "bpfreplay.agent=1"
	// InitArg is the argument by which a guest's kernel starts its init.
	InitArg = "__agent"
)

// ErrNotGuest is why something that is for guests only is refused on another machine.
var ErrNotGuest = errors.New("this machine is not a guest of bpfreplay's: its kernel was booted without " + Param)

// IsInit reports whether the arguments of this process ask for the init of a guest.
// Whether it may be one is for [CheckInit].
func IsInit(args []string) bool { return isInit(args, os.Getpid()) }

// isInit looks at the last argument of the first process: before it the kernel puts each parameter
// without a value that it does not know (unknown_bootoption in init/main.c), such as one that an older kernel had.
func isInit(args []string, pid int) bool {
	if len(args) < 2 {
		return false
	}
	return args[1] == InitArg || pid == 1 && args[len(args)-1] == InitArg
}

// CheckInit returns nil if this process is the init of a guest and was started as that, or else why not.
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

// Check returns nil if the running kernel is a guest's. The error is [ErrNotGuest], or why it cannot be told.
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

// hasParam reports whether a kernel's command line has Param, before the arguments of init.
func hasParam(line string) bool {
	words := strings.Fields(line)
	if i := slices.Index(words, "--"); i >= 0 {
		words = words[:i]
	}
	return slices.Contains(words, Param)
}

// commandLine returns the command line of the running kernel. The kernel starts a guest's
// init before anything is mounted; what is at /proc is used if it is procfs.
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

// maxLine is more than any architecture's COMMAND_LINE_SIZE, in bytes.
const maxLine = 64 << 10

// openDetached opens the kernel's command line in a procfs that no directory leads to, and that is gone
// when the file is closed (fsopen, Linux 5.2).
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
