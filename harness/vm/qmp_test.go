package vm

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"gotest.tools/v3/assert"
)

const greeting = `{"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 22}, "package": ""}, "capabilities": ["oob"]}}` + "\n"

// fakeQEMU is a QMP server: handle gets each command and writes any response.
func fakeQEMU(t *testing.T, hello string, handle func(w io.WriteCloser, command qmpCommand)) (*qmp, <-chan qmpEvent) {
	t.Helper()
	ours, theirs := net.Pipe()
	events := make(chan qmpEvent, 16)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		defer theirs.Close()
		if _, err := io.WriteString(theirs, hello); err != nil {
			return
		}
		commands := bufio.NewScanner(theirs)
		for commands.Scan() {
			var command qmpCommand
			if err := json.Unmarshal(commands.Bytes(), &command); err != nil {
				t.Errorf("client sent %q: %v", commands.Text(), err)
				return
			}
			handle(theirs, command)
		}
	}()
	q := newQMP(ours, func(ev qmpEvent) { events <- ev })
	t.Cleanup(func() {
		q.close()
		<-stopped
	})
	return q, events
}

func TestQMP(t *testing.T) {
	q, events := fakeQEMU(t, greeting, func(w io.WriteCloser, command qmpCommand) {
		switch command.Execute {
		case "query-status":
			// Events may come before the response, and so may responses that nobody waits for.
			fmt.Fprintf(w, `{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}}`+"\n")
			fmt.Fprintf(w, `{"return": {}, "id": 4711}`+"\n")
			fmt.Fprintf(w, `{"return": {"status": "running"}, "id": %d}`+"\n", command.ID)
		case "bad-answer":
			fmt.Fprintf(w, `{"return": [], "id": %d}`+"\n", command.ID)
		case "qmp_capabilities":
			fmt.Fprintf(w, `{"return": {}, "id": %d}`+"\n", command.ID)
		default:
			fmt.Fprintf(w, `{"error": {"class": "CommandNotFound", "desc": "The command %s has not been found"}, "id": %d}`+"\n", command.Execute, command.ID)
		}
	})
	ctx := t.Context()
	assert.NilError(t, q.handshake(ctx))

	var status struct{ Status string }
	assert.NilError(t, q.execute(ctx, "query-status", nil, &status))
	assert.Equal(t, status.Status, "running")
	assert.Equal(t, (<-events).Name, "SHUTDOWN")

	err := q.execute(ctx, "no-such-thing", map[string]int{"a": 1}, nil)
	var refused *QMPError
	assert.Assert(t, errors.As(err, &refused))
	assert.Error(t, err, "QMP no-such-thing: CommandNotFound: The command no-such-thing has not been found")

	assert.ErrorContains(t, q.execute(ctx, "bad-answer", nil, &status), "QMP bad-answer: decode answer")
	assert.Equal(t, len(q.pending), 0)
}

func TestQMPThatEnds(t *testing.T) {
	t.Run("before the greeting", func(t *testing.T) {
		ours, theirs := net.Pipe()
		theirs.Close()
		q := newQMP(ours, func(qmpEvent) {})
		assert.ErrorIs(t, q.handshake(t.Context()), errQMPClosed)
		q.close()
	})
	t.Run("in a command", func(t *testing.T) {
		q, _ := fakeQEMU(t, greeting, func(w io.WriteCloser, _ qmpCommand) { w.Close() })
		err := q.handshake(t.Context())
		assert.ErrorIs(t, err, errQMPClosed)
		assert.Error(t, err, "QMP qmp_capabilities: QMP connection closed")
		assert.ErrorContains(t, q.execute(t.Context(), "quit", nil, nil), "QMP quit: ")
	})
	t.Run("in the middle of a message", func(t *testing.T) {
		q, _ := fakeQEMU(t, greeting, func(w io.WriteCloser, _ qmpCommand) {
			io.WriteString(w, `{"return": {`)
			w.Close()
		})
		assert.ErrorIs(t, q.handshake(t.Context()), errQMPClosed)
	})
	t.Run("in something else", func(t *testing.T) {
		for _, text := range []string{"hello\n", `{"event": 1}`, `[]`} {
			q, _ := fakeQEMU(t, text, func(io.WriteCloser, qmpCommand) {})
			err := q.handshake(t.Context())
			assert.ErrorContains(t, err, "QMP greeting: ")
			assert.Assert(t, !errors.Is(err, errQMPClosed))
		}
	})
	t.Run("never", func(t *testing.T) {
		q, _ := fakeQEMU(t, "", func(io.WriteCloser, qmpCommand) {})
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		assert.ErrorIs(t, q.handshake(ctx), context.DeadlineExceeded)
	})
	t.Run("never in a command", func(t *testing.T) {
		q, _ := fakeQEMU(t, greeting, func(io.WriteCloser, qmpCommand) {})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		assert.ErrorIs(t, q.handshake(ctx), context.DeadlineExceeded)
		assert.Equal(t, len(q.pending), 0)
	})
}
