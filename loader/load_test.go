package loader_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/btf"
	"github.com/bpfreplay/bpfreplay/internal/issue"
	"github.com/bpfreplay/bpfreplay/internal/openfds"
	"github.com/bpfreplay/bpfreplay/internal/replay"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/loader"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// outcome returns the result of a load as text that two engines can be compared by.
func outcome(t testing.TB, tr *trace.Trace, fds *target.Result, err error) string {
	t.Helper()
	var b strings.Builder
	if err != nil {
		var step *artefact.StepError
		if !errors.As(err, &step) {
			return "refused: " + err.Error()
		}
		fmt.Fprintf(&b, "%s: %s: %v\n%s", step.Subject, step.Op, step.Err, bpfsys.LastLine(step.Log))
		return b.String()
	}
	for i, fd := range fds.Maps {
		info, _, err := bpfsys.GetMapInfo(fd)
		assert.NilError(t, err)
		frozen, err := mapFrozen(fd)
		assert.NilError(t, err)
		fmt.Fprintf(&b, "map %s: type %d key %d value %d max %d flags %#x name %s types %d %d extra %#x frozen %t\n", tr.Maps[i].Name,
			info.Type, info.KeySize, info.ValueSize, info.MaxEntries, info.MapFlags, bpfsys.CString(info.Name[:]),
			info.BTFKeyTypeID, info.BTFValueTypeID, info.MapExtra, frozen)
		if !isData(tr, i) {
			continue
		}
		value := make([]byte, info.ValueSize)
		assert.NilError(t, bpfsys.LookupElem(fd, make([]byte, 4), value))
		if len(value) > 64 {
			value = fmt.Appendf(nil, "%x", sha256.Sum256(value))
		}
		fmt.Fprintf(&b, "  %x\n", value)
	}
	for i, fd := range fds.Programs {
		info, arrays, err := bpfsys.GetProgInfo(fd)
		assert.NilError(t, err)
		fmt.Fprintf(&b, "program %s: type %d tag %x name %s xlated %d maps %d functions %d lines %d target %d\n", tr.Programs[i].Name,
			info.Type, info.Tag, bpfsys.CString(info.Name[:]), info.XlatedProgLen, info.NrMapIDs, len(arrays.Tags), info.NrLineInfo, info.AttachBTFID)
	}
	return b.String()
}

// isData reports whether map i is a data map, whose value can be read.
func isData(tr *trace.Trace, i int) bool {
	for _, c := range tr.Commands {
		if c, ok := c.(*trace.UpdateElem); ok && c.Initial == tr.Maps[i] {
			return true
		}
	}
	return false
}

// TestEnginesAgree loads each object of the core suite by its trace and by its loader program: the
// same step fails for the same reason, or both create the same things.
func TestEnginesAgree(t *testing.T) {
	needLoaders(t)
	files, err := filepath.Glob(filepath.Join(coreObjects, "*.bpf.o"))
	assert.NilError(t, err)
	assert.Assert(t, len(files) > 100)
	files = append(files, "testdata/steps.o")
	loaded := 0
	for _, file := range files {
		if strings.HasPrefix(filepath.Base(file), "bad_") {
			continue
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".o"), func(t *testing.T) {
			tr := plan(t, file)
			var first string
			for i, e := range engines {
				keepsFDs(t, func() {
					fds, err := e.load(tr, shared, target.Options{})
					got := outcome(t, tr, fds, err)
					if fds != nil {
						fds.Close()
						loaded++
					}
					if i == 0 {
						first = got
					}
					assert.Equal(t, got, first, "%s against %s", e.name, engines[0].name)
				})
			}
		})
	}
	assert.Assert(t, loaded >= 2*60, "only %d loads of this kernel succeed", loaded)
}

