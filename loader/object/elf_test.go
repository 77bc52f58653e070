package object

import (
	"slices"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/loader/insn"
)

// twoFunctions is an object with a program and a subprogram of four instructions.
func twoFunctions(insns ...uint64) (b *elfBuilder, prog, text int) {
	b = &elfBuilder{}
	text = b.code(".text", movZero, exitInsn, movZero, exitInsn)
	b.symbol(builtSymbol{name: "first", kind: symFunc, section: text, size: 16})
	b.symbol(builtSymbol{name: "second", bind: bindGlobal, kind: symFunc, section: text, value: 16, size: 16})
	prog = b.code("xdp", append(insns, exitInsn)...)
	b.function("prog", prog)
	return b, prog, text
}

func TestCalls(t *testing.T) {
	ld := loadImm64(0, 16)
	b, prog, text := twoFunctions(callInsn(-1), callInsn(1), ld[0], ld[1])
	second := uint64(2)
	section := uint64(b.symbol(builtSymbol{kind: symSection, section: text}))
	b.relocate(prog, 0, second, 8, section, 16, section)
	o, err := OpenBytes(b.bytes(), "calls")
	assert.NilError(t, err)
	f := function(t, o, "prog")
	assert.NilError(t, f.Err)
	assert.DeepEqual(t, f.Relocations, []Relocation{
		{Insn: 0, Kind: RelocCall, Target: 1}, // by symbol
		{Insn: 1, Kind: RelocCall, Target: 1}, // by section and imm
		{Insn: 2, Kind: RelocFunc, Target: 1}, // by section and imm in bytes
	})
}

func TestCallsWithoutRelocation(t *testing.T) {
	b := &elfBuilder{}
	text := b.code(".text", callInsn(1), exitInsn, callInsn(-3), exitInsn)
	b.symbol(builtSymbol{name: "first", kind: symFunc, section: text, size: 16})
	b.symbol(builtSymbol{name: "second", kind: symFunc, section: text, value: 16, size: 16})
	o, err := OpenBytes(b.bytes(), "calls")
	assert.NilError(t, err)
	assert.DeepEqual(t, o.Functions[0].Relocations, []Relocation{{Insn: 0, Kind: RelocCall, Target: 1}})
	assert.DeepEqual(t, o.Functions[1].Relocations, []Relocation{{Insn: 0, Kind: RelocCall, Target: 0}})
}

// TestFunctionErrors: calls that lead nowhere. libbpf opens these objects and
// refuses to load the program.
func TestFunctionErrors(t *testing.T) {
	callback := loadImm64(insn.PseudoFunc, 0)
	section := func(b *elfBuilder, text int) uint64 {
		return uint64(b.symbol(builtSymbol{kind: symSection, section: text}))
	}
	tests := []struct {
		name  string
		insns []uint64
		reloc bool
		text  string
	}{
		{"far away", []uint64{callInsn(100)}, true, "instruction 0: malformed object: no function at instruction 101 of .text"},
		{"before the start", []uint64{callInsn(-5)}, true, "no function at instruction -4"},
		{"no relocation", []uint64{callInsn(0)}, false, "outside .text"},
		{"callback without relocation", callback[:], false, "without a relocation"},
		{"callback far away", func() []uint64 { l := loadImm64(0, 800); return l[:] }(), true, "no function at instruction 100"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, prog, text := twoFunctions(tt.insns...)
			if tt.reloc {
				b.relocate(prog, 0, section(b, text))
			}
			o, err := OpenBytes(b.bytes(), "x")
			assert.NilError(t, err)
			f := function(t, o, "prog")
			assert.ErrorIs(t, f.Err, ErrMalformed)
			assert.ErrorContains(t, f.Err, tt.text)
			assert.Equal(t, len(f.Relocations), 0)
			assert.NilError(t, o.Functions[0].Err)
		})
	}
}

