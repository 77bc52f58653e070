package object

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"

	"github.com/bpfreplay/bpfreplay/internal/insn"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
)

// twoFunctions builds an object with a program and a subprogram of four instructions.
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

// TestFunctionErrors: calls to places without a function. libbpf opens these objects and refuses to
// load the program.
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
			b.relocate(prog, 0, uint64(b.symbol(builtSymbol{name: "c", bind: bindGlobal, kind: symObject, section: 0xfff2, reserved: true})))
		}, "initialiser"},
		{"section symbol of none", ld[:], func(b *elfBuilder, prog, _ int) {
			b.relocate(prog, 0, uint64(b.symbol(builtSymbol{kind: symSection, section: 0xfff1, reserved: true})))
		}, `relocation against "": malformed object: symbol is not in any section`},
		{"section out of range", ld[:], func(b *elfBuilder, prog, _ int) {
			b.relocate(prog, 0, uint64(b.symbol(builtSymbol{name: "c", bind: bindGlobal, kind: symObject, section: 200})))
		}, "not in any section"},
		{"extern without BTF", ld[:], func(b *elfBuilder, prog, _ int) {
			b.relocate(prog, 0, uint64(b.symbol(builtSymbol{name: "e", bind: bindGlobal})))
		}, `"e": extern: BTF is required`},
		{"wrong entry size", ld[:], func(b *elfBuilder, prog, _ int) {
			b.sections[b.relocate(prog, 0, 2)-1].entsize = 24
		}, "24 bytes (sh_entsize), not 16"},
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

// TestDroppedWeakFunction: if a weak function loses, a static linker leaves its code and its
// relocations, but no symbol.
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
	assert.Equal(t, m.Type, uapi.MapInsnArray)
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

// TestBrokenBTFIsLeftOut: an object without maps, struct_ops and externs does not need its BTF.
func TestBrokenBTFIsLeftOut(t *testing.T) {
	b, _, _ := twoFunctions(movZero)
	b.data(".BTF", make([]byte, 40))
	o, err := OpenBytes(b.bytes(), "x")
	assert.NilError(t, err)
	assert.Assert(t, o.BTF == nil)
	assert.Equal(t, len(o.Warnings), 1)
}

// damagedExt returns an object of testdata after damage changed its .BTF.ext.
func damagedExt(t *testing.T, file string, damage func(ext []byte)) []byte {
	t.Helper()
	raw := readFile(t, "testdata/"+file)
	f, err := parseELF(raw)
	assert.NilError(t, err)
	ext, err := f.contents(f.byName(secBTFExt))
	assert.NilError(t, err)
	damage(ext)
	return raw
}

// TestBrokenExt: an object with a damaged .BTF.ext loads without it, unless it has CO-RE records
// or, as with libbpf, maps.
func TestBrokenExt(t *testing.T) {
	garbage := func(ext []byte) { copy(ext, "garbage") }
	for _, tt := range []struct {
		file   string
		damage func([]byte)
		err    error
	}{
		{"core.o", garbage, ErrCORELost},
		{"core.o", func(ext []byte) { ext[2] = 2 }, ErrCORELost},                                   // version
		{"core.o", func(ext []byte) { le.PutUint32(ext[12:], 1<<20) }, ErrCORELost},                // func_info_len
		{"core.o", func(ext []byte) { garbage(ext); le.PutUint32(ext[28:], 0) }, nil},              // no records
		{"core.o", func(ext []byte) { le.PutUint32(ext[4:], 24); le.PutUint32(ext[12:], 1) }, nil}, // an old header
		{"maps.o", garbage, ErrNoBTF},
	} {
		o, err := OpenBytes(damagedExt(t, tt.file, tt.damage), tt.file)
		if tt.err != nil {
			assert.ErrorIs(t, err, tt.err)
			assert.ErrorContains(t, err, `section ".BTF.ext": `)
			continue
		}
		assert.NilError(t, err)
		assert.Equal(t, len(o.Warnings), 1)
		text := o.Warnings[0].String()
		assert.Assert(t, is.Contains(text, `section ".BTF.ext": cannot be read: `))
		assert.Assert(t, is.Contains(text, "; the object has no CO-RE records, and is loaded without func info and line info"))
		assert.Assert(t, o.BTF != nil)
		for _, f := range o.Functions {
			assert.Equal(t, len(f.FuncInfo)+len(f.LineInfo)+len(f.CORE), 0)
			assert.Assert(t, f.TypeID != 0, "found by name")
		}
	}
}

