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

// Hello is the agent's first line, and its answer to Ready and Wake.
type Hello struct {
	Release string `json:"release"` // uname -r
	Version string `json:"version"` // uname -v
	// Lacks are those of FirstModules that do not load, and why.
	Lacks []string `json:"lacks,omitempty"`
	// Napped is how long the naps of a Wake took by the guest's clock.
	Napped time.Duration `json:"napped,omitempty"`
}

// Ready asks the agent to do now what else the first case would wait for. The
// guest is then saved, and every guest that is restored from it begins there.
type Ready struct {
	// Behave: cases will be like those with Request.Behave.
	Behave bool `json:"behave,omitempty"`
	// Engines are those that cases will ask for, and that may do now what they do
	// once; none if the time of that counts.
	Engines []string `json:"engines,omitempty"`
	// Bpftool is Request.Bpftool.
	Bpftool string `json:"bpftool,omitempty"`
	// Exec: there will be a program to run, and no cases.
	Exec bool `json:"exec,omitempty"`
}

// Wake is the first message to a guest that was restored, in which no time has
// passed since it was saved, and which is a copy of others.
type Wake struct {
	Time    time.Time `json:"time"`
	Entropy []byte    `json:"entropy"` // random bytes, 32 at least
	// Naps is how often the agent sleeps before it answers, Nap long: see whether the guest's
	// timers are alive.
	Naps int `json:"naps,omitempty"`
}

// Nap is how long the agent sleeps at a time when it is asked to.
const Nap = 5 * time.Millisecond

// Request asks for one case, or for a program to be run.
type Request struct {
	// Ready and Wake are no cases, and the rest does not count then.
	Ready *Ready `json:"ready,omitempty"`
	Wake  *Wake  `json:"wake,omitempty"`

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
	// Behave: programs are run with inputs of package exercise's, too, and
	// attached. The guest is for nothing else.
	Behave bool `json:"behave,omitempty"`
	// Idle are programs and maps that package exercise is to leave alone.
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
	// Skeletons is the directory of the programs of engines skel-go and skel-c, empty
	// for engine.GuestSkeletons.
	Skeletons string `json:"skeletons,omitempty"`
	// Patience is for how many seconds the host waits for the answer, 0 if it does not
	// say. A bpftool that hangs is given up before that, so that it is named.
	Patience int `json:"patience,omitempty"`
	// Fault names a fault to be injected, see Faults.
	Fault string `json:"fault,omitempty"`
	// Replace are programs to load first, which freplace programs of the object replace.
	Replace []Replaced `json:"replace,omitempty"`
	// Attach has loads attach, by the engines that can.
	Attach bool `json:"attach,omitempty"`
	// Certs are those of engine.Object.
	Certs [][]byte `json:"certs,omitempty"`
	// Only and Autoload are those of engine.Object.
	Only     string `json:"only,omitempty"`
	Autoload bool   `json:"autoload,omitempty"`
	// Lazy: the answer does not wait until the kernel has freed what the engines
	// made. The host must ask with Settle before the guest goes.
	Lazy bool `json:"lazy,omitempty"`
	// Settle asks for that wait, and for nothing else.
	Settle bool `json:"settle,omitempty"`
}

// ToolWait is how long bpftool may take for one command.
func (r *Request) ToolWait() time.Duration {
	return time.Duration(r.Patience) * (time.Second * 3 / 4)
}

// Replaced is a program that a freplace program of a case replaces a function of.
type Replaced struct {
	By      string `json:"by"`                // the freplace program
	File    string `json:"file"`              // base name of the object with the program
	Object  []byte `json:"object"`            // the file
	Program string `json:"program,omitempty"` // in it; without a name, the only one
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
	// Samples are what programs did with inputs of package exercise's and while
	// they were attached, more than one if it had to be repeated.
	Samples []effects.Sample `json:"samples,omitempty"`
	Leaks   []string         `json:"leaks,omitempty"` // what was not given back
	// Spent is the time that went into the phases of the load, in nanoseconds.
	Spent map[Phase]int64 `json:"spent,omitempty"`
}

