package agent

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// feed gives the program what the host sends until the host says that it is
// over. A program need not read, and the host has to be heard all the same, so
// somebody else writes; Window bounds what waits.
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
			// The program leads its session, and so its group. That it has ended is told elsewhere.
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

// write writes input for the program. What it does not want, because it has
// closed its input or has ended, is taken all the same.
func write(stdin *os.File, queue <-chan []byte, terminal bool, send func(*wire.Output) error) error {
	for b := range queue {
		_, err := stdin.Write(b)
		if errors.Is(err, os.ErrClosed) {
			return nil // nobody waits for an answer
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

// endOfTransmission is what ends the input from a terminal (Ctrl-D).
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
