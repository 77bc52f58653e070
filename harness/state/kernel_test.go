package state

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/need"
)

const kallsyms = `0000000000000000 A fixed_percpu_data
ffffffff81000000 T __pfx___bpf_call_base
ffffffff81000010 T __bpf_call_base
ffffffff81000020 t local_alias
ffffffff81000020 T bpf_task_acquire
ffffffff81000030 T jiffies_to_msecs
ffffffffc0000000 t bpf_ct_release	[nf_conntrack]
ffffffffc0000100 t bpf_prog_0123456789abcdef_run	[bpf]
ffffffff81000040 D last_without_newline`

// fakeKernel returns a Kernel with these files in /proc and /sys.
func fakeKernel(t *testing.T, files map[string]string) *Kernel {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		assert.NilError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		assert.NilError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	k := NewKernel()
	k.proc, k.sys, k.slow = dir, dir, true
	return k
}

func TestSymbols(t *testing.T) {
	k := fakeKernel(t, map[string]string{"kallsyms": kallsyms})
	for addr, want := range map[uint64]string{
		0xffffffff81000020: "bpf_task_acquire [vmlinux]", // the global one of two
		0xffffffff81000030: "jiffies_to_msecs [vmlinux]",
		0xffffffff81000040: "last_without_newline [vmlinux]",
		0xffffffffc0000000: "bpf_ct_release [nf_conntrack]",
		0xffffffffc0000100: "", // a BPF program
		0xffffffff81000021: "", // not its start
		0xffffffff81000000: "", // padding before a function
		0xffffffffffffffff: "",
	} {
		got, ok, err := k.symbol(addr)
		assert.NilError(t, err)
		assert.Equal(t, got, want, "%#x", addr)
		assert.Equal(t, ok, want != "")
	}
	name, ok, err := k.callTarget(0x10)
	assert.NilError(t, err)
	assert.Assert(t, ok)
	assert.Equal(t, name, "bpf_task_acquire [vmlinux]")
}

func TestSymbolsOfModuleLoadedLater(t *testing.T) {
	k := fakeKernel(t, map[string]string{"kallsyms": kallsyms, "modules": ""})
	assert.NilError(t, k.loadSymbols())
	more := "ffffffffc1000000 t bpf_new\t[late]\n" + kallsyms
	assert.NilError(t, os.WriteFile(filepath.Join(k.proc, "kallsyms"), []byte(more), 0o600))

	_, ok, err := k.symbol(0xffffffffc1000000)
	assert.NilError(t, err)
	assert.Assert(t, !ok, "no module was loaded: reading again would be waste")

	assert.NilError(t, os.WriteFile(filepath.Join(k.proc, "modules"), []byte("late 16384 0\n"), 0o600))
	name, _, err := k.symbol(0xffffffffc1000000)
	assert.NilError(t, err)
	assert.Equal(t, name, "bpf_new [late]")
}

func TestSymbolsRefused(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"is /proc mounted?": {},
		"kptr_restrict":     {"kallsyms": "0000000000000000 T __bpf_call_base\n"},
		"restricted":        {"kallsyms": ""},
	} {
		_, _, err := fakeKernel(t, files).symbol(1)
		assert.ErrorContains(t, err, name)
	}
}

func TestPossibleCPUs(t *testing.T) {
	for list, want := range map[string]int{"0": 1, "0-3": 4, "0-3,8-11": 12, "0,2": 3} {
		k := fakeKernel(t, map[string]string{"devices/system/cpu/possible": list + "\n"})
		n, err := k.possibleCPUs()
		assert.NilError(t, err)
		assert.Equal(t, n, want, list)
	}
	for _, list := range []string{"", "x", "0-"} {
		_, err := fakeKernel(t, map[string]string{"devices/system/cpu/possible": list}).possibleCPUs()
		assert.ErrorContains(t, err, "cannot read the list")
	}
	_, err := fakeKernel(t, nil).possibleCPUs()
	assert.ErrorContains(t, err, "is /sys mounted?")
}

