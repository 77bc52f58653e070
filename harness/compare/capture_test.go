package compare

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/internal/object"
)

// kernel is shared between tests, because reading the kernel's symbols takes long.
var kernel = sync.OnceValue(state.NewKernel)

// load loads a collection and captures its state.
func load(t *testing.T, spec *ebpf.CollectionSpec, after ...func(c *ebpf.Collection)) *state.State {
	t.Helper()
	c, err := ebpf.NewCollection(spec)
	assert.NilError(t, err)
	defer c.Close()
	for _, f := range after {
		f(c)
	}
	return capture(t, c)
}

func capture(t *testing.T, c *ebpf.Collection) *state.State {
	t.Helper()
	s, err := state.Capture(context.Background(), mapHandles(c), programHandles(c), kernel())
	assert.NilError(t, err)
	return s
}

func mapHandles(c *ebpf.Collection) []state.Handle {
	var handles []state.Handle
	for name, m := range c.Maps {
		handles = append(handles, state.Handle{Name: name, FD: m.FD()})
	}
	return handles
}

func programHandles(c *ebpf.Collection) []state.Handle {
	var handles []state.Handle
	for name, p := range c.Programs {
		handles = append(handles, state.Handle{Name: name, FD: p.FD()})
	}
	return handles
}

func compareAsDirect(t *testing.T, a, b *state.State) []Difference {
	t.Helper()
	c := Context{Engine: enginename.Direct, Release: release}
	return States(travel(t, a), travel(t, b), c, c)
}

func fields(found []Difference) []string {
	var list []string
	for _, d := range found {
		list = append(list, d.Field.String())
	}
	return list
}

// TestCaptureTwiceIsEqual: two loads of one object are equal, although their ids and addresses
// differ.
func TestCaptureTwiceIsEqual(t *testing.T) {
	need.BPF(t)
	files, err := filepath.Glob("../../selftests/bpf/*.bpf.o")
	assert.NilError(t, err)
	loaded := 0
	for _, file := range files {
		spec, err := ebpf.LoadCollectionSpec(file)
		if err != nil {
			continue // cases.yaml lists the objects that cilium/ebpf cannot read
		}
		c, err := ebpf.NewCollection(spec)
		if err != nil {
			continue // this kernel may lack what the case needs
		}
		loaded++
		t.Run(filepath.Base(file), func(t *testing.T) {
			defer c.Close()
			found := compareAsDirect(t, capture(t, c), load(t, spec))
			assert.Equal(t, len(found), 0, "%+v", found)
		})
	}
	if loaded == 0 {
		t.Skip("this kernel loads none of the selftests")
	}
}

const sampleSize = 8

