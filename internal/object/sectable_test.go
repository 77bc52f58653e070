package object

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

func TestLookup(t *testing.T) {
	tests := []struct {
		section string
		want    ProgramType
	}{
		{"kprobe", ProgramType{Type: uapi.ProgKprobe, Pattern: "kprobe+"}},
		{"kprobe/vfs_read", ProgramType{Type: uapi.ProgKprobe, Attach: "vfs_read", Pattern: "kprobe+"}},
		{"kprobe.multi/a*", ProgramType{Type: uapi.ProgKprobe, AttachType: uapi.AttachTraceKprobeMulti, Attach: "a*", Pattern: "kprobe.multi+"}},
		{"uprobe.s//bin/sh:f", ProgramType{Type: uapi.ProgKprobe, Flags: 16, Attach: "/bin/sh:f", Pattern: "uprobe.s+"}},
		{"usdt/x", ProgramType{Type: uapi.ProgKprobe, USDT: true, Attach: "x", Pattern: "usdt+"}},
		{"fentry/mod:f", ProgramType{Type: uapi.ProgTracing, AttachType: uapi.AttachTraceFentry, NeedsBTF: true, Attach: "mod:f", Pattern: "fentry+"}},
		{"fentry.multi.s/f*", ProgramType{Type: uapi.ProgTracing, AttachType: uapi.AttachTraceFentryMulti, Flags: 16, Attach: "f*", Pattern: "fentry.multi.s+"}},
		{"xdp", ProgramType{Type: uapi.ProgXDP, AttachType: uapi.AttachXDP, Pattern: "xdp"}},
		{"xdp.frags/cpumap", ProgramType{Type: uapi.ProgXDP, AttachType: uapi.AttachXDPCpumap, Flags: 32, Pattern: "xdp.frags/cpumap"}},
		{"cgroup/sock", ProgramType{Type: uapi.ProgCgroupSock, AttachType: uapi.AttachCgroupInetSockCreate, Pattern: "cgroup/sock"}},
		{"sk_reuseport/migrate", ProgramType{Type: uapi.ProgSkReuseport, AttachType: uapi.AttachSkReuseportSelectOrMigrate, Pattern: "sk_reuseport/migrate"}},
	}
	for _, tt := range tests {
		got, ok := LibbpfRules.Lookup(tt.section)
		assert.Assert(t, ok, tt.section)
		assert.DeepEqual(t, got, tt.want)
	}
	for _, name := range []string{"", "kprobes", "xdp/x", "kprobe.multi.x", "classifier/x", "cgroup", "lsm.", "?xdp"} {
		_, ok := LibbpfRules.Lookup(name)
		assert.Assert(t, !ok, name)
	}
}

// notInDebian has the rows that are newer than Debian 12's libbpf 1.1.
var notInDebian = map[string]string{
	"kprobe.session+": "1.5", "uprobe.multi+": "1.3", "uretprobe.multi+": "1.3", "uprobe.session+": "1.6",
	"uprobe.multi.s+": "1.3", "uretprobe.multi.s+": "1.3", "uprobe.session.s+": "1.6",
	"usdt.s+":    "1.3",
	"tc/ingress": "1.3", "tc/egress": "1.3", "tcx/ingress": "1.3", "tcx/egress": "1.3",
	"netkit/primary": "1.3", "netkit/peer": "1.3",
	"tracepoint.s+": "1.8", "tp.s+": "1.8", "raw_tracepoint.s+": "1.8", "raw_tp.s+": "1.8", "tp_btf.s+": "1.8",
	"fsession+": "1.7", "fsession.s+": "1.7",
	"fsession.multi+": "1.8", "fsession.multi.s+": "1.8", "fentry.multi+": "1.8", "fexit.multi+": "1.8",
	"fentry.multi.s+": "1.8", "fexit.multi.s+": "1.8",
	"cgroup/connect_unix": "1.3", "cgroup/sendmsg_unix": "1.3", "cgroup/recvmsg_unix": "1.3",
	"cgroup/getpeername_unix": "1.3", "cgroup/getsockname_unix": "1.3",
	"netfilter": "1.3", "sk_skb/verdict": "1.5", "struct_ops.s+": "1.2",
}

// older reports whether a libbpf is older than the version that added a row.
func older(major, minor int, since string) bool {
	var m, n int
	if _, err := fmt.Sscanf(since, "%d.%d", &m, &n); err != nil {
		return false
	}
	return major < m || major == m && minor < n
}

