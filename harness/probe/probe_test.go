package probe

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/internal/openfds"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
	"github.com/bpfreplay/bpfreplay/loader/contract"
)

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	raw, err := os.ReadFile(path)
	assert.NilError(t, err)
	assert.NilError(t, yaml.Unmarshal(raw, into), path)
}

// Every capability in a case or in kernels.yaml has a probe, and every probe has a release in
// kernels.yaml.
func TestNames(t *testing.T) {
	var suite struct {
		Cases []struct {
			Name  string
			Needs []string
		}
	}
	readYAML(t, "../../selftests/cases.yaml", &suite)
	assert.Assert(t, len(suite.Cases) > 0)
	for _, c := range suite.Cases {
		for _, need := range c.Needs {
			assert.Check(t, Known(need), "case %s needs %s, which has no probe", c.Name, need)
		}
	}
	var config struct {
		Capabilities map[string]struct{ Since string }
		Kernels      []struct {
			Name    string
			Without map[string]string
		}
	}
	readYAML(t, "../../kernels.yaml", &config)
	assert.DeepEqual(t, slices.Sorted(maps.Keys(config.Capabilities)), Names())
	for name, c := range config.Capabilities {
		assert.Check(t, c.Since != "", name)
	}
	for _, k := range config.Kernels {
		for name := range k.Without {
			assert.Check(t, Known(name), "kernel %s is without %s, which has no probe", k.Name, name)
		}
	}
}

func TestUnknown(t *testing.T) {
	assert.Check(t, !Known("no_such_thing"))
	r := Run("no_such_thing", target.New())
	assert.DeepEqual(t, r, wire.Probe{Name: "no_such_thing", Detail: `no probe is called "no_such_thing"`})
}

// Every probe has a result, the same each time, and leaves no fd behind.
func TestAnswers(t *testing.T) {
	need.BPF(t) // BPF works at all
	k := target.New()
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			first := Run(name, k)
			before := openfds.List()
			assert.DeepEqual(t, Run(name, k), first)
			assert.DeepEqual(t, openfds.List(), before)
			t.Logf("%v %s: %s", first.OK, first.Errno, first.Detail)
			assert.Equal(t, first.Name, name)
			assert.Equal(t, first.OK, first.Errno == "", first.Detail)
			assert.Check(t, first.Detail != "" && !strings.Contains(first.Detail, "\n"), "%q", first.Detail)
		})
	}
}

// A capability implies those that it builds on.
func TestImplications(t *testing.T) {
	need.BPF(t)
	k := target.New()
	for later, earlier := range map[string]string{
		"user_ringbuf":    "ringbuf",
		"bpf_loop":        "for_each_map_elem",
		"lsm_sleepable":   "lsm",
		"kallsyms_helper": "syscall_prog",
		"signed_prog":     "syscall_prog",
		"tp_btf":          "kernel_btf",
		"fentry":          "kernel_btf",
		"kfunc_task":      "kfunc_vmlinux",
		"kfunc_address":   "kernel_btf",
		"cpuv4":           "atomics",
		"jump_tables":     "cpuv4",
	} {
		if r := Run(later, k); r.OK {
			assert.Check(t, Run(earlier, k).OK, "%s without %s: %s", later, earlier, Run(earlier, k).Detail)
		}
	}
}

// Every kind of experiment fails if there is nothing to find.
func TestRefusals(t *testing.T) {
	need.BPF(t)
	coreKernel := table["core_kernel"].(load)
	coreKernel.relos = nil
	notNull := table["global_memory_args"].(load)
	notNull.code = join(zero(-8), onStack(r1, -8), callOwn(1), exit(),
		movImm(r0, 0), movImm(r0, 0), load32(r0, r1, 4), exit()) // a caller may pass NULL
	for _, test := range []struct {
		name   string
		e      experiment
		errno  string
		detail string
	}{
		{"map type", create{mapType: 9999}, "EINVAL", "MAP_CREATE of type MapType(9999)"},
		{"map flags", create{mapType: uapi.MapRingbuf, entries: page, flags: 1 << 30}, "EINVAL", "MAP_CREATE of type RINGBUF"},
		{"helper", helper{uapi.ProgSocketFilter, 1 << 20, "x"}, "EINVAL", "unknown#1048576"},
		{"program", load{of: uapi.ProgSocketFilter, code: join(exit())}, "EACCES", "R0 !read_ok"},
		{"relocation", coreKernel, "EACCES", "invalid mem access"},
		{"function", notNull, "EACCES", "invalid mem access"},
		{"type of program", load{of: 9999}, "EINVAL", "PROG_LOAD of type"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.name == "function" && !Run("global_memory_args", target.New()).OK {
				t.Skip("this kernel takes no pointers as arguments of global functions")
			}
			before := openfds.List()
			r := result("x", test.e, nil)
			assert.DeepEqual(t, openfds.List(), before)
			assert.Equal(t, r.OK, test.errno == "", r.Detail)
			assert.Equal(t, r.Errno, test.errno, r.Detail)
			assert.Check(t, strings.Contains(r.Detail, test.detail), r.Detail)
		})
	}
}

// The return value of a program that is run is the result.
func TestReturnValue(t *testing.T) {
	need.BPF(t)
	answer := func(ret int32) wire.Probe {
		return result("x", load{of: uapi.ProgSyscall, flags: unix.BPF_F_SLEEPABLE, run: true, code: returns(ret)}, nil)
	}
	if r := answer(0); !r.OK {
		t.Skipf("no program type that runs without a context: %s", r.Detail)
	}
	assert.Equal(t, answer(-1).Errno, "EPERM")
	assert.Equal(t, answer(-2).Detail, "PROG_LOAD of type SYSCALL, sleepable: the program returns -2")
	assert.Check(t, !answer(7).OK)
}

