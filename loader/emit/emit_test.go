package emit

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/loader/bpfsys"
	"github.com/bpfreplay/bpfreplay/loader/insn"
	"github.com/bpfreplay/bpfreplay/loader/object"
	"github.com/bpfreplay/bpfreplay/loader/trace"
)

// traceOf has maps arrays, which are created and then updated updates times each.
func traceOf(maps, updates int) *trace.Trace {
	t := &trace.Trace{Object: "test", License: "GPL"}
	for i := range maps {
		name := fmt.Sprint("m", i)
		t.Maps = append(t.Maps, trace.Map{Name: name})
		t.FDs = append(t.FDs, trace.FDInfo{Name: "map " + name})
	}
	for i := range maps {
		t.Commands = append(t.Commands, &trace.CreateMap{
			Map: i, Name: t.Maps[i].Name, Inner: trace.NoFD, Setting: -1, Out: trace.FD(i),
			Attr: trace.MapAttr{Type: 2, KeySize: 4, ValueSize: 4, MaxEntries: 1, BTF: trace.NoFD, Name: t.Maps[i].Name},
		})
		for range updates {
			t.Commands = append(t.Commands, &trace.UpdateElem{
				Map: trace.FD(i), Name: t.Maps[i].Name, Key: make([]byte, 4), Value: make([]byte, 4),
				FD: trace.NoFD, MapIndex: -1, Setting: -1,
			})
		}
	}
	return t
}

