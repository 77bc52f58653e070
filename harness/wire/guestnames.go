package wire

// ExecName is the name in the marks of a program that a [Command] runs; a case's marks have the
// case's name: see [BeginMark].
const ExecName = "exec"

// FaultKilled is a fault that the host injects: it kills QEMU.
const FaultKilled = "qemu-killed"

// BootModules are the modules that the agent needs to reach the host. Most
// kernels have them built in; Debian's 5.10 and 6.1 do not.
var BootModules = []string{"virtio_console", "virtio_pci"}

// Preloaded is a file in the guest that lists modules, one path per line, to load before the first
// request. If one does not load, probes will report what is missing.
const Preloaded = "/lib/modules/first"

// ShareModules are the modules that a guest needs to mount directories of the host: virtiofs (Linux
// 5.4).
var ShareModules = []string{"virtiofs"}

// HostRootModules are the modules that a guest needs to mount the host's root: those for shares,
// and overlay (Linux 3.18) for the changes made in the guest.
var HostRootModules = append(ShareModules, "overlay")

// NetworkModules are the modules that a guest needs for its network card.
var NetworkModules = []string{"virtio_net"}
