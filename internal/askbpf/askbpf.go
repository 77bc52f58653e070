// Package askbpf finds out whether bpf(2) can be used on this machine, in a
// process of its own: a kernel whose BPF is stuck never answers, and the process that
// asked cannot be killed.
//
// A program that imports it and calls [Ask] calls [Child] first thing, as it is run
// once more for that.
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

// Patience is far more than the answer takes in a slow guest.
const Patience = 15 * time.Second

// childArg, as the only argument, makes this program the process that asks. It is no
// variable of the environment: those are handed down to processes that nobody meant.
const childArg = "__ask-bpf"

// isChild reports whether this is the process that asks.
func isChild() bool { return len(os.Args) == 2 && os.Args[1] == childArg }

// Child asks and ends the process, if that is what it was started for.
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

// maxSaid bounds what is read of what the child said, in bytes.
const maxSaid = 64 << 10

// Ask returns nil if maps and programs can be loaded and seen, or else what was
// refused, or that the kernel gave no answer within patience. The process that a
// stuck kernel holds stays behind; nothing can be done about it.
func Ask(patience time.Duration) error {
	fd, err := unix.MemfdCreate("ask-bpf", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	said := os.NewFile(uintptr(fd), "ask-bpf")
	defer said.Close()
	child := exec.Command("/proc/self/exe", childArg)
	child.Stderr = said // no pipe, which would be waited for
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

// ask does what tests do: create a map, load a program that only the privileged
// may load, and walk the ids of what there is.
func ask() error {
	// Up to 5.10 maps count against this limit; where it may not be raised and matters, what
	// follows fails. Not by cilium/ebpf's rlimit: that creates a map when the program starts,
	// which in PID 1 of a guest is before /proc is mounted, and remembers for good that it failed.
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
