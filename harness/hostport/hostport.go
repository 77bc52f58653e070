// Package hostport lets a guest reach chosen TCP ports of this machine's loopback, and nothing else.
//
// The guest has a network card whose other end is QEMU's user-mode network, which forwards nothing
// (restrict=on) but the chosen ports. For each connection to one of them QEMU runs a command. That
// command is this program again ([Main]): it hands the connection over to a [Forwarder], which
// connects it to the port, and exits. So each connection ends with the forwarder's process, and no
// process is left when that is killed.
package hostport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/shellword"
)

// Addresses on the guest's network. The guest has no route to anywhere else.
const (
	// GuestAddress is the guest's own, with the length of the network's prefix.
	GuestAddress = "10.0.2.15/24"
	// HostAddress is the address at which the guest reaches the ports.
	HostAddress = "10.0.2.100"
	// HostName is the name for it in the guest's /etc/hosts.
	HostName = "host"
)

// Arg is the first argument of this program when it is to run [Main].
const Arg = "__host-port"

// A Forwarder connects guests to ports. The zero value is not usable: see [Open].
type Forwarder struct {
	ports    []int
	note     func(string)
	listener *net.UnixListener
	ctx      context.Context
	cancel   context.CancelFunc
	running  sync.WaitGroup
}

// Open starts a forwarder for these ports of the loopback. The caller closes it when the guest has
// gone. It makes no file: the socket at which it takes connections has a name that only the kernel
// keeps, and it takes them from processes of the same user only. note is called with a line for each
// connection that a port refuses, perhaps by several goroutines at once.
func Open(ports []int, note func(string)) (*Forwarder, error) {
	for i, p := range ports {
		if p < 1 || p > 65535 {
			return nil, fmt.Errorf("port %d: a TCP port is a number from 1 to 65535", p)
		}
		if slices.Contains(ports[:i], p) {
			return nil, fmt.Errorf("port %d is named twice", p)
		}
	}
	// An empty name has the kernel choose one.
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("socket for a guest's connections: %w", err)
	}
	f := &Forwarder{ports: ports, note: note, listener: listener}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.running.Go(f.accept)
	return f, nil
}

// Rules are QEMU's rules for the ports, as options of -netdev user. self is the path of this program.
func (f *Forwarder) Rules(self string) []string {
	var rules []string
	for _, port := range f.ports {
		command := strings.Join([]string{shellword.Quote(self), Arg, strings.TrimPrefix(f.listener.Addr().String(), "@"), strconv.Itoa(port)}, " ")
		// QEMU takes two commas for one.
		rules = append(rules, fmt.Sprintf("guestfwd=tcp:%s:%d-cmd:%s", HostAddress, port, strings.ReplaceAll(command, ",", ",,")))
	}
	return rules
}

// Close ends all connections and waits until they have ended.
func (f *Forwarder) Close() error {
	f.cancel()
	err := f.listener.Close()
	f.running.Wait()
	return err
}

func (f *Forwarder) accept() {
	for {
		c, err := f.listener.AcceptUnix()
		if err != nil {
			return // closed
		}
		f.running.Go(func() {
			guest, port, err := receive(c)
			c.Close()
			if err != nil {
				return
			}
			defer guest.Close()
			if slices.Contains(f.ports, port) {
				f.connect(guest, port)
			}
		})
	}
}

// connect connects a guest with a port until one of them has closed its end. If nothing listens at
// the port the guest sees its connection closed.
func (f *Forwarder) connect(guest net.Conn, port int) {
	var d net.Dialer
	server, err := d.DialContext(f.ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		server, err = d.DialContext(f.ctx, "tcp", net.JoinHostPort("::1", strconv.Itoa(port)))
	}
	if err != nil {
		if f.ctx.Err() == nil {
			f.note(fmt.Sprintf("the guest asked for port %d of this machine: %v", port, err))
		}
		return
	}
	defer server.Close()
	stop := context.AfterFunc(f.ctx, func() { server.Close(); guest.Close() })
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { copyHalf(server, guest) })
	both.Go(func() { copyHalf(guest, server) })
	both.Wait()
}

// copyHalf copies one direction of a connection, and its end.
func copyHalf(to, from net.Conn) {
	if _, err := io.Copy(to, from); err != nil {
		// The other direction ends, too.
		to.Close()
		from.Close()
		return
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// receive takes over a connection and the port that it is for.
func receive(c *net.UnixConn) (guest net.Conn, port int, err error) {
	if err := sameUser(c); err != nil {
		return nil, 0, err
	}
	text, control := make([]byte, 16), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := c.ReadMsgUnix(text, control)
	if err != nil {
		return nil, 0, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:oobn])
	if err != nil {
		return nil, 0, err
	}
	if len(messages) != 1 {
		return nil, 0, errors.New("no connection came")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, 0, err
	}
	file := os.NewFile(uintptr(fds[0]), "guest")
	defer file.Close()
	if port, err = strconv.Atoi(string(text[:n])); err != nil {
		return nil, 0, err
	}
	guest, err = net.FileConn(file)
	return guest, port, err
}

func sameUser(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	if int(cred.Uid) != os.Geteuid() {
		return fmt.Errorf("a process of user %d", cred.Uid)
	}
	return nil
}

// Main hands the connection that is this process's standard input over to a forwarder. args are the
// name of the forwarder's socket and the port.
func Main(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("%s: a socket and a port are needed", Arg)
	}
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: "@" + args[0], Net: "unix"})
	if err != nil {
		return err
	}
	defer c.Close()
	_, _, err = c.WriteMsgUnix([]byte(args[1]), unix.UnixRights(0), nil)
	return err
}
