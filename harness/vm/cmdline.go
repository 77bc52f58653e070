package vm

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/bpfreplay/bpfreplay/harness/accel"
	"github.com/bpfreplay/bpfreplay/harness/inguest"
)

// PortName is the name of the virtio-serial port that carries the agent's protocol.
//
// Without udev the guest finds the port by reading /sys/class/virtio-ports/*/name: the directory
// whose name file holds PortName and a newline has the name of the device node, for example
// vport1p1, which devtmpfs makes under /dev. Open the port once and keep it: a second opener gets
// EBUSY, and closing it discards what the host has sent.
const PortName = "ctl"

// An option is one decision about the machine: the QEMU arguments that implement it and the kernel
// parameters that go with it.
type option interface {
	args() []string
	params() []string
}

// options lists the whole machine. The order does not matter.
func (c Config) options(by accel.Accelerator, wires wiring, panicDevice bool) []option {
	all := []option{
		machine{platform: c.platform(), flaw: c.flaw(by), by: by, cpus: c.CPUs, memoryMiB: c.MemoryMiB, memory: wires.memory},
		nothingElse{},
		endOnPanic{},
		backtrace{c.platform().how},
		quickBoot{},
		asUpstream{},
		agentIsInit{},
		serialConsole{wires.console, c.platform().console},
		controlPort{wires.port},
	}
	if wires.incoming {
		all = append(all, incoming{})
	} else {
		boot := directBoot{kernel: c.Kernel, initrd: c.Initrd}
		if wires.initrd != "" {
			boot.initrd = wires.initrd
		}
		all = append(all, boot)
	}
	if wires.qmp != "" {
		all = append(all, monitor{wires.qmp})
	}
	if wires.debugger != "" {
		all = append(all, debugger{wires.debugger})
	}
	for _, fs := range wires.filesystems {
		all = append(all, fs)
	}
	if len(c.Network) > 0 {
		all = append(all, network(c.Network))
	}
	if panicDevice {
		all = append(all, panicNotifier{})
	}
	return all
}

// commandLine returns QEMU's arguments, without the emulator itself.
func (c Config) commandLine(by accel.Accelerator, wires wiring, panicDevice bool) []string {
	var args []string
	options := c.options(by, wires, panicDevice)
	for _, o := range options {
		args = append(args, o.args()...)
	}
	args = append(args, c.Args...)
	if wires.incoming {
		return args // the restored kernel has read its parameters already
	}
	return append(args, "-append", c.kernelLine(options))
}

// kernelLine returns the command line of the guest's kernel.
func (c Config) kernelLine(options []option) string {
	var params []string
	for _, o := range options {
		params = append(params, o.params()...)
	}
	params = append(params, c.Params...)
	params = append(params, "--", inguest.InitArg) // behind -- the kernel recognises no parameters of its own
	return strings.Join(params, " ")
}

// wiring holds the QEMU character device behind each of the guest's connections, and the backend of
// its memory.
type wiring struct {
	qmp, port, console string
	memory             string // backend options; empty for anonymous memory
	debugger           string // empty for none
	filesystems        []filesystem
	initrd             string // path of the initramfs if it was given as an open file
	incoming           bool   // the guest is restored and not booted
}

// terminal returns a console that accepts input: a pseudoterminal. While nobody has it open, QEMU
// drops its output without waiting. A socket would be worse: it is full after a few hundred bytes
// that come one by one, and QEMU then logs the rewritten bytes twice.
func terminal(console int) string {
	return fmt.Sprintf("pty,logfile=/proc/self/fd/%d,logappend=on", console)
}

// inherited wires the guest to file descriptors that QEMU inherits from us. QEMU's file device only
// takes a path; the path under /proc leads to the file whatever its name is.
func inherited(qmp, port, console int) wiring {
	return wiring{
		qmp:  fmt.Sprintf("socket,fd=%d", qmp),
		port: fmt.Sprintf("socket,fd=%d", port),
		// A restored guest's console file already has the log of its boot.
		console: fmt.Sprintf("file,path=/proc/self/fd/%d,append=on", console),
	}
}

// machine is the board, the processor and the memory.
type machine struct {
	*platform
	flaw            flaw
	by              accel.Accelerator
	cpus, memoryMiB int
	memory          string
}

func (m machine) args() []string {
	model, cpu := m.machine, m.cpu+m.flaw.features
	if m.by == accel.KVM {
		model, cpu = model+m.machineKVM, "host"
	}
	args := []string{
		"-machine", model,
		"-accel", string(m.by),
		"-cpu", cpu,
		"-smp", strconv.Itoa(m.cpus),
		"-m", strconv.Itoa(m.memoryMiB),
	}
	if m.memory != "" {
		args[1] += ",memory-backend=ram"
		args = append(args, "-object", fmt.Sprintf("memory-backend-file,id=ram,size=%dM,%s", m.memoryMiB, m.memory))
	}
	return args
}

func (m machine) params() []string { return slices.Concat(m.platform.params, m.flaw.params) }

// nothingElse leaves out the default devices (among them the network card), the user's
// QEMU configuration and the screen: less to probe at boot, and the same guest everywhere.
type nothingElse struct{}

func (nothingElse) args() []string {
	return []string{"-nodefaults", "-no-user-config", "-display", "none"}
}

func (nothingElse) params() []string { return nil }

// endOnPanic makes QEMU exit at once however the guest's kernel gives up. A panic reboots without
// delay (a negative timeout), and a reboot ends QEMU. An oops is made a panic because a kernel that
// has oopsed proves nothing any more.
type endOnPanic struct{}

func (endOnPanic) args() []string   { return []string{"-no-reboot"} }
func (endOnPanic) params() []string { return []string{"panic=-1", "oops=panic"} }

