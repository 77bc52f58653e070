package main

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/loader/skel"
)

// While the skeleton is open, a connection can use the congestion control, and its programs run.
func TestRegister(t *testing.T) {
	need.Root(t)
	need.BPF(t)
	if err := choose(t); !errors.Is(err, unix.ENOENT) {
		t.Fatalf("before: %v", err)
	}
	s, err := register()
	if step := (&skel.StepError{}); errors.As(err, &step) && step.Subject == "map slow" && step.Op == "MAP_CREATE" && errors.Is(err, unix.EINVAL) {
		t.Skipf("needs links of struct_ops maps (6.4): %v", err)
	}
	if err != nil {
		t.Fatalf("%+v", err)
	}
	if err := choose(t); err != nil {
		t.Errorf("while it is open: %v", err)
	}
	if s.Bss.Calls == 0 {
		t.Error("the programs have not run")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := choose(t); !errors.Is(err, unix.ENOENT) {
		t.Errorf("after: %v", err)
	}
}

// choose sends data over a connection that uses the congestion control.
func choose(t *testing.T) error {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c, err := l.Accept(); err == nil {
			_, _ = c.Read(make([]byte, 1))
			c.Close()
		}
	}()
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) {
			err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "bpf_slow")
		}), err)
	}}
	c, err := d.Dial("tcp4", l.Addr().String())
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = strings.NewReader("x").WriteTo(c)
	<-done
	return err
}
