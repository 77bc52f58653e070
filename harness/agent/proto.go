package agent

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"

	"github.com/bpfreplay/bpfreplay/harness/behave"
	"github.com/bpfreplay/bpfreplay/harness/probe"
	"github.com/bpfreplay/bpfreplay/harness/state"
)

// Hello is the agent's first line.
type Hello struct {
	Release string `json:"release"` // uname -r
	Version string `json:"version"` // uname -v
}

// Request asks for one case, or for a program to be run.
type Request struct {
	// Exec is the program. The rest does not count then, and the answer is one
	// Output after another.
	Exec *Command `json:"exec,omitempty"`

	Name    string   `json:"name"`
	File    string   `json:"file"`   // base name of the object
	Object  []byte   `json:"object"` // the file
	Engines []string `json:"engines"`
	Needs   []string `json:"needs,omitempty"`   // capabilities
	Modules bool     `json:"modules,omitempty"` // load the modules of the initramfs first
	Runs    []Run    `json:"runs,omitempty"`
	// Behave: programs are run with inputs of package behave's, too, and
	// attached. The guest is for nothing else.
	Behave bool `json:"behave,omitempty"`
	// Idle are programs and maps that package behave is to leave alone.
	Idle []string `json:"idle,omitempty"`
	// Mutate names a mutation of the loader program, for engine replay.
	Mutate string `json:"mutate,omitempty"`
	// Repeat is how often each engine loads the object; all but the last are
	// only timed. 0 is once.
	Repeat int `json:"repeat,omitempty"`
	// Fresh times repetitions in a new process each, and leaves the last load
	// out of the times.
	Fresh bool `json:"fresh,omitempty"`
	// Bpftool is the guest's path of the bpftool that engines of libbpf drive.
	Bpftool string `json:"bpftool,omitempty"`
}

// Run is a BPF_PROG_TEST_RUN.
type Run struct {
	Program string `json:"program"`
	Data    []byte `json:"data,omitempty"`
	Context []byte `json:"context,omitempty"`
	Repeat  int    `json:"repeat,omitempty"` // runs, each with the same input
}

// Results of a load.
const (
	OK          = "ok"
	Refused     = "refused"
	Unsupported = "unsupported"
	Broken      = "broken"
)

// Load is what became of one engine's load.
type Load struct {
	Engine      string       `json:"engine"`
	Version     string       `json:"version,omitempty"` // engine.Version
	Result      string       `json:"result"`            // OK, Refused, Unsupported, Broken
	Errno       string       `json:"errno,omitempty"`
	Detail      string       `json:"detail,omitempty"`      // the error, or the probe that says why it is unsupported
	Log         string       `json:"log,omitempty"`         // the end of the verifier's log
	Missing     string       `json:"missing,omitempty"`     // Unsupported: the capability
	Nanoseconds []int64      `json:"nanoseconds,omitempty"` // of the load itself, one a repetition
	Opened      int64        `json:"opened,omitempty"`      // nanoseconds that it took to read the object, and to make a loader program
	State       *state.State `json:"state,omitempty"`
	After       *state.State `json:"after,omitempty"` // maps after the runs
	Runs        []Ran        `json:"runs,omitempty"`
	// Samples are what programs did with inputs of package behave's and while
	// they were attached, more than one if it had to be repeated.
	Samples []behave.Sample `json:"samples,omitempty"`
	Leaks   []string        `json:"leaks,omitempty"` // what was not given back
}

// Ran is what became of one Run.
type Ran struct {
	Program string   `json:"program"`
	Errno   string   `json:"errno,omitempty"`
	Returns []uint32 `json:"returns,omitempty"` // one a repetition
	Out     []byte   `json:"out,omitempty"`     // data after the last
}

// Answer answers a Request.
type Answer struct {
	Name   string         `json:"name"`
	Probes []probe.Result `json:"probes,omitempty"`
	Loads  []Load         `json:"loads"`
}

// Conn sends and receives messages, one a line.
type Conn struct {
	r *bufio.Reader
	w io.Writer
}

// NewConn returns a connection over rw.
func NewConn(rw io.ReadWriter) *Conn {
	return &Conn{r: bufio.NewReaderSize(rw, 64<<10), w: rw}
}

// Send sends one message.
func (c *Conn) Send(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("message to send: %w", err)
	}
	_, err = c.w.Write(append(b, '\n'))
	return err
}

// Receive waits for one message.
func (c *Conn) Receive(v any) error {
	line, err := c.r.ReadBytes('\n')
	if err != nil {
		return err
	}
	if err := json.Unmarshal(line, v); err != nil {
		return fmt.Errorf("message received: %w", err)
	}
	return nil
}
