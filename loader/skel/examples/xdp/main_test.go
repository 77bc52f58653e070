package main

import (
	"errors"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/need"
)

// Filter counts a packet on the loopback interface, and drops it if its protocol is the one to
// drop.
func TestAttach(t *testing.T) {
	need.Root(t)
	need.BPF(t)
	runtime.LockOSThread() // never unlocked: the thread is in a network namespace of its own
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	up(t)
	for _, drop := range []uint8{0, unix.IPPROTO_UDP} {
		s, l, err := attach("lo", drop)
		if err != nil {
			t.Fatalf("%+v", err)
		}
		if arrived := send(t); arrived != (drop == 0) {
			t.Errorf("drop %d: a packet arrived: %v", drop, arrived)
		}
		var traffic FilterTraffic
		if err := s.Maps.Protocols.Lookup(uint8(unix.IPPROTO_UDP), &traffic); err != nil || traffic.Packets != 1 || traffic.Bytes != 14+20+8+5 {
			t.Errorf("drop %d: %+v, %v", drop, traffic, err)
		}
		if err := errors.Join(l.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	}
}

// up brings the loopback interface up.
func up(t *testing.T) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	req.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		t.Fatal(err)
	}
}

// send sends a packet to itself and reports whether it arrives. Loopback delivers it before send
// returns, or in a softirq. If the packet must not arrive, send waits for a timeout.
func send(t *testing.T) bool {
	t.Helper()
	to, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	from, err := net.Dial("udp4", to.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	if _, err := from.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := to.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	_, _, err = to.ReadFrom(make([]byte, 16))
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	return err == nil
}
