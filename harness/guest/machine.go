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

// Reply is what came of a request.
type Reply struct {
	Answer *wire.Answer
	// Console is what the guest printed meanwhile, splats are complaints of its
	// kernel in it, and late those since the reply before.
	Console      []byte
	Splats, Late []vm.Splat
}

// Machine is a guest on a virtual machine.
type Machine struct {
	VM       *vm.VM
	Conn     *wire.Conn
	seen     int64 // offset on the console behind the last reply
	Restored bool  // and not booted
}

// Ask has the agent run a request; see [vm.Ending] for what may become of the guest.
func (m *Machine) Ask(ctx context.Context, req *wire.Request) (*Reply, error) {
	var answer wire.Answer
	err := m.VM.Do(ctx, func(*vm.Port) error {
		if m.Conn.Pending() {
			return fmt.Errorf("%w: more than it was asked for before", wire.ErrNonsense)
		}
		if err := m.Conn.Send(req); err != nil {
			return err
		}
		if req.Fault == wire.FaultKilled {
			m.VM.Kill()
		}
		if err := m.Conn.Receive(&answer); err != nil {
			return err
		}
		return answer.Check(req)
	})
	rep := m.Listen(req.Name, err == nil)
	if err == nil {
		rep.Answer = &answer
		return rep, nil
	}
	if errors.Is(err, wire.ErrNonsense) {
		m.VM.Close()
		ending := *m.VM.Wait()
		ending.Reason, ending.Cause = vm.Garbled, err.Error()
		err = &ending
	}
	return rep, err
}

// markWait is how long the mark at the end of a case may be under way to the
// console. It is there before the answer is, unless the kernel holds it back.
const markWait = 500 * time.Millisecond

// Listen is a reply with what the guest has printed since the last one.
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

// End ends the guest and returns what its kernel complained of since the last reply.
func (m *Machine) End() []vm.Splat {
	text, _ := m.VM.Console(m.seen)
	m.VM.Close()
	return vm.Complaints(text)
}

// bootMachine boots a guest and waits for its agent.
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
		// It woke up while package vm was ending it.
		guest.Close()
		late := *guest.Wait()
		late.Reason, late.Cause = vm.NoBoot, fmt.Sprintf("nothing on the port after %s", config.BootTimeout)
		return nil, hello, &late
	}
	return m, hello, nil
}

// consoleLines is how many lines of the console a report has.
const consoleLines = 60

// LastLines are the last lines of a console, as many as a report has.
func LastLines(console []byte) []string {
	lines := strings.Split(strings.ReplaceAll(string(bytes.TrimSpace(console)), "\r", ""), "\n")
	return lines[max(len(lines)-consoleLines, 0):]
}
