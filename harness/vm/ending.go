package vm

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// Reason is how a guest ended.
type Reason string

const (
	// PoweredOff: the guest switched itself off.
	PoweredOff Reason = "powered off"
	// Rebooted: the guest's kernel restarted the machine on request.
	Rebooted Reason = "rebooted"
	// Reset: the machine was reset although the guest's kernel announced neither a restart
	// nor a panic, as after a triple fault.
	Reset Reason = "reset"
	// Panicked: the guest's kernel panicked, as it does when PID 1 exits.
	Panicked Reason = "panicked"
	// NoBoot: the guest sent nothing on the port within [Config.BootTimeout].
	NoBoot Reason = "did not boot in time"
	// Silent: the guest sent and printed nothing for [Config.SilenceTimeout] during a [VM.Do].
	Silent Reason = "fell silent"
	// Overdue: the context of a [VM.Do] passed its deadline.
	Overdue Reason = "did not answer in time"
	// Killed: QEMU was killed with a signal that this package did not send.
	Killed Reason = "QEMU was killed"
	// Flooded: the guest printed more than [MaxConsole] bytes on its console.
	Flooded Reason = "flooded its console"
	// Garbled: the guest violated the protocol on the port. Only readers of the port use it; this
	// package does not know the protocol.
	Garbled Reason = "sent nonsense"
	// Failed: QEMU exited by itself, and not because of the guest.
	Failed Reason = "QEMU failed"
	// Cancelled: the context of [Start] or of a [VM.Do] was cancelled.
	Cancelled Reason = "was cancelled"
	// Closed: [VM.Close] was called.
	Closed Reason = "was closed"
)

// Hang reports whether one of the clocks expired.
func (r Reason) Hang() bool { return r == NoBoot || r == Silent || r == Overdue }

// Ending describes how a guest ended. As an error it is one line.
type Ending struct {
	Reason Reason
	// Cause is one line with details: the kernel's panic line, where a hung guest was found, or
	// QEMU's last output. It may be empty.
	Cause string
	// Console holds the last lines of the guest's console, with time stamps, at most 60.
	Console []string
	// Splats are the problems that the guest's kernel reported, at most 100, the first ones.
	Splats []Splat
	// QEMU is QEMU's standard output and error.
	QEMU string
	// Lived is the time from QEMU's start to its end.
	Lived time.Duration
}

func (e *Ending) Error() string {
	subject := "guest "
	if strings.HasPrefix(string(e.Reason), "QEMU") {
		subject = ""
	}
	if e.Cause == "" {
		return subject + string(e.Reason)
	}
	return subject + string(e.Reason) + ": " + e.Cause
}

// evidence collects what is known about an ending.
type evidence struct {
	ours       Reason // what this package did to the guest, empty if nothing
	oursCause  string
	foundBy    string // how the position of a hung guest was found, in words
	shutdown   string // QMP SHUTDOWN event's reason
	panicEvent bool   // QMP GUEST_PANICKED event
	console    transcript
	status     *os.ProcessState
	stderr     string
}

// observe records a QMP event.
func (e *evidence) observe(ev qmpEvent) {
	switch ev.Name {
	case "GUEST_PANICKED":
		e.panicEvent = true
	case "SHUTDOWN":
		var data struct {
			Reason string `json:"reason"` // ShutdownCause in QEMU's qapi/run-state.json
		}
		if err := json.Unmarshal(ev.Data, &data); err != nil {
			data.Reason = "unreadable"
		}
		if e.shutdown == "" {
			e.shutdown = data.Reason
		}
	}
}

// judge derives the reason and its cause from the evidence.
//
// An expired clock comes first, because our NMI causes the panic and the reset after it. The
// guest's own end comes before a close or a cancellation, which can only have met a dying guest.
// The exit status comes last: it is 0 for nearly everything.
func (e *evidence) judge() (Reason, string) {
	if e.ours.Hang() {
		return e.ours, e.whereItHung()
	}
	switch e.shutdown {
	case "guest-shutdown":
		return PoweredOff, ""
	case "guest-panic":
		return Panicked, e.console.panic
	case "guest-reset":
		return e.judgeReset()
	}
	if e.panicEvent {
		return Panicked, e.console.panic
	}
	// QEMU up to 9 sends no SHUTDOWN event when a riscv64 guest switches itself off.
	if e.console.poweredOff && e.status.Success() && e.shutdown == "" {
		return PoweredOff, ""
	}
	if e.ours != "" {
		return e.ours, e.oursCause
	}
	if e.console.panic != "" {
		return Panicked, e.console.panic
	}
	if ws, ok := e.status.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return Killed, fmt.Sprintf("signal %d (%s)", int(ws.Signal()), ws.Signal())
	}
	if e.shutdown == "host-signal" {
		return Killed, "a signal asked QEMU to end"
	}
	return Failed, e.lastWords()
}

func (e *evidence) judgeReset() (Reason, string) {
	switch {
	case e.panicEvent || e.console.panic != "":
		return Panicked, e.console.panic
	case e.console.restarting:
		return Rebooted, ""
	default:
		return Reset, "no restart and no panic was announced, as after a triple fault"
	}
}

func (e *evidence) whereItHung() string {
	at := cmp.Or(e.console.at, e.console.address)
	if at == "" {
		return e.oursCause
	}
	return e.oursCause + "; " + e.foundBy + at
}

// lastWords returns QEMU's last line of output, or else its exit status.
func (e *evidence) lastWords() string {
	if line := lastLine(e.stderr); line != "" {
		return line
	}
	return e.status.String()
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}