// Phase is something that the agent does with a load.
type Phase string

// Phases.
const (
	PhaseOpen     Phase = "open"     // reading the object, making a loader program
	PhaseLoad     Phase = "load"     // all loads, timed ones too
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

// Ran is what became of one Run.
type Ran struct {
	Program string   `json:"program"`
	Errno   string   `json:"errno,omitempty"`
	Returns []uint32 `json:"returns,omitempty"` // one a repetition
	Out     []byte   `json:"out,omitempty"`     // data after the last
}

// Answer answers a Request. Before its case, the agent writes a line into the
// kernel's log (BeginMark and the name), and after it another (EndMark).
type Answer struct {
	Name   string  `json:"name"`
	Probes []Probe `json:"probes,omitempty"`
	Loads  []Load  `json:"loads"`
	Late   []Leak  `json:"late,omitempty"` // answer to Settle
	// Freeing is how long the agent waited for the kernel to free what was loaded, in
	// nanoseconds.
	Freeing int64 `json:"freeing,omitempty"`
}

// Leak is what an engine's load of a former request left behind.
type Leak struct {
	Case   string `json:"case"`
	Engine string `json:"engine"`
	What   string `json:"what"`
}

// Lines in the kernel's log about a case, with its name behind.
const (
	BeginMark = "bpfreplay: case "
	EndMark   = "bpfreplay: end of case "
)

// Check reports what is wrong with an answer to a request, if its sender is not to
// be trusted.
func (a *Answer) Check(req *Request) error {
	if a.Name != req.Name {
		return fmt.Errorf("%w: an answer to %.60q, not to %q", ErrNonsense, a.Name, req.Name)
	}
	if len(a.Loads) != len(req.Engines) {
		return fmt.Errorf("%w: %d loads, not %d", ErrNonsense, len(a.Loads), len(req.Engines))
	}
	for i := range a.Loads {
		l := &a.Loads[i]
		switch l.Result {
		case OK, Refused, Unsupported, Broken:
		default:
			return fmt.Errorf("%w: a load with result %.60q", ErrNonsense, l.Result)
		}
		if l.Engine != req.Engines[i] || len(l.Runs) > len(req.Runs) || l.Result == OK && l.State == nil {
			return fmt.Errorf("%w: load %d of %d is not as it was asked for", ErrNonsense, i+1, len(a.Loads))
		}
	}
	return nil
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

// SendContents sends what r has, which is to be as long as was announced, in bytes.
func (c *Conn) SendContents(r io.Reader, size int64) error {
	n, err := io.CopyN(struct{ io.Writer }{c.w}, r, size)
	if err == io.EOF {
		return fmt.Errorf("it became shorter while it was sent: %d of %d bytes", n, size)
	}
	return err
}

// Write sends bytes that are no message.
func (c *Conn) Write(b []byte) (int, error) { return c.w.Write(b) }

// Read reads what follows a message, such as the contents of files.
func (c *Conn) Read(b []byte) (int, error) { return c.r.Read(b) }

// ErrNonsense is what came instead of a message.
var ErrNonsense = errors.New("no message of the protocol")

// maxMessage bounds a message, in bytes. States of the largest objects take a few
// MiB.
const maxMessage = 128 << 20

// Receive waits for one message. If what comes is no message, the error is ErrNonsense.
func (c *Conn) Receive(v any) error {
	line, err := c.line()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(line, v); err != nil {
		return fmt.Errorf("%w: %w: %.60q", ErrNonsense, err, line)
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
			return nil, fmt.Errorf("%w: a line of more than %d MiB without an end: %.60q", ErrNonsense, maxMessage>>20, line)
		}
	}
}

// Pending reports whether something was received without a request.
func (c *Conn) Pending() bool { return c.r.Buffered() > 0 }
