// Package module tests light skeletons in kernel modules: it builds the modules in testdata for
// several kernels and loads them in guests. Fetch what this needs with
//
//	bpfreplay suite modules 6.1 6.12 7.2 stable
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

	"github.com/bpfreplay/bpfreplay/harness/compare"
	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/field"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/emit"
	"github.com/bpfreplay/bpfreplay/internal/issue"
	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/openfds"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/internal/testkey"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/loader"
	"github.com/bpfreplay/bpfreplay/suites"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// inGuest names the directory with the modules and an object, in a guest.
const inGuest = "BPFREPLAY_SKEL_MODULE"

// modules are the modules to build for each kernel. Each takes a quarter of a minute. 7.2 has
// another signature contract than later kernels, see docs/signing.md.
var modules = []struct {
	kernel string
	names  []string
}{
	{"6.1", []string{"skel_kmod", "skel_types"}},
	{"6.12", []string{"skel_kmod", "skel_types", "skel_signed"}},
	{"7.2", []string{"skel_signed"}},
	{"stable", []string{"skel_kmod", "skel_types", "skel_signed"}},
}

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
	in := func(name string) string { return filepath.Join(dir, name) }
	command := in("bpfreplay")
	run(t, need.Program(t, "go"), "build", "-o", command, "../../cmd/bpfreplay")
	compile := func(source, object string, flags ...string) {
		run(t, clang, append(flags, "-O2", "-mcpu=v3", "-g", "-target", "bpfel", "-I/usr/include/x86_64-linux-gnu",
			"-c", "testdata/"+source, "-o", in(object))...)
	}
	key, cert := testkey.RSA(t).Write(t, dir)
	compile("kmod.bpf.c", "kmod.o")
	compile("types.bpf.c", "types.o")
	compile("types.bpf.c", "late.o", "-DLATE")
	compile("signed.bpf.c", "ksigned.o")
	run(t, command, "gen", "-o", in("ksigned.bpfreplay"), in("ksigned.o"))
	run(t, command, "sign", in("ksigned.bpfreplay"), "--key", key, "--cert", cert)
	run(t, command, "gen", "--c", "-o", dir, in("kmod.o"))
	run(t, command, "gen", "--c", "-o", dir, in("types.o"))
	run(t, command, "gen", "--c", "-o", dir, "--ident", "types", "--output-stem", "late", in("late.o"))
	run(t, command, "gen", "--c", "-o", dir, "--artefact", in("ksigned.bpfreplay"), in("ksigned.o"))
	cc := need.Program(t, "gcc")
	run(t, cc, "-static", "-O2", "-Wall", "-Wextra", "-Werror", "-I"+dir, "testdata/types.c", "-o", in("types-6.1"))
	run(t, cc, "-static", "-O2", "-Wall", "-Wextra", "-Werror", "-I"+dir, "-DLATE", "testdata/types.c", "-o", in("types-late"))
	for _, name := range modules[1].names {
		source, err := os.ReadFile("testdata/" + name + ".c")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(in(name+".c"), source, 0o644); err != nil {
			t.Fatal(err)
		}
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
	for _, of := range modules {
		name := of.kernel
		t.Run(name, func(t *testing.T) {
			kernel := need.Kernel(t, name)
			args := []string{"exec", "--kernel", name, "--bare", "--cert", cert, "--env", inGuest + "=" + dir, "--with", in("kmod.o")}
			user := in("types-late")
			if name == "6.1" {
				user = in("types-6.1")
			}
			args = append(args, "--with", user, "--env", userProgram+"="+user)
			for _, module := range of.names {
				file := in(module + ".ko")
				err := suites.BuildModule(t.Context(), store, kernel, dir, module, file)
				if errors.Is(err, suites.ErrNotFetched) {
					t.Skip(err)
				}
				if err != nil {
					t.Fatal(err)
				}
				args = append(args, "--with", file)
			}
			said := run(t, command, append(args, "--", self, "-test.run=^TestInGuest", "-test.v")...)
			t.Log(said)
			if n := strings.Count(said, "--- PASS: TestInGuest"); n != len(of.names) {
				t.Errorf("%d of %d modules were tested", n, len(of.names))
			}
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

// TestInGuest: a kernel module loads and attaches its skeleton, leaves what a direct load leaves,
// sees what the program writes, and leaves nothing behind.
func TestInGuest(t *testing.T) {
	guest(t, "skel_kmod")
	data, err := os.ReadFile(filepath.Join(os.Getenv(inGuest), "kmod.o"))
	if err != nil {
		t.Fatal(err)
	}
	before := ids(t)
	read(t) // discards earlier messages
	fds := len(openfds.List())
	if err := insert(t, "skel_kmod", ""); err != nil {
		t.Fatalf("load the module: %v\n%s", err, read(t))
	}
	if now := len(openfds.List()); now != fds {
		t.Errorf("%d file descriptors, %d before: the module has left some in this process", now, fds)
	}
	if during := ids(t); during.equal(before) {
		t.Error("the module has loaded nothing")
	}
	compareWords(t, data, before)
	newTask(t)
	if err := unix.DeleteModule("skel_kmod", 0); err != nil {
		t.Fatal(err)
	}
	said := says(t, "skel_kmod: broken: -13, program count: PROG_LOAD: EACCES", "; if (broken)", // from the verifier's log
		"skel_kmod: attached, text initial", "version is right: 1, weak symbol: 0")
	_, runs, _ := strings.Cut(said, "skel_kmod: runs ")
	if runs, _, _ = strings.Cut(runs, ","); runs <= "1000" || len(runs) != 4 {
		t.Errorf("runs %q, 1000 before", runs)
	}
	nothingLeft(t, before)
}

// insert loads a module from the directory that inGuest names.
func insert(t *testing.T, name, params string) error {
	t.Helper()
	f, err := os.Open(filepath.Join(os.Getenv(inGuest), name+".ko"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), params, 0)
}

// newTask creates a task, which triggers the programs of the modules.
func newTask(t *testing.T) {
	t.Helper()
	if err := exec.Command("/proc/self/exe", "-test.run=^$").Run(); err != nil {
		t.Fatal(err)
	}
}

// says returns the kernel's messages since the last read. It fails the test unless they have all
// wanted texts and no warning.
func says(t *testing.T, wants ...string) string {
	t.Helper()
	said := read(t)
	t.Log(said)
	for _, want := range wants {
		if !strings.Contains(said, want) {
			t.Errorf("the kernel has not said %q", want)
		}
	}
	for _, bad := range []string{"BUG", "WARNING", "Oops", "Call Trace"} {
		if strings.Contains(said, bad) {
			t.Errorf("the kernel complains: %s", bad)
		}
	}
	return said
}

// nothingLeft waits until everything that was loaded is freed, after a grace period.
func nothingLeft(t *testing.T, before inKernel) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if ids(t).equal(before) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("left in the kernel: %v, before %v", ids(t), before)
		}
	}
}

// userProgram names a program in a guest with the skeleton of TestInGuestTypes.
const userProgram = "BPFREPLAY_SKEL_USER"

// TestInGuestTypes: skeletons that need the kernel's types register struct_ops maps with and
// without a link, in a kernel module and in user space; in a module, raw tracepoints and arenas
// work as well.
func TestInGuestTypes(t *testing.T) {
	guest(t, "skel_types")
	out, err := exec.Command(os.Getenv(userProgram)).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	linked := "yes"
	if strings.HasSuffix(os.Getenv(userProgram), "6.1") {
		linked = "no" // 6.4
	}
	want := "before: plain no linked no\nattached: plain yes linked " + linked + "\ndetached: plain no linked no\nafter: plain no linked no\n"
	if string(out) != want {
		t.Errorf("user space: %s", out)
	}
	nothingLeft(t, inKernel{})
	read(t)
	fds := len(openfds.List())
	if err := insert(t, "skel_types", ""); err != nil {
		t.Fatalf("load the module: %v\n%s", err, read(t))
	}
	if now := len(openfds.List()); now != fds {
		t.Errorf("%d file descriptors, %d before", now, fds)
	}
	newTask(t)
	if p, l := registered(t, "skel_plain"), registered(t, "skel_linked"); !p || l != (linked == "yes") {
		t.Errorf("registered: plain %v, linked %v", p, l)
	}
	if err := unix.DeleteModule("skel_types", 0); err != nil {
		t.Fatal(err)
	}
	if p, l := registered(t, "skel_plain"), registered(t, "skel_linked"); p || l {
		t.Errorf("still registered: plain %v, linked %v", p, l)
	}
	said := says(t, "skel_types: attached", "skel_types: tasks ")
	if strings.Contains(said, "tasks 0") {
		t.Error("the program at the raw tracepoint has not run")
	}
	if _, seen, ok := strings.Cut(said, "skel_types: seen "); ok == (linked == "no") || ok && (len(seen) < 2 || seen[:2] <= "41") {
		t.Errorf("in the arena: %q, 41 before", seen)
	}
	nothingLeft(t, inKernel{})
}

// registered reports whether a TCP congestion control of this name exists.
func registered(t *testing.T, name string) bool {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	err = unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, name)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		t.Fatal(err)
	}
	return err == nil
}