// sampleSpec returns an object with several kinds of maps and two programs.
func sampleSpec() *ebpf.CollectionSpec {
	u32 := &btf.Int{Name: "unsigned int", Size: 4}
	u64 := &btf.Int{Name: "unsigned long", Size: 8}
	seen := &btf.Var{Name: "seen", Type: u64, Linkage: btf.GlobalVar}
	run := &btf.Func{Name: "run", Linkage: btf.GlobalFunc, Type: &btf.FuncProto{
		Return: &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed},
		Params: []btf.FuncParam{{Name: "ctx", Type: &btf.Pointer{Target: (*btf.Void)(nil)}}},
	}}
	helper := &btf.Func{Name: "helper", Linkage: btf.StaticFunc, Type: run.Type}
	other := &btf.Func{Name: "other", Linkage: btf.StaticFunc, Type: run.Type}
	tail := &btf.Func{Name: "tail", Linkage: btf.GlobalFunc, Type: run.Type}
	return &ebpf.CollectionSpec{
		Maps: map[string]*ebpf.MapSpec{
			"counts": {Name: "counts", Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 8, Key: u32, Value: u64,
				Contents: []ebpf.MapKV{{Key: uint32(1), Value: uint64(10)}, {Key: uint32(2), Value: uint64(20)}}},
			"others": {Name: "others", Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 8, Key: u32, Value: u64},
			".rodata": {Name: ".rodata", Type: ebpf.Array, KeySize: 4, ValueSize: sampleSize, MaxEntries: 1,
				Flags: unix.BPF_F_RDONLY_PROG, Key: &btf.Void{},
				Value:    &btf.Datasec{Name: ".rodata", Size: sampleSize, Vars: []btf.VarSecinfo{{Type: seen, Size: 8}}},
				Contents: []ebpf.MapKV{{Key: uint32(0), Value: []byte{1, 2, 3, 4, 5, 6, 7, 8}}}},
			"cpus": {Name: "cpus", Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 4, MaxEntries: 2},
			"tails": {Name: "tails", Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 4,
				Contents: []ebpf.MapKV{{Key: uint32(1), Value: "tail"}}},
			"outer": {Name: "outer", Type: ebpf.ArrayOfMaps, KeySize: 4, ValueSize: 4, MaxEntries: 3,
				InnerMap: &ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 8},
				Contents: []ebpf.MapKV{{Key: uint32(2), Value: "others"}}},
			"queue": {Name: "queue", Type: ebpf.Queue, ValueSize: 4, MaxEntries: 4},
		},
		Programs: map[string]*ebpf.ProgramSpec{
			"run": {Name: "run", Type: ebpf.SocketFilter, License: "GPL", Instructions: asm.Instructions{
				btf.WithFuncMetadata(asm.Mov.Reg(asm.R6, asm.R1).WithSymbol("run"), run),
				asm.StoreImm(asm.RFP, -4, 1, asm.Word),
				asm.LoadMapPtr(asm.R1, 0).WithReference("counts"),
				asm.Mov.Reg(asm.R2, asm.RFP),
				asm.Add.Imm(asm.R2, -4),
				asm.FnMapLookupElem.Call(),
				asm.LoadMapPtr(asm.R1, 0).WithReference("others"),
				asm.Mov.Reg(asm.R2, asm.RFP),
				asm.Add.Imm(asm.R2, -4),
				asm.FnMapLookupElem.Call(),
				asm.LoadMapValue(asm.R1, 0, 4).WithReference(".rodata"),
				asm.LoadMem(asm.R1, asm.R1, 0, asm.Word),
				asm.Mov.Imm(asm.R2, 7),
				asm.Call.Label("helper"),
				asm.Call.Label("other"),
				asm.Return(),
				btf.WithFuncMetadata(asm.Mov.Imm(asm.R0, 3).WithSymbol("helper"), helper),
				asm.Return(),
				btf.WithFuncMetadata(asm.Mov.Imm(asm.R0, 4).WithSymbol("other"), other),
				asm.Return(),
			}},
			"tail": {Name: "tail", Type: ebpf.SocketFilter, License: "GPL", Instructions: asm.Instructions{
				btf.WithFuncMetadata(asm.Mov.Imm(asm.R0, 0).WithSymbol("tail"), tail),
				asm.Return(),
			}},
		},
	}
}

