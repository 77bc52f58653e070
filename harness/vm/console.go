package vm

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// tailLines is how many lines of the console an ending carries: enough for a panic, its
	// backtrace and what led to it.
	tailLines = 60
	// maxSplats is how many complaints are kept; the first ones matter most.
	maxSplats = 100
	// maxLine bounds a line of a guest that never sends a newline, in bytes.
	maxLine = 4096
)

// MaxConsole bounds a guest's console, which is a file on the host, in bytes.
const MaxConsole = 64 << 20

// A Splat is a line in which the guest's kernel reports a problem, and the kind of the problem. A
// guest may survive it, but its kernel has a bug.
type Splat struct {
	// Kind is one word or a few, for example "warning" or "soft lockup".
	Kind string
	// Line is the line of the console without its time stamp.
	Line string
}

// SplatMemory is the kind of a line that reports that memory ran out.
const SplatMemory = "out of memory"

// splatKinds classifies lines by the kernel's wording. The first match gives the kind.
var splatKinds = []struct {
	kind    string
	pattern *regexp.Regexp
}{
	{"panic", regexp.MustCompile(`^Kernel panic - not syncing`)},
	{"KASAN", regexp.MustCompile(`^BUG: KASAN:`)},
	{"soft lockup", regexp.MustCompile(`BUG: soft lockup - CPU#\d+ stuck`)},
	{"hard lockup", regexp.MustCompile(`Watchdog detected hard LOCKUP`)},
	{"bug", regexp.MustCompile(`^(BUG: |kernel BUG at )`)},
	{"oops", regexp.MustCompile(`^(Oops(: | - | ?\[)|Internal error: |Unable to handle kernel |general protection fault|divide error: |invalid opcode: )`)},
	{"RCU stall", regexp.MustCompile(`rcu: INFO: .* (detected stall|self-detected stall|detected expedited stalls)`)},
	{"hung task", regexp.MustCompile(`^INFO: task .* blocked for more than \d+ seconds`)},
	{"lockdep", regexp.MustCompile(`^WARNING: (possible |inconsistent lock|suspicious RCU|bad unlock)`)},
	{"warning", regexp.MustCompile(`^WARNING: (CPU: \d+ PID: \d+ at |\S+:\d+ at )`)},
	{"UBSAN", regexp.MustCompile(`^UBSAN: `)},
	{"leak", regexp.MustCompile(`^unreferenced object 0x`)},
	{SplatMemory, regexp.MustCompile(`Out of memory: Killed process|invoked oom-killer`)},
}

// classifyLine returns the splat of a console line, if it is one.
func classifyLine(line string) (Splat, bool) {
	for _, k := range splatKinds {
		if k.pattern.MatchString(line) {
			return Splat{Kind: k.kind, Line: line}, true
		}
	}
	return Splat{}, false
}

var (
	// timeStamp is printk's, "[    1.234567] " and, with CONFIG_PRINTK_CALLER, "[    1.234567][
	// T1] ".
	timeStamp = regexp.MustCompile(`^\[ *\d+\.\d+\](\[ *[TC]\d+\])? `)
	// escapes are the terminal control sequences that firmware and boot code print.
	escapes = regexp.MustCompile(`\x1b(\[[0-9;?=]*[A-Za-z]|c)`)
	// instruction matches the line of a register dump that shows the program counter, on x86,
	// arm64, riscv64, powerpc and s390x.
	instruction = regexp.MustCompile(`^(?:RIP: [0-9a-f]{4}:|pc : |epc : |NIP \[[0-9a-f]+\] |Krnl PSW : [0-9a-f]+ [0-9a-f]+ \()([^\s)]+)`)
)

const (
	panicEnds  = "---[ end Kernel panic - not syncing"
	restarting = "reboot: Restarting system"
	poweredOff = "reboot: Power down"
)

// bareLine strips escapes, the line ending and the time stamp from a console line.
func bareLine(line string) string {
	line = escapes.ReplaceAllString(line, "")
	line = strings.TrimRight(line, "\r\n")
	return timeStamp.ReplaceAllString(line, "")
}

