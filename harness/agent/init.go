package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/inguest"
	"github.com/bpfreplay/bpfreplay/harness/vm"
	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// mounts are what loaders expect to find. tracefs and bpffs may be missing in
// a kernel; what needs them then says so itself.
var mounts = []struct {
	kind, at string
	optional bool
}{
	{"proc", "/proc", false},
	{"sysfs", "/sys", false},
	{"devtmpfs", "/dev", false},
	{"bpf", "/sys/fs/bpf", true},
	{"tracefs", "/sys/kernel/tracing", true},
	{"cgroup2", "/sys/fs/cgroup", true},
	{"tmpfs", "/tmp", false},
}

// given reports whether the host has put something into a directory, which a mount
// would hide.
func given(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) > 0
}

// settings make two loads comparable: addresses that are not hidden, code that is
// not randomised. And our lines in the kernel's log are not to be held back. They
// hold for this guest alone.
var settings = map[string]string{
	"/proc/sys/kernel/kptr_restrict":       "0",
	"/proc/sys/net/core/bpf_jit_enable":    "1",
	"/proc/sys/net/core/bpf_jit_harden":    "0",
	"/proc/sys/kernel/perf_event_paranoid": "-1",
	"/proc/sys/kernel/printk_devkmsg":      "on", // else 10 lines in 5 s
}

// Main runs as the init of a guest until the host asks for no more, then
// switches the machine off. args are the program's. Anywhere else it says so, and
// ends the process before it has changed anything.
func Main(args []string) {
	if err := inguest.CheckInit(args); err != nil {
		fmt.Fprintf(os.Stderr, "bpfreplay: %s is for the kernels of guests to say: %v\n", inguest.InitArg, err)
		os.Exit(2)
	}
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "bpfreplay: agent: %v\n", err)
		os.Exit(1) // PID 1 ends: the kernel panics, and the host sees the line above
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	select {}
}

func run() error {
	if err := setUp(); err != nil {
		return err
	}
	if err := loadModules(isVirtio); err != nil {
		return err
	}
	port, err := openPort()
	if err != nil {
		return err
	}
	defer port.Close()
	lacks, err := loadFirst()
	if err != nil {
		return err
	}
	return serve(port, lacks)
}

func setUp() error {
	for _, m := range mounts {
		if err := os.MkdirAll(m.at, 0o755); err != nil && !m.optional {
			return err
		}
		if m.kind == "tmpfs" && given(m.at) {
			continue
		}
		if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil && !m.optional && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	// Up to 5.10 memory for BPF counts against RLIMIT_MEMLOCK, 64 KiB by default.
	unlimited := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unlimited); err != nil {
		return fmt.Errorf("limit of locked memory: %w", err)
	}
	for path, value := range settings {
		// A kernel without the setting has nothing to switch off.
		if err := os.WriteFile(path, []byte(value), 0); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("setting: %w", err)
		}
	}
	return nil
}

// portWait is how long the port may take to appear: the driver finds its
// ports after the first process starts.
const portWait = 10 * time.Second

// openPort finds the host's port by its name.
func openPort() (*os.File, error) {
	const class = "/sys/class/virtio-ports"
	for end := time.Now().Add(portWait); time.Now().Before(end); time.Sleep(time.Millisecond) {
		names, _ := filepath.Glob(class + "/*/name")
		for _, n := range names {
			b, err := os.ReadFile(n)
			if err != nil || strings.TrimSpace(string(b)) != vm.PortName {
				continue
			}
			return os.OpenFile(filepath.Join("/dev", filepath.Base(filepath.Dir(n))), os.O_RDWR, 0)
		}
	}
	return nil, fmt.Errorf("no virtio port %q: is virtio_console missing from the kernel?", vm.PortName)
}

// isVirtio reports whether a file has one of BootModules or a module that they need. Drivers of other virtio devices
// need more than virtio, and are loaded with the rest.
func isVirtio(file string) bool {
	for _, name := range []string{"virtio", "virtio_ring", "virtio_pci", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_console"} {
		if strings.HasPrefix(file, name+".ko") {
			return true
		}
	}
	return false
}

// loadModules loads those modules that the host put into the initramfs which
// are wanted, in the order of its list.
func loadModules(wanted func(name string) bool) error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	dir := filepath.Join("/lib/modules", unix.ByteSliceToString(u.Release[:]))
	list, err := os.ReadFile(filepath.Join(dir, "modules.load"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, path := range strings.Fields(string(list)) {
		if !wanted(filepath.Base(path)) {
			continue
		}
		if err := loadModule(filepath.Join(dir, path)); err != nil {
			return err
		}
	}
	return nil
}

// loadModule loads a module, unless it is there already.
func loadModule(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("module %s: %w", filepath.Base(file), err)
	}
	return nil
}

// loadFirst loads FirstModules and says which do not load.
func loadFirst() (lacks []string, err error) {
	list, err := os.ReadFile(wire.Preloaded)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, file := range strings.Fields(string(list)) {
		if err := loadModule(file); err != nil {
			lacks = append(lacks, err.Error())
		}
	}
	return lacks, nil
}
