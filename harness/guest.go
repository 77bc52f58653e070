package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bpfreplay/bpfreplay/harness/agent"
	"github.com/bpfreplay/bpfreplay/harness/vm"
)

// reply is what came of a request.
type reply struct {
	answer *agent.Answer
	// console is what the guest printed meanwhile, splats are complaints of its
	// kernel in it, and late those since the reply before.
	console      []byte
	splats, late []vm.Splat
}

// machine is a guest on a virtual machine.
type machine struct {
	vm       *vm.VM
	conn     *agent.Conn
	seen     int64 // offset on the console behind the last reply
	restored bool  // and not booted
}

// ask has the agent run a request; see [vm.Ending] for what may become of the guest.
func (m *machine) ask(ctx context.Context, req *agent.Request) (*reply, error) {
	var answer agent.Answer
	err := m.vm.Do(ctx, func(*vm.Port) error {
		if m.conn.Pending() {
			return fmt.Errorf("%w: more than it was asked for before", agent.ErrNonsense)
		}
		if err := m.conn.Send(req); err != nil {
			return err
		}
		if req.Fault == agent.FaultKilled {
			m.vm.Kill()
		}
		if err := m.conn.Receive(&answer); err != nil {
			return err
		}
		return answer.Check(req)
	})
	rep := m.listen(req.Name, err == nil)
	if err == nil {
		rep.answer = &answer
		return rep, nil
	}
	if errors.Is(err, agent.ErrNonsense) {
		m.vm.Close()
		ending := *m.vm.Wait()
		ending.Reason, ending.Cause = vm.Garbled, err.Error()
		err = &ending
	}
	return rep, err
}

// markWait is how long the mark at the end of a case may be under way to the
// console. It is there before the answer is, unless the kernel holds it back.
const markWait = 500 * time.Millisecond

// listen is a reply with what the guest has printed since the last one.
func (m *machine) listen(name string, marked bool) *reply {
	var text []byte
	var next int64
	for end := time.Now().Add(markWait); ; time.Sleep(time.Millisecond) {
		text, next = m.vm.Console(m.seen)
		if !marked || bytes.Contains(text, []byte(agent.EndMark+name)) || time.Now().After(end) {
			break
		}
	}
	m.seen = next
	rep := &reply{console: text}
	if before, after, ok := bytes.Cut(text, []byte(agent.BeginMark+name)); ok {
		rep.late, rep.console = vm.Complaints(before), after
	}
	rep.splats = vm.Complaints(rep.console)
	return rep
}

// copied reports whether the guest was restored from a saved one.
func (m *machine) copied() bool { return m.restored }

// end ends the guest and returns what its kernel complained of since the last reply.
func (m *machine) end() []vm.Splat {
	text, _ := m.vm.Console(m.seen)
	m.vm.Close()
	return vm.Complaints(text)
}

// bootMachine boots a guest and waits for its agent.
func bootMachine(ctx context.Context, config vm.Config) (m *machine, hello agent.Hello, err error) {
	guest, err := vm.Start(ctx, config)
	if err != nil {
		return nil, hello, err
	}
	defer func() {
		if err != nil {
			guest.Close()
		}
	}()
	m = &machine{vm: guest, conn: agent.NewConn(guest.Port())}
	err = guest.Do(ctx, func(*vm.Port) error { return m.conn.Receive(&hello) })
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

// lastLines are the last lines of a console, as many as a report has.
func lastLines(console []byte) []string {
	lines := strings.Split(strings.ReplaceAll(string(bytes.TrimSpace(console)), "\r", ""), "\n")
	return lines[max(len(lines)-consoleLines, 0):]
}
