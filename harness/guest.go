package harness

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/bpfreplay/bpfreplay/harness/agent"
	"github.com/bpfreplay/bpfreplay/harness/vm"
)

// guest is a guest whose agent has said hello.
type guest interface {
	// ask has the agent run a request. After an error the guest is of no more use;
	// the error is a [*vm.Ending] if it came to its end.
	ask(ctx context.Context, req *agent.Request) (*agent.Answer, error)
	// end ends it and returns what its kernel complained of.
	end() []vm.Splat
}

// machine is a guest on a virtual machine.
type machine struct {
	vm   *vm.VM
	conn *agent.Conn
}

func (m *machine) ask(ctx context.Context, req *agent.Request) (*agent.Answer, error) {
	var answer agent.Answer
	err := m.vm.Do(ctx, func(*vm.Port) error {
		if err := m.conn.Send(req); err != nil {
			return err
		}
		return m.conn.Receive(&answer)
	})
	return &answer, err
}

func (m *machine) end() []vm.Splat {
	m.vm.Close()
	return m.vm.Splats()
}

// guestCPUs is how many virtual processors a guest gets.
const guestCPUs = 1

// boot starts a guest and waits for its agent.
func (r *runner) boot(ctx context.Context, number int) (guest, error) {
	m, hello, err := r.bootMachine(ctx, number)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Kernel.Release = hello.Release
	if r.report.Accelerator == "" {
		choice := m.vm.Accelerator()
		r.report.Accelerator = string(choice.Accelerator)
		r.report.Seconds.Boot = m.vm.BootTime().Seconds()
		r.Note(fmt.Sprintf("%s: %s", choice.Accelerator, choice.Reason))
	}
	return m, nil
}

func (r *runner) bootMachine(ctx context.Context, number int) (m *machine, hello agent.Hello, err error) {
	guest, err := vm.Start(ctx, r.config(number))
	if err != nil {
		return nil, hello, err
	}
	defer func() {
		if err != nil {
			guest.Close()
		}
	}()
	m = &machine{vm: guest, conn: agent.NewConn(guest.Port())}
	err = guest.Do(ctx, func(*vm.Port) error { return m.conn.Receive(&hello) })
	if err != nil {
		return nil, hello, err
	}
	if guest.BootTime() > r.BootTimeout {
		// It woke up while package vm was ending it.
		guest.Close()
		late := *guest.Wait()
		late.Reason, late.Cause = vm.NoBoot, fmt.Sprintf("nothing on the port after %s", r.BootTimeout)
		return nil, hello, &late
	}
	return m, hello, nil
}

// config is the machine of the guest of this number.
func (r *runner) config(number int) vm.Config {
	console := "console.log"
	if number > 1 {
		console = fmt.Sprintf("console-%d.log", number)
	}
	return vm.Config{
		QEMU: r.QEMU, Kernel: r.Kernel.BootPath, Initrd: r.initrd,
		Params:    append(slices.Clone(params), r.Params...),
		MemoryMiB: guestMemory, CPUs: guestCPUs,
		Accelerator: r.Accelerator, StateDir: r.StateDir,
		ConsolePath: filepath.Join(r.Out, console),
		BootTimeout: r.BootTimeout, SilenceTimeout: r.CaseTimeout,
	}
}