// TestLostCORE: objects that libbpf or cilium/ebpf load although their programs then read garbage.
func TestLostCORE(t *testing.T) {
	for file, tt := range map[string]struct {
		err  error
		text string
	}{
		"m_btf_version.o":   {ErrCORELost, `section ".BTF": the object's CO-RE records cannot be read, and without them its programs would use the field offsets of the machine that compiled them; build the object anew: malformed BTF: version`},
		"m_ext_version.o":   {ErrCORELost, `section ".BTF.ext": the object's CO-RE records cannot be read`},
		"m_ext_corelen.o":   {ErrCORELost, `section ".BTF.ext": the object's CO-RE records cannot be read`},
		"m_coresec_empty.o": {ErrMalformed, `section ".BTF.ext": malformed object: CO-RE records of a section without a name`},
		"m_coresec_range.o": {ErrMalformed, `section ".BTF.ext": malformed object: CO-RE records of a section without a name`},
	} {
		_, err := Open("testdata/reported/" + file)
		assert.ErrorIs(t, err, tt.err, file)
		assert.ErrorContains(t, err, tt.text)
	}
	o, err := Open("testdata/reported/core_plain.o")
	assert.NilError(t, err)
	assert.Equal(t, len(o.Warnings), 0)
	assert.Equal(t, len(o.Functions[0].CORE), 1)

	// Without .BTF, the records refer to nothing.
	raw := readFile(t, "testdata/core.o")
	f, err := parseELF(raw)
	assert.NilError(t, err)
	le.PutUint32(raw[le.Uint64(raw[40:])+64*uint64(f.byName(secBTF).index):], 0) // its sh_name
	_, err = OpenBytes(raw, "core.o")
	assert.ErrorIs(t, err, ErrCORELost)
}

// TestRecordsOfNothing: records about a section that a tool has removed, or whose name is damaged.
func TestRecordsOfNothing(t *testing.T) {
	raw := readFile(t, "testdata/reported/core_plain.o")
	f, err := parseELF(raw)
	assert.NilError(t, err)
	blob, err := f.contents(f.byName(secBTF))
	assert.NilError(t, err)
	at := bytes.Index(blob, []byte("raw_tp/sys_enter"))
	assert.Assert(t, at > 0)
	blob[at] = 'x'
	o, err := OpenBytes(raw, "x")
	assert.NilError(t, err)
	var texts []string
	for _, w := range o.Warnings {
		texts = append(texts, w.String())
	}
	assert.DeepEqual(t, texts, []string{
		`section ".BTF.ext": func info of section "xaw_tp/sys_enter", which the object does not have; no program gets them`,
		`section ".BTF.ext": line info of section "xaw_tp/sys_enter", which the object does not have; no program gets them`,
		`section ".BTF.ext": CO-RE records of section "xaw_tp/sys_enter", which the object does not have; no program gets them`,
	})
}

// TestRelocationsOfData: relocations that no loader applies give a warning.
func TestRelocationsOfData(t *testing.T) {
	o, err := Open("testdata/reported/ptrtable.o")
	assert.NilError(t, err)
	var texts []string
	for _, w := range o.Warnings {
		texts = append(texts, w.String())
	}
	const consequence = "; pointers in it are not filled in and lead nowhere; programs have to take the addresses"
	assert.DeepEqual(t, texts, []string{
		`section ".data": "table": relocations of data are not applied, by no BPF loader: 1, the first at offset 8` + consequence,
		`section ".rodata": "names": relocations of data are not applied, by no BPF loader: 4, the first at offset 0` + consequence,
	})

	_, err = Open("testdata/reported/m_rela3.o")
	assert.ErrorIs(t, err, ErrUnsupported)
	assert.ErrorContains(t, err, `section ".relasocket": not supported: relocations of section "socket" are of type SHT_RELA`)

	for section, warnings := range map[string]int{
		".data": 1, ".rodata.x": 1, ".percpu": 1, "license": 1, "version": 1, ".jumptables": 0, ".debug_info": 0, ".note": 0, "": 0,
	} {
		for _, kind := range []uint32{shtRel, shtRela} {
			b, _, text := twoFunctions(movZero)
			sym := uint64(b.symbol(builtSymbol{kind: symSection, section: text}))
			s := b.data(section, words(0x4c5047)[:4])
			r := b.relocate(s, 0, sym)
			want := warnings
			if kind == shtRela {
				b.sections[r-1].kind, b.sections[r-1].entsize = kind, relaSize
				b.sections[r-1].data = append(b.sections[r-1].data, words(0)...)
				b.sections[r-1].name = ".rela" + section
				if section == ".jumptables" {
					want = 1
				}
			}
			o, err := OpenBytes(b.bytes(), "x")
			assert.NilError(t, err, section)
			assert.Equal(t, len(o.Warnings), want, "%s %v", section, o.Warnings)
		}
	}
	for _, section := range []string{".text", "xdp"} { // SHT_RELA of code, with BTF or without
		b, prog, text := twoFunctions(callInsn(-1))
		at := map[string]int{".text": text, "xdp": prog}[section]
		b.sections[b.relocate(at, 0, 2)-1].kind = shtRela
		_, err := OpenBytes(b.bytes(), "x")
		assert.ErrorContains(t, err, "SHT_RELA")
	}
	b, _, _ := twoFunctions(movZero)
	b.sections[b.relocate(b.data(".data", words(0)), 0, 1)-1].entsize = 12
	_, err = OpenBytes(b.bytes(), "x")
	assert.ErrorContains(t, err, `section ".rel.data": malformed object: 16 bytes of relocations of 12 bytes (sh_entsize), not 16`)
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

	// Records may be longer than this package knows; it keeps the rest.
	ext, err := parseExt(header(24, 0, 4+8+24, 0, 0, 12, 7, 2, 0, 1, 0xaa, 8, 2, 0xbb))
	assert.NilError(t, err)
	assert.Equal(t, ext.funcs.recSize, uint32(12))
	assert.Equal(t, len(ext.funcs.sections[0].records), 24)
}

