package engine

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/harness/compare"
	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/openfds"
	"github.com/bpfreplay/bpfreplay/internal/target"
)

// hostTool returns this machine's bpftool, with a BPF file system of its own.
func hostTool(t *testing.T) Tool {
	t.Helper()
	need.BPF(t)
	need.Root(t)
	tool := Tool{Path: need.Program(t, "bpftool")}
	bpffs := t.TempDir()
	if err := unix.Mount("bpf", bpffs, "bpf", 0, ""); err != nil {
		t.Skipf("needs a BPF file system: mount: %v", err)
	}
	t.Cleanup(func() { assert.Check(t, unix.Unmount(bpffs, 0)) })
	// A new BPF file system may contain the kernel's iterators.
	tool.Pins = filepath.Join(bpffs, "pins")
	assert.NilError(t, os.Mkdir(tool.Pins, 0o700))
	return tool
}

func coreObject(t *testing.T, name string) Object {
	t.Helper()
	file := filepath.Join("../../selftests/bpf", name+".bpf.o")
	data, err := os.ReadFile(file)
	assert.NilError(t, err)
	return Object{Name: filepath.Base(file), Data: data}
}

func byName(t *testing.T, name string, tool Tool) Engine {
	t.Helper()
	engines, err := ByName([]string{name}, tool)
	assert.NilError(t, err)
	return engines[0]
}

var kernel = sync.OnceValue(state.NewKernel)

// load loads an object, captures the state, and closes the load.
func load(t *testing.T, e Engine, obj Object) *state.State {
	t.Helper()
	ready, err := e.Open(obj)
	assert.NilError(t, err)
	loaded, err := ready.Do(target.New())
	assert.NilError(t, err)
	defer loaded.Close()
	s, err := state.Capture(context.Background(), loaded.Maps, loaded.Programs, kernel())
	assert.NilError(t, err)
	return s
}

// left returns the ids of maps and programs that are not in before.
func left(t *testing.T, before map[bpfsys.Cmd][]uint32) []uint32 {
	t.Helper()
	var rest []uint32
	for cmd, old := range before {
		ids, err := bpfsys.IDs(cmd)
		assert.NilError(t, err)
		rest = append(rest, slices.DeleteFunc(ids, func(id uint32) bool { return slices.Contains(old, id) })...)
	}
	return rest
}

func allIDs(t *testing.T) map[bpfsys.Cmd][]uint32 {
	t.Helper()
	all := make(map[bpfsys.Cmd][]uint32)
	for _, cmd := range []bpfsys.Cmd{bpfsys.MapGetNextID, bpfsys.ProgGetNextID, bpfsys.BTFGetNextID} {
		ids, err := bpfsys.IDs(cmd)
		assert.NilError(t, err)
		all[cmd] = ids
	}
	return all
}

// TestLibbpf loads objects with libbpf on this machine's kernel. A rule must predict every
// difference from our own load.
func TestLibbpf(t *testing.T) {
	tool := hostTool(t)
	for _, name := range []string{"maps_array", "maps_names", "maps_only", "data_sections", "data_custom", "data_static", "subprogs_nested", "prog_tc"} {
		for _, e := range []string{"libbpf", "libbpf-light"} {
			t.Run(name+" "+e, func(t *testing.T) {
				obj := coreObject(t, name)
				o, err := object.OpenBytes(obj.Data, obj.Name)
				assert.NilError(t, err)
				var uts unix.Utsname
				assert.NilError(t, unix.Uname(&uts))
				release := unix.ByteSliceToString(uts.Release[:])
				facts := compare.FactsOf(o)

				want := load(t, byName(t, "trace", Tool{}), obj)
				fds := len(openfds.List())
				before := allIDs(t)
				got := load(t, byName(t, e, tool), obj)
				assert.Equal(t, len(openfds.List()), fds)
				for end := time.Now().Add(2 * time.Minute); len(left(t, before)) > 0; time.Sleep(time.Millisecond) {
					// Other tests load objects, too, but for a shorter time.
					assert.Assert(t, time.Now().Before(end), "left behind: %v", left(t, before))
				}
				entries, err := os.ReadDir(tool.Pins)
				assert.NilError(t, err)
				assert.Equal(t, len(entries), 0, "pins left behind")

				assert.Equal(t, len(got.Maps), len(want.Maps))
				assert.Equal(t, len(got.Programs), len(want.Programs))
				for _, d := range compare.States(want, got, compare.Context{Engine: "trace", Release: release, Object: facts},
					compare.Context{Engine: e, Release: release, Object: facts}) {
					assert.Check(t, len(d.ExplainedBy) > 0, "%s: %s, %s %s", d.Field, d.A, e, d.B)
				}
			})
		}
	}
}

