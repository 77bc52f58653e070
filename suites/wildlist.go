package suites

// wildPackage is a package of Debian that holds BPF objects.
type wildPackage struct {
	suite, name string
	// dir has all objects below it, in files of their own or inside of programs.
	dir string
}

// wildArch is the architecture of the packages: objects of others differ in little but registers.
const wildArch = "amd64"

// wildPackages are those whose lists of files or whose programs have shown BPF
// objects. Suites that are released come first, as they change little; of packages
// in several suites there are those that other compilers made. Contents are what
// counts, so a package that gains or loses an object needs no change here.
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

// wildModule is the Go module that has objects, most of them in both byte orders,
// for the tests of another loader, and its prefix in names.
const (
	wildModule       = "github.com/cilium/ebpf"
	wildModulePrefix = "cilium-ebpf"
)
