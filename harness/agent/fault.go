package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/inguest"
	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// Fault makes a guest fail on purpose, before a case or instead of it. The host must survive the
// fault and name it.
type Fault struct {
	Name  string
	About string
	// inject causes the fault. If it returns nil, the case runs normally.
	inject func(c *wire.Conn) error
}

// Faults returns all faults.
func Faults() []Fault {
	return []Fault{
		{"panic", "the kernel panics", trigger("c")},
		{"oops", "a BPF program makes the kernel follow a bad pointer (5.7 and up)", oops},
		{"soft-lockup", "a BPF program does not let go of the processor (5.17 and up)", lockUp},
		{"out-of-memory", "the agent takes all memory", takeMemory},
		{"full-disk", "no file in the guest can grow any more; the case runs", fillDisk},
		{"garbage", "the agent answers with bytes that mean nothing", func(c *wire.Conn) error { return send(c, "\x00\xff{]garbage\n", 1) }},
		{"other-answer", "the agent answers something that was not asked", func(c *wire.Conn) error { return send(c, `{"answer":{"name":"another case","loads":[]}}`+"\n", 1) }},
		{"flood", "the agent sends line after line without end", func(c *wire.Conn) error { return send(c, "{}\n", 0) }},
		{"flood-line", "the agent sends one line without end", func(c *wire.Conn) error { return send(c, "flood ", 0) }},
		{"flood-console", "the guest prints without end", floodConsole},
		{"drip", "the agent answers byte by byte, and never ends", drip},
		{"reset", "the machine is reset, unannounced", trigger("b")},
		{"reboot", "the guest restarts", func(*wire.Conn) error { return reboot(unix.LINUX_REBOOT_CMD_RESTART) }},
		{"power-off", "the guest switches itself off", func(*wire.Conn) error { return reboot(unix.LINUX_REBOOT_CMD_POWER_OFF) }},
		{wire.FaultKilled, "somebody kills QEMU", func(*wire.Conn) error { select {} }},
		{"exit", "the agent ends", func(*wire.Conn) error { os.Exit(0); return nil }},
		{"hang", "the case never ends, in user space", func(*wire.Conn) error {
			for i := 0; ; i++ { // busy, and never asleep
			}
		}},
		{"hang-kernel", "the case never ends, in the kernel", hangKernel},
		{"kasan", "the kernel's log has a report of KASAN; the case runs", complain("BUG: KASAN: use-after-free in bpf_fault+0x0/0x0")},
		{"lockdep", "the kernel's log has a report of lockdep; the case runs", complain("WARNING: possible circular locking dependency detected")},
		{"warning", "the kernel's log has a warning; the case runs", complain("WARNING: CPU: 0 PID: 1 at kernel/bpf/fault.c:1 bpf_fault+0x0/0x0")},
	}
}

// FindFault returns the fault with this name.
func FindFault(name string) (*Fault, error) {
	var names []string
	for _, f := range Faults() {
		if f.Name == name {
			return &f, nil
		}
		names = append(names, f.Name)
	}
	return nil, fmt.Errorf("no fault %q: there are %s", name, strings.Join(names, ", "))
}

// fail injects the fault that a request names, if any.
func fail(req *wire.CaseRequest, c *wire.Conn) error {
	if req.Fault == "" {
		return nil
	}
	f, err := FindFault(req.Fault)
	if err == nil {
		err = inguest.Check() // most faults end the machine
	}
	if err == nil {
		err = f.inject(c)
	}
	if err != nil {
		return fmt.Errorf("fault %s: %w", req.Fault, err)
	}
	return nil
}

// trigger returns an injection that writes a letter to /proc/sysrq-trigger.
func trigger(letter string) func(*wire.Conn) error {
	return func(*wire.Conn) error {
		if err := os.WriteFile("/proc/sysrq-trigger", []byte(letter), 0); err != nil {
			return err
		}
		time.Sleep(time.Minute) // a work queue may do it
		return errors.New("the machine goes on")
	}
}

func reboot(cmd int) error {
	unix.Sync()
	return unix.Reboot(cmd)
}

func complain(line string) func(*wire.Conn) error {
	return func(*wire.Conn) error {
		mark(line)
		return nil
	}
}

// send writes the text n times, or for ever if n is 0. It does not return unless a write fails.
func send(c *wire.Conn, text string, n int) error {
	block := text
	if n == 0 {
		block = strings.Repeat(text, 4096)
	}
	for i := 0; n == 0 || i < n; i++ {
		if _, err := io.WriteString(c, block); err != nil {
			return err
		}
	}
	select {} // nothing more comes
}