func TestCaptureReadsEverything(t *testing.T) {
	need.BPF(t)
	s := load(t, sampleSpec(), func(c *ebpf.Collection) {
		assert.NilError(t, c.Maps["queue"].Update(nil, uint32(5), ebpf.UpdateAny))
	})

	counts := s.FindMap("counts")
	assert.Equal(t, counts.Key, "unsigned int /* unsigned, 32 bits of 4 bytes */")
	assert.DeepEqual(t, counts.Contents.Entries, []state.Entry{
		{Key: []byte{1, 0, 0, 0}, Value: []byte{10}}, {Key: []byte{2, 0, 0, 0}, Value: []byte{20}},
	})
	rodata := s.FindMap(".rodata")
	assert.Equal(t, *rodata.Frozen, true)
	assert.DeepEqual(t, rodata.Contents.Entries, []state.Entry{{Key: []byte{0, 0, 0, 0}, Value: []byte{1, 2, 3, 4, 5, 6, 7, 8}}})
	assert.DeepEqual(t, s.FindMap("tails").Contents.Entries, []state.Entry{{Key: []byte{1, 0, 0, 0}, Ref: "tail"}})
	assert.DeepEqual(t, s.FindMap("outer").Contents.Entries, []state.Entry{{Key: []byte{2, 0, 0, 0}, Ref: "others"}})
	assert.DeepEqual(t, s.FindMap("queue").Contents.Entries, []state.Entry{{Value: []byte{5}}})
	assert.Equal(t, s.FindMap("cpus").Contents.NotRead, "")

	p := s.FindProgram("run")
	assert.DeepEqual(t, p.Maps, []string{"counts", "others", ".rodata"})
	assert.DeepEqual(t, orderOf(p, p), []string{"run", "helper", "other"})
	assert.Equal(t, p.Functions[0].Proto, "int (void *ctx)")
	assert.Equal(t, p.Functions[1].Linkage, "static")
	assert.Assert(t, p.VerifiedInsns == nil || *p.VerifiedInsns > 0)
	text := strings.Join(lines(listing(s, &p.Functions[0])), "\n")
	for _, want := range []string{
		"r1 = map counts\n", "r1 = value of map .rodata+4\n", "call helper\ncall other\nexit",
	} {
		assert.Assert(t, strings.Contains(text, want), "%q not in\n%s", want, text)
	}
}

