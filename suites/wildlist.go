package suites

// wildPackage is a Debian package with BPF objects.
type wildPackage struct {
	suite, name string
	// dir is the directory of all objects, in files of their own or inside programs.
	dir string
}

// wildArch is the architecture of the packages. Objects of others differ in little but registers.
const wildArch = "amd64"

// wildPackages are packages that were found to have BPF objects. Released suites come first,
// because they change little. A package of several suites is listed more than once if other
// compilers built it. The list does not name objects, so a package may gain or lose some.
var wildPackages = []wildPackage{
	{"bookworm", "ir-keytable", "lib/udev/rc_keymaps/protocols"},
	{"bookworm", "libbpf-tools", "usr/sbin"},
	{"bookworm", "libxdp1", "usr/lib/x86_64-linux-gnu/bpf"},

	{"trixie", "bpftop", "usr"},
	{"trixie", "ir-keytable", "usr/lib/udev/rc_keymaps/protocols"},
	{"trixie", "libbpf-tools", "usr/sbin"},
	{"trixie", "libxdp1", "usr/lib/x86_64-linux-gnu/bpf"},
	{"trixie", "oar-common", "usr/lib/oar"},
	{"trixie", "opensnitch-ebpf-modules", "usr/lib/opensnitchd/ebpf"},
	{"trixie", "pwru", "usr"},
	{"trixie", "suricata", "usr/lib/suricata/ebpf"},
	{"trixie", "systemd", "usr/lib"},
	{"trixie", "xdp-tests", "usr/libexec/xdp-tools"},
	{"trixie", "xdp-tools", "usr/sbin"},

	{"sid", "bpfilter", "usr/sbin"},
	{"sid", "libbpf-tools", "usr/sbin"},
	{"sid", "libbpftune0", "usr/lib/x86_64-linux-gnu"},
	{"sid", "libdtrace2", "usr/lib/x86_64-linux-gnu/dtrace"},
	{"sid", "libknot16", "usr/lib/x86_64-linux-gnu"},
	{"sid", "libxdp1", "usr/lib/x86_64-linux-gnu/bpf"},
	{"sid", "mimic", "usr/sbin"},
	{"sid", "network-manager", "usr/sbin"},
	{"sid", "nsd", "usr/lib/bpf/nsd"},
	{"sid", "rsched", "usr/sbin"},
	{"sid", "rtc-testbench", "usr/lib/x86_64-linux-gnu/rtc-testbench/ebpf"},
	{"sid", "systemd-container", "usr/lib/systemd"},
	{"sid", "udev-hid-bpf", "usr/lib/x86_64-linux-gnu/bpf"},
	{"sid", "xdp-tests", "usr/libexec/xdp-tools"},
}

// wildModule is a Go module with objects for its own tests, most of them in both byte orders, and
// the prefix of their names.
const (
	wildModule       = "github.com/cilium/ebpf"
	wildModulePrefix = "cilium-ebpf"
)