// TestLibbpfRefusals: errors have libbpf's messages, and nothing is left behind.
func TestLibbpfRefusals(t *testing.T) {
	tool := hostTool(t)
	for _, test := range []struct {
		name, engine string
		errno        unix.Errno
		err, log     string
	}{
		{"fail_license", "libbpf", unix.EINVAL, "prog 'unlicensed': BPF program load failed", "cannot call GPL-restricted function"},
		{"fail_license", "libbpf-light", unix.EINVAL, "libbpf's loader program: a step of it: EINVAL: cannot call GPL", "cannot call GPL-restricted function"},
		{"fail_map", "libbpf", unix.EINVAL, "map 'wide_key': failed to create", ""},
		{"kfunc_missing", "libbpf", 0, "'bpfreplay_no_such_kfunc': not found", ""},
		{"kfunc_missing", "libbpf-light", unix.ENOENT, "libbpf's loader program: a step of it: ENOENT", ""},
		{"prog_many", "libbpf-light", unix.EACCES, "libbpf's loader program: PROG_LOAD: EACCES: invalid write to stack", ""},
		{"bad_text", "libbpf", 0, "is not a proper ELF object", ""},
		{"bad_empty", "libbpf-light", 0, "failed to mmap()", ""},
		{"maps_many", "libbpf-light", unix.EFAULT, "Total maps exceeds 64", ""},
	} {
		t.Run(test.name+" "+test.engine, func(t *testing.T) {
			fds := len(openfds.List())
			ready, err := byName(t, test.engine, tool).Open(coreObject(t, test.name))
			if err == nil {
				var loaded *Loaded
				if loaded, err = ready.Do(target.New()); err == nil {
					loaded.Close()
				}
			}
			assert.ErrorContains(t, err, test.err)
			assert.Check(t, !errors.Is(err, ErrEngine), err)
			var errno unix.Errno
			errors.As(err, &errno)
			assert.Check(t, is.Equal(errno, test.errno))
			assert.Check(t, is.Contains(Log(err), test.log))
			assert.Equal(t, len(openfds.List()), fds)
			entries, err := os.ReadDir(tool.Pins)
			assert.NilError(t, err)
			assert.Equal(t, len(entries), 0, "pins left behind")
		})
	}
}

// TestBrokenTool: if bpftool gets a byte of a loader program wrong, the comparison names the
// program.
func TestBrokenTool(t *testing.T) {
	tool := hostTool(t)
	t.Setenv("PATH", filepath.Dir(tool.Path)+":"+os.Getenv("PATH"))
	obj := coreObject(t, "maps_array")
	right := load(t, byName(t, "libbpf-light", tool), obj)
	tool.Path = filepath.Join(t.TempDir(), "flip")
	out, err := exec.Command(need.Program(t, "go"), "build", "-o", tool.Path, "./testdata/flip").CombinedOutput()
	assert.NilError(t, err, string(out))
	wrong := load(t, byName(t, "libbpf-light", tool), obj)
	var fields []string
	for _, d := range compare.States(right, wrong, compare.Context{Engine: "libbpf-light"}, compare.Context{Engine: "libbpf-light"}) {
		fields = append(fields, d.Field.String())
	}
	assert.Check(t, is.DeepEqual(fields, []string{"program count tag", "program count insns"}))
}

// TestAutoload: bpftool cannot pin programs that were not loaded, which must not count as a refusal
// by libbpf. libbpf's loader programs put the fds of the programs that were loaded where the
// skeleton does not look for them.
func TestAutoload(t *testing.T) {
	tool := hostTool(t)
	obj := coreObject(t, "prog_autoload")
	programs := func(engine string) []string {
		var names []string
		for _, p := range load(t, byName(t, engine, tool), obj).Programs {
			names = append(names, p.Name+" is "+p.KernelName)
		}
		return names
	}
	assert.Check(t, is.DeepEqual(programs("libbpf"), []string{"first is first", "last is last"}))
	assert.Check(t, is.DeepEqual(programs("libbpf-light"), []string{"asked_for is first", "first is last"}))
}

