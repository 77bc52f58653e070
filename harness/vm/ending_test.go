package vm

import (
	"encoding/json"
	"os/exec"
	"testing"

	"gotest.tools/v3/assert"
)

func TestJudge(t *testing.T) {
	const panicLine = "Kernel panic - not syncing: test"
	shutdown := func(reason string) qmpEvent {
		return qmpEvent{Name: "SHUTDOWN", Data: json.RawMessage(`{"guest": true, "reason": "` + reason + `"}`)}
	}
	panicked := qmpEvent{Name: "GUEST_PANICKED", Data: json.RawMessage(`{"action": "poweroff"}`)}

	for name, test := range map[string]struct {
		events  []qmpEvent
		console transcript
		ours    Reason
		exit    string // what QEMU does, in shell
		stderr  string
		reason  Reason
		cause   string
	}{
		"power off":              {events: []qmpEvent{shutdown("guest-shutdown")}, reason: PoweredOff},
		"reboot":                 {events: []qmpEvent{shutdown("guest-reset")}, console: transcript{restarting: true}, reason: Rebooted},
		"panic and reboot":       {events: []qmpEvent{shutdown("guest-reset")}, console: transcript{panic: panicLine}, reason: Panicked, cause: panicLine},
		"triple fault":           {events: []qmpEvent{shutdown("guest-reset")}, reason: Reset, cause: "no restart and no panic was announced, as after a triple fault"},
		"panic device":           {events: []qmpEvent{panicked, shutdown("guest-panic")}, exit: "exit 1", console: transcript{panic: panicLine}, reason: Panicked, cause: panicLine},
		"panic device, then cut": {events: []qmpEvent{panicked}, exit: "kill -9 $$", reason: Panicked},
		"panic, QMP lost":        {console: transcript{panic: panicLine}, reason: Panicked, cause: panicLine},
		"kill -9":                {exit: "kill -9 $$", reason: Killed, cause: "signal 9 (killed)"},
		"SIGTERM":                {events: []qmpEvent{shutdown("host-signal")}, reason: Killed, cause: "a signal asked QEMU to end"},
		"QEMU error":             {exit: "exit 1", stderr: "first\nqemu: cannot do that\n", reason: Failed, cause: "qemu: cannot do that"},
		"QEMU says nothing":      {exit: "exit 1", reason: Failed, cause: "exit status 1"},
		"unknown shutdown":       {events: []qmpEvent{shutdown("host-qmp-quit")}, reason: Failed, cause: "exit status 0"},
		"unreadable shutdown":    {events: []qmpEvent{{Name: "SHUTDOWN", Data: json.RawMessage(`[]`)}}, reason: Failed, cause: "exit status 0"},

		"silence, panic by our NMI": {
			events: []qmpEvent{shutdown("guest-reset")}, console: transcript{panic: panicLine, at: "f+0x1/0x2"},
			ours: Silent, reason: Silent, cause: "our cause; an NMI found it at f+0x1/0x2",
		},
		"no boot, deaf to the NMI": {ours: NoBoot, exit: "kill -9 $$", reason: NoBoot, cause: "our cause"},
		"closed":                   {ours: Closed, exit: "kill -9 $$", reason: Closed, cause: "our cause"},
		"closed while panicking":   {events: []qmpEvent{panicked}, ours: Closed, exit: "kill -9 $$", reason: Panicked},
		"power off untold":         {console: transcript{poweredOff: true}, ours: Closed, reason: PoweredOff},
		"power off, then killed":   {console: transcript{poweredOff: true}, exit: "kill -9 $$", reason: Killed, cause: "signal 9 (killed)"},
		"silence, only an address": {ours: Silent, console: transcript{address: "address 0x10"}, reason: Silent, cause: "our cause; an NMI found it at address 0x10"},
		"cancelled at power off":   {events: []qmpEvent{shutdown("guest-shutdown")}, ours: Cancelled, reason: PoweredOff},
	} {
		t.Run(name, func(t *testing.T) {
			qemu := exec.Command("sh", "-c", test.exit)
			_ = qemu.Run() // the status is what the test is about
			e := evidence{ours: test.ours, oursCause: "our cause", foundBy: nmi{}.words(), console: test.console, status: qemu.ProcessState, stderr: test.stderr}
			for _, ev := range test.events {
				e.observe(ev)
			}
			reason, cause := e.judge()
			assert.Equal(t, reason, test.reason)
			assert.Equal(t, cause, test.cause)
		})
	}
}

func TestEndingIsOneLine(t *testing.T) {
	assert.Error(t, &Ending{Reason: Panicked, Cause: "Kernel panic"}, "guest panicked: Kernel panic")
	assert.Error(t, &Ending{Reason: Closed}, "guest was closed")
	assert.Error(t, &Ending{Reason: Killed, Cause: "signal 9 (killed)"}, "QEMU was killed: signal 9 (killed)")
}