// program adds a program with an instruction for each fixup. Its FD is not where
// a plan would put it, which is all the same to the code.
func program(t *trace.Trace, attach int, fixups ...trace.Fixup) {
	p := &trace.LoadProgram{
		Program: len(t.Programs), Name: fmt.Sprint("p", len(t.Programs)), Type: 1, License: "GPL",
		BTF: trace.NoFD, Attach: attach, Out: trace.FD(len(t.FDs)),
	}
	for i, f := range fixups {
		p.Insns = append(p.Insns, insn.LdImm64, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
		f.Insn = 2 * i
		p.Fixups = append(p.Fixups, f)
	}
	p.Insns = append(p.Insns, 0xb7, 0, 0, 0, 0, 0, 0, 0, insn.Exit, 0, 0, 0, 0, 0, 0, 0)
	t.Programs = append(t.Programs, trace.Program{Name: p.Name})
	t.FDs = append(t.FDs, trace.FDInfo{Name: "program " + p.Name})
	t.Commands = append(t.Commands, p)
}

func symbol(t *trace.Trace, kind trace.SymbolKind, name string, weak bool) int {
	s := trace.Symbol{Kind: kind, Name: name, BTFKind: 12, Weak: weak, BTF: trace.NoFD}
	if kind != trace.SymbolAddress {
		s.BTF = trace.FD(len(t.FDs))
		t.FDs = append(t.FDs, trace.FDInfo{Name: "module of " + name})
	}
	t.Symbols = append(t.Symbols, s)
	t.Commands = append(t.Commands, &trace.Lookup{Symbol: len(t.Symbols) - 1, For: "test"})
	return len(t.Symbols) - 1
}

func mustEmit(t testing.TB, tr *trace.Trace, o Options) *Loader {
	t.Helper()
	l, err := Emit(tr, o)
	assert.NilError(t, err)
	checkCode(t, l)
	return l
}

// checkCode checks what the kernel would refuse with a bare EINVAL: jumps into
// the middle of instructions or out of the program, addresses outside of the blob.
func checkCode(t testing.TB, l *Loader) {
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

// TestStops: from everywhere in a long program a failure gets to its end.
func TestStops(t *testing.T) {
	for _, o := range []Options{{Steps: true}, {Inputs: true}} {
		l := mustEmit(t, traceOf(1, 12_000), o)
		in := insn.Insns(l.Insns)
		assert.Assert(t, in.Len() > 100_000, "%d instructions", in.Len())
		end := 0
		failures := 0
		for i := range in.Len() {
			// The note of the failed step, and the jump behind it.
			if in.Op(i) != 0x62 || in.Off(i) != 0 || reg(in.Dst(i)) != rBase {
				continue
			}
			failures++
			at, hops := i+1, 0
			for in.Op(at) == opJa {
				assert.Assert(t, in.Off(at) > 0)
				at += 1 + int(in.Off(at))
				hops++
			}
			assert.Assert(t, hops <= 1+in.Len()/stopEvery, "%d hops from %d", hops, i)
			if end == 0 {
				end = at
			}
			assert.Equal(t, at, end, "the failure at %d ends elsewhere", i)
		}
		assert.Equal(t, failures, 12_001)
	}
}

// TestTables: a loop over a table from tableSites places on, a store each below.
func TestTables(t *testing.T) {
	size := func(sites int) int {
		tr := traceOf(1, 0)
		fixups := make([]trace.Fixup, sites-0)
		for i := range fixups {
			fixups[i] = trace.Fixup{Kind: trace.FixupMap, FD: 0}
		}
		program(tr, -1, fixups...)
		return len(mustEmit(t, tr, Options{}).Insns) / insn.Size
	}
	below, at, above := size(tableSites-1), size(tableSites), size(10*tableSites)
	assert.Equal(t, below, size(tableSites-2)+1)
	assert.Assert(t, at < below)
	assert.Equal(t, at, above, "the code grows with the table")
}

// TestEverySpot moves attributes and instructions that wait for an answer over
// the limits of what is in reach, byte by byte (of their alignment).
func TestEverySpot(t *testing.T) {
	for _, kind := range []trace.SymbolKind{trace.SymbolKfunc, trace.SymbolKsym, trace.SymbolAddress, trace.SymbolAttach} {
		for _, weak := range []bool{false, true} {
			for pad := range 80 {
				tr := traceOf(10, 0)
				for range pad { // a cell each, before attributes and instructions
					tr.FDs = append(tr.FDs, trace.FDInfo{Name: "pad"})
				}
				s := symbol(tr, kind, "symbol", weak)
				for range 600 {
					if kind == trace.SymbolAttach {
						program(tr, s)
						continue
					}
					fix := map[trace.SymbolKind]trace.FixupKind{trace.SymbolKfunc: trace.FixupCall, trace.SymbolKsym: trace.FixupKsym, trace.SymbolAddress: trace.FixupAddress}[kind]
					program(tr, -1, trace.Fixup{Kind: fix, FD: trace.NoFD, Symbol: s})
				}
				l := mustEmit(t, tr, Options{})
				assert.Assert(t, len(l.Blob) > 1<<16)
			}
		}
	}
}

// TestManyOnOneTarget: as many programs as a context has room for, all with the
// same attach target, which is found once.
func TestManyOnOneTarget(t *testing.T) {
	tr := traceOf(0, 0)
	s := symbol(tr, trace.SymbolAttach, "target", false)
	for CtxSize(0, len(tr.Programs)+1) <= maxCtx {
		program(tr, s)
	}
	l := mustEmit(t, tr, Options{})
	assert.Assert(t, len(l.Insns)/insn.Size > 60_000)
}

// TestNothingCanFail: there is no code for failures that cannot be.
func TestNothingCanFail(t *testing.T) {
	l := mustEmit(t, &trace.Trace{}, Options{Steps: true})
	in := insn.Insns(l.Insns)
	exits := 0
	for i := range in.Len() {
		if in.Op(i) == insn.Exit {
			exits++
		}
	}
	assert.Equal(t, exits, 1)
	assert.Equal(t, len(l.Blob), 8)

	tr := &trace.Trace{FDs: []trace.FDInfo{{Name: "x"}}, Commands: []trace.Command{&trace.Close{FD: 0}, &trace.Skip{Of: &trace.Close{}}}}
	l = mustEmit(t, tr, Options{Steps: true})
	assert.Equal(t, binary.LittleEndian.Uint32(l.Blob), uint32(StepNone))
}

// TestCloses: after a failure everything is closed that may be open then.
func TestCloses(t *testing.T) {
	for _, c := range []struct{ maps, updates, want int }{{1, 0, 0}, {3, 0, 2}, {1, 1, 1}, {3, 2, 3}} {
		in := insn.Insns(mustEmit(t, traceOf(c.maps, c.updates), Options{Steps: true}).Insns)
		closes := 0
		for i := range in.Len() {
			if in.IsCallTo(i, 0) && in.Imm(i) == fnSysClose {
				closes++
			}
		}
		assert.Equal(t, closes, c.want, "%d maps, %d updates", c.maps, c.updates)
	}
}

// TestWithoutSteps: the code is one straight piece, which hands out each map and
// program where the context has it.
func TestWithoutSteps(t *testing.T) {
	tr := traceOf(3, 2)
	for range 2 {
		program(tr, -1, trace.Fixup{Kind: trace.FixupMap, FD: 1})
	}
	l := mustEmit(t, tr, Options{})
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
	want := map[int]int{CtxMap(0): 1, CtxMap(1): 1, CtxMap(2): 1, CtxProg(3, 0): 1, CtxProg(3, 1): 1}
	assert.DeepEqual(t, stores, want)
	assert.Assert(t, !l.Steps && bytes.HasPrefix(l.Blob, []byte("GPL\x00")))
	steps := mustEmit(t, tr, Options{Steps: true})
	assert.Assert(t, steps.Steps && 4*len(l.Insns) < 3*len(steps.Insns), "%d and %d bytes", len(l.Insns), len(steps.Insns))
}

func TestLimits(t *testing.T) {
	many := traceOf(1, 0)
	many.FDs = make([]trace.FDInfo, maxCells)
	mustEmit(t, many, Options{})
	many.FDs = make([]trace.FDInfo, maxCells+1)
	_, err := Emit(many, Options{})
	assert.ErrorContains(t, err, "32768 file descriptors, at most 32767")

	most := (maxCtx - CtxHeaderSize) / CtxMapSize
	mustEmit(t, traceOf(most, 0), Options{Inputs: true})
	_, err = Emit(traceOf(most+1, 0), Options{Inputs: true})
	assert.ErrorContains(t, err, "context of 32776 bytes for 2047 maps and 0 programs, at most 32767")

	huge := traceOf(1, 0)
	data := make([]byte, maxBlob-4096)
	for range 2 {
		huge.Commands = append(huge.Commands, &trace.UpdateElem{Map: 0, Key: make([]byte, 4), Value: data, FD: trace.NoFD, MapIndex: -1, Setting: -1})
	}
	_, err = Emit(huge, Options{})
	assert.ErrorContains(t, err, "blob needs more than the 536870911 bytes")
}

func objects(t testing.TB) []string {
	t.Helper()
	var out []string
	for _, pattern := range []string{"../../selftests/bpf/*.bpf.o", "../object/testdata/*.o", "../testdata/*.o"} {
		files, err := filepath.Glob(pattern)
		assert.NilError(t, err)
		out = append(out, files...)
	}
	assert.Assert(t, len(out) > 120)
	return out
}

// TestObjects: the loaders of real objects hold together and hold everything.
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
		for _, o := range []Options{{}, {Steps: true}, {Inputs: true}, {Log: Log{Level: 1, Size: 100, Addr: 1 << 40, Step: EachStep}}} {
			l := mustEmit(t, tr, o)
			again := mustEmit(t, tr, o)
			assert.Assert(t, bytes.Equal(l.Insns, again.Insns) && bytes.Equal(l.Blob, again.Blob), file)
			checkBlob(t, tr, l)
			emitted++
		}
		givenAll(t, tr)
	}
	assert.Assert(t, emitted > 400, "%d", emitted)
}