// TestManySections: with more than 65279 sections, section header 0 has their number.
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
	assert.Equal(t, o.Maps[0].Type, uapi.MapPercpuArray)
	assert.Equal(t, o.Maps[0].Flags, uint32(0))
	assert.Equal(t, o.Maps[0].Name, "obj.percpu")
}

// withBSS builds an object whose .bss sections have these sizes. The file holds none of their
// bytes.
func withBSS(sizes ...uint64) []byte {
	b, _, _ := twoFunctions(movZero)
	for i, size := range sizes {
		b.add(builtSection{name: fmt.Sprintf(".bss.%d", i), kind: shtNobits, size: size})
	}
	return b.bytes()
}

// TestMemoryFollowsFile: an object takes memory for what its file holds, not for the sizes that it
// declares.
func TestMemoryFollowsFile(t *testing.T) {
	const large = 1 << 29
	for name, raw := range map[string][]byte{
		"a large .bss": withBSS(large),
		"zeros in .data": func() []byte {
			b, _, _ := twoFunctions(movZero)
			b.data(".data", append([]byte{0, 7}, make([]byte, 1<<20)...))
			return b.bytes()
		}(),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := OpenBytes(raw, "x")
		runtime.ReadMemStats(&after)
		assert.NilError(t, err)
		taken := after.TotalAlloc - before.TotalAlloc
		assert.Assert(t, taken < 1<<17, "%s: %d bytes", name, taken)
	}
	o, err := OpenBytes(withBSS(large), "x")
	assert.NilError(t, err)
	m := o.Maps[0]
	assert.Equal(t, m.ValueSize, uint32(large))
	assert.Equal(t, m.DataSize, uint32(large))
	assert.Assert(t, m.Data != nil && len(m.Data) == 0)

	b := &elfBuilder{}
	b.data(".data", []byte{0, 7, 0, 9, 0, 0})
	o, err = OpenBytes(b.bytes(), "x")
	assert.NilError(t, err)
	m = o.Maps[0]
	assert.DeepEqual(t, m.Data, []byte{0, 7, 0, 9})
	assert.DeepEqual(t, m.Value(), []byte{0, 7, 0, 9, 0, 0})
	assert.Equal(t, m.ValueSize, uint32(6))
}

// TestTooMuchData: data that is too large for any loader is refused, with the limit.
func TestTooMuchData(t *testing.T) {
	for _, sizes := range [][]uint64{{MaxDataBytes + 1}, {1 << 32}, {1 << 60}, {MaxDataBytes, 1}, {1<<64 - 1}} {
		_, err := OpenBytes(withBSS(sizes...), "x")
		assert.ErrorIs(t, err, ErrTooLarge)
		assert.ErrorContains(t, err, "bytes of data; with the data sections before it the object has more than 1073741824 (MaxDataBytes); put what is so large into a map of its own")
	}
	_, err := Open("testdata/reported/m_bss_1g1.o")
	assert.ErrorIs(t, err, ErrTooLarge)
	assert.ErrorContains(t, err, `section ".bss": object is too large: 1073741825 bytes of data, more than 1073741824 (MaxDataBytes)`)
}

