package vm

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
)

func TestClassifyLine(t *testing.T) {
	for _, test := range []struct{ line, kind string }{
		{"[    1.2] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100", "panic"},
		{"[    1.234567][    T1] Kernel panic - not syncing: VFS: Unable to mount root fs", "panic"},
		{"[   12.345678] BUG: kernel NULL pointer dereference, address: 0000000000000000", "bug"},
		{"[   12.345678] BUG: unable to handle page fault for address: ffffc90000000000", "bug"},
		{"[   12.345678] kernel BUG at kernel/bpf/verifier.c:123!", "bug"},
		{"[   12.345678] BUG: KASAN: slab-out-of-bounds in bpf_check+0x1/0x2", "KASAN"},
		{"[   12.345678] Oops: 0002 [#1] PREEMPT SMP NOPTI", "oops"},
		{"[   12.345678] Oops: general protection fault, probably for non-canonical address", "oops"},
		{"[   12.345678] general protection fault, probably for non-canonical address 0xdead", "oops"},
		{"[   26.1] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [init:1]", "soft lockup"},
		{"[   26.1] NMI watchdog: Watchdog detected hard LOCKUP on cpu 0", "hard lockup"},
		{"[   21.0] rcu: INFO: rcu_preempt self-detected stall on CPU", "RCU stall"},
		{"[   21.0] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", "RCU stall"},
		{"[  242.7] INFO: task agent:1 blocked for more than 120 seconds.", "hung task"},
		{"[    3.1] WARNING: CPU: 0 PID: 1 at kernel/bpf/core.c:10 bpf_x+0x1/0x2", "warning"},
		{"[    3.1] WARNING: kernel/bpf/core.c:10 at bpf_x+0x1/0x2, CPU#0: init/1", "warning"},
		{"[    3.1] WARNING: possible circular locking dependency detected", "lockdep"},
		{"[    3.1] WARNING: suspicious RCU usage", "lockdep"},
		{"[    3.1] UBSAN: array-index-out-of-bounds in kernel/bpf/core.c:1:2", "UBSAN"},
		{"[    9.9] Out of memory: Killed process 1 (init)", "out of memory"},
		{"\x1b[1;31m[    9.9] init invoked oom-killer: gfp_mask=0x0\r", "out of memory"},

		{"[    0.0] Command line: console=ttyS0 panic=-1 oops=panic unknown_nmi_panic", ""},
		{"[    0.0] Kernel command line: panic=-1", ""},
		{"[    2.0] ---[ end Kernel panic - not syncing: sysrq triggered crash ]---", ""},
		{"[    0.1] Spectre V2 : WARNING: Unprivileged eBPF is enabled", ""},
		{"[    0.1] rcu: Hierarchical RCU implementation.", ""},
		{"this test says BUG: nothing is wrong", ""},
		{"", ""},
	} {
		splat, _ := classifyLine(bareLine(test.line))
		assert.Equal(t, splat.Kind, test.kind, test.line)
	}
}

const panicLog = "SeaBIOS\x1bc\x1b[?7l\x1b[2J\r\n" +
	"[    0.000000] Linux version 6.12\r\n" +
	"[    2.000000] sysrq: Trigger a crash\r\n" +
	"[    2.000001] Kernel panic - not syncing: sysrq triggered crash\r\n" +
	"[    2.000002] RIP: 0010:sysrq_handle_crash+0x1a/0x20\r\n" +
	"[    2.000003] RIP: 0033:0x4cfd87\r\n" +
	"[    2.000004] Kernel panic - not syncing: a second one\r\n" +
	"[    2.000005] ---[ end Kernel panic - not syncing: sysrq triggered crash ]---\r\n" +
	"no newline"

// However the console's bytes are split, the transcript is the same.
func TestTranscript(t *testing.T) {
	for size := 1; size <= len(panicLog); size++ {
		var got transcript
		for rest := panicLog; rest != ""; {
			n := min(size, len(rest))
			got.write([]byte(rest[:n]))
			rest = rest[n:]
		}
		assert.Equal(t, got.panic, "Kernel panic - not syncing: sysrq triggered crash")
		assert.Equal(t, got.at, "sysrq_handle_crash+0x1a/0x20")
		assert.Assert(t, got.panicEnded)
		assert.Assert(t, !got.restarting)
		assert.Equal(t, len(got.splats), 2)
		tail := got.tail()
		assert.Equal(t, len(tail), 9)
		assert.Equal(t, tail[0], "SeaBIOS")
		assert.Equal(t, tail[1], "[    0.000000] Linux version 6.12")
		assert.Equal(t, tail[8], "no newline")
	}
}

func TestTranscriptIsBounded(t *testing.T) {
	var got transcript
	for i := range 1000 {
		got.write(fmt.Appendf(nil, "line %d\n", i))
	}
	assert.Equal(t, len(got.tail()), tailLines)
	assert.Equal(t, got.tail()[tailLines-1], "line 999")

	long := []byte(strings.Repeat("x", 3*maxLine))
	for range 100 {
		got.write(long)
	}
	assert.Equal(t, len(got.tail()), tailLines)
	for _, line := range got.tail() {
		assert.Assert(t, len(line) <= maxLine)
	}
}

func TestTranscriptKeepsFirstSplats(t *testing.T) {
	var got transcript
	for i := range 2 * maxSplats {
		got.write(fmt.Appendf(nil, "UBSAN: number %d\n", i))
	}
	got.write([]byte("Kernel panic - not syncing: late\n"))
	assert.Equal(t, len(got.splats), maxSplats)
	assert.Equal(t, got.splats[0].Line, "UBSAN: number 0")
	assert.Equal(t, got.panic, "Kernel panic - not syncing: late")
}

func TestConsoleFollowsItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "console")
	assert.NilError(t, os.WriteFile(path, []byte("from a run before\n"), 0o644))
	c, err := openConsole(path)
	assert.NilError(t, err)
	defer c.close()
	assert.Assert(t, !c.poll())

	w, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	assert.NilError(t, err)
	defer w.Close()
	for i := range 3 {
		_, err = fmt.Fprintf(w, "line %d\n", i)
		assert.NilError(t, err)
		assert.Assert(t, c.poll())
		assert.Assert(t, !c.poll())
	}
	assert.DeepEqual(t, c.look().last, []string{"line 0", "line 1", "line 2"})
}