// TestCollection runs the example of the package comment.
func TestCollection(t *testing.T) {
	needLoaders(t)
	p := generate(t, filepath.Join(coreObjects, "data_sections.bpf.o"), nil)
	keepsFDs(t, func() {
		coll, err := p.Load(nil)
		assert.NilError(t, err)
		defer coll.Close()
		assert.Equal(t, len(coll.Maps), len(p.Maps()))
		assert.Equal(t, len(coll.Programs), len(p.Programs()))

		rodata := coll.Maps[".rodata"]
		assert.Assert(t, rodata != nil)
		value, err := rodata.LookupBytes(uint32(0))
		assert.NilError(t, err)
		assert.DeepEqual(t, value, initialValue(t, planCore(t, "data_sections"), ".rodata"))
		frozen, err := mapFrozen(rodata.FD())
		assert.NilError(t, err)
		assert.Assert(t, frozen)
		err = rodata.Put(uint32(0), value)
		assert.ErrorIs(t, err, unix.EPERM)
		for name, prog := range coll.Programs {
			ret, _, err := prog.Test(make([]byte, 64))
			assert.NilError(t, err, name)
			assert.Assert(t, ret != 0, "%s returned %d", name, ret)
		}
	})
}

func initialValue(t testing.TB, tr *trace.Trace, name string) []byte {
	t.Helper()
	for _, c := range tr.Commands {
		if c, ok := c.(*trace.UpdateElem); ok && c.Initial != nil && c.Name == name {
			return c.Value
		}
	}
	t.Fatalf("no map %s with an initial value", name)
	return nil
}

func TestVerifierLog(t *testing.T) {
	needLoaders(t)
	p := generate(t, filepath.Join(coreObjects, "fail_verifier.bpf.o"), nil)
	for _, level := range []uint32{0, 1, 2} {
		keepsFDs(t, func() {
			_, err := p.Load(&loader.LoadOptions{LogLevel: level})
			var step *loader.StepError
			assert.Assert(t, errors.As(err, &step), "%v", err)
			assert.Equal(t, step.Op, "PROG_LOAD")
			assert.Assert(t, is.Contains(step.Subject, "program "))
			assert.ErrorIs(t, err, unix.EACCES)
			assert.Assert(t, strings.Count(step.Log, "\n") > 1, "log %q", step.Log)
			assert.Assert(t, is.Contains(err.Error(), step.Subject+": PROG_LOAD: EACCES: "))
		})
	}
}

// TestUnknownNames: an option that names something the object lacks is an error.
func TestUnknownNames(t *testing.T) {
	tr := planCore(t, "maps_array")
	for _, o := range []target.Options{
		{MaxEntries: map[string]uint32{"no_such": 1}},
		{Values: map[string][]byte{"no_such": nil}},
		{Maps: map[string]int{"no_such": 0}},
		{Programs: map[string]int{"no_such": 0}},
	} {
		for _, e := range engines {
			_, err := e.load(tr, shared, o)
			assert.Assert(t, is.ErrorContains(err, `"no_such"`), e.name)
		}
	}
	_, err := generate(t, filepath.Join(coreObjects, "maps_array.bpf.o"), nil).Load(&loader.LoadOptions{Variables: map[string]any{"no_such": 1}})
	assert.Assert(t, is.ErrorContains(err, `"no_such"`))
}

func TestMaxEntries(t *testing.T) {
	needLoaders(t)
	tr := steps(t)
	want := map[string]uint32{"m_hash": 100, "m_ring": 1 << 16, "m_perf": 1}
	for _, e := range engines {
		keepsFDs(t, func() {
			fds, err := e.load(tr, shared, target.Options{MaxEntries: want})
			assert.NilError(t, err, e.name)
			defer fds.Close()
			for i, fd := range fds.Maps {
				n, ok := want[tr.Maps[i].Name]
				if !ok {
					continue
				}
				info, _, err := bpfsys.GetMapInfo(fd)
				assert.NilError(t, err)
				assert.Equal(t, info.MaxEntries, n, "%s: %s", e.name, tr.Maps[i].Name)
			}
			// The load must fail rather than round 0 up to a size that the kernel accepts.
			_, err = e.load(tr, shared, target.Options{MaxEntries: map[string]uint32{"m_ring": 0}})
			assert.ErrorIs(t, err, unix.EINVAL, e.name)
			assert.ErrorContains(t, err, "map m_ring: MAP_CREATE")
		})
	}
}

