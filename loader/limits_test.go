package loader_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/insn"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

var (
	returnZero = []byte{0xb7, 0, 0, 0, 0, 0, 0, 0, insn.Exit, 0, 0, 0, 0, 0, 0, 0}
	loadR1     = []byte{insn.LdImm64, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
)

func array(name string, size int) object.Map {
	return object.Map{Name: name, Type: 2, KeySize: 4, ValueSize: uint32(size), MaxEntries: 1}
}

func dataMap(section string, data []byte) object.Map {
	m := array(section, len(data))
	m.Kind, m.Section, m.Data = object.MapData, section, data
	return m
}

// xdp returns an XDP program of these instructions, followed by "return 0".
func xdp(name string, insns []byte, relocations ...object.Relocation) object.Function {
	return object.Function{
		Name: name, Section: "xdp", Autoload: true, Program: object.ProgramType{Type: 6},
		Insns: append(slices.Clip(insns), returnZero...), Relocations: relocations,
	}
}

// limitObjects returns objects larger than any in use.
func limitObjects() map[string]*object.Object {
	objects := make(map[string]*object.Object)

	maps := &object.Object{Name: "maps", License: "GPL"}
	var refs []object.Relocation
	for i := range 1000 {
		maps.Maps = append(maps.Maps, array(fmt.Sprint("m", i), 8))
		if i < 64 { // MAX_USED_MAPS: a program can use no more
			refs = append(refs, object.Relocation{Insn: 2 * i, Kind: object.RelocMap, Target: 15 * i})
		}
	}
	maps.Functions = []object.Function{xdp("uses", bytes.Repeat(loadR1, len(refs)), refs...)}
	objects["1,000 maps"] = maps

	programs := &object.Object{Name: "programs", License: "GPL", Maps: []object.Map{array("m", 8)}}
	for i := range 500 {
		programs.Functions = append(programs.Functions, xdp(fmt.Sprint("p", i), loadR1, object.Relocation{Kind: object.RelocMap}))
	}
	objects["500 programs"] = programs

	long := &object.Object{Name: "long", License: "GPL", Maps: []object.Map{array("m", 8)}}
	body := append(bytes.Repeat([]byte{0xb7, 0, 0, 0, 0, 0, 0, 0}, 99_996), loadR1...)
	long.Functions = []object.Function{xdp("long", body, object.Relocation{Insn: 99_996, Kind: object.RelocMap})}
	objects["100,000 instructions"] = long

	data := make([]byte, 16<<20)
	for i := range data {
		data[i] = byte(i) ^ byte(i>>8) ^ byte(i>>16)
	}
	objects["16 MiB of data"] = &object.Object{
		Name: "data", License: "GPL", Maps: []object.Map{dataMap(".data", data)},
		Functions: []object.Function{xdp("looks", loadR1, object.Relocation{Kind: object.RelocMapValue, Offset: 16<<20 - 8})},
	}

	many := &object.Object{Name: "references", License: "GPL", Maps: []object.Map{array("m", 8)}}
	for p := range 10 {
		var refs []object.Relocation
		for i := range 3000 {
			refs = append(refs, object.Relocation{Insn: 2 * i, Kind: object.RelocMap})
		}
		many.Functions = append(many.Functions, xdp(fmt.Sprint("p", p), bytes.Repeat(loadR1, len(refs)), refs...))
	}
	objects["30,000 references to a map"] = many

	for _, n := range []int{255, 256, 257} { // a loop takes over from about 256 on
		few := &object.Object{Name: "few", License: "GPL", Maps: []object.Map{array("m", 8)}}
		var refs []object.Relocation
		for i := range n {
			refs = append(refs, object.Relocation{Insn: 2 * i, Kind: object.RelocMap})
		}
		few.Functions = []object.Function{xdp("p", bytes.Repeat(loadR1, n), refs...)}
		objects[fmt.Sprint(n, " references to a map")] = few
	}
	more := *many
	more.Functions = nil
	for i := range 10 {
		more.Functions = append(more.Functions, many.Functions...)
		for k := range many.Functions {
			more.Functions[10*i+k].Name = fmt.Sprintf("p%d_%d", i, k)
		}
	}
	objects["300,000 references to a map"] = &more
	objects["10,000 kfunc calls"] = kfuncCalls(10_000, "bpf_rcu_read_lock", "bpf_rcu_read_unlock")
	weak := kfuncCalls(40_000, "bpf_rcu_read_lock", "bpf_rcu_read_unlock")
	for i := range weak.Externs {
		weak.Externs[i].Weak = true
	}
	objects["40,000 calls of weak kfuncs"] = weak
	return objects
}

// kfuncCalls returns a program that calls these kfuncs in turn, n calls in all.
func kfuncCalls(n int, names ...string) *object.Object {
	obj := &object.Object{Name: "kfuncs", License: "GPL"}
	for _, name := range names {
		obj.Externs = append(obj.Externs, object.Extern{Name: name, Kind: object.ExternFunc})
	}
	var body []byte
	var relocations []object.Relocation
	for i := range n {
		body = append(body, insn.Call, 0x20, 0, 0, 0xff, 0xff, 0xff, 0xff)
		relocations = append(relocations, object.Relocation{Insn: i, Kind: object.RelocKfunc, Target: i % len(names)})
	}
	f := xdp("calls", body, relocations...)
	f.Section, f.Program = "syscall", object.ProgramType{Type: 31, Flags: 16} // sleepable
	obj.Functions = []object.Function{f}
	return obj
}

// TestLimitObjects loads objects that exceed the limits of libbpf's loader programs.
func TestLimitObjects(t *testing.T) {
	needLoaders(t)
	for name, obj := range limitObjects() {
		t.Run(name, func(t *testing.T) {
			for _, e := range obj.Externs {
				needKfuncs(t, e.Name)
			}
			tr, err := trace.Plan(obj, trace.Options{})
			assert.NilError(t, err)
			var first string
			for i, e := range engines {
				keepsFDs(t, func() {
					fds, err := e.load(tr, shared, target.Options{})
					assert.NilError(t, err, e.name)
					defer fds.Close()
					got := outcome(t, tr, fds, err)
					if i == 0 {
						first = got
					}
					assert.Assert(t, got == first, "%s is not as %s", e.name, engines[0].name)
				})
			}
			a := emitted(t, tr)
			t.Logf("%d instructions, of which the verifier sees %d; %d bytes of blob", len(a.Insns)/insn.Size, verified(t, a), len(a.Blob))
		})
	}
}

// verified returns how many instructions the verifier processes for a loader program.
func verified(t testing.TB, a *artefact.Artefact) uint32 {
	t.Helper()
	m, _, err := bpfsys.NewBlob(a.Blob)
	assert.NilError(t, err)
	defer bpfsys.Close(m)
	fd, err := bpfsys.LoadLoader(a.Insns, []int{m}, 0, nil)
	assert.NilError(t, err)
	defer bpfsys.Close(fd)
	info, _, err := bpfsys.GetProgInfo(fd)
	assert.NilError(t, err)
	return info.VerifiedInsns
}

// TestWindow puts patched instructions at and around 32 and 64 KiB of the blob, and checks in the
// kernel that each got its fd.
func TestWindow(t *testing.T) {
	needLoaders(t)
	needKfuncs(t, "bpf_rcu_read_lock", "bpf_rcu_read_unlock")
	for _, size := range []int{32 << 10, 64 << 10, 96 << 10} {
		for _, pad := range []int{0, 1, 2, 3, 5, 8, 13, 14, 15, 16} {
			obj := &object.Object{Name: "window", License: "GPL", Maps: []object.Map{array("m", 8), array("n", 8)}}
			obj.Externs = []object.Extern{{Name: "schedule", Kind: object.ExternTypeless}, {Name: "bpf_rcu_read_lock", Kind: object.ExternFunc}, {Name: "bpf_rcu_read_unlock", Kind: object.ExternFunc}}
			filler := bytes.Repeat([]byte{0xb7, 0, 0, 0, 0, 0, 0, 0}, size/8-200+10*pad)
			obj.Functions = []object.Function{xdp("filler", filler)}
			for i := range 20 {
				f := xdp(fmt.Sprint("p", i), nil)
				f.Program = object.ProgramType{Type: 31, Flags: 16}
				f.Insns, f.Relocations = nil, nil
				for k, kind := range []object.RelocationKind{object.RelocMap, object.RelocKsym, object.RelocMapValue} {
					f.Relocations = append(f.Relocations, object.Relocation{Insn: 2 * k, Kind: kind, Target: []int{0, 0, 1}[k]})
					f.Insns = append(f.Insns, loadR1...)
				}
				for k := range 2 {
					f.Relocations = append(f.Relocations, object.Relocation{Insn: 6 + k, Kind: object.RelocKfunc, Target: 1 + k})
					f.Insns = append(f.Insns, insn.Call, 0x20, 0, 0, 0xff, 0xff, 0xff, 0xff)
				}
				f.Insns = append(f.Insns, returnZero...)
				obj.Functions = append(obj.Functions, f)
			}
			tr, err := trace.Plan(obj, trace.Options{})
			assert.NilError(t, err)
			var all [][]byte
			for _, e := range engines {
				fds, err := e.load(tr, shared, target.Options{})
				assert.NilError(t, err, "%s: %d and %d", e.name, size, pad)
				all = append(all, xlated(t, fds))
				fds.Close()
			}
			assert.Assert(t, bytes.Equal(all[0], all[1]), "%d and %d", size, pad)
		}
	}
}

// xlated returns the translated instructions of all programs, without map addresses.
func xlated(t testing.TB, fds *target.Result) []byte {
	t.Helper()
	var out []byte
	for _, fd := range fds.Programs {
		_, arrays, err := bpfsys.GetProgInfo(fd)
		assert.NilError(t, err)
		in := insn.Insns(arrays.Xlated)
		for i := range in.Len() {
			if in.Op(i) == insn.LdImm64 && (in.Src(i) == insn.PseudoMapFD || in.Src(i) == insn.PseudoMapValue) {
				in.SetImm(i, 0) // the map's id
			}
		}
		out = append(out, in...)
	}
	return out
}