func TestWithoutAsked(t *testing.T) {
	obj := coreObject(t, "prog_autoload")
	sections := func(data []byte) (names []string) {
		f, err := elf.NewFile(bytes.NewReader(data))
		assert.NilError(t, err)
		for _, s := range f.Sections {
			if s.Flags&elf.SHF_EXECINSTR != 0 && s.Size > 0 {
				names = append(names, s.Name)
			}
		}
		return names
	}
	before := bytes.Clone(obj.Data)
	assert.Check(t, is.DeepEqual(sections(obj.Data), []string{"?raw_tp/sys_enter", "socket", "?tc", "xdp"}))
	assert.Check(t, is.DeepEqual(sections(withoutAsked(obj.Data)), []string{"socket", "xdp"}))
	assert.Check(t, bytes.Equal(obj.Data, before), "the object itself was changed")
	for _, name := range []string{"maps_array", "bad_text", "bad_empty", "bad_truncated", "bad_header", "bad_bigendian"} {
		other := coreObject(t, name)
		assert.Check(t, bytes.Equal(withoutAsked(other.Data), other.Data), name)
	}
}

// script writes a shell script that stands in for bpftool.
func script(t *testing.T, text string) Tool {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bpftool")
	assert.NilError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755))
	return Tool{Path: path}
}

// TestTool: each way in which bpftool can fail is either a refusal of the object or ErrEngine.
func TestTool(t *testing.T) {
	run := func(text string) error {
		_, err := script(t, text).run("generating a loader program", "gen")
		return err
	}
	assert.NilError(t, run("exit 0"))
	var failed *ToolError
	err := run("echo 'libbpf: prog first' >&2; kill -SEGV $$")
	assert.Assert(t, errors.As(err, &failed))
	assert.Error(t, err, "bpftool: killed by SIGSEGV while generating a loader program; prog first")

	err = run("exit 234")
	assert.ErrorIs(t, err, unix.EINVAL)
	assert.Error(t, err, "bpftool: failed while generating a loader program, with status 234 and no reason: invalid argument")
	err = run("echo 'libbpf: failed: -2' >&2; exit 234")
	assert.ErrorIs(t, err, unix.ENOENT)

	err = run("exit 3")
	assert.Error(t, err, "bpftool: failed while generating a loader program, with status 3 and no reason")

	slow := script(t, "exec sleep 60")
	slow.Wait = 50 * time.Millisecond
	_, err = slow.run("loading")
	assert.ErrorIs(t, err, ErrEngine)
	assert.Assert(t, is.Contains(err.Error(), "bpftool takes longer than 50ms for loading"))

	_, err = Tool{}.run("loading")
	assert.ErrorIs(t, err, ErrEngine)
	_, err = Tool{Path: "/nowhere/bpftool"}.run("loading")
	assert.ErrorIs(t, err, ErrEngine)
	assert.ErrorIs(t, err, unix.ENOENT)
}