// TestCaptureSeesChanges: each change to a load changes the fields that it affects and no others.
// Without this test a verdict "equal" would mean little.
func TestCaptureSeesChanges(t *testing.T) {
	need.BPF(t)
	insn := func(s *ebpf.CollectionSpec, i int) *asm.Instruction { return &s.Programs["run"].Instructions[i] }
	tests := []struct {
		name   string
		change func(s *ebpf.CollectionSpec)
		after  func(c *ebpf.Collection)
		fields []string
	}{
		{name: "map flag", change: func(s *ebpf.CollectionSpec) { s.Maps["cpus"].Flags = unix.BPF_F_RDONLY_PROG },
			fields: []string{"map cpus flags"}},
		{name: "max_entries", change: func(s *ebpf.CollectionSpec) { s.Maps["counts"].MaxEntries = 9 },
			fields: []string{"map counts max_entries"}},
		{name: "map name", change: func(s *ebpf.CollectionSpec) { s.Maps["counts"].Name = "amounts" },
			fields: []string{"map counts name"}},
		{name: "map value type", change: func(s *ebpf.CollectionSpec) {
			s.Maps["counts"].Value = &btf.Int{Name: "long", Size: 8, Encoding: btf.Signed}
		}, fields: []string{"map counts value_type", "map counts types"}},
		{name: "map without types", change: func(s *ebpf.CollectionSpec) { s.Maps["counts"].Key, s.Maps["counts"].Value = nil, nil },
			fields: []string{"map counts key_type", "map counts value_type", "map counts btf"}},
		{name: "frozen", after: func(c *ebpf.Collection) { assert.NilError(t, c.Maps["counts"].Freeze()) },
			fields: []string{"map counts frozen"}},
		{name: "byte of .rodata", change: func(s *ebpf.CollectionSpec) {
			s.Maps[".rodata"].Contents[0].Value = []byte{1, 2, 3, 4, 5, 6, 7, 9}
		}, fields: []string{"map .rodata contents"}},
		{name: "element gone", after: func(c *ebpf.Collection) { assert.NilError(t, c.Maps["counts"].Delete(uint32(2))) },
			fields: []string{"map counts contents"}},
		{name: "value on one CPU", after: func(c *ebpf.Collection) {
			values := make([]uint32, ebpf.MustPossibleCPU())
			values[len(values)-1] = 3
			assert.NilError(t, c.Maps["cpus"].Put(uint32(1), values))
		}, fields: []string{"map cpus contents"}},
		{name: "program in another slot", change: func(s *ebpf.CollectionSpec) { s.Maps["tails"].Contents[0].Key = uint32(2) },
			fields: []string{"map tails contents"}},
		{name: "another program in the slot", change: func(s *ebpf.CollectionSpec) { s.Maps["tails"].Contents[0].Value = "run" },
			fields: []string{"map tails contents"}},
		{name: "another inner map", change: func(s *ebpf.CollectionSpec) { s.Maps["outer"].Contents[0].Value = "counts" },
			fields: []string{"map outer contents"}},
		{name: "queue", after: func(c *ebpf.Collection) { assert.NilError(t, c.Maps["queue"].Update(nil, uint32(1), 0)) },
			fields: []string{"map queue contents"}},
		{name: "map gone", change: func(s *ebpf.CollectionSpec) { delete(s.Maps, "queue") }, fields: []string{"map queue"}},
		{name: "map added", change: func(s *ebpf.CollectionSpec) { s.Maps["more"] = s.Maps["queue"].Copy() }, fields: []string{"map more"}},

		{name: "map references swapped", change: func(s *ebpf.CollectionSpec) {
			*insn(s, 2), *insn(s, 6) = insn(s, 2).WithReference("others"), insn(s, 6).WithReference("counts")
		}, fields: []string{"program run maps", "program run insns"}},
		{name: "value offset", change: func(s *ebpf.CollectionSpec) { *insn(s, 10) = asm.LoadMapValue(asm.R1, 0, 0).WithReference(".rodata") },
			fields: []string{"program run insns"}},
		{name: "constant", change: func(s *ebpf.CollectionSpec) { insn(s, 12).Constant = 8 },
			fields: []string{"program run tag", "program run function_tag", "program run insns"}},
		{name: "constant in a subprogram", change: func(s *ebpf.CollectionSpec) { insn(s, 18).Constant = 5 },
			fields: []string{"program run tag", "program run function other function_tag", "program run function other insns"}},
		{name: "call of the neighbour", change: func(s *ebpf.CollectionSpec) {
			*insn(s, 13), *insn(s, 14) = insn(s, 13).WithReference("other"), insn(s, 14).WithReference("helper")
		}, fields: []string{"program run tag", "program run function_tag", "program run insns"}},
		{name: "another helper", change: func(s *ebpf.CollectionSpec) { *insn(s, 9) = asm.FnMapDeleteElem.Call() },
			fields: []string{"program run tag", "program run function_tag", "program run insns"}},
		{name: "licence", change: func(s *ebpf.CollectionSpec) { s.Programs["run"].License = "none" }, fields: []string{"program run gpl"}},
		{name: "program name", change: func(s *ebpf.CollectionSpec) { s.Programs["tail"].Name = "tale" }, fields: []string{"program tail name"}},
		{name: "program gone", change: func(s *ebpf.CollectionSpec) {
			delete(s.Programs, "tail")
			s.Maps["tails"].Contents = nil
		}, fields: []string{"map tails owner", "map tails contents", "program tail"}},
	}
	want := load(t, sampleSpec())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec, after := sampleSpec(), func(*ebpf.Collection) {}
			if tt.change != nil {
				tt.change(spec)
			}
			if tt.after != nil {
				after = tt.after
			}
			found := compareAsDirect(t, want, load(t, spec, after))
			assert.DeepEqual(t, fields(found), tt.fields)
		})
	}
}

func TestCaptureSourceLines(t *testing.T) {
	need.BPF(t)
	spec, err := ebpf.LoadCollectionSpec("../../selftests/bpf/btf_lines.bpf.o")
	assert.NilError(t, err)
	want := load(t, spec)
	const name = "one_line"
	table := lineTable(want, &want.FindProgram(name).Functions[0])
	assert.Assert(t, len(table) == 2 && strings.Contains(table[0], "btf_lines.bpf.c:27:65 SEC("), "%q", table)

	// The second line is either missing or the same as the first.
	for _, first := range []bool{false, true} {
		changed := spec.Copy()
		insns := changed.Programs[name].Instructions
		second := slices.IndexFunc(insns[1:], func(i asm.Instruction) bool { return i.Source() != nil }) + 1
		if first {
			insns[second] = insns[second].WithSource(insns[0].Source())
		} else {
			insns[second] = insns[second].WithSource(nil)
		}
		found := compareAsDirect(t, want, load(t, changed))
		assert.Assert(t, slices.Contains(fields(found), "program "+name+" line_info"), "%q", fields(found))
	}
}

