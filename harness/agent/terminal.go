package agent

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// startOnTerminal starts the command on a pseudo-terminal. The command leads a session with the
// terminal as its controlling terminal, so that the guest's kernel handles Ctrl-C and the like.
func startOnTerminal(command *wire.Command) (*process, error) {
	master, slave, err := openTerminal(command.Terminal)
	if err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	defer slave.Close()
	pid, err := start(command, []*os.File{slave, slave, slave}, &syscall.SysProcAttr{Setsid: true, Setctty: true})
	if err != nil {
		master.Close()
		return nil, err
	}
	return &process{pid: pid, stdin: master, output: []*os.File{master}}, nil
}

// openTerminal opens a pseudo-terminal (pts(4)). It opens the slave by ioctl (Linux 4.13), because
// the slave's name depends on what is mounted where.
func openTerminal(size *wire.Size) (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	conn, err := master.SyscallConn()
	if err != nil {
		master.Close()
		return nil, nil, err
	}
	var failed error
	err = conn.Control(func(fd uintptr) {
		if failed = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); failed != nil {
			return
		}
		peer, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
		if errno != 0 {
			failed = errno
			return
		}
		slave = os.NewFile(peer, "pts")
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		master.Close()
		return nil, nil, err
	}
	setSize(master, size)
	return master, slave, nil
}