// fakeKernel finds the given types, each with a new fd.
type fakeKernel map[string]uint32

func (k fakeKernel) Vmlinux() (*btf.Spec, error) {
	return nil, fmt.Errorf("types: %w", unix.ENOENT)
}

func (k fakeKernel) Contract() (contract.Contract, error) { return "", unix.EINVAL }

func (k fakeKernel) FindType(name string, kind uint32, only string) (uint32, int, error) {
	id, ok := k[name]
	if !ok {
		return 0, -1, unix.ENOENT
	}
	if only == "vmlinux" {
		return id, -1, nil
	}
	fd, err := unix.MemfdCreate("fake", unix.MFD_CLOEXEC)
	return id, fd, err
}

// A module's function is called through an index in fd_array. The fds are closed after the
// experiment, whether or not all functions are found.
func TestModuleFunctions(t *testing.T) {
	c := join(callKfunc("a"), callKfunc("b"), movID(r2, btf.KindStruct, "s"))
	raw, modules, err := c.link(fakeKernel{"a": 0x11, "b": 0x22, "s": 0x33})
	assert.NilError(t, err)
	assert.Equal(t, len(modules), 2)
	for _, fd := range modules {
		bpfsys.Close(fd)
	}
	assert.DeepEqual(t, raw, []byte{
		0x85, 0x20, 1, 0, 0x11, 0, 0, 0,
		0x85, 0x20, 2, 0, 0x22, 0, 0, 0,
		0xb7, 0x02, 0, 0, 0x33, 0, 0, 0,
	})

	before := openfds.List()
	r := result("x", load{of: uapi.ProgXDP, code: c}, fakeKernel{"a": 1})
	assert.DeepEqual(t, r, wire.Probe{Name: "x", Errno: "ENOENT", Detail: "PROG_LOAD of type XDP: look-up of FUNC b"})
	result("x", load{of: uapi.ProgXDP, code: c}, fakeKernel{"a": 1, "b": 2, "s": 3})
	assert.DeepEqual(t, openfds.List(), before)
}

func TestMissingTypes(t *testing.T) {
	r := result("x", types{}, fakeKernel{})
	assert.DeepEqual(t, r, wire.Probe{Name: "x", Errno: "ENOENT", Detail: "/sys/kernel/btf/vmlinux: types"})
	r = result("x", typed(function("f")), fakeKernel{})
	assert.DeepEqual(t, r, wire.Probe{Name: "x", Errno: "ENOENT", Detail: "FUNC f in BTF"})
	r = result("x", load{of: uapi.ProgLSM, target: function("f")}, fakeKernel{})
	assert.DeepEqual(t, r, wire.Probe{Name: "x", Errno: "ENOENT", Detail: "PROG_LOAD of type LSM on FUNC f: look-up of FUNC f"})
}

// says is an experiment with a given result.
type says struct{ err error }

func (s says) try(kernel) (string, error) { return fmt.Sprintf("%v", s.err), s.err }

func TestCombinations(t *testing.T) {
	yes, no, other := says{}, says{unix.EINVAL}, says{errors.New("other")}
	for _, test := range []struct {
		e     experiment
		ok    bool
		errno string
	}{
		{all{yes, yes}, true, ""},
		{all{yes, no, other}, false, "EINVAL"},
		{either{no, yes}, true, ""},
		{either{other, no}, false, "EINVAL"},
		{either{no, other}, false, ""},
	} {
		r := result("x", test.e, nil)
		assert.Check(t, r.OK == test.ok && r.Errno == test.errno, "%+v", r)
	}
	assert.Equal(t, result("x", either{no, other}, nil).Detail, "invalid argument, then other: other")
}

func TestFirstFunction(t *testing.T) {
	const hidden = "0000000000000000 A start_of_percpu\n0000000000000000 T _text\nffffffff81000040 T next\n"
	const shown = "0000000000000000 A start_of_percpu\nffffffff81000000 t _text\n0000000000000000 T next\n"
	assert.NilError(t, firstFunction(strings.NewReader(shown)))
	assert.ErrorIs(t, firstFunction(strings.NewReader(hidden)), unix.EPERM)
	assert.ErrorIs(t, firstFunction(strings.NewReader("junk\n")), unix.ENOENT)
	assert.ErrorIs(t, firstFunction(strings.NewReader("")), unix.ENOENT)
}

func TestErrnoName(t *testing.T) {
	assert.Equal(t, errnoName(fmt.Errorf("x: %w", unix.E2BIG)), "E2BIG")
	assert.Equal(t, errnoName(unix.Errno(524)), "ENOTSUPP")
	assert.Equal(t, errnoName(unix.Errno(4000)), "errno 4000")
	assert.Equal(t, errnoName(errors.New("x")), "")
}

func TestJSON(t *testing.T) {
	raw, err := json.Marshal([]wire.Probe{{Name: "a", OK: true, Detail: "d"}, {Name: "b", Errno: "EINVAL", Detail: "e"}})
	assert.NilError(t, err)
	assert.Equal(t, string(raw), `[{"name":"a","ok":true,"detail":"d"},{"name":"b","ok":false,"errno":"EINVAL","detail":"e"}]`)
}
