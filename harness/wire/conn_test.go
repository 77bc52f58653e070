package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/state"
)

// endless sends the same text forever.
type endless struct {
	text string
	read int
}

func (e *endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = e.text[(e.read+i)%len(e.text)]
	}
	e.read += len(b)
	return len(b), nil
}

func (*endless) Write(b []byte) (int, error) { return len(b), nil }

func TestReceive(t *testing.T) {
	var wire bytes.Buffer
	c := NewConn(&wire)
	long := strings.Repeat("x", 1<<20)
	for _, name := range []string{"a", long, "b"} {
		assert.NilError(t, c.Send(&CaseRequest{Name: name}))
	}
	for i, name := range []string{"a", long, "b"} {
		var got CaseRequest
		assert.NilError(t, c.Receive(&got))
		assert.Equal(t, got.Name, name)
		assert.Equal(t, c.Pending(), i < 2)
	}
	assert.ErrorIs(t, c.Receive(&CaseRequest{}), io.EOF)
}

// Data that is not a message is told from a connection that failed, and its length is bounded.
func TestReceiveNonsense(t *testing.T) {
	for name, text := range map[string]string{
		"bytes": "\x00\xff\xfe", "lines": "never mind\n", "numbers": "1\n", "an array": "[]\n", "empty lines": "\n",
	} {
		src := &endless{text: text}
		err := NewConn(src).Receive(&Answer{})
		assert.Assert(t, errors.Is(err, ErrProtocol), "%s: %v", name, err)
		assert.Assert(t, len(err.Error()) < 500, err)
		assert.Assert(t, src.read <= maxMessage+1<<20, "%s: %d bytes", name, src.read)
	}
}

func TestCheckAnswer(t *testing.T) {
	req := &Request{Case: &CaseRequest{Name: "a", Engines: []string{"direct", "replay"}, Runs: []Run{{}}}}
	right := func() *Answer {
		return &Answer{Name: "a", Loads: []Load{
			{Engine: "direct", Result: OK, State: &state.State{}, Runs: []Ran{{}}}, {Engine: "replay", Result: Refused},
		}}
	}
	assert.NilError(t, right().Check(req))
	for name, spoil := range map[string]func(*Answer){
		"another case":     func(a *Answer) { a.Name = "b" },
		"nothing":          func(a *Answer) { *a = Answer{} },
		"a load too few":   func(a *Answer) { a.Loads = a.Loads[:1] },
		"another engine":   func(a *Answer) { a.Loads[1].Engine = "trace" },
		"another order":    func(a *Answer) { a.Loads[0], a.Loads[1] = a.Loads[1], a.Loads[0] },
		"no such result":   func(a *Answer) { a.Loads[1].Result = "fine" },
		"no state":         func(a *Answer) { a.Loads[0].State = nil },
		"a run too many":   func(a *Answer) { a.Loads[0].Runs = make([]Ran, 2) },
		"an empty message": func(a *Answer) { a.Loads = nil },
	} {
		a := right()
		spoil(a)
		assert.ErrorIs(t, a.Check(req), ErrProtocol, name)
	}
}
