package exercise

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// The trigger is a fixed list of system calls that make attached programs run. One thread makes all
// of them, in order.

// step is one step of the trigger. Its result is always the same, unless a program interferes.
type step struct {
	name    string
	packets bool // the step sends packets
	do      func(*Sandbox) string
}

var steps = []step{
	{"getpid", false, func(*Sandbox) string { return outcome(pid()) }},
	{"nanosleep", false, func(*Sandbox) string { return outcome(unix.Nanosleep(&unix.Timespec{Nsec: 1000}, nil)) }},
	{"open /dev/null", false, func(*Sandbox) string {
		return outcome(openClose("/dev/null", unix.O_RDWR, unix.Write, payload))
	}},
	{"open a file that is not there", false, func(*Sandbox) string {
		return outcome(openClose("/bpfreplay-no-such-file", unix.O_RDONLY, nil, nil))
	}},
	{"create and unlink", false, func(g *Sandbox) string { return outcome(g.createUnlink()) }},
	{"pipe", false, func(*Sandbox) string { return outcome(pipe()) }},
	{"kill with no signal", false, func(*Sandbox) string { return outcome(unix.Kill(unix.Getpid(), 0)) }},
	{"touch a page", false, func(*Sandbox) string { return outcome(touch()) }},
	{"sysctl", false, func(*Sandbox) string {
		return outcome(openClose("/proc/sys/kernel/ostype", unix.O_RDONLY, unix.Read, make([]byte, 16)))
	}},
	{"udp4", true, func(*Sandbox) string {
		return datagram(unix.AF_INET, &unix.SockaddrInet4{Port: udpPort, Addr: loopback4})
	}},
	{"udp6", true, func(*Sandbox) string {
		return datagram(unix.AF_INET6, &unix.SockaddrInet6{Port: udpPort, Addr: loopback6})
	}},
	{"tcp", true, func(*Sandbox) string { return connection("") }},
	{"exec", false, func(g *Sandbox) string { return outcome(g.exec()) }},
}

// runTrigger runs the wanted steps of the trigger and returns their results by name.
func (g *Sandbox) runTrigger(wanted func(step) bool) map[string]string {
	said := make(map[string]string)
	for _, s := range steps {
		if wanted(s) {
			said[s.name] = s.do(g)
		}
	}
	return said
}

func anyStep(step) bool { return true }

// onPackets reports whether programs of a type see only packets and sockets.
func onPackets(progType uapi.ProgType) bool {
	switch progType {
	case uapi.ProgSchedCls, uapi.ProgXDP, uapi.ProgCgroupSkb, uapi.ProgCgroupSock, uapi.ProgSockOps, uapi.ProgCgroupSockAddr, uapi.ProgFlowDissector,
		uapi.ProgCgroupSockopt, uapi.ProgSkLookup, uapi.ProgNetfilter:
		return true
	}
	return false
}

// outcome returns "ok" or the name of the errno.
func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	e, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return err.Error()
	}
	if name := unix.ErrnoName(e); name != "" {
		return name
	}
	return fmt.Sprintf("errno %d", int(e)) // ENOTSUPP is 524, and has no name outside the kernel
}

func pid() error {
	_, err := unix.Getpgid(unix.Getpid())
	return err
}

// openClose opens a file, reads or writes b with use unless that is nil, and closes it.
func openClose(path string, flags int, use func(fd int, b []byte) (int, error), b []byte) error {
	fd, err := unix.Openat(unix.AT_FDCWD, path, flags|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if use != nil {
		_, err = use(fd, b)
	}
	return err
}

func (g *Sandbox) createUnlink() error {
	path := filepath.Join(g.dir, "file")
	if err := openClose(path, unix.O_RDWR|unix.O_CREAT, nil, nil); err != nil {
		return err
	}
	return unix.Unlink(path)
}

func pipe() error {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return err
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	if _, err := unix.Write(p[1], payload); err != nil {
		return err
	}
	_, err := unix.Read(p[0], make([]byte, len(payload)))
	return err
}

func touch() error {
	b, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return err
	}
	b[0] = 1
	return unix.Munmap(b)
}