func TestCaptureAttachTarget(t *testing.T) {
	need.BPF(t)
	tracing := func(target string) *ebpf.CollectionSpec {
		return &ebpf.CollectionSpec{Programs: map[string]*ebpf.ProgramSpec{"run": {
			Name: "run", Type: ebpf.Tracing, AttachType: ebpf.AttachTraceRawTp, AttachTo: target, License: "GPL",
			Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
		}}}
	}
	c, err := ebpf.NewCollection(tracing("task_newtask"))
	if err != nil {
		t.Skipf("no BTF-based raw tracepoints here: %v", err)
	}
	c.Close()
	a, b := load(t, tracing("task_newtask")), load(t, tracing("task_rename"))
	if a.Programs[0].Attach == nil {
		t.Skip("this kernel does not tell attach targets (6.0)")
	}
	found := compareAsDirect(t, a, b)
	assert.DeepEqual(t, fields(found), []string{"program run attach"})
	assert.Assert(t, strings.HasPrefix(found[0].A, "vmlinux:typedef btf_trace_task_newtask#"), found[0].A)
	assert.Assert(t, strings.HasPrefix(found[0].B, "vmlinux:typedef btf_trace_task_rename#"), found[0].B)
}

// TestCaptureFindsMaps: maps that only programs refer to are captured, and identical ones are
// counted.
func TestCaptureFindsMaps(t *testing.T) {
	need.BPF(t)
	spec, err := ebpf.LoadCollectionSpec("../../selftests/bpf/kconfig_version.bpf.o")
	assert.NilError(t, err)
	c, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Skipf("cilium/ebpf cannot fill in the kernel's configuration here: %v", err)
	}
	c.Close()
	spec.Programs["second"] = spec.Programs["run"].Copy()
	s := load(t, spec)
	m := s.FindMap(kconfig)
	assert.Assert(t, m != nil)
	assert.Equal(t, m.Copies, 2)
	assert.Assert(t, slices.Contains(s.FindProgram("second").Maps, kconfig))
}

func TestCaptureWithoutBTF(t *testing.T) {
	need.BPF(t)
	spec := &ebpf.CollectionSpec{Programs: map[string]*ebpf.ProgramSpec{"zero": {
		Name: "zero", Type: ebpf.SocketFilter, License: "GPL",
		Instructions: asm.Instructions{
			asm.Call.Label("sub"), asm.Return(),
			asm.Mov.Imm(asm.R0, 0).WithSymbol("sub"), asm.Return(),
		},
	}}}
	s := load(t, spec)
	p := s.FindProgram("zero")
	assert.Equal(t, p.FuncInfo, false)
	assert.DeepEqual(t, orderOf(p, p), []string{"zero", "subprogram 1"})
	assert.DeepEqual(t, p.Functions[0].Refs, []state.Ref{{At: 0, Kind: state.RefCall, To: "subprogram 1"}})
}

// TestCaptureAddressesOfMemory: the addresses that the verifier writes into programs with timers do
// not differ.
func TestCaptureAddressesOfMemory(t *testing.T) {
	need.BPF(t)
	spec, err := ebpf.LoadCollectionSpec("../../selftests/bpf/maps_timer.bpf.o")
	assert.NilError(t, err)
	c, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Skipf("no timers here: %v", err)
	}
	c.Close()
	s := load(t, spec)
	var tags []string
	for _, p := range s.Programs {
		for _, f := range p.Functions {
			if slices.ContainsFunc(f.Refs, func(r state.Ref) bool { return r.Kind == state.RefAddr && r.To == "memory 1" }) {
				tags = append(tags, f.Tag)
			}
		}
	}
	assert.DeepEqual(t, tags, []string{state.AddressTag})
}

