package agent

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// feed passes the host's input to the program until the host reports the end of input. A separate
// goroutine writes to the program, so that the host is heard even if the program does not read.
// Window limits how much input waits.
func feed(c *wire.Conn, p *process, terminal bool, send func(*wire.Output) error) error {
	queue, more := make(chan []byte, wire.Window), true
	var writer sync.WaitGroup
	var unsent error
	writer.Go(func() { unsent = write(p.stdin, queue, terminal, send) })
	err := receiveInput(c, func(in *wire.Input) {
		if in.Size != nil && terminal {
			setSize(p.stdin, in.Size)
		}
		if len(in.Data) > 0 && more {
			queue <- in.Data
		}
		if in.Signal != 0 {
			// The program is the leader of its session and of its process group. If it has ended,
			// await reports that.
			_ = unix.Kill(-p.pid, in.Signal)
		}
		if in.Hangs {
			go hangs(p.pid, send)
		}
		if in.EOF && more {
			close(queue)
			more = false
		}
	})
	if more {
		close(queue)
	}
	p.stdin.Close() // a writer gets an error from now on
	writer.Wait()
	return errors.Join(err, unsent)
}

// write writes queued input to the program. It acknowledges input even if the program has closed
// its standard input or has ended.
func write(stdin *os.File, queue <-chan []byte, terminal bool, send func(*wire.Output) error) error {
	for b := range queue {
		_, err := stdin.Write(b)
		if errors.Is(err, os.ErrClosed) {
			return nil // the host does not wait for acknowledgements any more
		}
		if err := send(&wire.Output{Taken: true}); err != nil {
			return err
		}
	}
	if terminal {
		_, _ = stdin.Write([]byte{endOfTransmission})
		return nil
	}
	stdin.Close()
	return nil
}

// endOfTransmission ends the input from a terminal (Ctrl-D).
const endOfTransmission = 4

func receiveInput(c *wire.Conn, each func(*wire.Input)) error {
	for {
		var in wire.Input
		if err := c.Receive(&in); err != nil {
			return err
		}
		if in.Over {
			return nil
		}
		each(&in)
	}
}

func discardInput(c *wire.Conn) error { return receiveInput(c, func(*wire.Input) {}) }

func setSize(terminal *os.File, s *wire.Size) {
	conn, err := terminal.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Control(func(fd uintptr) {
		_ = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: s.Rows, Col: s.Columns})
	})
}