// TestSectionTableAgainstLibbpf asks the libbpf of this machine about every
// section name of the table.
func TestSectionTableAgainstLibbpf(t *testing.T) {
	cc := need.Program(t, "cc")
	need.File(t, "/usr/include/bpf/libbpf.h")
	bin := filepath.Join(t.TempDir(), "ask")
	out, err := exec.Command(cc, "-o", bin, "testdata/asklibbpf/ask.c", "-lbpf").CombinedOutput()
	assert.NilError(t, err, "%s", out)
	var names []string
	for _, r := range sectionTable {
		if name, open := strings.CutSuffix(r.pattern, "+"); open {
			names = append(names, name, name+"/x", name+"x")
		} else {
			names = append(names, name, name+"/x")
		}
	}
	out, err = exec.Command(bin, names...).Output()
	assert.NilError(t, err)
	var answers []struct {
		Major, Minor int
		Name         string
		Known        bool
		Type, Attach uint32
	}
	assert.NilError(t, json.Unmarshal(out, &answers))
	assert.Equal(t, len(answers), len(names))
	for _, a := range answers {
		got, ok := LibbpfRules.Lookup(a.Name)
		if since := notInDebian[got.Pattern]; ok && !a.Known && older(a.Major, a.Minor, since) {
			continue
		}
		assert.Equal(t, ok, a.Known, a.Name)
		if !ok {
			continue
		}
		assert.Equal(t, got.Type, uapi.ProgType(a.Type), a.Name)
		assert.Equal(t, got.AttachType, uapi.AttachType(a.Attach), a.Name)
	}
}

// inSection builds an object with one program.
func inSection(section string) []byte {
	b := &elfBuilder{}
	b.function("prog", b.code(section, movZero, exitInsn))
	b.data("license", []byte("GPL\x00"))
	return b.bytes()
}

// TestSectionRules: names that only begin with one of the table's have no meaning for libbpf, but
// one for cilium/ebpf.
func TestSectionRules(t *testing.T) {
	for section, pattern := range map[string]string{
		"socket1": "socket", "tc_ingress": "tc", "classifier_x": "classifier", "socket/tail": "socket", "xdp/x": "xdp",
		"tc/ingress/x": "tc/ingress", "cgroup/sock_create4": "cgroup/sock_create", "kprobes": "", "kprobes/x": "", "nothing/tail": "",
	} {
		o, err := OpenBytes(inSection(section), "x")
		assert.NilError(t, err)
		assert.DeepEqual(t, o.Functions[0].Program, ProgramType{})
		o, err = Options{SectionRules: CiliumRules}.OpenBytes(inSection(section), "x")
		assert.NilError(t, err)
		assert.Equal(t, o.Functions[0].Program.Pattern, pattern, section)
	}
}

// TestSectionRulesAgainstCilium asks cilium/ebpf about each name of the table, and
// about names that only begin with one.
func TestSectionRulesAgainstCilium(t *testing.T) {
	// Names of rows that cilium/ebpf lacks match other rows or none.
	younger := []string{"tracepoint.s", "tp.s", "raw_tracepoint.s", "raw_tp.s", "tp_btf.s", "fsession", "fentry.multi", "fexit.multi", "uprobe.session", "kprobe.session"}
	asked := 0
	for _, r := range sectionTable {
		name := strings.TrimSuffix(r.pattern, "+")
		if slices.ContainsFunc(younger, func(y string) bool { return strings.HasPrefix(name, y) }) {
			continue
		}
		for _, section := range []string{name, name + "/x", name + "1", name + "_ingress", name + "/", "?" + name} {
			spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(inSection(section)))
			assert.NilError(t, err, section)
			want := spec.Programs["prog"]
			o, err := Options{SectionRules: CiliumRules}.OpenBytes(inSection(section), "x")
			assert.NilError(t, err)
			got := o.Functions[0].Program
			asked++
			assert.Equal(t, got.Type, uapi.ProgType(want.Type), section)
			assert.Equal(t, got.AttachType, uapi.AttachType(want.AttachType), section)
			assert.Equal(t, got.Flags, want.Flags, section)
			if want.Type != ebpf.StructOps { // cilium/ebpf drops what follows the slash
				assert.Equal(t, got.Attach, want.AttachTo, section)
			}
		}
	}
	assert.Assert(t, asked > 500, "%d", asked)
}

func TestNearestSection(t *testing.T) {
	for section, want := range map[string]string{
		"socket1": "socket", "tc_ingress": "tc/ingress", "classifier_x": "classifier", "classifier_some_long_name": "classifier",
		"kprobes/vfs_read": "kprobe/vfs_read", "fentri/f": "fentry/f", "xdpp": "xdp", "XDP": "xdp", "raw_tracepoints/sys_enter": "raw_tracepoint/sys_enter",
		"cgroup/connect5": "cgroup/connect4", "sched_cls_thing": "", "my_own_section": "", "": "",
	} {
		assert.Equal(t, NearestSection(section), want, section)
	}
}
