package guest

import (
	"cmp"
	"os"
	"slices"
	"time"

	"github.com/bpfreplay/bpfreplay/harness/accel"
	"github.com/bpfreplay/bpfreplay/harness/vm"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/vmimage"
	"github.com/bpfreplay/bpfreplay/vmimage/initramfs"
)

// Config describes the kernel that guests run, and the virtual machine around it.
type Config struct {
	Store  *vmimage.Store
	Kernel *vmimage.Kernel
	// Agent is the program that becomes PID 1 of the guest, usually this very program: see
	// SetAgent.
	Agent string

	QEMU        string // "" for the one in PATH
	Accelerator accel.Accelerator
	StateDir    string        // remembers facts about this host, such as whether KVM works
	Params      []string      // kernel parameters in addition to the usual ones
	QEMUArgs    []string      // additional arguments of QEMU; with them, guests always boot
	BootTimeout time.Duration // 0 for DefaultBootTimeout
	// Cold makes every guest boot. Otherwise guests are restored copies of one guest that was
	// booted once and saved.
	Cold bool
	// Debugger is a listening socket on which QEMU waits for gdb, or nil. If it is set, guests boot
	// and have no timeouts, because a person may think for long.
	Debugger *os.File

	// Note receives lines about progress. It is never called concurrently.
	Note func(line string)
}

// DefaultBootTimeout is the time limit of a boot. A boot takes 2 to 6 s under TCG on a busy
// machine.
const DefaultBootTimeout = 90 * time.Second

// params are kernel parameters of every guest. LSM programs attach only if the LSM "bpf" is
// enabled. The other parameters make the kernel free maps and programs sooner, because each case
// waits until its objects are gone: since 6.7 the kernel batches the RCU callbacks that free
// sleepable programs, and so loader programs, for a quarter of a second. Kernels ignore parameters
// that they do not know.
var params = []string{
	"lsm=bpf", "rcupdate.rcu_expedited=1", "rcupdate.rcu_tasks_trace_lazy_ms=0", "rcupdate.rcu_tasks_lazy_ms=0",
}

// Memory and processors of a guest that runs cases. The largest objects of the Linux selftests need
// more memory than the default of package vm.
const (
	GuestMemoryMiB = 512
	GuestCPUs      = 1
)

// Defaults fills in fields that are not set. Call it before a [Source] uses the Config.
func (c *Config) Defaults() {
	if c.Note == nil {
		c.Note = func(string) {}
	}
}

// VM returns the configuration of a virtual machine with this much memory and this many processors.
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

// Initramfs returns the contents of the initramfs: the agent with its libraries, the given files,
// the preloaded modules, and the modules named, which the agent can load later.
func (c *Config) Initramfs(first Preloaded, modules []string, files []initramfs.File) (vmimage.Initramfs, error) {
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