// TestOverlaps: sections and functions that share bytes of the file do not multiply the memory.
func TestOverlaps(t *testing.T) {
	b := &elfBuilder{}
	text := b.code(".text", make([]uint64, 1<<16)...)
	clear(b.sections[text-1].data)
	for i := range 100 {
		b.symbol(builtSymbol{name: fmt.Sprintf("f%d", i), kind: symFunc, section: text, size: 1 << 19})
	}
	_, err := OpenBytes(b.bytes(), "x")
	assert.ErrorIs(t, err, ErrTooLarge)
	assert.ErrorContains(t, err, "4 times the bytes of its file: functions or sections overlap")
}

// TestSymbolsOutside: 64-bit symbol values are not truncated to 32 bits.
func TestSymbolsOutside(t *testing.T) {
	ld := loadImm64(0, 0)
	for name, sym := range map[string]builtSymbol{
		"at 4 GiB":      {value: 1 << 32, size: 4},
		"at its end":    {value: 8, size: 1},
		"too long":      {value: 4, size: 8},
		"4 GiB long":    {size: 1 << 32},
		"wraps":         {value: 8, size: 1<<64 - 8},
		"near the end":  {value: 1<<64 - 8},
		"untyped":       {value: 1 << 32, kind: symNoType},
		"into a struct": {value: 1<<32 + 4, size: 4},
	} {
		for _, section := range []string{".data", ".rodata.x", ".text"} {
			b, prog, text := twoFunctions(ld[0], ld[1])
			sym.section = text
			if section != ".text" {
				sym.section = b.data(section, make([]byte, 8))
			} else if sym.value < 1<<33 {
				sym.value += 24 // .text is this much larger
			}
			sym.name, sym.bind = "v", bindGlobal
			if name != "untyped" {
				sym.kind = symObject
			}
			b.relocate(prog, 0, uint64(b.symbol(sym)))
			_, err := OpenBytes(b.bytes(), "x")
			assert.ErrorIs(t, err, ErrMalformed, name)
			assert.ErrorContains(t, err, "symbol is outside of its section", name)
		}
	}
	for _, file := range []string{"m_sym4g.o", "m_sym_beyond.o"} {
		_, err := Open("testdata/reported/" + file)
		assert.ErrorIs(t, err, ErrMalformed)
		assert.ErrorContains(t, err, "symbol is outside of its section")
	}
}

// TestOffsetsOutside: symbol and addend are added in 64 bits. If the sum is not a valid offset, the
// program cannot be loaded, as with the verifier.
func TestOffsetsOutside(t *testing.T) {
	for imm, want := range map[int32]uint32{0: 4, -4: 0, 100: 104} {
		ld := loadImm64(0, imm)
		b, prog, _ := twoFunctions(ld[0], ld[1])
		data := b.data(".data", make([]byte, 8))
		b.relocate(prog, 0, uint64(b.symbol(builtSymbol{name: "v", bind: bindGlobal, kind: symObject, section: data, value: 4, size: 4})))
		o, err := OpenBytes(b.bytes(), "x")
		assert.NilError(t, err)
		assert.Equal(t, function(t, o, "prog").Relocations[0].Offset, want)
	}
	ld := loadImm64(0, -5)
	b, prog, _ := twoFunctions(ld[0], ld[1])
	data := b.data(".data", make([]byte, 8))
	b.relocate(prog, 0, uint64(b.symbol(builtSymbol{name: "v", bind: bindGlobal, kind: symObject, section: data, value: 4, size: 4})))
	o, err := OpenBytes(b.bytes(), "x")
	assert.NilError(t, err)
	assert.ErrorContains(t, function(t, o, "prog").Err, `instruction 0: malformed object: address of byte -1 of section ".data", which has 8`)
}

// TestCallsOutside: the sum of symbol and addend must not wrap around to a function.
func TestCallsOutside(t *testing.T) {
	ld := loadImm64(0, 8)
	for _, insns := range [][]uint64{{callInsn(0)}, {ld[0], ld[1]}} {
		b, prog, text := twoFunctions(insns...)
		b.relocate(prog, 0, uint64(b.symbol(builtSymbol{name: "far", bind: bindGlobal, kind: symFunc + 8, section: text, value: 1<<64 - 8})))
		_, err := OpenBytes(b.bytes(), "x")
		assert.ErrorContains(t, err, "symbol is outside of its section")
	}
}