func TestKernelWithoutBTF(t *testing.T) {
	_, err := fakeKernel(t, nil).vmlinuxSpec()
	assert.ErrorContains(t, err, "CONFIG_DEBUG_INFO_BTF")
	err = fakeKernel(t, map[string]string{"kallsyms": kallsyms}).Preload()
	assert.ErrorContains(t, err, "CONFIG_DEBUG_INFO_BTF")
}

func TestIsAddress(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the levels of page tables are told by /proc/cpuinfo of x86")
	}
	four := fakeKernel(t, map[string]string{"cpuinfo": "flags\t\t: fpu vme gfni rdpid\n"})
	five := fakeKernel(t, map[string]string{"cpuinfo": "flags\t\t: fpu vme gfni la57 rdpid\n"})
	unknown := fakeKernel(t, nil)
	for _, tt := range []struct {
		v                   uint64
		four, five, unknown bool
	}{
		{0, false, false, false},
		{0x7fffffffffff, false, false, false},
		{0xff00000000000000, false, false, false}, // a mask
		{0xff11000012345678, false, true, true},
		{0xffff7fffffffffff, false, true, true},
		{0xffff888012345678, true, true, true},
		{0xffffffff81000000, true, true, true},
	} {
		assert.Equal(t, four.isAddress(tt.v), tt.four, "%#x", tt.v)
		assert.Equal(t, five.isAddress(tt.v), tt.five, "%#x", tt.v)
		assert.Equal(t, unknown.isAddress(tt.v), tt.unknown, "%#x", tt.v)
	}
}

// Both ways to look up names agree.
func TestLookup(t *testing.T) {
	need.BPF(t)
	l, err := newLookup()
	if err != nil {
		t.Skipf("this kernel cannot look symbols up from BPF (5.16): %v", err)
	}
	defer l.close()
	text, err := os.ReadFile("/proc/kallsyms")
	assert.NilError(t, err)
	table, err := parseSymbols(text)
	assert.NilError(t, err)
	assert.Equal(t, l.base, table.base)
	for _, name := range []string{"bpf_map_lookup_elem", "bpf_map_update_elem", "__bpf_call_base"} {
		i := bytes.Index(text, []byte(" T "+name+"\n"))
		if i < 16 {
			continue
		}
		addr, _ := parseHex(text[i-16:])
		for _, off := range []uint64{0, 1} {
			got, ok, err := l.symbol(addr + off)
			assert.NilError(t, err)
			want, there := table.name(addr + off)
			assert.Equal(t, got, want)
			assert.Equal(t, ok, there)
		}
	}
	_, ok, err := l.symbol(0x1234)
	assert.NilError(t, err)
	assert.Assert(t, !ok)
}

func TestSymbolAtStart(t *testing.T) {
	for text, want := range map[string]string{
		"bpf_task_acquire+0x0/0x40":                    "bpf_task_acquire [vmlinux]",
		"bpf_ct_release+0x0/0x20 [nf_conntrack]":       "bpf_ct_release [nf_conntrack]",
		"bpf_task_acquire+0x10/0x40":                   "",
		"0xffff888012345678":                           "",
		"bpf_prog_0123456789abcdef_run+0x0/0x40 [bpf]": "",
		"": "",
	} {
		got, ok := symbolAtStart(text)
		assert.Equal(t, ok, want != "", text)
		if ok {
			assert.Equal(t, got, want)
		}
	}
}

// Without the right to run the lookup a Kernel works without it, and nothing is left of the
// attempt.
func TestLookupRefused(t *testing.T) {
	need.BPF(t)
	var limit unix.Rlimit
	assert.NilError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	before := need.OpenBPF()
	none := limit
	none.Cur = 0
	assert.NilError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &none))
	k := NewKernel()
	started := k.startLookup()
	assert.NilError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	assert.Assert(t, !started)
	assert.Assert(t, k.slow)
	assert.DeepEqual(t, need.OpenBPF(), before)

	name, ok, err := k.callTarget(0)
	assert.NilError(t, err)
	assert.Assert(t, ok)
	assert.Equal(t, name, "__bpf_call_base [vmlinux]")
}
