package vm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Port is the host's end of the virtio-serial port [PortName]: a byte stream.
//
// Data that is written before the guest has opened its end is kept for it. After the guest has
// ended, reads first return what it had sent, then io.EOF if it powered off, or else its [*Ending]
// as the error. Reads and writes may run concurrently, as on a net.Conn.
type Port struct {
	file *os.File
	vm   *VM
}

// Read implements io.Reader.
func (p *Port) Read(b []byte) (int, error) {
	n, err := p.file.Read(b)
	if n > 0 {
		p.vm.heard()
	}
	return n, p.explain(err)
}

// Write implements io.Writer. It blocks while the guest does not read.
func (p *Port) Write(b []byte) (int, error) {
	n, err := p.file.Write(b)
	return n, p.explain(err)
}

// SetDeadline sets the time after which reads and writes return os.ErrDeadlineExceeded. The guest
// lives on; for a deadline that ends it use the context of [VM.Do].
func (p *Port) SetDeadline(t time.Time) error { return p.file.SetDeadline(t) }

// SetReadDeadline is SetDeadline for reads only.
func (p *Port) SetReadDeadline(t time.Time) error { return p.file.SetReadDeadline(t) }

// Close closes the host's end only. The guest lives on, and sees an end of file.
func (p *Port) Close() error {
	if err := p.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// explain replaces the error at the end of the stream by the guest's ending.
func (p *Port) explain(err error) error {
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if errors.Is(err, os.ErrClosed) && p.vm.Ending() == nil {
		return err
	}
	// QEMU has closed its end. It only does so when it exits.
	ending := p.vm.expectEnd()
	if ending.Reason == PoweredOff {
		return io.EOF
	}
	return ending
}

// readable reports whether the guest has sent something that nobody has read yet.
func (p *Port) readable() bool {
	conn, err := p.file.SyscallConn()
	if err != nil {
		return false
	}
	waiting := 0
	err = conn.Control(func(fd uintptr) {
		waiting, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ)
	})
	return err == nil && waiting > 0
}

// socketPair makes a connected pair: our end, which takes deadlines, and the end for the child.
func socketPair(name string) (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socket pair for %s: %w", name, err)
	}
	// Go's poller only takes non-blocking descriptors.
	if err := unix.SetNonblock(fds[0], true); err != nil {
		unix.Close(fds[0])
		unix.Close(fds[1])
		return nil, nil, fmt.Errorf("socket pair for %s: %w", name, err)
	}
	return os.NewFile(uintptr(fds[0]), name), os.NewFile(uintptr(fds[1]), name), nil
}
