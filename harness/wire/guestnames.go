package wire

// ExecName is the name of the program that a [Command] runs, where there is that of a case
// otherwise: see [BeginMark].
const ExecName = "exec"

// FaultKilled is the fault that the host carries out: it kills QEMU.
const FaultKilled = "qemu-killed"

// BootModules are the modules that the agent needs to reach the host. Most
// kernels have them built in; Debian's 5.10 and 6.1 do not.
var BootModules = []string{"virtio_console", "virtio_pci"}

// Preloaded is a file in the guest with a list of modules, a path a line, that
// are loaded before the guest is asked for anything. One that does not load is
// for probes to find missing.
const Preloaded = "/lib/modules/first"

// ShareModules are the modules that a guest needs to have directories of the host: virtiofs (Linux
// 5.4).
var ShareModules = []string{"virtiofs"}

// HostRootModules are the modules that a guest needs to have the host's root: those of
// shares, and overlay (Linux 3.18) for what the guest changes.
var HostRootModules = append(ShareModules, "overlay")

// NetworkModules are the modules that a guest needs for its network card.
var NetworkModules = []string{"virtio_net"}