// transcript is the result of parsing the console so far.
type transcript struct {
	partial []byte   // a line without its end
	last    []string // at most tailLines, oldest first
	splats  []Splat

	panic      string // the line that gives the first panic's reason
	panicEnded bool   // the kernel has printed the end of its panic
	restarting bool   // the kernel announced a restart
	poweredOff bool   // the kernel announced a power-off
	at         string // the instruction in the first register dump since forgetInstruction
	address    string // QEMU's program counter
}

func (t *transcript) write(data []byte) {
	for len(data) > 0 {
		end := bytes.IndexByte(data, '\n')
		if end < 0 {
			t.partial = append(t.partial, data...)
			if len(t.partial) > maxLine {
				t.endLine()
			}
			return
		}
		t.partial = append(t.partial, data[:end]...)
		data = data[end+1:]
		t.endLine()
	}
}

func (t *transcript) endLine() {
	raw := string(t.partial[:min(len(t.partial), maxLine)])
	t.partial = t.partial[:0]

	line := bareLine(raw)
	t.last = append(t.last, escapes.ReplaceAllString(strings.TrimRight(raw, "\r"), ""))
	if len(t.last) > tailLines {
		t.last = append(t.last[:0], t.last[len(t.last)-tailLines:]...)
	}

	if m := instruction.FindStringSubmatch(line); m != nil && t.at == "" {
		t.at = m[1]
	}
	if strings.HasPrefix(line, panicEnds) {
		t.panicEnded = true
	}
	if strings.HasPrefix(line, restarting) {
		t.restarting = true
	}
	if strings.HasPrefix(line, poweredOff) {
		t.poweredOff = true
	}
	splat, ok := classifyLine(line)
	if !ok {
		return
	}
	if len(t.splats) < maxSplats {
		t.splats = append(t.splats, splat)
	}
	if splat.Kind == "panic" && t.panic == "" {
		t.panic = line
	}
}

// tail returns the last lines, including an unfinished one.
func (t *transcript) tail() []string {
	lines := append([]string(nil), t.last...)
	if len(t.partial) > 0 {
		lines = append(lines, escapes.ReplaceAllString(string(t.partial), ""))
	}
	return lines
}

// console follows the file that QEMU writes the serial console to.
type console struct {
	mu     sync.Mutex
	file   *os.File
	offset int64
	broken bool // reading failed; the transcript says so
	transcript
}

// openConsole truncates and opens the caller's file, or makes one in memory if path is empty.
func openConsole(path string) (*console, error) {
	if path == "" {
		fd, err := unix.MemfdCreate("console", unix.MFD_CLOEXEC)
		if err != nil {
			return nil, fmt.Errorf("console in memory: %w", err)
		}
		return &console{file: os.NewFile(uintptr(fd), "console")}, nil
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("console %s is not a regular file", path) // poll reads it back
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return &console{file: file}, nil
}

// poll reads what was added since the last call and reports whether there was anything.
func (c *console) poll() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken {
		return false
	}
	before := c.offset
	buf := make([]byte, 32<<10)
	for {
		n, err := c.file.ReadAt(buf, c.offset)
		c.offset += int64(n)
		c.write(buf[:n])
		if err == nil {
			continue
		}
		if err != io.EOF {
			c.broken = true
			c.write(fmt.Appendf(nil, "\n(the console file cannot be read any further: %v)\n", err))
		}
		return c.offset > before
	}
}

// look returns a copy of the transcript as of the last poll.
func (c *console) look() (t transcript) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t = c.transcript
	t.last = c.tail()
	t.partial = nil
	t.splats = append([]Splat(nil), c.splats...)
	return t
}

// forgetInstruction clears the recorded instruction, so that the next register dump sets it.
func (c *console) forgetInstruction() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = ""
}

// stands records QEMU's program counter.
func (c *console) stands(address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.address = address
}

// all returns the whole content of the file.
func (c *console) all() ([]byte, error) {
	return io.ReadAll(io.NewSectionReader(c.file, 0, math.MaxInt64))
}

// size returns the number of bytes read so far.
func (c *console) size() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offset
}

func (c *console) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.file.Close()
}
