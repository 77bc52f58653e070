package guest

import (
	"cmp"
	"os"
	"slices"
	"time"

	"github.com/bpfreplay/bpfreplay/harness/vm"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// Config is the kernel that guests run, and their machine.
type Config struct {
	Store  *vmimage.Store
	Kernel *vmimage.Kernel
	// Agent is the program that becomes PID 1 of the guest: this one, static.
	Agent string

	QEMU        string // "" for the one in PATH
	Accelerator vm.Accelerator
	StateDir    string        // where what is known of this host is remembered
	Params      []string      // more kernel parameters
	QEMUArgs    []string      // more arguments of QEMU, with which guests are always booted
	BootTimeout time.Duration // 0 for DefaultBootTimeout
	// Cold: guests are booted. Without it they are copies of one that was booted
	// once and saved.
	Cold bool
	// Debugger is a listening socket on which the guest waits for gdb, or nil. With it guests
	// are booted, and no clock runs: a person may think for long.
	Debugger *os.File

	// Note receives lines about progress. It is never called by two goroutines at a time.
	Note func(line string)
}

// DefaultBootTimeout is for a boot, which takes 2 to 6 s under TCG on a busy machine.
const DefaultBootTimeout = 90 * time.Second

// params are kernel parameters for every guest. LSM programs attach only if the
// LSM "bpf" is on. The rest is about how soon the kernel frees what loads made, for
// which each case waits: since 6.7 the freeing of sleepable programs, and so of loader
// programs, is put off to do more at once, by a quarter of a second. A kernel that does not know
// a parameter ignores it.
var params = []string{
	"lsm=bpf", "rcupdate.rcu_expedited=1", "rcupdate.rcu_tasks_trace_lazy_ms=0", "rcupdate.rcu_tasks_lazy_ms=0",
}

// Memory and processors of a guest that runs cases. The largest objects of the Linux selftests need more
// memory than the default of package vm.
const (
	GuestMemoryMiB = 512
	GuestCPUs      = 1
)

// Defaults fills in what was left out.
func (c *Config) Defaults() {
	if c.Note == nil {
		c.Note = func(string) {}
	}
}

// VM is the machine of a guest with so much memory and so many processors.
func (c *Config) VM(memoryMiB, cpus int) vm.Config {
	boot := cmp.Or(c.BootTimeout, DefaultBootTimeout)
	if c.Debugger != nil {
		boot = vm.Endless
	}
	return vm.Config{
		Arch: c.Kernel.Arch, QEMU: c.QEMU, Kernel: c.Kernel.BootPath, Version: c.Kernel.Release,
		Params:    slices.Concat(params, c.Params),
		Args:      c.QEMUArgs,
		MemoryMiB: memoryMiB, CPUs: cpus,
		Accelerator: c.Accelerator, StateDir: c.StateDir,
		BootTimeout: boot, Debugger: c.Debugger,
	}
}

// Initramfs is what guests boot from: the agent with its libraries, these files, the modules
// that the agent loads first, and others by name.
func (c *Config) Initramfs(first Preloaded, modules []string, files []vmimage.File) (vmimage.Initramfs, error) {
	names, base, err := first.files(c.Kernel)
	if err != nil {
		return vmimage.Initramfs{}, err
	}
	self, err := agentFiles(c.Agent)
	if err != nil {
		return vmimage.Initramfs{}, err
	}
	return vmimage.Initramfs{
		Base:    slices.Concat(self, files, base),
		Modules: slices.Concat(wire.BootModules, modules, names),
	}, nil
}
