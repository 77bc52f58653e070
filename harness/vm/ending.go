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

// Reason is how a guest came to its end.
type Reason string

const (
	// PoweredOff: the guest switched itself off, in good order.
	PoweredOff Reason = "powered off"
	// Rebooted: the guest's kernel restarted the machine on somebody's request.
	Rebooted Reason = "rebooted"
	// Reset: the machine was reset although the guest's kernel announced neither a restart
	// nor a panic, as after a triple fault.
	Reset Reason = "reset"
	// Panicked: the guest's kernel panicked. So it does when PID 1 exits.
	Panicked Reason = "panicked"
	// NoBoot: the guest sent nothing on the port within [Config.BootTimeout].
	NoBoot Reason = "did not boot in time"
	// Silent: the guest, while it was waited for, said nothing for [Config.SilenceTimeout].
	Silent Reason = "fell silent"
	// Overdue: the context of a [VM.Do] passed its deadline.
	Overdue Reason = "did not answer in time"
	// Killed: somebody else killed QEMU with a signal.
	Killed Reason = "QEMU was killed"
	// Flooded: the guest filled its console with more than [MaxConsole] bytes.
	Flooded Reason = "flooded its console"
	// Garbled: what the guest sent on the port is not what was agreed with it.
	// The reader of the port finds out; this package does not know.
	Garbled Reason = "sent nonsense"
	// Failed: QEMU ended of its own accord and not because the guest did.
	Failed Reason = "QEMU failed"
	// Cancelled: the context of [Start] or of a [VM.Do] was cancelled.
	Cancelled Reason = "was cancelled"
	// Closed: [VM.Close] was called.
	Closed Reason = "was closed"
)

// Hang reports whether one of our clocks expired.
func (r Reason) Hang() bool { return r == NoBoot || r == Silent || r == Overdue }

// Ending is how a guest came to its end. As an error it is one line.
type Ending struct {
	Reason Reason
	// Cause is the one line that says more: the kernel's panic line, where a guest that hung
	// was found, QEMU's last words. It may be empty.
	Cause string
	// Console holds the last lines of the guest's console, with time stamps, at most 60.
	Console []string
	// Splats are all complaints that the guest's kernel printed in its life.
	Splats []Splat
	// QEMU is what QEMU wrote on its standard error.
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

// evidence is what the witnesses of an ending say.
type evidence struct {
	ours       Reason // what we did to the guest, empty if nothing
	oursCause  string
	foundBy    string // what made a guest that hung say where it is, in words
	shutdown   string // QMP SHUTDOWN event's reason
	panicEvent bool   // QMP GUEST_PANICKED event
	console    transcript
	status     *os.ProcessState
	stderr     string
}

// observe takes down a QMP event.
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

// judge weighs the evidence and gives the reason and its cause.
//
// A clock of ours that expired comes first: the panic and the reset after it are the work of
// our NMI. The guest's own doing comes before a close or a cancellation, which can only
// have found it dying. The exit status comes last: it is 0 for nearly everything.
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
	// QEMU up to 9 does not tell of a riscv64 guest that switches itself off.
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

// lastWords is the last line that QEMU wrote, or its exit status.
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
