// Package module tests light skeletons in a kernel module: the one in testdata is built for
// several kernels and loaded in guests. What that needs is in the cache after
//
//	bpfreplay suite modules 6.1 6.12 stable
package module

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/emit"
	"github.com/bpfreplay/bpfreplay/internal/issue"
	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/loader"
	"github.com/bpfreplay/bpfreplay/suites"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// inGuest names the directory with the module and its object, in a guest.
const inGuest = "BPFREPLAY_SKEL_MODULE"

func TestModule(t *testing.T) {
	if os.Getenv(inGuest) != "" {
		t.Skip("this is the guest")
	}
	need.QEMU(t)
	clang, err := exec.LookPath("clang-19")
	if err != nil {
		t.Skipf("needs clang-19: %v", err)
	}
	dir := t.TempDir()
	command, object := filepath.Join(dir, "bpfreplay"), filepath.Join(dir, "kmod.o")
	run(t, need.Program(t, "go"), "build", "-o", command, "../../cmd/bpfreplay")
	run(t, clang, "-O2", "-g", "-target", "bpfel", "-I/usr/include/x86_64-linux-gnu", "-c", "testdata/kmod.bpf.c", "-o", object)
	run(t, command, "gen", "--c", "-o", dir, object)
	source, err := os.ReadFile("testdata/skel_kmod.c")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "skel_kmod.c"), source, 0o644); err != nil {
		t.Fatal(err)
	}
	store, err := vmimage.Open(vmimage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"6.1", "6.12", "stable"} {
		t.Run(name, func(t *testing.T) {
			kernel := need.Kernel(t, name)
			module := filepath.Join(dir, "skel_kmod.ko")
			err := suites.BuildModule(t.Context(), store, kernel, dir, "skel_kmod", module)
			if errors.Is(err, suites.ErrNotFetched) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Log(run(t, command, "exec", "--kernel", name, "--bare", "--with", module, "--with", object, "--env", inGuest+"="+dir, "--",
				self, "-test.run=^TestInGuest$", "-test.v"))
		})
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestInGuest: a kernel module loads and attaches its skeleton, leaves what a direct load leaves, sees
// what the program writes, and leaves nothing behind.
func TestInGuest(t *testing.T) {
	dir := os.Getenv(inGuest)
	if dir == "" {
		t.Skip(inGuest + " names no module: TestModule runs this one in guests")
	}
	need.Root(t)
	need.BPF(t)
	f, err := os.Open(filepath.Join(dir, "skel_kmod.ko"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := os.ReadFile(filepath.Join(dir, "kmod.o"))
	if err != nil {
		t.Fatal(err)
	}
	before := ids(t)
	read(t) // what was said before
	fds := fdCount(t)
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil {
		t.Fatalf("load the module: %v\n%s", err, read(t))
	}
	if now := fdCount(t); now != fds {
		t.Errorf("%d file descriptors, %d before: the module has left some in this process", now, fds)
	}
	if during := ids(t); during.equal(before) {
		t.Error("the module has loaded nothing")
	}
	compare(t, data, before)
	if err := exec.Command("/proc/self/exe", "-test.run=^$").Run(); err != nil {
		t.Fatal(err)
	}
	if err := unix.DeleteModule("skel_kmod", 0); err != nil {
		t.Fatal(err)
	}
	said := read(t)
	t.Log(said)
	for _, want := range []string{
		"skel_kmod: broken: -13, program count: PROG_LOAD: EACCES", "skel_kmod: attached, text initial",
		"version is right: 1, weak symbol: 0",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("the kernel has not said %q", want)
		}
	}
	_, runs, _ := strings.Cut(said, "skel_kmod: runs ")
	if runs, _, _ = strings.Cut(runs, ","); runs <= "1000" || len(runs) != 4 {
		t.Errorf("runs %q, 1000 before", runs)
	}
	for _, bad := range []string{"BUG", "WARNING", "Oops", "Call Trace"} {
		if strings.Contains(said, bad) {
			t.Errorf("the kernel complains: %s", bad)
		}
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) { // freed after a grace period
		if ids(t).equal(before) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("left in the kernel: %v, before %v", ids(t), before)
		}
	}
}

// compare compares what the module has loaded with what this process loads with the same initial values:
// by the same loader program, and directly. No rule explains a difference.
func compare(t *testing.T, data []byte, before inKernel) {
	t.Helper()
	o, err := object.OpenBytes(data, "kmod.o")
	if err != nil {
		t.Fatal(err)
	}
	facts := state.FactsOf(o)
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	from := func(engine string) state.Context {
		return state.Context{Engine: engine, Release: unix.ByteSliceToString(u.Release[:]), Object: facts}
	}
	held := ofModule(t, before)
	defer held.close()
	module := capture(t, held)
	if len(module.Maps) != 4 || len(module.Programs) != 1 {
		t.Errorf("%d maps and %d programs of the module", len(module.Maps), len(module.Programs))
	}
	values := map[string]any{"step": uint32(3), "runs": uint64(1000)}
	for engine, load := range map[string]func([]byte, map[string]any) (*loads, error){state.EngineReplay: replay, state.EngineTrace: direct} {
		l, err := load(data, values)
		if err != nil {
			t.Fatalf("%s: %+v", engine, err)
		}
		own := capture(t, l)
		l.close()
		for _, d := range state.Compare(own, module, from(engine), from(state.EngineReplay)) {
			if d.Field != "map .bss contents" { // the module's program writes there
				t.Errorf("%s: %s: %s, the module: %s\n%s", d.Field, engine, d.A, d.B, d.Detail)
			}
		}
		t.Logf("compared with %s: %d maps, %d programs", engine, len(own.Maps), len(own.Programs))
	}
}

// loads are maps and programs by name.
type loads struct {
	maps, programs []state.Handle
	close          func()
}

func newLoads(maps map[string]*ebpf.Map, programs map[string]*ebpf.Program, done func()) *loads {
	l := &loads{close: done}
	for name, m := range maps {
		l.maps = append(l.maps, state.Handle{Name: name, FD: m.FD(), Found: true})
	}
	for name, p := range programs {
		l.programs = append(l.programs, state.Handle{Name: name, FD: p.FD(), Found: true})
	}
	return l
}

// replay runs the loader program from user space.
func replay(data []byte, values map[string]any) (*loads, error) {
	obj, err := loader.OpenFS(fstest.MapFS{"kmod.o": {Data: data}}, "kmod.o")
	if err != nil {
		return nil, err
	}
	p, err := loader.Generate(obj, nil)
	if err != nil {
		return nil, err
	}
	c, err := p.Load(&loader.LoadOptions{Variables: values})
	if err != nil {
		return nil, err
	}
	return newLoads(c.Maps, c.Programs, c.Close), nil
}

// direct issues the commands of a direct load. cilium/ebpf does not take a weak ksym.
func direct(data []byte, values map[string]any) (*loads, error) {
	with, err := replay(data, values)
	if err != nil {
		return nil, err
	}
	defer with.close()
	o := target.Options{Values: make(map[string][]byte)}
	for _, m := range with.maps {
		if m.Name == ".rodata" || m.Name == ".bss" {
			value, err := firstValue(m.FD)
			if err != nil {
				return nil, err
			}
			o.Values[m.Name] = value
		}
	}
	obj, err := object.OpenBytes(data, "kmod.o")
	if err != nil {
		return nil, err
	}
	plan, err := trace.Plan(obj, trace.Options{})
	if err != nil {
		return nil, err
	}
	r, err := issue.Issue(plan, target.New(), o)
	if err != nil {
		return nil, err
	}
	a := emit.Describe(plan)
	l := &loads{close: r.Close}
	for i, fd := range r.Maps {
		l.maps = append(l.maps, state.Handle{Name: a.Maps[i].Name, FD: fd, Found: true})
	}
	for i, fd := range r.Programs {
		l.programs = append(l.programs, state.Handle{Name: a.Programs[i].Name, FD: fd, Found: true})
	}
	return l, nil
}

func firstValue(fd int) ([]byte, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	m, err := ebpf.NewMapFromFD(dup)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	return m.LookupBytes(uint32(0))
}

// ofModule are the maps and programs that are not among those of before.
func ofModule(t *testing.T, before inKernel) *loads {
	t.Helper()
	var open []io.Closer
	l := &loads{close: func() {
		for _, c := range open {
			c.Close()
		}
	}}
	now := ids(t)
	for _, id := range now.programs {
		if slices.Contains(before.programs, id) {
			continue
		}
		p, err := ebpf.NewProgramFromID(ebpf.ProgramID(id))
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, p)
		info, err := p.Info()
		if err != nil {
			t.Fatal(err)
		}
		l.programs = append(l.programs, state.Handle{Name: info.Name, FD: p.FD(), Found: true})
	}
	for _, id := range now.maps {
		if slices.Contains(before.maps, id) {
			continue
		}
		m, err := ebpf.NewMapFromID(ebpf.MapID(id))
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, m)
		info, err := m.Info()
		if err != nil {
			t.Fatal(err)
		}
		_, section, _ := strings.Cut(info.Name, ".")
		l.maps = append(l.maps, state.Handle{Name: "." + section, FD: m.FD(), Found: true})
	}
	return l
}

func capture(t *testing.T, l *loads) *state.State {
	t.Helper()
	s, err := state.Capture(context.Background(), l.maps, l.programs, state.NewKernel())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// inKernel are the ids of all programs and maps.
type inKernel struct{ programs, maps []uint32 }

func (k inKernel) equal(other inKernel) bool {
	return slices.Equal(k.programs, other.programs) && slices.Equal(k.maps, other.maps)
}

func ids(t *testing.T) inKernel {
	t.Helper()
	programs, err1 := bpfsys.IDs(bpfsys.ProgGetNextID)
	maps, err2 := bpfsys.IDs(bpfsys.MapGetNextID)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return inKernel{programs, maps}
}

func fdCount(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// read is what the kernel has said since the last read.
func read(t *testing.T) string {
	t.Helper()
	const readClear = 4 // SYSLOG_ACTION_READ_CLEAR
	buf := make([]byte, 1<<20)
	n, err := unix.Klogctl(readClear, buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}
