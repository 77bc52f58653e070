package wire

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/bpfreplay/bpfreplay/harness/effects"
	"github.com/bpfreplay/bpfreplay/harness/state"
)

// Hello is the agent's first line, and its answer to WarmUp and Resume.
type Hello struct {
	Release string `json:"release"` // uname -r
	Version string `json:"version"` // uname -v
	// Lacks are the preloaded modules that did not load, with the reasons.
	Lacks []string `json:"lacks,omitempty"`
	// Napped is how long the naps of a Resume took by the guest's clock.
	Napped time.Duration `json:"napped,omitempty"`
}

// WarmUp asks the agent to do in advance what would otherwise delay the first case. The guest is
// then saved, and every guest that is restored from it starts in that state.
type WarmUp struct {
	// Exercise: the cases will have CaseRequest.Exercise.
	Exercise bool `json:"exercise,omitempty"`
	// Engines are those of the coming cases, which now do their one-time work; none if that work is
	// to be timed.
	Engines []string `json:"engines,omitempty"`
	// Bpftool is CaseRequest.Bpftool.
	Bpftool string `json:"bpftool,omitempty"`
	// Exec: a program will be run, and no cases.
	Exec bool `json:"exec,omitempty"`
}

// Resume is the first message to a restored guest. The guest's clock stopped when it was saved, and
// its random numbers are those of other copies.
type Resume struct {
	Time    time.Time `json:"time"`
	Entropy []byte    `json:"entropy"` // at least 32 random bytes
	// Naps is how often the agent sleeps for Nap before it answers, which shows whether the guest's
	// timers work.
	Naps int `json:"naps,omitempty"`
}

// Nap is how long one of these sleeps is.
const Nap = 5 * time.Millisecond

// Request is what the host sends. Exactly one of its fields is set.
type Request struct {
	WarmUp *WarmUp      `json:"warm_up,omitempty"` // answered by a Hello
	Resume *Resume      `json:"resume,omitempty"`  // answered by a Hello
	Exec   *Command     `json:"exec,omitempty"`    // answered by Outputs
	Case   *CaseRequest `json:"case,omitempty"`    // answered by Messages
	Leaks  *LeakRequest `json:"leaks,omitempty"`   // answered by Messages
}

// LeakRequest asks the agent to wait until the kernel has freed what the cases with
// CaseRequest.DeferLeaks made.
type LeakRequest struct{}

// leaks is the name in the answer to a LeakRequest.
const leaks = "leaks"

// Name returns the name that the answer to a Case or Leaks has, too.
func (r *Request) Name() string {
	if r.Case != nil {
		return r.Case.Name
	}
	return leaks
}

// CaseRequest asks the agent to load an object with each engine.
type CaseRequest struct {
	Name    string   `json:"name"`
	File    string   `json:"file"`   // base name of the object
	Object  []byte   `json:"object"` // the file
	Engines []string `json:"engines"`
	Needs   []string `json:"needs,omitempty"`   // capabilities
	Modules bool     `json:"modules,omitempty"` // load the modules of the initramfs first
	Runs    []Run    `json:"runs,omitempty"`
	// Exercise: also run the programs with the inputs of package exercise, and attach them. The guest
	// must have no other use.
	Exercise bool `json:"exercise,omitempty"`
	// Skip are programs and maps that package exercise must not touch.
	Skip []string `json:"skip,omitempty"`
	// Mutate names a mutation of the loader program, for engine replay.
	Mutate string `json:"mutate,omitempty"`
	// Repeat is how often each engine loads the object, 0 means once. All loads except the last are
	// only timed.
	Repeat int `json:"repeat,omitempty"`
	// Fresh makes each repetition run in a new process, and excludes the last load from the times.
	Fresh bool `json:"fresh,omitempty"`
	// Bpftool is the path in the guest of the bpftool for libbpf's engines.
	Bpftool string `json:"bpftool,omitempty"`
	// Skeletons is the directory of the programs of the engines skel-go and skel-c. If empty it is
	// engine.GuestSkeletons.
	Skeletons string `json:"skeletons,omitempty"`
	// Patience is how long the host lets each engine take, 0 if unknown. A bpftool that hangs is
	// killed earlier, so that the guest survives.
	Patience time.Duration `json:"patience,omitempty"`
	// Fault names a fault to inject, see Faults.
	Fault string `json:"fault,omitempty"`
	// Replace are programs to load first, as targets of the object's freplace programs.
	Replace []Replaced `json:"replace,omitempty"`
	// Attach makes the engines that can attach do so on load.
	Attach bool `json:"attach,omitempty"`
	// Certs is Certs of engine.Object.
	Certs [][]byte `json:"certs,omitempty"`
	// Only and Autoload are the fields of engine.Object.
	Only     string `json:"only,omitempty"`
	Autoload bool   `json:"autoload,omitempty"`
	// DeferLeaks: do not wait until the kernel has freed what the engines made. The host must send a
	// LeakRequest before it ends the guest.
	DeferLeaks bool `json:"defer_leaks,omitempty"`
	// MemoryMiB is how much memory the guest must have at least. Only the host uses it.
	MemoryMiB int `json:"-"`
}