func TestCaptureKfuncByName(t *testing.T) {
	need.BPF(t)
	spec, err := ebpf.LoadCollectionSpec("../../selftests/bpf/kfunc_task.bpf.o")
	assert.NilError(t, err)
	c, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Skipf("no such kfuncs here: %v", err)
	}
	c.Close()
	var kfuncs []string
	for _, p := range load(t, spec).Programs {
		for _, f := range p.Functions {
			for _, r := range f.Refs {
				if r.Kind == state.RefKfunc {
					kfuncs = append(kfuncs, r.To)
				}
			}
		}
	}
	assert.Assert(t, slices.Contains(kfuncs, "bpf_task_release [vmlinux]"), "%q", kfuncs)
}

func TestContentsNotRead(t *testing.T) {
	need.BPF(t)
	for _, tt := range []struct {
		spec ebpf.MapSpec
		want string
	}{
		{ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1, Flags: unix.BPF_F_WRONLY}, "MAP_LOOKUP_ELEM: operation not permitted"},
		{ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: uint32(os.Getpagesize())}, "type RINGBUF has no elements that user space can list"},
		{ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 1 << 10, MaxEntries: 1<<14 + 1}, "16778240 bytes are more than the limit of 16777216"},
	} {
		m, err := ebpf.NewMap(&tt.spec)
		assert.NilError(t, err)
		s, err := state.Capture(context.Background(), []state.Handle{{Name: "m", FD: m.FD()}}, nil, kernel())
		m.Close()
		assert.NilError(t, err)
		assert.Equal(t, s.Maps[0].Contents.NotRead, tt.want)
	}
}

func TestCaptureErrors(t *testing.T) {
	need.BPF(t)
	c, err := ebpf.NewCollection(sampleSpec())
	assert.NilError(t, err)
	defer c.Close()
	counts, run := c.Maps["counts"].FD(), c.Programs["run"].FD()
	before := len(need.OpenBPF())
	try := func(maps, programs []state.Handle) error {
		_, err := state.Capture(context.Background(), maps, programs, kernel())
		return err
	}
	for _, tt := range []struct {
		maps, programs []state.Handle
		want           string
	}{
		{[]state.Handle{{Name: "gone", FD: 1 << 20}}, nil, "map gone: wrong handle: fd 1048576 is not open"},
		{nil, []state.Handle{{Name: "gone", FD: 1 << 20}}, "program gone: wrong handle: fd 1048576 is not open"},
		{[]state.Handle{{Name: "a", FD: counts}, {Name: "b", FD: counts}}, nil, "map b: wrong handle: it is map a too"},
		{[]state.Handle{{Name: "a", FD: counts}, {Name: "a", FD: c.Maps["others"].FD()}}, nil, "map a: wrong handle: there are two of that name"},
		{nil, []state.Handle{{Name: "a", FD: run}, {Name: "b", FD: run}}, "program b: wrong handle: it is program a too"},
		{nil, []state.Handle{{Name: "a", FD: counts}}, "program a: wrong handle: fd %d is anon_inode:bpf-map"},
		{[]state.Handle{{Name: "a", FD: run}}, nil, "map a: wrong handle: fd %d is anon_inode:bpf-prog"},
	} {
		err := try(tt.maps, tt.programs)
		assert.Assert(t, errors.Is(err, state.ErrHandle))
		head, tail, _ := strings.Cut(tt.want, "%d")
		assert.ErrorContains(t, err, head)
		assert.ErrorContains(t, err, tail)
	}

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = state.Capture(ctx, mapHandles(c), programHandles(c), kernel())
	assert.Assert(t, errors.Is(err, context.Canceled))
	assert.Equal(t, len(need.OpenBPF()), before)
}

// TestCaptureLeavesNothing: a capture leaves no objects behind in the kernel.
func TestCaptureLeavesNothing(t *testing.T) {
	need.BPF(t)
	c, err := ebpf.NewCollection(sampleSpec())
	assert.NilError(t, err)
	defer c.Close()
	before := need.OpenBPF()
	_, err = state.Capture(context.Background(), mapHandles(c), programHandles(c), kernel())
	assert.NilError(t, err)
	assert.DeepEqual(t, need.OpenBPF(), before)
}