// checkBlob checks that all fds are closed and that everything is there.
func checkBlob(t testing.TB, tr *trace.Trace, l *Loader) {
	t.Helper()
	for i := range tr.FDs {
		assert.Equal(t, int32(binary.LittleEndian.Uint32(l.Blob[l.Cells+4*i:])), int32(none))
	}
	for _, c := range tr.Commands {
		switch c := c.(type) {
		case *trace.LoadBTF:
			assert.Assert(t, bytes.Contains(l.Blob, c.Data))
		case *trace.CreateMap:
			assert.Assert(t, bytes.Contains(l.Blob, []byte(c.Attr.Name)))
		case *trace.UpdateElem:
			assert.Assert(t, c.OnlyGiven || bytes.Contains(l.Blob, c.Value))
		case *trace.LoadProgram:
			for _, part := range [][]byte{c.Insns, c.FuncInfo, c.LineInfo, c.CORE, append([]byte(c.License), 0)} {
				assert.Assert(t, bytes.Contains(l.Blob, part))
			}
		}
	}
}

// givenAll: a loader whose maps are all given creates none.
func givenAll(t testing.TB, tr *trace.Trace) {
	t.Helper()
	var given []trace.FD
	templates := 0
	for i := range tr.Maps {
		given = append(given, tr.MapFD(i))
	}
	for _, c := range tr.Commands {
		if c, ok := c.(*trace.CreateMap); ok && c.Map < 0 {
			templates++
		}
	}
	in := insn.Insns(mustEmit(t, tr, Options{Given: given}).Insns)
	creates := 0
	for i := 0; i+3 < in.Len(); i++ {
		if in.Op(i) == opMovImm && reg(in.Dst(i)) == r1 && in.Imm(i) == int32(bpfsys.MapCreate) && slices.Contains(calls(in, i), fnSysBPF) {
			creates++
		}
	}
	assert.Equal(t, creates, templates)
}

