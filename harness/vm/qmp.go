package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// errQMPClosed means that QEMU closed the control connection, as it does when it ends.
var errQMPClosed = errors.New("QMP connection closed")

// QMPError is QEMU's error response to a QMP command.
type QMPError struct {
	Command     string `json:"-"`
	Class       string `json:"class"`
	Description string `json:"desc"`
}

func (e *QMPError) Error() string {
	return fmt.Sprintf("QMP %s: %s: %s", e.Command, e.Class, e.Description)
}

// qmpEvent is an asynchronous event from QEMU.
type qmpEvent struct {
	Name string
	Data json.RawMessage
}

// qmpMessage is any message from QEMU: a greeting, a response, an error or an event
// (docs/interop/qmp-spec in QEMU's sources).
type qmpMessage struct {
	Greeting *struct{}       `json:"QMP"`
	Return   json.RawMessage `json:"return"`
	Error    *QMPError       `json:"error"`
	ID       *uint64         `json:"id"`
	Event    string          `json:"event"`
	Data     json.RawMessage `json:"data"`
}

// qmpCommand is a message to QEMU.
type qmpCommand struct {
	Execute   string `json:"execute"`
	Arguments any    `json:"arguments,omitempty"`
	ID        uint64 `json:"id"`
}

// qmp is one QMP connection. Commands may be executed concurrently.
type qmp struct {
	conn    io.ReadWriteCloser
	onEvent func(qmpEvent)
	greeted chan struct{}
	// ended is closed when the connection is closed and every event has been handled.
	ended chan struct{}

	mu      sync.Mutex
	lastID  uint64
	pending map[uint64]chan qmpMessage
	err     error // why the connection ended
}

// newQMP starts reading from conn. onEvent is called for each event, in order, and must not block.
func newQMP(conn io.ReadWriteCloser, onEvent func(qmpEvent)) *qmp {
	q := &qmp{
		conn:    conn,
		onEvent: onEvent,
		greeted: make(chan struct{}),
		ended:   make(chan struct{}),
		pending: make(map[uint64]chan qmpMessage),
	}
	go q.read()
	return q
}

func (q *qmp) read() {
	defer close(q.ended)
	dec := json.NewDecoder(q.conn)
	greeted := false
	for {
		var msg qmpMessage
		if err := dec.Decode(&msg); err != nil {
			q.fail(err)
			return
		}
		switch {
		case msg.Greeting != nil:
			if !greeted {
				greeted = true
				close(q.greeted)
			}
		case msg.Event != "":
			q.onEvent(qmpEvent{Name: msg.Event, Data: msg.Data})
		case msg.ID != nil:
			q.answer(*msg.ID, msg)
		}
	}
}

// fail fails all pending commands.
func (q *qmp) fail(err error) {
	if !errors.As(err, new(*json.SyntaxError)) && !errors.As(err, new(*json.UnmarshalTypeError)) {
		// Whatever the error of the operating system is, the other end is gone.
		err = errQMPClosed
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.err = err
}

func (q *qmp) answer(id uint64, msg qmpMessage) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if ch, ok := q.pending[id]; ok {
		delete(q.pending, id)
		ch <- msg
	}
}

// handshake waits for the greeting and leaves capabilities negotiation mode.
func (q *qmp) handshake(ctx context.Context) error {
	select {
	case <-q.greeted:
	case <-q.ended:
		return fmt.Errorf("QMP greeting: %w", q.err)
	case <-ctx.Done():
		return fmt.Errorf("QMP greeting: %w", ctx.Err())
	}
	return q.execute(ctx, "qmp_capabilities", nil, nil)
}

// execute runs a command and decodes its response into result, unless result is nil.
func (q *qmp) execute(ctx context.Context, command string, arguments, result any) error {
	return q.call(ctx, command, arguments, result, func(line []byte) error {
		_, err := q.conn.Write(line)
		return err
	})
}

// give passes an open file to QEMU, which refers to it by name from now on.
func (q *qmp) give(ctx context.Context, name string, file *os.File) error {
	conn, ok := q.conn.(syscall.Conn)
	if !ok {
		return errors.New("QMP getfd: not a connection that files can be sent through")
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("QMP getfd: %w", err)
	}
	return q.call(ctx, "getfd", map[string]string{"fdname": name}, nil, func(line []byte) error {
		rights := unix.UnixRights(int(file.Fd()))
		var failed error
		err := raw.Write(func(fd uintptr) bool {
			failed = unix.Sendmsg(int(fd), line, rights, nil, 0)
			return !errors.Is(failed, unix.EAGAIN)
		})
		return errors.Join(err, failed)
	})
}

// call runs a command; send transmits it.
func (q *qmp) call(ctx context.Context, command string, arguments, result any, send func(line []byte) error) error {
	answer := make(chan qmpMessage, 1)
	q.mu.Lock()
	q.lastID++
	id := q.lastID
	q.pending[id] = answer
	q.mu.Unlock()
	defer func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		delete(q.pending, id)
	}()

	data, err := json.Marshal(qmpCommand{Execute: command, Arguments: arguments, ID: id})
	if err != nil {
		return fmt.Errorf("QMP %s: %w", command, err)
	}
	if err := send(append(data, '\n')); err != nil {
		return fmt.Errorf("QMP %s: %w", command, err)
	}

	select {
	case msg := <-answer:
		if msg.Error != nil {
			msg.Error.Command = command
			return msg.Error
		}
		if result == nil {
			return nil
		}
		if err := json.Unmarshal(msg.Return, result); err != nil {
			return fmt.Errorf("QMP %s: decode answer: %w", command, err)
		}
		return nil
	case <-q.ended:
		return fmt.Errorf("QMP %s: %w", command, q.err)
	case <-ctx.Done():
		return fmt.Errorf("QMP %s: %w", command, ctx.Err())
	}
}

// close ends the connection and waits for the last event to be handled.
func (q *qmp) close() {
	q.conn.Close()
	<-q.ended
}