func TestValues(t *testing.T) {
	needLoaders(t)
	tr := steps(t)
	want := map[string][]byte{".rodata": {1, 2, 3, 4}, ".bss": {5, 6, 7, 8}, ".rodata.text": []byte("sixteen letters.")}
	for _, e := range engines {
		keepsFDs(t, func() {
			fds, err := e.load(tr, shared, target.Options{Values: want})
			assert.NilError(t, err, e.name)
			defer fds.Close()
			seen := 0
			for i, fd := range fds.Maps {
				v, ok := want[tr.Maps[i].Name]
				if !ok {
					continue
				}
				got := make([]byte, len(v))
				assert.NilError(t, bpfsys.LookupElem(fd, make([]byte, 4), got))
				assert.DeepEqual(t, got, v)
				seen++
			}
			assert.Equal(t, seen, len(want))

			_, err = e.load(tr, shared, target.Options{Values: map[string][]byte{".rodata": {1}}})
			assert.ErrorIs(t, err, unix.EINVAL)
			assert.ErrorContains(t, err, "map .rodata")
		})
	}
}

// TestReusedMaps: a reused map is not filled and stays the caller's.
func TestReusedMaps(t *testing.T) {
	needLoaders(t)
	tr := steps(t)
	for _, e := range engines {
		keepsFDs(t, func() {
			made, err := e.load(tr, shared, target.Options{Values: map[string][]byte{".data": {42, 0, 0, 0}}})
			assert.NilError(t, err)
			defer made.Close()
			reused := make(map[string]int)
			for i, fd := range made.Maps {
				reused[tr.Maps[i].Name] = fd
			}
			delete(reused, "m_hash")
			again, err := e.load(tr, shared, target.Options{Maps: reused})
			assert.NilError(t, err, e.name)
			for i, fd := range again.Maps {
				same := id(t, fd) == id(t, made.Maps[i])
				assert.Equal(t, same, tr.Maps[i].Name != "m_hash", "%s: %s", e.name, tr.Maps[i].Name)
			}
			again.Close()
			for i, fd := range made.Maps {
				_, _, err := bpfsys.GetMapInfo(fd)
				assert.NilError(t, err, "%s: %s is not the caller's any more", e.name, tr.Maps[i].Name)
				if tr.Maps[i].Name == ".data" {
					v := make([]byte, 4)
					assert.NilError(t, bpfsys.LookupElem(fd, make([]byte, 4), v))
					assert.DeepEqual(t, v, []byte{42, 0, 0, 0})
				}
			}

			bad := steps(t)
			bad.Commands = append(bad.Commands, &trace.Freeze{Map: bad.ProgramFD(0), Name: "no map"})
			before := openfds.List()
			_, err = e.load(bad, shared, target.Options{Maps: reused})
			assert.ErrorIs(t, err, unix.EINVAL)
			assert.DeepEqual(t, openfds.List(), before)

			_, err = e.load(tr, shared, target.Options{Maps: map[string]int{"m_hash": 1 << 20}})
			assert.ErrorIs(t, err, unix.EBADF)
			assert.ErrorContains(t, err, "map m_hash")
		})
	}
}

func id(t testing.TB, fd int) uint32 {
	t.Helper()
	info, _, err := bpfsys.GetMapInfo(fd)
	assert.NilError(t, err)
	return info.ID
}