func TestBadRelocations(t *testing.T) {
	ld := loadImm64(0, 0)
	sectionSymbol := func(b *elfBuilder, s int) uint64 { return uint64(b.symbol(builtSymbol{kind: symSection, section: s})) }
	tests := []struct {
		name  string
		insns []uint64
		make  func(b *elfBuilder, prog, text int)
		text  string
	}{
		{"misaligned", ld[:], func(b *elfBuilder, prog, _ int) { b.relocate(prog, 4, 1) }, "relocation 0 at offset 4 is misaligned"},
		{"beyond the section", ld[:], func(b *elfBuilder, prog, _ int) { b.relocate(prog, 24, 1) }, "beyond the section's 24 bytes"},
		{"no such symbol", ld[:], func(b *elfBuilder, prog, _ int) { b.relocate(prog, 0, 99) }, "symbol 99 of"},
		{"wrong opcode", []uint64{movZero}, func(b *elfBuilder, prog, _ int) { b.relocate(prog, 0, 1) }, `"prog": instruction 0: relocation against "first": malformed object: opcode 0xb7`},
		{"half an ld_imm64", nil, func(b *elfBuilder, prog, _ int) {
			b.sections[prog-1].data = words(ld[0])
			b.symbols[2].size = 8
			b.relocate(prog, 0, 2)
		}, "second half"},
		{"twice", ld[:], func(b *elfBuilder, prog, _ int) { b.relocate(prog, 0, 2, 0, 2) }, `"prog": malformed object: instruction 0 has two relocations`},
		{"call of data", []uint64{callInsn(-1)}, func(b *elfBuilder, prog, _ int) {
			b.relocate(prog, 0, sectionSymbol(b, b.data(".data", make([]byte, 8))))
		}, "only go to functions in .text"},
		{"helper call", []uint64{encode(insn.Call, 0, 0, 0, 1)}, func(b *elfBuilder, prog, text int) {
			b.relocate(prog, 0, sectionSymbol(b, text))
		}, "source register 0"},
		{"call into an instruction", []uint64{callInsn(-1)}, func(b *elfBuilder, prog, text int) {
			b.relocate(prog, 0, uint64(b.symbol(builtSymbol{name: "odd", bind: bindGlobal, kind: symObject, section: text, value: 4})))
		}, "middle of an instruction"},
		{"undefined local", ld[:], func(b *elfBuilder, prog, _ int) {
			b.relocate(prog, 0, uint64(b.symbol(builtSymbol{name: "u"})))
		}, "not in any section"},
		{"common symbol", ld[:], func(b *elfBuilder, prog, _ int) {
			b.relocate(prog, 0, uint64(b.symbol(builtSymbol{name: "c", bind: bindGlobal, kind: symObject, section: 0xfff2})))
		}, "initialiser"},
		{"section out of range", ld[:], func(b *elfBuilder, prog, _ int) {
			b.relocate(prog, 0, uint64(b.symbol(builtSymbol{name: "c", bind: bindGlobal, kind: symObject, section: 200})))
		}, "not in any section"},
		{"extern without BTF", ld[:], func(b *elfBuilder, prog, _ int) {
			b.relocate(prog, 0, uint64(b.symbol(builtSymbol{name: "e", bind: bindGlobal})))
		}, `"e": extern: BTF is required`},
		{"wrong entry size", ld[:], func(b *elfBuilder, prog, _ int) {
			b.sections[b.relocate(prog, 0, 2)-1].entsize = 24
		}, "24 bytes, not 16"},
		{"no such section", ld[:], func(b *elfBuilder, prog, _ int) {
			b.sections[b.relocate(prog, 0, 2)-1].info = 77
		}, "section 77 of"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, prog, text := twoFunctions(tt.insns...)
			tt.make(b, prog, text)
			_, err := OpenBytes(b.bytes(), "x")
			assert.ErrorContains(t, err, tt.text)
		})
	}
}

func TestBadFunctions(t *testing.T) {
	tests := []struct {
		name string
		sym  builtSymbol
		text string
	}{
		{"beyond the section", builtSymbol{value: 8, size: 16}, "8+16 ends beyond its section's 16 bytes"},
		{"huge", builtSymbol{value: 8, size: 1<<64 - 8}, "ends beyond"},
		{"far away", builtSymbol{value: 1 << 63, size: 8}, "ends beyond"},
		{"empty", builtSymbol{}, "is empty"},
		{"half an instruction", builtSymbol{size: 12}, "whole instructions"},
		{"misaligned", builtSymbol{value: 4, size: 8}, "whole instructions"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := &elfBuilder{}
			tt.sym.section = b.code("tc", movZero, exitInsn)
			tt.sym.name, tt.sym.bind, tt.sym.kind = "f", bindGlobal, symFunc
			b.symbol(tt.sym)
			_, err := OpenBytes(b.bytes(), "x")
			assert.ErrorIs(t, err, ErrMalformed)
			assert.ErrorContains(t, err, `section "tc": "f": `)
			assert.ErrorContains(t, err, tt.text)
		})
	}
}