// TestInGuestSigned: a kernel that verifies signatures verifies that of a module's load.
func TestInGuestSigned(t *testing.T) {
	guest(t, "skel_signed")
	before := ids(t)
	read(t)
	_, err := target.New().Contract()
	verifies := err == nil
	for _, test := range []struct {
		params string
		err    error
		says   string
	}{
		{"keyring=-4", nil, "attached"},
		{"keyring=0", unix.ENOKEY, "loader program: PROG_LOAD: ENOKEY: the key is not in keyring 0"},
		{"keyring=-4 change=1", unix.EINVAL, "map .data: initial value: a signed load takes nothing from its caller"},
		{"plain=1 change=1", nil, "attached"},
	} {
		if !verifies && !strings.HasPrefix(test.params, "plain") && !strings.Contains(test.params, "change") {
			test.err, test.says = unix.EOPNOTSUPP, "loader program: this kernel verifies no signatures"
		}
		err := insert(t, "skel_signed", test.params)
		if !errors.Is(err, test.err) || (err == nil) != (test.err == nil) {
			t.Errorf("%s: %v, want %v", test.params, err, test.err)
		}
		if err == nil {
			newTask(t)
			if err := unix.DeleteModule("skel_signed", 0); err != nil {
				t.Fatal(err)
			}
		}
		said := says(t, "skel_signed: ", test.says)
		if test.err == nil && !strings.Contains(said, "runs ") || strings.Contains(said, "runs 1000") || strings.Contains(said, "runs 7\n") {
			t.Errorf("%s: the program has not run", test.params)
		}
		nothingLeft(t, before)
	}
}