// mountBPF mounts a BPF file system of its own.
func mountBPF(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("bpf", dir, "bpf", 0, ""); err != nil {
		t.Skipf("cannot mount a BPF file system: %v", err)
	}
	t.Cleanup(func() { assert.NilError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

// TestPin: a load pins a map that the object wants pinned, reuses it the next time, and fails if
// another map is pinned there.
func TestPin(t *testing.T) {
	needLoaders(t)
	tr := plan(t, "testdata/pinned.o")
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			o := target.Options{PinPath: mountBPF(t)}
			keepsFDs(t, func() {
				first, err := e.load(tr, shared, o)
				assert.NilError(t, err)
				defer first.Close()
				for _, name := range []string{"p_one", "p_two"} {
					_, err = os.Stat(filepath.Join(o.PinPath, name))
					assert.NilError(t, err)
				}
				second, err := e.load(tr, shared, o)
				assert.NilError(t, err)
				defer second.Close()
				for i, m := range tr.Maps {
					assert.Equal(t, id(t, first.Maps[i]) == id(t, second.Maps[i]), m.Pinned, m.Name)
				}

				// Another map is pinned at the second path: the load does not pin the first one
				// either.
				assert.NilError(t, os.Remove(filepath.Join(o.PinPath, "p_one")))
				before := openfds.List()
				other := target.Options{PinPath: o.PinPath, MaxEntries: map[string]uint32{"p_two": 7}}
				_, err = e.load(tr, shared, other)
				assert.ErrorIs(t, err, unix.EINVAL)
				assert.ErrorContains(t, err, "map p_two")
				assert.DeepEqual(t, openfds.List(), before)
				_, err = os.Stat(filepath.Join(o.PinPath, "p_one"))
				assert.ErrorIs(t, err, os.ErrNotExist)

				_, err = e.load(tr, shared, target.Options{PinPath: t.TempDir()})
				assert.ErrorContains(t, err, "map p_one: pin at ")
				assert.DeepEqual(t, openfds.List(), before)
			})
		})
	}
}

// TestPinFails: if the second map cannot be pinned, the first is unpinned.
func TestPinFails(t *testing.T) {
	needLoaders(t)
	for _, e := range engines {
		dir := mountBPF(t)
		// Something appears at the second path after the load has checked it, when the first map is
		// pinned.
		long := plan(t, "testdata/pinned.o")
		long.Maps[mapNamed(t, long, "p_two")].Name = "p_one"
		keepsFDs(t, func() {
			_, err := e.load(long, shared, target.Options{PinPath: dir})
			assert.ErrorIs(t, err, unix.EEXIST)
			_, err = os.Stat(filepath.Join(dir, "p_one"))
			assert.ErrorIs(t, err, os.ErrNotExist)
		})
	}
}

func TestReplace(t *testing.T) {
	needLoaders(t)
	victim := plan(t, "testdata/victim.o")
	tr := plan(t, "testdata/freplace.o")
	for _, e := range engines {
		keepsFDs(t, func() {
			_, err := e.load(tr, shared, target.Options{})
			assert.ErrorIs(t, err, unix.EINVAL)
			assert.ErrorContains(t, err, "program instead: ")

			v, err := e.load(victim, shared, target.Options{})
			assert.NilError(t, err)
			defer v.Close()
			o := target.Options{Programs: map[string]int{"instead": v.Programs[0]}}
			fds, err := e.load(tr, shared, o)
			if errors.Is(err, unix.EPERM) {
				t.Skipf("this kernel has no trampolines: %v", err)
			}
			assert.NilError(t, err, e.name)
			defer fds.Close()
			info, _, err := bpfsys.GetProgInfo(fds.Programs[0])
			assert.NilError(t, err)
			assert.Assert(t, info.AttachBTFID != 0)
		})
	}
}

// TestEverythingGoes: once its fds are closed, a load leaves nothing in the kernel, not even
// struct_ops maps, tail calls and map-in-map.
func TestEverythingGoes(t *testing.T) {
	needLoaders(t)
	tr := steps(t)
	prefix := mark(tr)
	raw := typesOf(tr)
	assert.Assert(t, bytes.Contains(raw, []byte(prefix)))
	for _, e := range engines {
		before := allIDs(t)
		keepsFDs(t, func() {
			fds, err := e.load(tr, shared, target.Options{})
			assert.NilError(t, err)
			now := allIDs(t).without(before)
			assert.Equal(t, len(now.named(t, prefix)), len(tr.Maps)+len(tr.Programs))
			assert.Equal(t, len(sameTypes(t, raw)), 1)
			fds.Close()
		})
		goneFromKernel(t, before, prefix)
		typesGone(t, raw)
	}
}

