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
	// tailLines is how much of the console an ending carries: a panic with its backtrace,
	// and what led to it.
	tailLines = 60
	// maxSplats is how many complaints are kept; the first ones matter most.
	maxSplats = 100
	// maxLine bounds a line of a guest that never sends a newline, in bytes.
	maxLine = 4096
)

// MaxConsole bounds the console of a guest, which is a file of the host's, in bytes.
const MaxConsole = 64 << 20

// A Splat is a line by which the guest's kernel complains, and what kind of complaint it is.
// A guest that goes on after one still has a kernel with a bug in it.
type Splat struct {
	// Kind is a word or two, for example "warning" or "soft lockup".
	Kind string
	// Line is the line as the console has it, without the time stamp.
	Line string
}

// SplatMemory is the kind of a line about memory that has run out.
const SplatMemory = "out of memory"

// splatKinds tells complaints by how the kernel words them. The first that matches gives the kind.
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

// classifyLine returns the complaint that a console line is.
func classifyLine(line string) (Splat, bool) {
	for _, k := range splatKinds {
		if k.pattern.MatchString(line) {
			return Splat{Kind: k.kind, Line: line}, true
		}
	}
	return Splat{}, false
}

var (
	// timeStamp is printk's, "[    1.234567] " and, with CONFIG_PRINTK_CALLER, "[    1.234567][    T1] ".
	timeStamp = regexp.MustCompile(`^\[ *\d+\.\d+\](\[ *[TC]\d+\])? `)
	// escapes are the terminal control sequences that firmware and boot code print.
	escapes = regexp.MustCompile(`\x1b(\[[0-9;?=]*[A-Za-z]|c)`)
	// instruction is the register dump's line that says where the processor was: of x86, arm64, riscv64,
	// powerpc and s390x.
	instruction = regexp.MustCompile(`^(?:RIP: [0-9a-f]{4}:|pc : |epc : |NIP \[[0-9a-f]+\] |Krnl PSW : [0-9a-f]+ [0-9a-f]+ \()([^\s)]+)`)
)

const (
	panicEnds  = "---[ end Kernel panic - not syncing"
	restarting = "reboot: Restarting system"
	poweredOff = "reboot: Power down"
)

// bareLine strips what surrounds the message on a console line.
func bareLine(line string) string {
	line = escapes.ReplaceAllString(line, "")
	line = strings.TrimRight(line, "\r\n")
	return timeStamp.ReplaceAllString(line, "")
}

// transcript is what has been learned from the console so far.
type transcript struct {
	partial []byte   // a line without its end
	last    []string // at most tailLines, oldest first
	splats  []Splat

	panic      string // the line that gives the first panic's reason
	panicEnded bool   // the kernel is done with panicking
	restarting bool   // the kernel announced a restart
	poweredOff bool   // the kernel announced that it switches the machine off
	at         string // the instruction in the first register dump since forgetInstruction
	address    string // where QEMU says that the processor is
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

// tail returns the last lines, an unfinished one included.
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
	broken bool // reading failed, and the transcript says so
	transcript
}

// openConsole truncates the caller's file, or makes one in memory.
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
		err = fmt.Errorf("console %s is not a regular file", path) // it is read back
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return &console{file: file}, nil
}

// poll reads what was added since the last call and reports whether that was anything.
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

// look returns what is known as of the last poll.
func (c *console) look() (t transcript) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t = c.transcript
	t.last = c.tail()
	t.partial = nil
	t.splats = append([]Splat(nil), c.splats...)
	return t
}

// forgetInstruction makes the next register dump the one that counts.
func (c *console) forgetInstruction() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = ""
}

// stands notes where QEMU says that the processor is.
func (c *console) stands(address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.address = address
}

// all returns everything that is in the file.
func (c *console) all() ([]byte, error) {
	return io.ReadAll(io.NewSectionReader(c.file, 0, math.MaxInt64))
}

// size is how much has been read, in bytes.
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