// guest skips a test that is for guests of TestModule with a module.
func guest(t *testing.T, module string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(os.Getenv(inGuest), module+".ko")); err != nil {
		t.Skip(inGuest + " names no directory with the module: TestModule runs this one in guests")
	}
	need.Root(t)
	need.BPF(t)
	nothingLeft(t, inKernel{}) // of the previous test
}

// compareWords compares the maps and programs of the module with those that this process loads with
// the same initial values, by the same loader program and directly. No rule explains a difference.
func compareWords(t *testing.T, data []byte, before inKernel) {
	t.Helper()
	o, err := object.OpenBytes(data, "kmod.o")
	if err != nil {
		t.Fatal(err)
	}
	facts := compare.FactsOf(o)
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	from := func(engine string) compare.Context {
		return compare.Context{Engine: engine, Release: unix.ByteSliceToString(u.Release[:]), Object: facts}
	}
	held := ofModule(t, before)
	defer held.close()
	module := capture(t, held)
	if len(module.Maps) != 4 || len(module.Programs) != 1 {
		t.Errorf("%d maps and %d programs of the module", len(module.Maps), len(module.Programs))
	}
	values := map[string]any{"step": uint32(3), "runs": uint64(1000)}
	for engine, load := range map[string]func([]byte, map[string]any) (*loads, error){enginename.Replay: replay, enginename.Trace: direct} {
		l, err := load(data, values)
		if err != nil {
			t.Fatalf("%s: %+v", engine, err)
		}
		own := capture(t, l)
		l.close()
		for _, d := range compare.States(own, module, from(engine), from(enginename.Replay)) {
			if d.Field != field.Map(".bss", "contents") { // the module's program writes there
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

// direct issues the commands of a direct load, because cilium/ebpf does not support a weak ksym.
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

// ofModule returns the maps and programs that are not in before.
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

// read returns the kernel's messages since the last read.
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