// TestToolError parses output of several versions of libbpf.
func TestToolError(t *testing.T) {
	const exited = syscall.WaitStatus(255 << 8)
	for name, test := range map[string]struct {
		stderr string
		errno  unix.Errno
		err    string
		log    string
	}{
		"program of 1.1": {
			`libbpf: prog 'careless': BPF program load failed: Permission denied
libbpf: prog 'careless': -- BEGIN PROG LOAD LOG --
0: R1=ctx(off=0,imm=0) R10=fp0
R0 invalid mem access 'map_value_or_null' -22
-- END PROG LOAD LOG --
libbpf: prog 'careless': failed to load: -13
libbpf: failed to load object 'fail_verifier.bpf.o'
Error: failed to load object file
Warning: bpftool is now running in libbpf strict mode and has more stringent requirements about BPF programs.
If it used to work for this object file but now doesn't, see --legacy option for more details.
`, unix.EACCES, "bpftool: prog 'careless': BPF program load failed: Permission denied; prog 'careless': failed to load: -13",
			"0: R1=ctx(off=0,imm=0) R10=fp0\nR0 invalid mem access 'map_value_or_null' -22",
		},
		"program of 1.6": {
			"libbpf: prog 'x': BPF program load failed: -EINVAL\nlibbpf: prog 'x': failed to load: -EINVAL\nlibbpf: failed to load object 'x'\n",
			unix.EINVAL, "bpftool: prog 'x': BPF program load failed: -EINVAL; prog 'x': failed to load: -EINVAL", "",
		},
		"map":   {"libbpf: map 'wide_key': failed to create: Invalid argument(-22)\n", unix.EINVAL, "bpftool: map 'wide_key': failed to create: Invalid argument(-22)", ""},
		"words": {"libbpf: prog 'x': BPF program load failed: No such file or directory\n", unix.ENOENT, "bpftool: prog 'x': BPF program load failed: No such file or directory", ""},
		"none":  {"libbpf: extern (func ksym) 'f': not found in kernel or module BTFs\n", 0, "bpftool: extern (func ksym) 'f': not found in kernel or module BTFs", ""},
		"many":  {"libbpf: 1\nlibbpf: 2\nlibbpf: 3\nlibbpf: 4\nError: 5\n", 0, "bpftool: 2; 3; 4; Error: 5", ""},
		"log that is cut": {
			"libbpf: prog 'x': -- BEGIN PROG LOAD LOG --\nprocessed", 0,
			"bpftool: failed while loading, with status 255 and no reason", "processed",
		},
	} {
		e := newToolError("loading", exited, test.stderr)
		assert.Check(t, is.Equal(e.Errno, test.errno), name)
		assert.Check(t, is.Error(e, test.err), name)
		assert.Check(t, is.Equal(Log(e), test.log), name)
	}
}

func TestNames(t *testing.T) {
	n := namesOf(coreObject(t, "data_custom"))
	assert.Equal(t, n.object, "data_custom")
	for pin, want := range map[string]string{
		"data_cus_rodata": ".rodata", "_data_foo": ".data.foo", "_rodata_bar": ".rodata.bar",
		"_data_another_long_section_name": ".data.another_long_section_name", "unknown": "unknown",
	} {
		assert.Check(t, is.Equal(translate(n.pins, pin), want))
	}
	for member, want := range map[string]string{"rodata": ".rodata", "data_foo": ".data.foo", "rodata_bar": ".rodata.bar"} {
		assert.Check(t, is.Equal(translate(n.members, member), want))
	}
	assert.Equal(t, translate(n.programs, "run"), "run")

	broken := namesOf(coreObject(t, "bad_text"))
	assert.Equal(t, broken.object, "")
	assert.Equal(t, translate(broken.pins, "x"), "x")
}

func TestByName(t *testing.T) {
	engines, err := ByName(enginename.Names(), Tool{})
	assert.NilError(t, err)
	for i, e := range engines {
		assert.Equal(t, e.Name(), enginename.Names()[i])
	}
	_, err = ByName([]string{"direct", "libbpf-heavy"}, Tool{})
	assert.Error(t, err, `no engine "libbpf-heavy": there are direct, trace, replay, signed, libbpf, libbpf-light, skel-go, skel-c`)
	assert.Check(t, !enginename.UseTool(enginename.Defaults()))
	assert.Check(t, enginename.UseTool([]string{"trace", "libbpf"}))
	assert.Check(t, is.DeepEqual(enginename.Defaults(), []string{"direct", "trace", "replay"}))
}

func TestFindTool(t *testing.T) {
	dir := t.TempDir()
	assert.NilError(t, os.WriteFile(filepath.Join(dir, "bpftool"), nil, 0o755))
	t.Setenv("PATH", dir)
	path, err := enginename.FindTool()
	assert.NilError(t, err)
	assert.Equal(t, path, filepath.Join(dir, "bpftool"))
	t.Setenv("PATH", t.TempDir())
	if path, err = enginename.FindTool(); err != nil {
		assert.Check(t, strings.Contains(err.Error(), "Debian's package bpftool"), err)
	} else {
		assert.Check(t, strings.HasSuffix(path, "/bpftool"), path)
	}
}
