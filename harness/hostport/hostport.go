// Package hostport lets a guest reach chosen TCP ports of this machine's loopback, and nothing
// else.
//
// The guest has a network card that is connected to QEMU's user-mode network. That network forwards
// nothing (restrict=on) except the chosen ports. For each connection to one of them QEMU runs a
// command, which is this program again ([Main]). It passes the connection to a [Forwarder] and
// exits; the Forwarder connects it to the port. So all connections end with the Forwarder's
// process, and no process is left behind if that is killed.
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
	// GuestAddress is the guest's own address, with the length of the network's prefix.
	GuestAddress = "10.0.2.15/24"
	// HostAddress is the address at which the guest reaches the ports.
	HostAddress = "10.0.2.100"
	// HostName is the name of HostAddress in the guest's /etc/hosts.
	HostName = "host"
)

// Arg is the first argument of this program if it is to run [Main].
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
// ended. It creates no file: its socket has an abstract name, and it accepts connections only from
// processes of the same user. note is called with a line for each connection that a port refuses,
// possibly by several goroutines at once.
func Open(ports []int, note func(string)) (*Forwarder, error) {
	for i, p := range ports {
		if p < 1 || p > 65535 {
			return nil, fmt.Errorf("port %d: a TCP port is a number from 1 to 65535", p)
		}
		if slices.Contains(ports[:i], p) {
			return nil, fmt.Errorf("port %d is named twice", p)
		}
	}
	// With an empty name the kernel chooses one.
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("socket for a guest's connections: %w", err)
	}
	f := &Forwarder{ports: ports, note: note, listener: listener}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.running.Go(f.accept)
	return f, nil
}

// Rules returns QEMU's rules for the ports, as options of -netdev user. self is the path of this
// program.
func (f *Forwarder) Rules(self string) []string {
	var rules []string
	for _, port := range f.ports {
		command := strings.Join([]string{shellword.Quote(self), Arg, strings.TrimPrefix(f.listener.Addr().String(), "@"), strconv.Itoa(port)}, " ")
		// A doubled comma stands for a comma in QEMU's options.
		rules = append(rules, fmt.Sprintf("guestfwd=tcp:%s:%d-cmd:%s", HostAddress, port, strings.ReplaceAll(command, ",", ",,")))
	}
	return rules
}

// Close closes all connections and waits until their goroutines have ended.
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

// connect copies data between a guest and a port until both directions have ended. If nothing
// listens on the port, it returns at once, and the guest's connection is closed.
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

// copyHalf copies one direction of a connection, and then passes on its end.
func copyHalf(to, from net.Conn) {
	if _, err := io.Copy(to, from); err != nil {
		// This also ends the other direction.
		to.Close()
		from.Close()
		return
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// receive receives a connection, and the port that it is for, from Main.
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

// Main passes the connection that is this process's standard input to a forwarder. args are the
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