// calls are the helpers that are called in the four instructions after i.
func calls(in insn.Insns, i int) []int32 {
	var out []int32
	for j := i + 1; j < in.Len() && j <= i+4; j++ {
		if in.Op(j) == insn.Call {
			out = append(out, in.Imm(j))
		}
	}
	return out
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
	P(bpf_loader_ctx, sz); P(bpf_loader_ctx, log_level); P(bpf_loader_ctx, log_size); P(bpf_loader_ctx, log_buf);
	P(bpf_map_desc, map_fd); P(bpf_map_desc, max_entries); P(bpf_map_desc, initial_value); P(bpf_prog_desc, prog_fd);
	printf("%zu %zu %zu\n", sizeof(struct bpf_loader_ctx), sizeof(struct bpf_map_desc), sizeof(struct bpf_prog_desc));
}`), 0o600))
	binary := filepath.Join(dir, "layout")
	out, err := exec.Command(gcc, "-o", binary, source).CombinedOutput()
	assert.NilError(t, err, "%s", out)
	out, err = exec.Command(binary).Output()
	assert.NilError(t, err)
	var want strings.Builder
	fmt.Fprintf(&want, "bpf_loader_ctx.sz 0\nbpf_loader_ctx.log_level %d\nbpf_loader_ctx.log_size %d\nbpf_loader_ctx.log_buf %d\n", CtxLogLevel, CtxLogSize, CtxLogBuf)
	fmt.Fprintf(&want, "bpf_map_desc.map_fd 0\nbpf_map_desc.max_entries %d\nbpf_map_desc.initial_value %d\nbpf_prog_desc.prog_fd 0\n", CtxMaxEntries, CtxInitial)
	fmt.Fprintf(&want, "%d %d %d\n", CtxHeaderSize, CtxMapSize, CtxProgSize)
	assert.Equal(t, string(out), want.String())
	assert.Equal(t, CtxProg(3, 2), CtxHeaderSize+3*CtxMapSize+2*CtxProgSize)
	assert.Equal(t, CtxMap(2), CtxHeaderSize+2*CtxMapSize)
}
