package vm

import (
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// interrupt makes the guest's kernel print what it is doing, and panic.
func (vm *VM) interrupt() {
	vm.interrupting.Lock()
	defer vm.interrupting.Unlock()
	vm.console.poll()
	vm.console.forgetInstruction()
	vm.platform.how.interrupt(vm)
}

// nmi sends a non-maskable interrupt. The kernel prints a backtrace and panics.
type nmi struct{}

func (nmi) params() []string { return []string{"unknown_nmi_panic"} }
func (nmi) input() bool      { return false }
func (nmi) words() string    { return "an NMI found it at " }

func (nmi) interrupt(vm *VM) {
	ctx, cancel := context.WithTimeout(vm.ctx, nmiGrace)
	defer cancel()
	// If QEMU does not accept the NMI there is nothing more to learn.
	if err := vm.qmp.execute(ctx, "inject-nmi", nil, nil); err != nil {
		return
	}
	vm.awaitExit(nmiGrace)
}

// serialBreak is for machines without NMIs: after a break on the serial line the kernel takes a
// letter as a request (Documentation/admin-guide/sysrq.rst). That works as long as the kernel
// handles interrupts. If it does not, QEMU's registers at least give the program counter.
type serialBreak struct{}

func (serialBreak) params() []string { return []string{"sysrq_always_enabled"} }
func (serialBreak) input() bool      { return true }
func (serialBreak) words() string    { return "it was found at " }

// Requests: print the interrupted registers with a backtrace; crash. The backtrace of all
// processors ("l") would be useless: it shows the request's own stack, up to the interrupt.
const (
	sysrqRegisters = "p"
	sysrqCrash     = "c"
)

func (serialBreak) interrupt(vm *VM) {
	ctx, cancel := context.WithTimeout(vm.ctx, nmiGrace)
	defer cancel()
	if registers, err := vm.monitor(ctx, "info registers"); err == nil {
		vm.console.stands(addressOf(registers, vm.platform.programCounter))
	}
	keyboard, err := vm.keyboard(ctx)
	if err != nil {
		return
	}
	// QEMU blocks until the guest's output is read; it goes to the log as well.
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, keyboard)
	}()
	defer func() {
		keyboard.Close()
		<-drained
	}()
	if vm.sysrq(ctx, keyboard, sysrqRegisters) != nil {
		return
	}
	for vm.console.look().at == "" && ctx.Err() == nil && !vm.exited() {
		time.Sleep(tick)
		vm.console.poll()
	}
	ctx, cancel = context.WithTimeout(vm.ctx, nmiGrace)
	defer cancel()
	if vm.sysrq(ctx, keyboard, sysrqCrash) == nil {
		vm.awaitExit(nmiGrace)
	}
}

// keyboard opens the pseudoterminal of the guest's console.
func (vm *VM) keyboard(ctx context.Context) (*os.File, error) {
	var devices []struct {
		Label    string `json:"label"`
		Filename string `json:"filename"`
	}
	if err := vm.qmp.execute(ctx, "query-chardev", nil, &devices); err != nil {
		return nil, err
	}
	for _, d := range devices {
		if path, ok := strings.CutPrefix(d.Filename, "pty:"); ok && d.Label == "console" {
			return os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
		}
	}
	return nil, fmt.Errorf("QEMU knows no terminal of the console")
}

// sysrq sends a request to the guest's kernel. The letter must arrive within five seconds of the
// break.
func (vm *VM) sysrq(ctx context.Context, keyboard *os.File, request string) error {
	if _, err := vm.monitor(ctx, "chardev-send-break console"); err != nil {
		return err
	}
	_, err := keyboard.WriteString(request)
	return err
}

// monitor runs a command of QEMU's human monitor, for which QMP has no equivalent.
func (vm *VM) monitor(ctx context.Context, command string) (said string, err error) {
	err = vm.qmp.execute(ctx, "human-monitor-command", map[string]string{"command-line": command}, &said)
	return said, err
}

// addressOf finds the program counter in QEMU's registers.
func addressOf(registers, name string) string {
	m := regexp.MustCompile(`(?m)(?:^|\s)` + regexp.QuoteMeta(name) + `[ =]+([0-9a-f]{16})\b`).FindStringSubmatch(registers)
	if m == nil {
		return ""
	}
	return fmt.Sprintf("address 0x%s", m[1])
}

// exited reports whether QEMU has exited.
func (vm *VM) exited() bool {
	select {
	case <-vm.proc.exited:
		return true
	default:
		return false
	}
}
