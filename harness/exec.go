package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/bpfreplay/bpfreplay/harness/agent"
	"github.com/bpfreplay/bpfreplay/harness/vm"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// Command is a program of this machine that is to run in a guest.
type Command struct {
	Program string   // path: an ELF file, which finds its shared libraries in the guest
	Args    []string // the first is what the program is called
	Dir     string   // absolute, the same in the guest; empty there but for With
	Env     []string // NAME=VALUE
	With    []string // files and directories that it needs: see guestFiles
	Modules []string // modules of the kernel to load before it

	Stdout, Stderr io.Writer // what it writes, as it writes it

	MemoryMiB int           // of the guest; 0 for what files need, and 1 GiB
	CPUs      int           // of the guest; 0 for one
	Timeout   time.Duration // of the program alone; 0 for DefaultExecTimeout
}

// DefaultExecTimeout is as long as `go test` lets a package's tests run.
const DefaultExecTimeout = 10 * time.Minute

// execMemory is what a guest for a program gets, in MiB, besides the memory for
// its files.
const execMemory = 1024

// signalStatus is added to the signal that ends a program, as by shells.
const signalStatus = 128

// Exec runs a program in a guest and returns its exit status. Of Options it
// heeds those that tell kernel and machine, and Note. An error means that the
// program did not come to an end of its own; it is a *vm.Ending if that is
// because the guest came to one.
func Exec(ctx context.Context, c Command, o Options) (status int, err error) {
	if c.Timeout == 0 {
		c.Timeout = DefaultExecTimeout
	}
	guest, err := c.boot(ctx, o)
	if err != nil {
		return 0, err
	}
	defer guest.Close()
	conn := agent.NewConn(guest.Port())
	var hello agent.Hello
	if err := guest.Do(ctx, func(*vm.Port) error { return conn.Receive(&hello) }); err != nil {
		return 0, err
	}
	limited, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	var ended *agent.Ended
	err = guest.Do(limited, func(*vm.Port) (err error) {
		ended, err = c.run(conn)
		return err
	})
	var ending *vm.Ending
	if errors.As(err, &ending) && ending.Reason == vm.Overdue {
		return 0, fmt.Errorf("%s has not ended within %s: %w", c.Args[0], c.Timeout, err)
	}
	if err != nil {
		return 0, err
	}
	for _, s := range guest.Splats() {
		o.Note(fmt.Sprintf("the guest's kernel complained (%s): %s", s.Kind, s.Line))
	}
	switch {
	case ended.Error != "":
		return 0, fmt.Errorf("%s does not start in the guest: %s", c.Args[0], ended.Error)
	case ended.Signal != 0:
		o.Note(fmt.Sprintf("%s was ended by a signal: %s", c.Args[0], ended.Signal))
		return signalStatus + int(ended.Signal), nil
	}
	return ended.Status, nil
}

// boot starts a guest that has the program's files, and needs none of this
// machine any more.
func (c *Command) boot(ctx context.Context, o Options) (*vm.VM, error) {
	files, err := c.files()
	if err != nil {
		return nil, err
	}
	memory := c.MemoryMiB
	if memory == 0 {
		memory = execMemory + memoryFor(files)
	}
	dir, err := os.MkdirTemp("", "bpfreplay-exec-")
	if err != nil {
		return nil, err
	}
	// QEMU has read the kernel and the initramfs when Start returns.
	defer os.RemoveAll(dir)
	initrd := filepath.Join(dir, "initramfs.cpio")
	_, err = o.Store.Initramfs(initrd, o.Kernel, vmimage.Initramfs{
		Base:    []vmimage.File{{Path: "/init", Mode: 0o755, Host: o.Agent}},
		Modules: slices.Concat(agent.BootModules, c.Modules),
		Extra:   files,
	})
	if err != nil {
		return nil, err
	}
	return vm.Start(ctx, vm.Config{
		QEMU: o.QEMU, Kernel: o.Kernel.BootPath, Initrd: initrd,
		Params:    slices.Concat(params, o.Params),
		MemoryMiB: memory, CPUs: c.CPUs,
		Accelerator: o.Accelerator, StateDir: o.StateDir,
		BootTimeout: o.BootTimeout,
		// A program may say nothing for as long as it may take.
		SilenceTimeout: 2 * c.Timeout,
	})
}

// run has the agent run the program.
func (c *Command) run(conn *agent.Conn) (*agent.Ended, error) {
	program, err := filepath.Abs(c.Program)
	if err != nil {
		return nil, err
	}
	req := agent.Request{Exec: &agent.Command{Path: program, Args: c.Args, Dir: c.Dir, Env: append(libraryPath(c.Env), c.Env...)}}
	if err := conn.Send(&req); err != nil {
		return nil, err
	}
	for {
		var out agent.Output
		if err := conn.Receive(&out); err != nil {
			return nil, err
		}
		if _, err := c.Stdout.Write(out.Stdout); err != nil {
			return nil, err
		}
		if _, err := c.Stderr.Write(out.Stderr); err != nil {
			return nil, err
		}
		if out.Ended != nil {
			return out.Ended, nil
		}
	}
}