// panicNotifier reports a panic to QEMU as it happens, if the guest's kernel has the driver
// (CONFIG_PVPANIC_PCI, Linux 5.13; a module in Debian). The device and the -action option exist
// since QEMU 6.0.
type panicNotifier struct{}

func (panicNotifier) args() []string {
	return []string{"-device", "pvpanic-pci", "-action", "panic=exit-failure"}
}

func (panicNotifier) params() []string { return nil }

// backtrace makes the kernel print a backtrace when a hung guest is interrupted.
type backtrace struct{ interruption }

func (backtrace) args() []string { return nil }

// quickBoot disables slow parts of the boot that do not matter to BPF. Measured under TCG on
// Debian's 6.12: self-tests of the crypto algorithms 0.45 s, self-test of the jitter entropy source
// 0.05 to 0.1 s. A kernel that does not know one of these parameters ignores it, or passes it to
// its init: see [inguest.IsInit].
type quickBoot struct{}

func (quickBoot) args() []string { return nil }

func (quickBoot) params() []string {
	return []string{"cryptomgr.notests", "initcall_blacklist=jent_mod_init"}
}

// asUpstream makes the kernel clear memory only on request, as upstream does by default. Debian's
// kernels clear every allocation (CONFIG_INIT_ON_ALLOC_DEFAULT_ON, 5.3), and krealloc() clears the
// rest of an array whenever it grows. The jump history of a long loop is such an array: 6.12's
// verifier takes 50 s instead of 10 s for selftest loop3 under TCG. Memory that is not cleared also
// tests more.
type asUpstream struct{}

func (asUpstream) args() []string   { return nil }
func (asUpstream) params() []string { return []string{"init_on_alloc=0"} }

// agentIsInit tells the agent that it runs in a guest as its init: see package inguest.
type agentIsInit struct{}

func (agentIsInit) args() []string   { return nil }
func (agentIsInit) params() []string { return []string{inguest.Param} }

// serialConsole captures the kernel's whole log: "quiet" would save 0.05 s and lose the evidence.
// The log begins with the kernel's first line, not when the driver of the port is there, because a
// kernel with too little memory never gets that far. That costs 0.1 s under TCG.
type serialConsole struct {
	chardev    string
	parameters []string
}

func (s serialConsole) args() []string {
	return []string{"-chardev", withID(s.chardev, "console"), "-serial", "chardev:console"}
}

func (s serialConsole) params() []string { return s.parameters }

// monitor is the QMP connection.
type monitor struct{ chardev string }

func (m monitor) args() []string {
	return []string{"-chardev", withID(m.chardev, "qmp"), "-mon", "chardev=qmp,mode=control"}
}

func (monitor) params() []string { return nil }

// controlPort is the virtio-serial port for the agent. Port 0 of the bus is reserved for consoles,
// hence max_ports=2.
type controlPort struct{ chardev string }

func (p controlPort) args() []string {
	return []string{
		"-chardev", withID(p.chardev, "port"),
		"-device", "virtio-serial-pci,max_ports=2",
		"-device", "virtserialport,chardev=port,name=" + PortName,
	}
}

func (controlPort) params() []string { return nil }

// directBoot loads kernel and initramfs without a boot loader or a disk.
type directBoot struct{ kernel, initrd string }

func (b directBoot) args() []string { return []string{"-kernel", b.kernel, "-initrd", b.initrd} }
func (directBoot) params() []string { return nil }

// incoming makes QEMU wait for the state of a saved machine. The kernel and the initramfs are
// already in its memory.
type incoming struct{}

func (incoming) args() []string   { return []string{"-incoming", "defer"} }
func (incoming) params() []string { return nil }

// debugger makes QEMU wait for gdb before the guest's first instruction. At that point gdb can only
// set breakpoints by address, so the kernel must not choose its own.
type debugger struct{ chardev string }

func (d debugger) args() []string {
	return []string{"-chardev", withID(d.chardev, "gdb"), "-gdb", "chardev:gdb", "-S"}
}

func (debugger) params() []string { return []string{"nokaslr"} }

// filesystem is a directory of this machine that the guest mounts (virtiofs, Linux 5.4). Its server
// reads and writes the guest's memory, which therefore must be a shared file.
type filesystem struct{ tag, chardev string }

func (f filesystem) args() []string {
	id := "fs-" + f.tag
	return []string{
		"-chardev", withID(f.chardev, id),
		"-device", "vhost-user-fs-pci,chardev=" + id + ",queue-size=1024,tag=" + f.tag,
	}
}

func (filesystem) params() []string { return nil }

// network is a network card. QEMU's user-mode network behind it (restrict=on) reaches neither this
// machine nor anything beyond it, except what the rules allow. Without a ROM the card needs no file
// from another package.
type network []string

func (n network) args() []string {
	rules := append([]string{"user", "id=net", "restrict=on", "ipv6=off"}, n...)
	return []string{"-netdev", strings.Join(rules, ","), "-device", "virtio-net-pci,netdev=net,romfile="}
}

func (network) params() []string { return nil }

// savedMemory returns the options for memory in a file that QEMU inherits as a descriptor. A guest
// that is to be saved shares its memory with the file; restored guests map it privately,
// copy-on-write.
func savedMemory(fd int, share bool) string {
	on := "off"
	if share {
		on = "on"
	}
	return fmt.Sprintf("mem-path=/proc/self/fd/%d,share=%s", fd, on)
}

// withID names a character device: "socket,fd=3" becomes "socket,id=qmp,fd=3".
func withID(chardev, id string) string {
	kind, rest, more := strings.Cut(chardev, ",")
	if !more {
		return kind + ",id=" + id
	}
	return kind + ",id=" + id + "," + rest
}
