package emit

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/core"
	"github.com/bpfreplay/bpfreplay/internal/insn"
	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// traceOf returns a trace that creates maps arrays and updates each of them updates times.
func traceOf(maps, updates int) *trace.Trace {
	t := &trace.Trace{Object: "test", License: "GPL", FDs: []string{"none"}}
	for i := range maps {
		name := fmt.Sprint("m", i)
		t.Maps = append(t.Maps, &trace.Map{Name: name})
		t.FDs = append(t.FDs, "map "+name)
	}
	for i, m := range t.Maps {
		t.Commands = append(t.Commands, &trace.CreateMap{
			Map: m, Name: m.Name, Out: t.MapFD(i),
			Attr: trace.MapAttr{Type: 2, KeySize: 4, ValueSize: 4, MaxEntries: 1, Name: m.Name},
		})
		for range updates {
			t.Commands = append(t.Commands, &trace.UpdateElem{Map: t.MapFD(i), Name: m.Name, Key: make([]byte, 4), Value: make([]byte, 4)})
		}
	}
	return t
}

// program adds a program with an instruction for each fixup. Its FD is not where a plan would put
// it, which does not matter here.
func program(t *trace.Trace, attach *trace.Symbol, fixups ...trace.Fixup) {
	p := &trace.LoadProgram{
		Program: &trace.Program{}, Name: fmt.Sprint("p", len(t.Programs)), Type: 1, License: "GPL", Attach: attach, Out: trace.FD(len(t.FDs)),
	}
	p.Program.Name = p.Name
	for i, f := range fixups {
		p.Insns = append(p.Insns, insn.LdImm64, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
		f.Insn = 2 * i
		p.Fixups = append(p.Fixups, f)
	}
	p.Insns = append(p.Insns, 0xb7, 0, 0, 0, 0, 0, 0, 0, insn.Exit, 0, 0, 0, 0, 0, 0, 0)
	t.Programs = append(t.Programs, p.Program)
	t.FDs = append(t.FDs, "program "+p.Name)
	t.Commands = append(t.Commands, p)
}

func symbol(t *trace.Trace, kind trace.SymbolKind, name string, weak bool) *trace.Symbol {
	s := &trace.Symbol{Kind: kind, Name: name, BTFKind: 12, Weak: weak}
	if kind != trace.SymbolAddress {
		s.BTF = trace.FD(len(t.FDs))
		t.FDs = append(t.FDs, "module of "+name)
	}
	t.Symbols = append(t.Symbols, s)
	t.Commands = append(t.Commands, &trace.Lookup{Symbol: s, For: "test"})
	return s
}

func mustEmit(t testing.TB, tr *trace.Trace) *artefact.Artefact {
	t.Helper()
	a, err := Emit(tr)
	assert.NilError(t, err)
	checkCode(t, a)
	checkContext(t, a)
	return a
}

// checkContext checks that all parts of the context are in bounds and do not overlap.
func checkContext(t testing.TB, a *artefact.Artefact) {
	t.Helper()
	at := make([]string, a.Context)
	take := func(what string, off, size int) {
		t.Helper()
		assert.Assert(t, off >= 0 && off+size <= a.Context, "%s is at %d of %d", what, off, a.Context)
		for i := off; i < off+size; i++ {
			assert.Assert(t, at[i] == "", "%s is where %s is", what, at[i])
			at[i] = what
		}
	}
	take("header", 0, artefact.CtxMap(0))
	slots := make(map[int]bool)
	for i := range a.Maps {
		take("map "+a.Maps[i].Name, a.Maps[i].FD, 4)
		slots[a.Maps[i].FD] = true
	}
	for i := range a.Programs {
		take("program "+a.Programs[i].Name, a.Programs[i].FD, 4)
		take("log of "+a.Programs[i].Name, a.Programs[i].Log, 16)
		slots[a.Programs[i].FD] = true
	}
	for _, s := range a.Settings {
		take("setting "+s.Kind, s.Offset, s.Size)
	}
	for _, s := range a.Steps {
		if !slots[s.Result] { // a map's or program's result is its fd
			take(s.Subject+": "+s.Op, s.Result, 4)
		}
	}
}

// checkCode checks for what the kernel would refuse with a bare EINVAL: jumps into the middle of
// instructions or out of the program, and addresses outside of the blob.
func checkCode(t testing.TB, l *artefact.Artefact) {
	t.Helper()
	in := insn.Insns(l.Insns)
	second := make(map[int]bool)
	for i := 0; i < in.Len(); i++ {
		if in.Op(i) == insn.LdImm64 {
			second[i+1] = true
			assert.Assert(t, int(in.Imm(i+1)) < len(l.Blob), "instruction %d: address %d of a blob of %d bytes", i, in.Imm(i+1), len(l.Blob))
			i++
		}
	}
	for i := range in.Len() {
		if second[i] || in.Op(i)&7 != 5 || in.Op(i) == insn.Call || in.Op(i) == insn.Exit {
			continue
		}
		to := i + 1 + int(in.Off(i))
		assert.Assert(t, to >= 0 && to < in.Len() && !second[to], "instruction %d jumps to %d of %d", i, to, in.Len())
	}
	assert.Equal(t, in.Op(in.Len()-1), uint8(insn.Exit))
	assert.Equal(t, len(l.Blob)%8, 0)
}

// TestTables: from tableFixups fixups on, a loop over a table replaces the stores.
func TestTables(t *testing.T) {
	size := func(count int) int {
		tr := traceOf(1, 0)
		fixups := make([]trace.Fixup, count)
		for i := range fixups {
			fixups[i] = trace.Fixup{Kind: trace.FixupMap, FD: tr.MapFD(0)}
		}
		program(tr, nil, fixups...)
		return len(mustEmit(t, tr).Insns) / insn.Size
	}
	below, at, above := size(tableFixups-1), size(tableFixups), size(10*tableFixups)
	assert.Equal(t, below, size(tableFixups-2)+1)
	assert.Assert(t, at < below)
	assert.Equal(t, at, above, "the code grows with the table")
}

// TestEverySpot moves attributes and instructions with fixups across the limits of what a
// displacement reaches, in steps of their alignment.
func TestEverySpot(t *testing.T) {
	for _, kind := range []trace.SymbolKind{trace.SymbolKfunc, trace.SymbolKsym, trace.SymbolAddress, trace.SymbolAttach} {
		for _, weak := range []bool{false, true} {
			for pad := range 80 {
				tr := traceOf(10, 0)
				for range pad { // one cell each, before attributes and instructions
					tr.FDs = append(tr.FDs, "pad")
				}
				s := symbol(tr, kind, "symbol", weak)
				for range 600 {
					if kind == trace.SymbolAttach {
						program(tr, s)
						continue
					}
					fix := map[trace.SymbolKind]trace.FixupKind{trace.SymbolKfunc: trace.FixupCall, trace.SymbolKsym: trace.FixupKsym, trace.SymbolAddress: trace.FixupAddress}[kind]
					program(tr, nil, trace.Fixup{Kind: fix, Symbol: s})
				}
				assert.Assert(t, len(mustEmit(t, tr).Blob) > 1<<16)
			}
		}
	}
}

// TestManyOnOneTarget: as many programs as fit into a context, all with the same attach target,
// which is looked up once.
func TestManyOnOneTarget(t *testing.T) {
	tr := traceOf(0, 0)
	s := symbol(tr, trace.SymbolAttach, "target", false)
	const each = 4 + 16 // the fd and the request for a log
	for range (maxCtx - 64) / each {
		program(tr, s)
	}
	l := mustEmit(t, tr)
	assert.Assert(t, maxCtx-l.Context < 64, "there is room for more in %d bytes", l.Context)
	assert.Assert(t, len(l.Insns)/insn.Size > 20_000)
}

// TestNothing: an empty trace gives no code for commands.
func TestNothing(t *testing.T) {
	l := mustEmit(t, &trace.Trace{FDs: []string{"none"}})
	assert.Equal(t, len(l.Blob), 8)
	assert.Equal(t, l.Context, artefact.CtxMap(0))
	in := insn.Insns(l.Insns)
	assert.Assert(t, in.Len() <= 6, "%d instructions", in.Len())
	for i := range in.Len() {
		assert.Assert(t, in.Op(i) != insn.Call)
	}
	assert.Equal(t, len(l.Steps)+len(l.Maps)+len(l.Programs), 0)
}

// TestStraight: the code has no branches. It stores the result of each command where the manifest
// says, and the fds of maps and programs in their slots.
func TestStraight(t *testing.T) {
	tr := traceOf(3, 2)
	for range 2 {
		program(tr, nil, trace.Fixup{Kind: trace.FixupMap, FD: 1})
	}
	l := mustEmit(t, tr)
	in := insn.Insns(l.Insns)
	stores := make(map[int]int)
	for i := 0; i < in.Len(); i++ {
		switch op := in.Op(i); {
		case op == insn.LdImm64:
			i++
		case in.IsCallTo(i, 0):
			assert.Equal(t, in.Imm(i), int32(fnSysBPF))
		case op == insn.Exit:
			assert.Equal(t, i, in.Len()-1)
		case op&7 == 5 || op&7 == 6:
			t.Errorf("instruction %d jumps", i)
		case reg(in.Dst(i)) == rCtx && op == 0x63:
			stores[int(in.Off(i))]++
		}
	}
	want := map[int]int{
		artefact.CtxMap(0): 1, artefact.CtxMap(1): 1, artefact.CtxMap(2): 1, artefact.CtxProgram(3, 0): 1, artefact.CtxProgram(3, 1): 1,
	}
	assert.Equal(t, len(l.Steps), 3+3*2+2)
	for _, s := range l.Steps {
		want[s.Result] = 1
	}
	assert.Equal(t, len(want), len(l.Steps))
	assert.DeepEqual(t, stores, want)
	assert.Assert(t, bytes.HasPrefix(l.Blob, []byte("GPL\x00")))
}

func TestLimits(t *testing.T) {
	many := traceOf(1, 0)
	many.FDs = make([]string, maxCells)
	mustEmit(t, many)
	many.FDs = make([]string, maxCells+1)
	_, err := Emit(many)
	assert.ErrorContains(t, err, "32768 file descriptors, at most 32767")

	most := (maxCtx - artefact.CtxMap(0)) / (artefact.CtxMap(1) - artefact.CtxMap(0))
	mustEmit(t, traceOf(most, 0))
	_, err = Emit(traceOf(most+1, 0))
	assert.ErrorContains(t, err, "context of 32776 bytes for 2047 maps, 0 programs and 2047 steps, at most 32767")

	huge := traceOf(1, 0)
	data := make([]byte, maxBlob-4096)
	for range 2 {
		huge.Commands = append(huge.Commands, &trace.UpdateElem{Map: 1, Key: make([]byte, 4), Value: data})
	}
	_, err = Emit(huge)
	assert.ErrorContains(t, err, "blob needs more than the 536870911 bytes")
}

func objects(t testing.TB) []string {
	t.Helper()
	var out []string
	for _, pattern := range []string{"../../selftests/bpf/*.bpf.o", "../object/testdata/*.o", "../../loader/testdata/*.o"} {
		files, err := filepath.Glob(pattern)
		assert.NilError(t, err)
		out = append(out, files...)
	}
	assert.Assert(t, len(out) > 120)
	return out
}

// TestObjects: the loader programs of real objects are consistent and complete.
func TestObjects(t *testing.T) {
	emitted := 0
	for _, file := range objects(t) {
		obj, err := object.Open(file)
		if err != nil {
			continue
		}
		tr, err := trace.Plan(obj, trace.Options{})
		if err != nil {
			continue
		}
		l := mustEmit(t, tr)
		again := mustEmit(t, tr)
		assert.Assert(t, bytes.Equal(l.Insns, again.Insns) && bytes.Equal(l.Blob, again.Blob), file)
		checkBlob(t, tr, l)
		checkManifest(t, tr, l)
		emitted++
	}
	assert.Assert(t, emitted > 120, "%d", emitted)
}

// checkBlob checks that the blob has everything of the trace.
func checkBlob(t testing.TB, tr *trace.Trace, l *artefact.Artefact) {
	t.Helper()
	closed := bytes.Repeat([]byte{0xff}, 4*len(tr.FDs))
	assert.Assert(t, bytes.Contains(l.Blob, closed), "no room for %d fds, none of which is open", len(tr.FDs))
	for _, c := range tr.Commands {
		switch c := c.(type) {
		case *trace.LoadBTF:
			assert.Assert(t, bytes.Contains(l.Blob, c.Data) && bytes.Contains(l.Blob, c.Extended))
		case *trace.CreateMap:
			assert.Assert(t, bytes.Contains(l.Blob, []byte(c.Attr.Name)))
		case *trace.UpdateElem:
			assert.Assert(t, bytes.Contains(l.Blob, c.Value))
		case *trace.LoadProgram:
			for _, part := range [][]byte{c.Insns, c.FuncInfo, c.LineInfo, core.Encode(c.CORE), append([]byte(c.License), 0)} {
				assert.Assert(t, bytes.Contains(l.Blob, part))
			}
		}
	}
}

// checkManifest checks that the manifest refers to the right bytes.
func checkManifest(t testing.TB, tr *trace.Trace, l *artefact.Artefact) {
	t.Helper()
	steps := l.Steps
	for _, c := range tr.Commands {
		switch c := c.(type) {
		case *trace.LoadBTF:
			assert.DeepEqual(t, l.Types.Of(l.Blob), c.Data)
			if c.Optional {
				continue
			}
		case *trace.CreateMap:
			if i := slices.Index(tr.Maps, c.Map); i >= 0 {
				m := &l.Maps[i]
				attr := m.Attr.Of(l.Blob)
				assert.Equal(t, uapi.MapType(binary.LittleEndian.Uint32(attr)), c.Attr.Type, m.Name)
				assert.Equal(t, bpfsys.CString(attr[bpfsys.MapCreateNameEnd-16:][:16]), c.Attr.Name)
				assert.Equal(t, binary.LittleEndian.Uint32(l.Blob[m.Delta:]), uint32(0))
				assert.Equal(t, steps[0].Result, m.FD)
			}
		case *trace.UpdateElem:
			if i := slices.Index(tr.Maps, c.Initial); i >= 0 {
				m := &l.Maps[i]
				assert.DeepEqual(t, m.Value.Of(l.Blob), c.Value)
				assert.Equal(t, binary.LittleEndian.Uint64(l.Blob[m.Update+bpfsys.ElemFlags:]), c.Flags)
				assert.Equal(t, steps[0].Initial, m.Name)
			}
		case *trace.LoadProgram:
			p := &l.Programs[slices.Index(tr.Programs, c.Program)]
			assert.Equal(t, binary.LittleEndian.Uint32(p.Attr.Of(l.Blob)), uint32(c.Type))
			assert.Equal(t, binary.LittleEndian.Uint32(p.Attr.Of(l.Blob)[4:]), uint32(len(c.Insns)/insn.Size))
			assert.Equal(t, steps[0].Result, p.FD)
		case *trace.Close, *trace.ChooseEnum, *trace.AskContext:
			continue
		}
		assert.Equal(t, steps[0].Subject, c.Subject())
		assert.Equal(t, steps[0].Op, trace.What(c))
		steps = steps[1:]
	}
	assert.Equal(t, len(steps), 0)
}

// TestStructOps: a member counts as set if it is not zero, or if a program implements it.
func TestStructOps(t *testing.T) {
	obj, err := object.Open("../object/testdata/structops.o")
	assert.NilError(t, err)
	set := func(o trace.Options) (names []string) {
		t.Helper()
		tr, err := trace.Plan(obj, o)
		assert.NilError(t, err)
		for _, s := range mustEmit(t, tr).Settings {
			if s.Kind != "value_size" {
				continue
			}
			for _, m := range s.StructOps.Members {
				if m.Set {
					names = append(names, m.Name+" "+m.Kind)
				}
			}
			return names
		}
		t.Fatal("no map")
		return nil
	}
	assert.DeepEqual(t, set(trace.Options{Autocreate: map[string]bool{"linked": false}}), []string{"flags int", "init ptr", "ssthresh ptr", "name array"})
}

// TestContextLayout compares the context with libbpf's own definition of it.
func TestContextLayout(t *testing.T) {
	need.File(t, "/usr/include/bpf/skel_internal.h")
	gcc := need.Program(t, "gcc")
	dir := t.TempDir()
	source := filepath.Join(dir, "layout.c")
	assert.NilError(t, os.WriteFile(source, []byte(`
#include <errno.h>
#include <stdio.h>
#include <stddef.h>
#include <bpf/skel_internal.h>
#define P(type, field) printf(#type "." #field " %zu\n", offsetof(struct type, field))
int main(void)
{
	P(bpf_loader_ctx, sz); P(bpf_map_desc, map_fd); P(bpf_prog_desc, prog_fd);
	printf("%zu %zu %zu\n", sizeof(struct bpf_loader_ctx), sizeof(struct bpf_map_desc), sizeof(struct bpf_prog_desc));
}`), 0o600))
	program := filepath.Join(dir, "layout")
	out, err := exec.Command(gcc, "-o", program, source).CombinedOutput()
	assert.NilError(t, err, "%s", out)
	out, err = exec.Command(program).Output()
	assert.NilError(t, err)
	header, size := artefact.CtxMap(0), artefact.CtxMap(1)-artefact.CtxMap(0)
	want := "bpf_loader_ctx.sz 0\nbpf_map_desc.map_fd 0\nbpf_prog_desc.prog_fd 0\n" +
		fmt.Sprintf("%d %d %d\n", header, size, artefact.CtxProgram(0, 1)-artefact.CtxProgram(0, 0))
	assert.Equal(t, string(out), want)
	assert.Equal(t, artefact.CtxProgram(3, 0), header+3*size)
}