// TestVeryManySections: symbols in sections whose index does not fit into a symbol.
func TestVeryManySections(t *testing.T) {
	ld := loadImm64(0, 0)
	build := func() *elfBuilder {
		b := &elfBuilder{}
		for range 65600 {
			b.data("note", nil)
		}
		text := b.code(".text", movZero, exitInsn)
		b.symbol(builtSymbol{name: "sub", bind: bindGlobal, kind: symFunc, section: text, size: 16})
		data := b.data(".data", []byte{1, 2, 3, 4})
		v := uint64(b.symbol(builtSymbol{name: "v", bind: bindGlobal, kind: symObject, section: data, size: 4}))
		b.symbol(builtSymbol{name: "absolute", bind: bindGlobal, section: 0xfff1, reserved: true})
		prog := b.code("xdp", callInsn(-1), ld[0], ld[1], exitInsn)
		b.function("prog", prog)
		b.relocate(prog, 0, 1, 8, v)
		return b
	}
	o, err := OpenBytes(build().bytes(), "x")
	assert.NilError(t, err)
	assert.Equal(t, len(o.Functions), 2)
	assert.DeepEqual(t, function(t, o, "prog").Relocations, []Relocation{
		{Insn: 0, Kind: RelocCall, Target: 0}, {Insn: 1, Kind: RelocMapValue, Target: 0},
	})
	assert.DeepEqual(t, o.Maps[0].Data, []byte{1, 2, 3, 4})

	table := func(raw []byte) []byte {
		f, err := parseELF(raw)
		assert.NilError(t, err)
		return raw[le.Uint64(raw[40:])+64*uint64(f.byName(".symtab_shndx").index):]
	}
	for text, change := range map[string]func(header []byte){
		`symbol 1 ("sub") has its section's index elsewhere, and there is no SHT_SYMTAB_SHNDX`:                 func(h []byte) { le.PutUint32(h[4:], shtProgbits) },
		`section ".symtab_shndx": malformed object: 20 bytes of indexes of 8 bytes (sh_entsize) for 5 symbols`: func(h []byte) { le.PutUint64(h[56:], 8) },
		`16 bytes of indexes of 4 bytes (sh_entsize) for 5 symbols`:                                            func(h []byte) { le.PutUint64(h[32:], 16) },
		`section ".symtab_shndx": truncated ELF file`:                                                          func(h []byte) { le.PutUint64(h[24:], 1<<40) },
	} {
		raw := build().bytes()
		change(table(raw))
		_, err := OpenBytes(raw, "x")
		assert.ErrorContains(t, err, text)
	}
}

// TestUnreadable: errors name encodings that no BPF loader reads.
func TestUnreadable(t *testing.T) {
	compressed := func(i int) func(*elfBuilder) {
		return func(b *elfBuilder) { b.sections[i-1].flags |= shfCompressed }
	}
	for name, tt := range map[string]struct {
		change func(*elfBuilder)
		text   string
	}{
		"code":     {compressed(1), `section ".text": not supported: section is compressed (SHF_COMPRESSED); no BPF loader`},
		"program":  {compressed(2), `section "xdp": not supported: section is compressed`},
		"relocs":   {compressed(3), `section ".relxdp": not supported: section is compressed`},
		"data":     {compressed(4), `section ".data": not supported: section is compressed`},
		"license":  {compressed(5), `section "license": not supported: section is compressed`},
		"nothing":  {func(*elfBuilder) {}, ""},
		"debug":    {compressed(6), ""},
		"a note":   {compressed(7), ""},
		"odd rels": {func(b *elfBuilder) { b.sections[2].data = b.sections[2].data[:15] }, `15 bytes of relocations of 16 bytes (sh_entsize)`},
		"GNU BTF":  {func(b *elfBuilder) { b.data(".BTF", []byte("ZLIB\x00\x00\x00\x00")); b.data(".maps", []byte{1}) }, "compressed"},
		"zBTF":     {func(b *elfBuilder) { b.data(".zBTF", []byte("ZLIB\x00\x00\x00\x00")) }, "compressed"},
	} {
		b, prog, _ := twoFunctions(callInsn(-1))
		b.relocate(prog, 0, 2)
		b.data(".data", []byte{1})
		b.data("license", []byte("GPL\x00"))
		b.data(".debug_info", []byte{1})
		b.data(".note.something", []byte{1})
		tt.change(b)
		_, err := OpenBytes(b.bytes(), "x")
		if tt.text == "" {
			assert.NilError(t, err, name)
			continue
		}
		assert.ErrorContains(t, err, tt.text, name)
		assert.ErrorContains(t, err, "object \"x\"", name)
	}
	for file, text := range map[string]string{
		"m_btf_compressed.o": `section ".BTF": not supported: section is compressed (SHF_COMPRESSED); no BPF loader reads such sections: compile without -gz`,
		"m_shentsize_0.o":    "section headers of 0 bytes (e_shentsize), not 64",
	} {
		_, err := Open("testdata/reported/" + file)
		assert.ErrorContains(t, err, text)
	}
}