// TestArena: the caller can read and write the arena's variables in memory.
func TestArena(t *testing.T) {
	needLoaders(t)
	p := generate(t, "../internal/object/testdata/arena.o", &loader.GenerateOptions{Autoload: map[string]bool{"use": false}})
	keepsFDs(t, func() {
		coll, err := p.Load(nil)
		if errors.Is(err, unix.EINVAL) {
			t.Skipf("needs arenas (6.9): %v", err)
		}
		assert.NilError(t, err)
		memory := coll.Arenas["arena"]
		assert.Equal(t, len(memory), 100*os.Getpagesize())
		assert.DeepEqual(t, memory[:8], []byte{0x34, 0x12, 0, 0, 0x78, 0x56, 0, 0})
		memory[len(memory)-1] = 1
		assert.Assert(t, is.Contains(mappings(t), "bpf-map"))
		coll.Close()
		assert.Assert(t, !strings.Contains(mappings(t), "bpf-map"))
	})
}

func mappings(t testing.TB) string { return string(readFile(t, "/proc/self/maps")) }

// TestFileAsObject: objects for which a load from a file once differed from a load of the object:
// types that no kernel accepts, keys that MAP_CREATE refuses with types, tags that only some
// kernels read, weak functions of another prototype.
func TestFileAsObject(t *testing.T) {
	needLoaders(t)
	files, err := filepath.Glob("testdata/gen_not_load/*.o")
	assert.NilError(t, err)
	assert.Equal(t, len(files), 5)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".o"), func(t *testing.T) {
			tr := plan(t, file)
			artefactFile := filepath.Join(t.TempDir(), "file")
			assert.NilError(t, generate(t, file, nil).WriteFile(artefactFile))
			a, err := artefact.ReadFile(artefactFile)
			assert.NilError(t, err)
			keepsFDs(t, func() {
				direct, err := issue.Issue(tr, shared, target.Options{})
				want := outcome(t, tr, direct, err)
				assert.NilError(t, err, "every kernel loads it")
				direct.Close()
				fds, err := replay.Load(a, replay.Options{Target: target.New()})
				got := outcome(t, tr, fds, err)
				if fds != nil {
					fds.Close()
				}
				assert.Equal(t, got, want)
			})
		})
	}
}

// TestLoadOptions overrides what the object says through the public API.
func TestLoadOptions(t *testing.T) {
	needLoaders(t)
	p := generate(t, "testdata/steps.o", nil)
	needType(t, "bpf_struct_ops_link", btf.KindStruct, "struct_ops with links (6.4)")
	value := func(coll *loader.Collection, name string) []byte {
		t.Helper()
		v, err := coll.Maps[name].LookupBytes(uint32(0))
		assert.NilError(t, err)
		return v
	}
	keepsFDs(t, func() {
		coll, err := p.Load(&loader.LoadOptions{
			Variables:  map[string]any{"limit": int32(9), "zeroed": uint32(0x01020304), "text": []byte("sixteen letters.")},
			Values:     map[string][]byte{".data": {1, 0, 0, 0}},
			MaxEntries: map[string]uint32{"m_hash": 99},
		})
		assert.NilError(t, err)
		defer coll.Close()
		assert.DeepEqual(t, value(coll, ".rodata"), []byte{9, 0, 0, 0})
		assert.DeepEqual(t, value(coll, ".bss"), []byte{4, 3, 2, 1})
		assert.DeepEqual(t, value(coll, ".data"), []byte{1, 0, 0, 0})
		assert.DeepEqual(t, value(coll, ".rodata.text"), []byte("sixteen letters."))
		assert.Equal(t, coll.Maps["m_hash"].MaxEntries(), uint32(99))

		again, err := p.Load(&loader.LoadOptions{Maps: map[string]*ebpf.Map{"m_hash": coll.Maps["m_hash"]}})
		assert.NilError(t, err)
		assert.Equal(t, again.Maps["m_hash"].MaxEntries(), uint32(99))
		assert.DeepEqual(t, value(again, ".rodata"), []byte{7, 0, 0, 0}) // the loader program has not changed
		m, prog := again.DetachMap(".rodata"), again.DetachProgram("entry")
		assert.Assert(t, again.DetachMap(".rodata") == nil && again.DetachProgram("entry") == nil)
		again.Close()
		_, err = m.LookupBytes(uint32(0))
		assert.NilError(t, err)
		_, err = prog.Info()
		assert.NilError(t, err)
		assert.NilError(t, errors.Join(m.Close(), prog.Close()))
		assert.DeepEqual(t, value(coll, ".data"), []byte{1, 0, 0, 0})
	})
}