// exec executes the tiny program and waits for it.
func (g *Sandbox) exec() error {
	pid, err := syscall.ForkExec(g.tiny, []string{"tiny"}, &syscall.ProcAttr{Env: []string{}})
	if err != nil {
		return err
	}
	var status unix.WaitStatus
	for {
		_, err = unix.Wait4(pid, &status, 0, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err == nil && status != 0 {
		return fmt.Errorf("status %#x", uint32(status))
	}
	return err
}

// Ports on the loopback device. The selftests expect this TCP port.
const (
	udpPort = 17171
	tcpPort = 7777
)

var (
	loopback4 = [4]byte{127, 0, 0, 1}
	loopback6 = [16]byte{15: 1}
)

// packetWait is how long a packet on the loopback device may take. It usually arrives before the
// sending call returns, unless a kernel thread has to finish the work.
const packetWait = 10 * time.Millisecond

// arrives waits until there is something to read, up to packetWait.
func arrives(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, int(packetWait/time.Millisecond))
		if !errors.Is(err, unix.EINTR) {
			return err == nil && n > 0
		}
	}
}

const socketFlags = unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK

// datagram sends a packet to a new socket and returns what happens to it.
func datagram(family int, to unix.Sockaddr) string {
	receiver, err := unix.Socket(family, unix.SOCK_DGRAM|socketFlags, 0)
	if err != nil {
		return "socket " + outcome(err)
	}
	defer unix.Close(receiver)
	return datagramTo(receiver, family, to)
}

// datagramTo sends a packet to a socket, which it binds to an address, and returns what happens to
// it.
func datagramTo(receiver, family int, to unix.Sockaddr) string {
	if err := unix.Bind(receiver, to); err != nil {
		return "bind " + outcome(err)
	}
	sender, err := unix.Socket(family, unix.SOCK_DGRAM|socketFlags, 0)
	if err != nil {
		return "socket " + outcome(err)
	}
	defer unix.Close(sender)
	if err := unix.Sendto(sender, payload, 0, to); err != nil {
		return "sendto " + outcome(err)
	}
	if err := unix.Connect(sender, to); err != nil {
		return "connect " + outcome(err)
	}
	if _, err := unix.Getpeername(sender); err != nil {
		return "getpeername " + outcome(err)
	}
	if _, err := unix.GetsockoptInt(receiver, unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
		return "getsockopt " + outcome(err)
	}
	if err := unix.SetsockoptInt(receiver, unix.SOL_SOCKET, unix.SO_PRIORITY, 1); err != nil {
		return "setsockopt " + outcome(err)
	}
	if !arrives(receiver) {
		return "lost"
	}
	buf := make([]byte, 2*len(payload))
	n, _, err := unix.Recvfrom(receiver, buf, 0)
	if err != nil {
		return "recvfrom " + outcome(err)
	}
	return fmt.Sprintf("received %q", buf[:n])
}

// connection makes a TCP connection to this machine, sends a few bytes, and returns what happens.
// control is the name of the congestion control; "" means the default.
func connection(control string) string {
	to := &unix.SockaddrInet4{Port: tcpPort, Addr: loopback4}
	listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|socketFlags, 0)
	if err != nil {
		return "socket " + outcome(err)
	}
	defer unix.Close(listener)
	if err := unix.SetsockoptInt(listener, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return "setsockopt " + outcome(err)
	}
	if err := unix.Bind(listener, to); err != nil {
		return "bind " + outcome(err)
	}
	if err := unix.Listen(listener, 1); err != nil {
		return "listen " + outcome(err)
	}
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|socketFlags, 0)
	if err != nil {
		return "socket " + outcome(err)
	}
	defer unix.Close(client)
	// Close with a reset, so that the kernel has nothing left to send later.
	if err := unix.SetsockoptLinger(client, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return "setsockopt " + outcome(err)
	}
	if control != "" {
		if err := unix.SetsockoptString(client, unix.IPPROTO_TCP, unix.TCP_CONGESTION, control); err != nil {
			return "congestion control " + outcome(err)
		}
	}
	if err := unix.Connect(client, to); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return "connect " + outcome(err)
	}
	if !arrives(listener) {
		e, err := unix.GetsockoptInt(client, unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil || e == 0 {
			return "no connection"
		}
		return "no connection " + outcome(unix.Errno(e))
	}
	server, _, err := unix.Accept4(listener, socketFlags)
	if err != nil {
		return "accept " + outcome(err)
	}
	defer unix.Close(server)
	if _, err := unix.Write(client, payload); err != nil {
		return "write " + outcome(err)
	}
	if !arrives(server) {
		return "lost"
	}
	buf := make([]byte, 2*len(payload))
	n, err := unix.Read(server, buf)
	if err != nil {
		return "read " + outcome(err)
	}
	return fmt.Sprintf("received %q", buf[:n])
}