// ToolWait is how long bpftool may take for one command.
func (r *CaseRequest) ToolWait() time.Duration {
	return r.Patience / 4 * 3
}

// Replaced is the target of a freplace program of a case.
type Replaced struct {
	By      string `json:"by"`                // the freplace program
	File    string `json:"file"`              // base name of the object with the program
	Object  []byte `json:"object"`            // the file
	Program string `json:"program,omitempty"` // its name in that object; may be empty if there is only one
}

// Run asks for one BPF_PROG_TEST_RUN.
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

// Load is the result of one engine's load.
type Load struct {
	Engine      string       `json:"engine"`
	Version     string       `json:"version,omitempty"` // engine.Version
	Result      string       `json:"result"`            // OK, Refused, Unsupported, Broken
	Errno       string       `json:"errno,omitempty"`
	Detail      string       `json:"detail,omitempty"`      // the error, or the probe that says why it is unsupported
	Log         string       `json:"log,omitempty"`         // the end of the verifier's log
	Missing     string       `json:"missing,omitempty"`     // Unsupported: the capability
	Nanoseconds []int64      `json:"nanoseconds,omitempty"` // of the load itself, one for each repetition
	Opened      int64        `json:"opened,omitempty"`      // time to read the object and make a loader program
	State       *state.State `json:"state,omitempty"`
	After       *state.State `json:"after,omitempty"` // maps after the runs
	Runs        []Ran        `json:"runs,omitempty"`
	// Samples are the effects of programs that were run with the inputs of package exercise or
	// attached. There are several if that had to be repeated.
	Samples []effects.Sample `json:"samples,omitempty"`
	Leaks   []string         `json:"leaks,omitempty"` // what was not freed
	// Spent is the time spent in each phase of the load, in nanoseconds.
	Spent map[Phase]int64 `json:"spent,omitempty"`
	// Overdue: the engine's own process was given up after CaseRequest.ToolWait.
	Overdue bool `json:"overdue,omitempty"`
}

// Phase is a part of the agent's work for a load.
type Phase string

// Phases.
const (
	PhaseOpen     Phase = "open"     // reading the object, making a loader program
	PhaseLoad     Phase = "load"     // all loads, including timed ones
	PhaseCapture  Phase = "capture"  // reading the state
	PhaseExercise Phase = "exercise" // running and attaching programs
	PhaseRepeat   Phase = "repeat"   // loading and exercising once more, to tell noise from a difference
	PhaseFree     Phase = "free"     // waiting for the kernel to free what was loaded
)

// Spend adds the time since start to a phase.
func (l *Load) Spend(p Phase, start time.Time) {
	if l.Spent == nil {
		l.Spent = make(map[Phase]int64)
	}
	l.Spent[p] += time.Since(start).Nanoseconds()
}