// TestWrongOptions: an option that cannot be applied is an error that names it, and nothing is left
// behind.
func TestWrongOptions(t *testing.T) {
	needLoaders(t)
	p := generate(t, "testdata/steps.o", nil)
	arena := generate(t, "../internal/object/testdata/arena.o", &loader.GenerateOptions{Autoload: map[string]bool{"use": false}})
	for _, c := range []struct {
		p    *loader.Program
		o    loader.LoadOptions
		want string
	}{
		{p, loader.LoadOptions{Variables: map[string]any{"limit": int64(1)}}, "variable limit: a value of 8 bytes (int64) for a variable of 4"},
		{p, loader.LoadOptions{Variables: map[string]any{"limit": 1}}, "variable limit: int has no fixed size"},
		{p, loader.LoadOptions{Variables: map[string]any{"limit": nil}}, "variable limit: "},
		{p, loader.LoadOptions{Variables: map[string]any{"no_such": int32(1)}}, `no variable "no_such"`},
		{p, loader.LoadOptions{Values: map[string][]byte{".data": {1}}}, "map .data: initial value of 1 bytes for a map of 4"},
		{p, loader.LoadOptions{Values: map[string][]byte{".data": {}}, Variables: map[string]any{"counter": int32(1)}}, "map .data: initial value of 0 bytes for a map of 4"},
		{p, loader.LoadOptions{Values: map[string][]byte{"m_hash": make([]byte, 16)}}, "map m_hash: it is no data section"},
		{p, loader.LoadOptions{Maps: map[string]*ebpf.Map{"m_hash": nil}}, "map m_hash: "},
		{p, loader.LoadOptions{Programs: map[string]*ebpf.Program{"entry": nil}}, "program entry: "},
		{p, loader.LoadOptions{MaxEntries: map[string]uint32{".data": 2}}, "map .data: MAP_CREATE"},
		{arena, loader.LoadOptions{Variables: map[string]any{"second": int32(1)}}, "variable second: "},
	} {
		keepsFDs(t, func() {
			coll, err := c.p.Load(&c.o)
			if err == nil {
				coll.Close()
			}
			assert.Check(t, is.ErrorContains(err, c.want), "%+v", c.o)
		})
	}
}

// TestNeeds: if the kernel lacks a capability, the error names it and nothing was created.
func TestNeeds(t *testing.T) {
	needLoaders(t)
	if target.Probe(artefact.NeedNoFuncInfo) == nil {
		t.Skip("this kernel lacks nothing that a load may need")
	}
	tr := planCore(t, "maps_array")
	prefix := mark(tr)
	tr.Needs = append(tr.Needs, trace.Need{Capability: artefact.NeedNoFuncInfo, Why: "program p: that"})
	file, err := emitted(t, tr).MarshalBinary()
	assert.NilError(t, err)
	p, err := loader.Parse(file)
	assert.NilError(t, err)
	assert.DeepEqual(t, p.Needs(), []loader.Need{{Capability: artefact.NeedNoFuncInfo, Why: "program p: that"}})
	before := allIDs(t)
	keepsFDs(t, func() {
		_, err := p.Load(nil)
		var need *loader.NeedError
		assert.Assert(t, errors.As(err, &need), "%v", err)
		assert.ErrorContains(t, err, "this kernel lacks core_no_func_info, which program p: that needs: ")
		_, err = issue.Issue(tr, shared, target.Options{})
		assert.Assert(t, errors.As(err, &need), "%v", err)
	})
	assert.Equal(t, len(allIDs(t).without(before).named(t, prefix)), 0)
}

// mapFrozen reports whether the map fd is frozen, from its fdinfo (since 5.2).
func mapFrozen(fd int) (bool, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	if err != nil {
		return false, err
	}
	_, rest, ok := strings.Cut(string(b), "\nfrozen:")
	if !ok {
		return false, fmt.Errorf("fdinfo has no line \"frozen\": %w", errors.ErrUnsupported)
	}
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line) == "1", nil
}