// TestDroppedWeakFunction: a static linker leaves the code of a weak function
// that lost, and its relocations, but no symbol.
func TestDroppedWeakFunction(t *testing.T) {
	ld := loadImm64(0, 0)
	b := &elfBuilder{}
	text := b.code(".text", ld[0], ld[1], exitInsn, movZero, exitInsn)
	b.symbol(builtSymbol{name: "winner", bind: bindGlobal, kind: symFunc, section: text, value: 24, size: 16})
	b.relocate(text, 0, uint64(b.symbol(builtSymbol{name: "gone"})))
	o, err := OpenBytes(b.bytes(), "x")
	assert.NilError(t, err)
	assert.Equal(t, len(o.Functions), 1)
	assert.Equal(t, len(o.Functions[0].Relocations), 0)
}

func TestJumpTable(t *testing.T) {
	ld := loadImm64(0, 0)
	build := func(targets []byte, size uint64) *elfBuilder {
		b, prog, _ := twoFunctions(movZero, ld[0], ld[1], movZero)
		// A second program in front moves the first one in its section.
		table := b.data(".jumptables", targets)
		sym := uint64(b.symbol(builtSymbol{name: "JT", kind: symObject, section: table, value: 8, size: size}))
		b.relocate(prog, 8, sym)
		return b
	}
	o, err := OpenBytes(build(words(0xffff, 0, 24, 32), 24).bytes(), "x")
	assert.NilError(t, err)
	f := function(t, o, "prog")
	assert.NilError(t, f.Err)
	assert.DeepEqual(t, f.Relocations, []Relocation{{Insn: 1, Kind: RelocJumpTable, Target: 0}})
	m := o.Maps[0]
	assert.DeepEqual(t, *m.JumpTable, JumpTable{Function: 2, Targets: []uint32{0, 3, 4}})
	assert.Equal(t, m.Type, uint32(mapInsnArray))
	assert.Equal(t, m.MaxEntries, uint32(3))
	assert.Equal(t, m.ValueSize, uint32(16))
	assert.Assert(t, m.Frozen)

	for name, b := range map[string]*elfBuilder{
		"leads outside": build(words(0, 400), 8),
		"too long":      build(words(0, 0), 80),
		"misaligned":    build(words(0, 0), 4),
	} {
		o, err := OpenBytes(b.bytes(), name)
		assert.NilError(t, err)
		assert.ErrorContains(t, function(t, o, "prog").Err, "jump table", name)
	}
}

func TestSectionsWithTrouble(t *testing.T) {
	tests := []struct {
		name string
		make func(*elfBuilder)
		text string
	}{
		{"version", func(b *elfBuilder) { b.data("version", make([]byte, 3)) }, `section "version": malformed object: 3 bytes`},
		{"no license", func(b *elfBuilder) { b.add(builtSection{name: "license", kind: shtNobits, size: 4}) }, "section is empty"},
		{"legacy maps", func(b *elfBuilder) { b.data("maps", make([]byte, 20)) }, `SEC(".maps")`},
		{"BTF is not PROGBITS", func(b *elfBuilder) { b.add(builtSection{name: ".BTF", kind: shtNobits, size: 8}) }, "PROGBITS"},
		{"maps without BTF", func(b *elfBuilder) { b.data(".maps", make([]byte, 8)) }, "BTF is required"},
		{"maps with broken BTF", func(b *elfBuilder) { b.data(".maps", make([]byte, 8)); b.data(".BTF", make([]byte, 40)) }, "magic"},
		{"struct_ops without BTF", func(b *elfBuilder) { b.data("?.struct_ops.link", make([]byte, 8)) }, "BTF is required"},
		{"exabytes of .bss", func(b *elfBuilder) { b.add(builtSection{name: ".bss", kind: shtNobits, size: 1 << 60}) }, "too large"},
		{"two symbol tables", func(b *elfBuilder) {
			b.add(builtSection{name: ".symtab2", kind: shtSymtab, entsize: symbolSize})
		}, "more than one symbol table"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := &elfBuilder{}
			tt.make(b)
			_, err := OpenBytes(b.bytes(), "x")
			assert.ErrorContains(t, err, tt.text)
		})
	}
}

// TestBrokenBTFIsLeftOut: without maps, struct_ops or externs nothing needs it.
func TestBrokenBTFIsLeftOut(t *testing.T) {
	b, _, _ := twoFunctions(movZero)
	b.data(".BTF", make([]byte, 40))
	o, err := OpenBytes(b.bytes(), "x")
	assert.NilError(t, err)
	assert.Assert(t, o.BTF == nil)
	assert.Equal(t, len(o.Warnings), 1)
}