// Ran is the result of one Run.
type Ran struct {
	Program string   `json:"program"`
	Errno   string   `json:"errno,omitempty"`
	Returns []uint32 `json:"returns,omitempty"` // one for each repetition
	Out     []byte   `json:"out,omitempty"`     // output data of the last repetition
}

// Answer answers a CaseRequest or a LeakRequest. The agent writes a line with BeginMark and the name
// into the kernel's log before the work, and one with EndMark after it.
type Answer struct {
	Name   string  `json:"name"`
	Probes []Probe `json:"probes,omitempty"`
	Loads  []Load  `json:"loads"`
	Late   []Leak  `json:"late,omitempty"` // answer to a LeakRequest
	// Freeing is how long the agent waited for the kernel to free what was loaded, in nanoseconds.
	Freeing int64 `json:"freeing,omitempty"`
}

// Leak is something that an engine's load of an earlier request left behind.
type Leak struct {
	Case   string `json:"case"`
	Engine string `json:"engine"`
	What   string `json:"what"`
}

// Prefixes of the lines in the kernel's log about a case. The name follows.
const (
	BeginMark = "bpfreplay: case "
	EndMark   = "bpfreplay: end of case "
)

// Check returns an error if an answer does not fit its request, a Case or Leaks. The peer is not
// trusted.
func (a *Answer) Check(r *Request) error {
	if a.Name != r.Name() {
		return fmt.Errorf("%w: an answer to %.60q, not to %q", ErrProtocol, a.Name, r.Name())
	}
	req := r.Case
	if req == nil {
		req = new(CaseRequest) // asks for no loads
	}
	if len(a.Loads) != len(req.Engines) {
		return fmt.Errorf("%w: %d loads, not %d", ErrProtocol, len(a.Loads), len(req.Engines))
	}
	for i := range a.Loads {
		l := &a.Loads[i]
		switch l.Result {
		case OK, Refused, Unsupported, Broken:
		default:
			return fmt.Errorf("%w: a load with result %.60q", ErrProtocol, l.Result)
		}
		if l.Engine != req.Engines[i] || len(l.Runs) > len(req.Runs) || l.Result == OK && l.State == nil {
			return fmt.Errorf("%w: load %d of %d is not as it was asked for", ErrProtocol, i+1, len(a.Loads))
		}
	}
	return nil
}

// Conn sends and receives messages, one per line.
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

// SendContents sends size bytes from r. It returns an error if r is shorter.
func (c *Conn) SendContents(r io.Reader, size int64) error {
	n, err := io.CopyN(struct{ io.Writer }{c.w}, r, size)
	if err == io.EOF {
		return fmt.Errorf("it became shorter while it was sent: %d of %d bytes", n, size)
	}
	return err
}

// Write sends raw bytes, which are not a message.
func (c *Conn) Write(b []byte) (int, error) { return c.w.Write(b) }

// Read reads raw bytes that follow a message, such as the contents of files.
func (c *Conn) Read(b []byte) (int, error) { return c.r.Read(b) }

// ErrProtocol means that received data is not a message of the protocol.
var ErrProtocol = errors.New("no message of the protocol")

// maxMessage bounds a message, in bytes. The states of the largest objects take a few MiB.
const maxMessage = 128 << 20

// Receive waits for one message and decodes it into v. If the data is not a message, the error
// wraps ErrProtocol.
func (c *Conn) Receive(v any) error {
	line, err := c.line()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(line, v); err != nil {
		return fmt.Errorf("%w: %w: %.60q", ErrProtocol, err, line)
	}
	return nil
}

// line reads a line. The peer is not trusted, so its length is bounded.
func (c *Conn) line() ([]byte, error) {
	var line []byte
	for {
		part, err := c.r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		case len(line) > maxMessage:
			return nil, fmt.Errorf("%w: a line of more than %d MiB without an end: %.60q", ErrProtocol, maxMessage>>20, line)
		}
	}
}

// Pending reports whether unsolicited data was received.
func (c *Conn) Pending() bool { return c.r.Buffered() > 0 }
