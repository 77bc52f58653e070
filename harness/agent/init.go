package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/inguest"
	"github.com/bpfreplay/bpfreplay/harness/vm"
	"github.com/bpfreplay/bpfreplay/harness/wire"
)

// mounts are the file systems that loaders expect. A kernel may lack the optional ones; whatever
// needs them reports it.
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

// hasFiles reports whether the host has put files into a directory, which a mount would hide.
func hasFiles(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) > 0
}

// settings make loads comparable: they show addresses and disable randomisation of JIT code. They
// also keep the kernel from dropping our lines in its log. They affect this guest only.
var settings = map[string]string{
	"/proc/sys/kernel/kptr_restrict":       "0",
	"/proc/sys/net/core/bpf_jit_enable":    "1",
	"/proc/sys/net/core/bpf_jit_harden":    "0",
	"/proc/sys/kernel/perf_event_paranoid": "-1",
	"/proc/sys/kernel/printk_devkmsg":      "on", // else 10 lines in 5 s
}

// processors is the number of Go's processors (GOMAXPROCS), at least, also on a machine with one.
// Beside an idle one, Go's monitor thread leaves a processor in a system call alone and soon looks
// only every 10 ms. With a single one it looks every 20 µs, and takes the processor away in most
// system calls of an emulated guest.
const processors = 2

// Main runs as the init of a guest until the host closes the port, then powers the machine off.
// args are the arguments of the process. Outside a guest it prints an error and exits before it
// changes anything.
func Main(args []string) {
	if err := inguest.CheckInit(args); err != nil {
		fmt.Fprintf(os.Stderr, "bpfreplay: %s is for the kernels of guests to say: %v\n", inguest.InitArg, err)
		os.Exit(2)
	}
	runtime.GOMAXPROCS(max(processors, runtime.GOMAXPROCS(0)))
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "bpfreplay: agent: %v\n", err)
		os.Exit(1) // the end of PID 1 panics the kernel; the host sees the line above
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
		if m.kind == "tmpfs" && hasFiles(m.at) {
			continue
		}
		if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil && !m.optional && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	// Until 5.10 BPF memory counts against RLIMIT_MEMLOCK, which is 64 KiB by default.
	unlimited := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unlimited); err != nil {
		return fmt.Errorf("limit of locked memory: %w", err)
	}
	for path, value := range settings {
		// A kernel without the setting does not have the feature.
		if err := os.WriteFile(path, []byte(value), 0); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("setting: %w", err)
		}
	}
	return nil
}

// portWait is how long openPort waits for the port. The driver finds its ports after the first
// process has started.
const portWait = 10 * time.Second

// openPort opens the host's port, which it finds by its name.
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

// isVirtio reports whether a module file is one of BootModules or one of their dependencies.
// Drivers of other virtio devices need further modules, and are loaded with the rest.
func isVirtio(file string) bool {
	name, _, _ := strings.Cut(file, ".ko")
	return slices.Contains([]string{"virtio", "virtio_ring", "virtio_pci", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_console"}, name)
}

// loadModules loads the wanted modules among those in the initramfs, in the order of modules.load.
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
	for path := range strings.FieldsSeq(string(list)) {
		if !wanted(filepath.Base(path)) {
			continue
		}
		if err := loadModule(filepath.Join(dir, path)); err != nil {
			return err
		}
	}
	return nil
}

// loadModule loads a module, unless it is already loaded.
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

// loadFirst loads the preloaded modules and returns the errors of those that do not load.
func loadFirst() (lacks []string, err error) {
	list, err := os.ReadFile(wire.Preloaded)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for file := range strings.FieldsSeq(string(list)) {
		if err := loadModule(file); err != nil {
			lacks = append(lacks, err.Error())
		}
	}
	return lacks, nil
}