// TestBrokenExt takes an object whose .BTF.ext is damaged: libbpf does without,
// unless the object has maps.
func TestBrokenExt(t *testing.T) {
	for _, tt := range []struct {
		file string
		ok   bool
	}{{"core.o", true}, {"maps.o", false}} {
		raw := readFile(t, "testdata/"+tt.file)
		f, err := parseELF(slices.Clone(raw))
		assert.NilError(t, err)
		copy(raw[f.byName(secBTFExt).offset:], "garbage")
		o, err := OpenBytes(raw, tt.file)
		if !tt.ok {
			assert.ErrorIs(t, err, ErrNoBTF)
			continue
		}
		assert.NilError(t, err)
		assert.Equal(t, len(o.Warnings), 1)
		assert.Assert(t, o.BTF != nil)
		for _, f := range o.Functions {
			assert.Equal(t, len(f.FuncInfo)+len(f.LineInfo)+len(f.CORE), 0)
			assert.Assert(t, f.TypeID != 0, "found by name")
		}
	}
}

func TestParseExt(t *testing.T) {
	header := func(hdrLen uint32, words ...uint32) []byte {
		b := []byte{0x9f, 0xeb, 1, 0}
		b = le.AppendUint32(b, hdrLen)
		for _, w := range words {
			b = le.AppendUint32(b, w)
		}
		return b
	}
	tests := []struct {
		name string
		raw  []byte
		text string
	}{
		{"short", header(24), "too few"},
		{"magic", append([]byte{1}, header(24, 0, 0, 0, 0, 0)[1:]...), "magic"},
		{"no data", header(24, 0, 0, 0, 0), "header of 24 bytes in 24"},
		{"beyond", header(24, 0, 100, 0, 0, 8), "beyond the section"},
		{"misaligned", header(24, 1, 4, 0, 0, 8, 8), "misaligned"},
		{"record size", header(24, 0, 12, 0, 0, 4, 0, 1), "records of 4 bytes"},
		{"odd record size", header(24, 0, 12, 0, 0, 9, 0, 1), "records of 9 bytes"},
		{"no section", header(24, 0, 4, 0, 0, 8), "no records"},
		{"empty section", header(24, 0, 12, 0, 0, 8, 0, 0), "0 records"},
		{"cut off", header(24, 0, 16, 0, 0, 8, 0, 2, 0), "2 records"},
		{"huge count", header(24, 0, 12, 0, 0, 8, 0, 0xffffffff), "4294967295 records"},
	}
	for _, tt := range tests {
		_, err := parseExt(tt.raw)
		assert.ErrorContains(t, err, tt.text, tt.name)
	}

	// Records may be longer than the ones that we know: the rest is kept.
	ext, err := parseExt(header(24, 0, 4+8+24, 0, 0, 12, 7, 2, 0, 1, 0xaa, 8, 2, 0xbb))
	assert.NilError(t, err)
	assert.Equal(t, ext.funcs.recSize, uint32(12))
	assert.Equal(t, len(ext.funcs.sections[0].records), 24)
}

// TestManySections: with more than 65279 sections the number is elsewhere.
func TestManySections(t *testing.T) {
	b, _, _ := twoFunctions(movZero)
	raw := b.bytes()
	headers := le.Uint64(raw[40:])
	count, names := le.Uint16(raw[60:]), le.Uint16(raw[62:])
	le.PutUint16(raw[60:], 0)
	le.PutUint16(raw[62:], shnXIndex)
	le.PutUint64(raw[headers+32:], uint64(count))
	le.PutUint32(raw[headers+40:], uint32(names))
	o, err := OpenBytes(raw, "x")
	assert.NilError(t, err)
	assert.Equal(t, len(o.Functions), 3)
}

func TestPercpu(t *testing.T) {
	b := &elfBuilder{}
	b.data(".percpu", make([]byte, 8))
	o, err := OpenBytes(b.bytes(), "obj")
	assert.NilError(t, err)
	assert.Equal(t, o.Maps[0].Kind, MapPercpu)
	assert.Equal(t, o.Maps[0].Type, uint32(mapPercpuArray))
	assert.Equal(t, o.Maps[0].Flags, uint32(0))
	assert.Equal(t, o.Maps[0].Name, "obj.percpu")
}