func drip(c *wire.Conn) error {
	for {
		if _, err := io.WriteString(c, " "); err != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func floodConsole(*wire.Conn) error {
	f, err := os.OpenFile("/dev/console", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	block := bytes.Repeat([]byte("the guest prints without end\n"), 1024)
	for {
		if _, err := f.Write(block); err != nil {
			return err
		}
	}
}

func takeMemory(*wire.Conn) error {
	for {
		b, err := unix.Mmap(-1, 0, 16<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
		if err != nil {
			return err
		}
		b[0] = 1
	}
}

// fillDisk shrinks file systems to the size of their contents.
func fillDisk(*wire.Conn) error {
	for _, dir := range []string{"/", os.TempDir()} {
		var at unix.Statfs_t
		if err := unix.Statfs(dir, &at); err != nil {
			return err
		}
		// The kernel takes a size below one page as no limit.
		size := max(int64(at.Blocks-at.Bfree)*int64(at.Bsize), int64(os.Getpagesize()))
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT, fmt.Sprintf("size=%d", size)); err != nil {
			return fmt.Errorf("remount %s: %w", dir, err)
		}
		if err := useUp(filepath.Join(dir, "full")); err != nil {
			return err
		}
	}
	return nil
}

// useUp writes to a file until the file system is full.
func useUp(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	page := make([]byte, os.Getpagesize())
	for err == nil {
		_, err = f.Write(page)
	}
	if !errors.Is(err, unix.ENOSPC) {
		return err
	}
	return nil
}

// oops makes every open of a file dereference a bad pointer. The caller of security_file_alloc
// expects 0 or a negative errno, and makes a pointer of any other value. The program returns 8,
// which is neither.
func oops(*wire.Conn) error {
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.Tracing, AttachType: ebpf.AttachModifyReturn, AttachTo: "security_file_alloc",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 8), asm.Return()}, License: "GPL",
	})
	if err != nil {
		return err
	}
	if _, err := link.AttachTracing(link.TracingOptions{Program: prog}); err != nil {
		return err
	}
	f, err := os.Open("/proc/self/stat")
	if err != nil {
		return err
	}
	f.Close()
	return errors.New("the kernel goes on")
}

// runSpec runs a program on a packet, many times.
func runSpec(spec *ebpf.ProgramSpec, repeat uint32) error {
	prog, err := ebpf.NewProgram(spec)
	if err != nil {
		return err
	}
	defer prog.Close()
	_, err = prog.Run(&ebpf.RunOptions{Data: make([]byte, 64), Repeat: repeat})
	return err
}

func hangKernel(*wire.Conn) error {
	for { // a signal ends a run early
		err := runSpec(&ebpf.ProgramSpec{
			Type: ebpf.SocketFilter, License: "GPL",
			Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
		}, 1<<31-1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// lockUp runs 2^69 iterations of nested loops in one run of a program.
func lockUp(*wire.Conn) error {
	// The kernel reports a soft lockup after twice this many seconds. 1 is the smallest value.
	if err := os.WriteFile("/proc/sys/kernel/watchdog_thresh", []byte("1"), 0); err != nil {
		return err
	}
	u64 := &btf.Int{Name: "u64", Size: 8}
	callback := &btf.FuncProto{Return: u64, Params: []btf.FuncParam{{Name: "i", Type: u64}, {Name: "ctx", Type: u64}}}
	loop := func(name, body string, proto *btf.FuncProto, linkage btf.FuncLinkage) asm.Instructions {
		return asm.Instructions{
			btf.WithFuncMetadata(asm.Mov.Imm(asm.R1, 1<<23), &btf.Func{Name: name, Type: proto, Linkage: linkage}).WithSymbol(name),
			asm.Instruction{OpCode: asm.LoadImmOp(asm.DWord), Dst: asm.R2, Src: asm.PseudoFunc, Constant: -1}.WithReference(body),
			asm.Mov.Imm(asm.R3, 0),
			asm.Mov.Imm(asm.R4, 0),
			asm.FnLoop.Call(),
			asm.Mov.Imm(asm.R0, 0),
			asm.Return(),
		}
	}
	ins := loop("endless", "outer", &btf.FuncProto{Return: u64, Params: []btf.FuncParam{{Name: "ctx", Type: u64}}}, btf.GlobalFunc)
	ins = append(ins, loop("outer", "inner", callback, btf.StaticFunc)...)
	ins = append(ins, loop("inner", "last", callback, btf.StaticFunc)...)
	ins = append(ins,
		btf.WithFuncMetadata(asm.Mov.Imm(asm.R0, 0), &btf.Func{Name: "last", Type: callback, Linkage: btf.StaticFunc}).WithSymbol("last"),
		asm.Return(),
	)
	if err := runSpec(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, Instructions: ins, License: "GPL"}, 1); err != nil {
		return err
	}
	return errors.New("the loop has an end")
}
