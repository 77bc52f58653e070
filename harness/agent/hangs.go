package agent

import (
	"bytes"
	"debug/buildinfo"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// dumpTime is how long a Go program may take to print its goroutines.
const dumpTime = 2 * time.Second

// hangs reports where the guest's processes wait. It also sends SIGQUIT to a Go program. The
// program then prints its goroutines, which tell more than kernel stacks, and ends.
func hangs(pid int, send func(*wire.Output) error) {
	// The main loop notices if the host cannot be reached.
	_ = send(&wire.Output{Hangs: &wire.Hangs{Lines: processes()}})
	if _, err := buildinfo.ReadFile(fmt.Sprintf("/proc/%d/exe", pid)); err == nil {
		_ = unix.Kill(pid, unix.SIGQUIT)
		time.Sleep(dumpTime)
	}
	_ = send(&wire.Output{Hangs: &wire.Hangs{Done: true}})
}

// maxThreads is how many threads of a process are shown.
const maxThreads = 8

// processes reports where in the kernel each thread waits, or that it runs, for all processes but
// this one and kernel threads.
func processes() []string {
	var lines []string
	names, _ := filepath.Glob("/proc/[0-9]*")
	slices.SortFunc(names, func(a, b string) int { return pidOf(a) - pidOf(b) })
	for _, dir := range names {
		command, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || len(command) == 0 || pidOf(dir) == os.Getpid() {
			continue
		}
		lines = append(lines, fmt.Sprintf("process %d: %s", pidOf(dir), bytes.TrimRight(bytes.ReplaceAll(command, []byte{0}, []byte{' '}), " ")))
		threads, _ := filepath.Glob(dir + "/task/*")
		for i, thread := range threads {
			if i == maxThreads {
				lines = append(lines, fmt.Sprintf("  and %d more threads", len(threads)-i))
				break
			}
			lines = append(lines, "  thread "+filepath.Base(thread)+" "+whereIs(thread))
		}
	}
	return lines
}

func pidOf(dir string) int {
	pid, _ := strconv.Atoi(filepath.Base(dir))
	return pid
}

// whereIs reports where a thread is. thread is its directory in /proc.
func whereIs(thread string) string {
	stat, err := os.ReadFile(filepath.Join(thread, "stat"))
	if err != nil {
		return "has ended"
	}
	// The state follows the name, which may contain parentheses.
	state := ""
	if i := bytes.LastIndexByte(stat, ')'); i >= 0 && i+2 < len(stat) {
		state = string(stat[i+2 : i+3])
	}
	if state == "R" {
		return "runs"
	}
	stack, _ := os.ReadFile(filepath.Join(thread, "stack"))
	var calls []string
	for line := range strings.Lines(string(stack)) {
		if _, call, ok := strings.Cut(strings.TrimSpace(line), "] "); ok {
			call, _, _ = strings.Cut(call, "+")
			calls = append(calls, call)
		}
	}
	if len(calls) == 0 {
		wchan, _ := os.ReadFile(filepath.Join(thread, "wchan"))
		calls = append(calls, string(wchan))
	}
	return fmt.Sprintf("waits (%s) in %s", state, strings.Join(calls, " < "))
}
