package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bpfreplay/bpfreplay/harness/vm"
	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// Reply is the outcome of one request.
type Reply struct {
	Answer *wire.Answer // nil if the request failed
	Step   wire.Step    // the last one that the agent began
	// Console is what the guest printed while it handled the request. Splats are the complaints of
	// its kernel in Console; Late are those between the previous reply and this request.
	Console      []byte
	Splats, Late []vm.Splat
}

// Machine is a running guest and the connection to its agent. The caller ends it with End, or with
// VM.Close.
type Machine struct {
	VM       *vm.VM
	Conn     *wire.Conn
	seen     int64 // console offset after the last reply
	Restored bool  // from a saved guest, not booted
}

// Ask has the agent run a case. The reply is never nil: it has the console even if err is not
// nil. If the guest did not survive the request, or sent nonsense and was ended for it, the error
// is a [*vm.Ending].
func (m *Machine) Ask(ctx context.Context, req *wire.CaseRequest) (*Reply, error) {
	return m.ask(ctx, &wire.Request{Case: req}, req.Patience)
}

// Leaks asks for what cases with DeferLeaks left behind, which the answer's Late lists. It is
// otherwise like Ask; 0 is no limit.
func (m *Machine) Leaks(ctx context.Context, limit time.Duration) (*Reply, error) {
	return m.ask(ctx, &wire.Request{Leaks: new(wire.LeakRequest)}, limit)
}

// ask sends a request and waits for its answer; limit is for each engine.
func (m *Machine) ask(ctx context.Context, req *wire.Request, limit time.Duration) (*Reply, error) {
	clock := newClock(ctx, limit)
	defer clock.stop()
	var answer *wire.Answer
	err := m.VM.Do(clock.ctx, func(*vm.Port) error {
		if m.Conn.Pending() {
			return fmt.Errorf("%w: more than it was asked for before", wire.ErrProtocol)
		}
		if err := m.Conn.Send(req); err != nil {
			return err
		}
		if req.Case != nil && req.Case.Fault == wire.FaultKilled {
			m.VM.Kill()
		}
		for answer == nil {
			var msg wire.Message
			if err := m.Conn.Receive(&msg); err != nil {
				return err
			}
			if err := msg.Check(req); err != nil {
				return err
			}
			if answer = msg.Answer; answer == nil {
				clock.begin(*msg.Step)
			}
		}
		return nil
	})
	rep := m.Listen(req.Name(), err == nil)
	rep.Step = clock.at()
	if err == nil {
		rep.Answer = answer
		return rep, nil
	}
	if errors.Is(err, wire.ErrProtocol) {
		m.VM.Close()
		ending := *m.VM.Wait()
		ending.Reason, ending.Cause = vm.Garbled, err.Error()
		err = &ending
	}
	return rep, err
}

// markWait is how long Listen waits for the mark that the agent prints at the end of a case. The
// mark normally arrives before the answer, but the kernel may delay it.
const markWait = 500 * time.Millisecond

// Listen returns a reply with what the guest has printed since the previous reply, and no answer.
// If marked is true, it waits up to markWait for the end mark of the case.
func (m *Machine) Listen(name string, marked bool) *Reply {
	var text []byte
	var next int64
	for end := time.Now().Add(markWait); ; time.Sleep(time.Millisecond) {
		text, next = m.VM.Console(m.seen)
		if !marked || bytes.Contains(text, []byte(wire.EndMark+name)) || time.Now().After(end) {
			break
		}
	}
	m.seen = next
	rep := &Reply{Console: text}
	if before, after, ok := bytes.Cut(text, []byte(wire.BeginMark+name)); ok {
		rep.Late, rep.Console = vm.Complaints(before), after
	}
	rep.Splats = vm.Complaints(rep.Console)
	return rep
}

// Copied reports whether the guest was restored from a saved one.
func (m *Machine) Copied() bool { return m.Restored }

// End ends the guest and returns the complaints of its kernel since the last reply.
func (m *Machine) End() []vm.Splat {
	text, _ := m.VM.Console(m.seen)
	m.VM.Close()
	return vm.Complaints(text)
}

// bootMachine boots a guest and waits for its agent's hello.
func bootMachine(ctx context.Context, config vm.Config) (m *Machine, hello wire.Hello, err error) {
	guest, err := vm.Start(ctx, config)
	if err != nil {
		return nil, hello, err
	}
	defer func() {
		if err != nil {
			guest.Close()
		}
	}()
	m = &Machine{VM: guest, Conn: wire.NewConn(guest.Port())}
	err = guest.Do(ctx, func(*vm.Port) error { return m.Conn.Receive(&hello) })
	if err != nil {
		return nil, hello, err
	}
	if guest.BootTime() > config.BootTimeout {
		// The agent answered while package vm was ending the guest.
		guest.Close()
		late := *guest.Wait()
		late.Reason, late.Cause = vm.NoBoot, fmt.Sprintf("nothing on the port after %s", config.BootTimeout)
		return nil, hello, &late
	}
	return m, hello, nil
}

// consoleLines is how many lines of the console go into a report.
const consoleLines = 60

// LastLines returns the last lines of a console, as many as go into a report.
func LastLines(console []byte) []string {
	lines := strings.Split(strings.ReplaceAll(string(bytes.TrimSpace(console)), "\r", ""), "\n")
	return lines[max(len(lines)-consoleLines, 0):]
}
