// Package askbpf finds out in a child process whether bpf(2) can be used on this machine. A kernel
// whose BPF is stuck never answers, and the calling process cannot be killed.
//
// A program that calls [Ask] must first call [Child] at its start, because Ask runs the program
// again as the child.
package askbpf

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// Patience is much longer than a slow guest needs to answer.
const Patience = 15 * time.Second

// childArg, as the only argument, makes the program the child. It is not an environment variable,
// because unrelated processes would inherit that.
const childArg = "__ask-bpf"

// isChild reports whether this process is the child.
func isChild() bool { return len(os.Args) == 2 && os.Args[1] == childArg }

// Child checks bpf(2) and exits, if this process is the child.
func Child() {
	if !isChild() {
		return
	}
	if err := ask(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// maxSaid bounds the bytes that are read of the child's output.
const maxSaid = 64 << 10

// Ask returns nil if maps and programs can be loaded and listed. Otherwise its error says what was
// refused, or that the kernel did not answer within patience. A child that hangs in the kernel
// stays behind; it cannot be killed.
func Ask(patience time.Duration) error {
	fd, err := unix.MemfdCreate("ask-bpf", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	said := os.NewFile(uintptr(fd), "ask-bpf")
	defer said.Close()
	child := exec.Command("/proc/self/exe", childArg)
	child.Stderr = said // not a pipe, which Wait would wait for
	if err := child.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	select {
	case err = <-ended:
	case <-time.After(patience):
		_ = child.Process.Kill()
		return fmt.Errorf("the kernel has not loaded a program within %s", patience)
	}
	if err != nil {
		why, _ := io.ReadAll(io.NewSectionReader(said, 0, maxSaid))
		return fmt.Errorf("%s (%w)", bytes.TrimSpace(why), err)
	}
	return nil
}

// ask does what tests do: it creates a map, loads a program that needs privileges, and lists ids.
func ask() error {
	// Up to 5.10 maps count against this limit. If it cannot be raised and matters, the following
	// calls fail. cilium/ebpf's rlimit package is no alternative: it creates a map when the program
	// starts, which in PID 1 of a guest is before /proc is mounted, and remembers the failure.
	unlimited := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	_ = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unlimited)
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		return fmt.Errorf("no map can be created here: %w", err)
	}
	defer m.Close()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         ebpf.RawTracepoint,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		return fmt.Errorf("no program can be loaded here: %w", err)
	}
	defer p.Close()
	if _, err := ebpf.ProgramGetNextID(0); err != nil {
		return fmt.Errorf("ids of programs cannot be read here: %w", err)
	}
	return nil
}
