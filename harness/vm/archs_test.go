package vm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/harness/accel"
	"github.com/bpfreplay/bpfreplay/internal/arch"
)

// Each architecture of arch.All has a machine.
func TestPlatforms(t *testing.T) {
	for _, a := range arch.All {
		c, err := Config{Arch: a.Name}.withDefaults()
		assert.NilError(t, err)
		assert.Equal(t, c.QEMU, a.QEMU)
	}
	_, err := Config{Arch: "mips"}.withDefaults()
	assert.ErrorContains(t, err, "no guests are known for the architecture mips: there are amd64, arm64, riscv64")
	assert.Equal(t, len(platforms), len(arch.All))
}

func TestCommandLineOfArchs(t *testing.T) {
	config := Config{Arch: "arm64", Kernel: "/k", Initrd: "/i", MemoryMiB: 256, CPUs: 1}
	wires := inherited(3, 4, 5)
	wires.console = terminal(5)
	options, params := groups(config.commandLine(accel.TCG, wires, false))
	assert.DeepEqual(t, options, []string{
		"-accel tcg",
		"-chardev pty,id=console,logfile=/proc/self/fd/5,logappend=on",
		"-chardev socket,id=port,fd=4",
		"-chardev socket,id=qmp,fd=3",
		"-cpu cortex-a76",
		"-device virtio-serial-pci,max_ports=2",
		"-device virtserialport,chardev=port,name=ctl",
		"-display none",
		"-initrd /i",
		"-kernel /k",
		"-m 256",
		"-machine virt",
		"-mon chardev=qmp,mode=control",
		"-no-reboot",
		"-no-user-config",
		"-nodefaults",
		"-serial chardev:console",
		"-smp 1",
	})
	assert.Assert(t, is.Contains(params, "console=ttyAMA0"))
	assert.Assert(t, is.Contains(params, "sysrq_always_enabled"))
	for _, x86 := range []string{"no_timer_check", "noreplace-smp", "unknown_nmi_panic", "random.trust_cpu=on"} {
		assert.Assert(t, !strings.Contains(strings.Join(params, " "), x86))
	}
}

// KVM never runs a guest of another architecture than this machine's.
func TestAcceleratorOfArchs(t *testing.T) {
	for _, a := range arch.All {
		if a.Name == arch.Native {
			continue
		}
		choice, err := accel.Choose(t.Context(), a.Name, accel.Auto, "")
		assert.NilError(t, err)
		assert.Equal(t, choice.Accelerator, accel.TCG)
		assert.Equal(t, choice.Reason, fmt.Sprintf("an %s guest on %s is emulated", a.Name, arch.Native))
		_, err = accel.Choose(t.Context(), a.Name, accel.KVM, "")
		assert.ErrorIs(t, err, accel.ErrUnusable)
	}
}

func TestRegisters(t *testing.T) {
	for _, test := range []struct{ name, registers, want string }{
		{"PC", "\r\nCPU#0\r\n PC=ffff80000802c1f0 X00=0000000000000000 X01=00000000\r\n", "address 0xffff80000802c1f0"},
		{"pc", " pc       ffffffff80a1b2c4\r\n mhartid  0000000000000000\r\n mepc 0000000080000000", "address 0xffffffff80a1b2c4"},
		{"PC", "nothing", ""},
	} {
		assert.Equal(t, addressOf(test.registers, test.name), test.want)
	}
}

// A guest of each architecture boots, is saved and restored, and its endings are told apart.
func TestArchs(t *testing.T) {
	for _, a := range arch.All {
		if a.Name == arch.Native {
			continue // the other tests cover it
		}
		t.Run(a.Name, func(t *testing.T) { testArch(t, guestConfigOf(t, a.Name)) })
	}
}

func testArch(t *testing.T, config Config) {
	config, dir := saveGuest(t, config)
	for _, test := range []struct {
		command        string
		silence, limit time.Duration
		reason         Reason
		cause          string
		console        string
	}{
		{command: "poweroff", reason: PoweredOff, console: "reboot: Power down"},
		{command: "crash", reason: Panicked, cause: "Kernel panic - not syncing: sysrq triggered crash", console: "Call "},
		{command: "exit", reason: Panicked, cause: "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000300"},
		{command: "reboot", reason: Rebooted, console: "reboot: Restarting system"},
		{command: "sleep", silence: time.Second, reason: Silent, cause: "no sign of life for 1s; it was found at ", console: "sysrq: Trigger a crash"},
		{command: "spin", limit: time.Second, reason: Overdue, cause: "no answer by the deadline; it was found at ", console: "sysrq: Trigger a crash"},
	} {
		t.Run(test.command, func(t *testing.T) {
			nothingLeft(t)
			config := config
			config.SilenceTimeout = test.silence
			guest, err := Restore(t.Context(), config, dir)
			assert.NilError(t, err)
			t.Cleanup(func() {
				assert.NilError(t, guest.Close())
				if t.Failed() {
					e := guest.Ending()
					t.Logf("%v\nconsole:\n%s\nQEMU: %s", e, strings.Join(e.Console, "\n"), e.QEMU)
				}
			})
			assert.NilError(t, echo(t.Context(), guest, "here I am"))
			assert.NilError(t, guest.Do(t.Context(), func(port *Port) error {
				line, err := ask(port, "random")
				assert.Equal(t, line, "seeded")
				return err
			}))
			ctx := t.Context()
			if test.limit > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, test.limit)
				defer cancel()
			}
			err = guest.Do(ctx, func(port *Port) error {
				_, err := ask(port, test.command)
				return err
			})
			var ending *Ending
			assert.Assert(t, errors.As(err, &ending), "error: %v", err)
			assert.Equal(t, ending.Reason, test.reason)
			assert.Assert(t, is.Contains(ending.Cause, test.cause))
			assert.Assert(t, is.Contains(strings.Join(ending.Console, "\n"), test.console))
			t.Log(err)
		})
	}
}