func TestFacts(t *testing.T) {
	for name, check := range map[string]func(f *Facts){
		"data_static": func(f *Facts) {
			slices.Sort(f.StaticOnly)
			assert.DeepEqual(t, f.StaticOnly, []string{".bss", ".data", ".rodata"})
		},
		"kfunc_weak_missing": func(f *Facts) { assert.Equal(t, len(f.Programs["run"].WeakKfuncs), 1) },
		"kfunc_weak_present": func(f *Facts) {
			assert.DeepEqual(t, f.Programs["newtask"].KfuncAddresses, []string{"bpf_task_acquire", "bpf_task_release"})
		},
		"core_types": func(f *Facts) {
			assert.Assert(t, len(f.Programs["run"].LocalTypeIDs) > 0 && f.Programs["run"].TypeCORE)
		},
		"core_field": func(f *Facts) { assert.Assert(t, !f.Programs["run"].TypeCORE) },
		"kfunc_flavours": func(f *Facts) {
			assert.DeepEqual(t, f.Programs["run"].Weak, []string{"bpf_rdonly_cast___alone", "bpf_rdonly_cast___swapped", "bpf_rdonly_cast___right"})
		},
		"maps_prog_slots": func(f *Facts) { assert.Assert(t, f.ProgramSlots && !f.ArenaData && !f.HasStructOps) },
		"maps_prog_array": func(f *Facts) { assert.Assert(t, !f.ProgramSlots) },
		"struct_ops_two":  func(f *Facts) { assert.Assert(t, f.HasStructOps) },
		"subprogs_many":   func(f *Facts) { assert.Assert(t, f.Functions > 32) },
		"core_enums":      func(f *Facts) { assert.Assert(t, f.Programs["run"].WideCORE) },
		"subprogs_hidden": func(f *Facts) {
			assert.Assert(t, len(f.Programs["run"].Hidden) > 0)
		},
		"maps_hash":  func(f *Facts) { assert.DeepEqual(t, f.Unreferenced, []string{".rodata.cst16"}) },
		"ksym_typed": func(f *Facts) { assert.Assert(t, slices.Contains(f.Programs["run"].TypedKsyms, "runqueues")) },
	} {
		o, err := object.Open("../../selftests/bpf/" + name + ".bpf.o")
		assert.NilError(t, err)
		f := FactsOf(o)
		check(f)
	}
}

func TestProgramInSlotWithoutHandle(t *testing.T) {
	need.BPF(t)
	c, err := ebpf.NewCollection(sampleSpec())
	assert.NilError(t, err)
	defer c.Close()
	tails := state.Handle{Name: "tails", FD: c.Maps["tails"].FD()}
	s, err := state.Capture(context.Background(), []state.Handle{tails, {Name: "outer", FD: c.Maps["outer"].FD()}}, nil, kernel())
	assert.NilError(t, err)
	assert.Assert(t, strings.HasPrefix(s.FindMap("tails").Contents.Entries[0].Ref, "(no handle) tail tag "))
	assert.Equal(t, s.FindMap("outer").Contents.Entries[0].Ref, "outer[2]")
	assert.Equal(t, s.FindMap("outer[2]").KernelName, "others")
	_, err = bpfsys.IDs(bpfsys.MapGetNextID)
	assert.NilError(t, err)
}

// TestCaptureAccess: whether user space may write to a map is a property of the fd, not of the map.
func TestCaptureAccess(t *testing.T) {
	need.BPF(t)
	for flags, want := range map[uint32]string{0: "read-write", unix.BPF_F_RDONLY: "read-only", unix.BPF_F_WRONLY: "write-only"} {
		m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1, Flags: flags})
		assert.NilError(t, err)
		defer m.Close()
		for _, found := range []bool{false, true} {
			s, err := state.Capture(context.Background(), []state.Handle{{Name: "m", FD: m.FD(), Found: found}}, nil, kernel())
			assert.NilError(t, err)
			if found {
				want = ""
			}
			assert.Equal(t, s.Maps[0].Access, want)
		}
	}
}
