package state

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/insn"
)

// dumped is a program as the kernel shows it after verification: main calls
// the kfunc bpf_task_acquire, "second" by distance and number, takes the address
// of "third", and holds addresses of kernel memory.
func dumped() insn.Insns {
	return code(
		[5]int64{0x85, 0, 2, 3, 0x10},       // 0: kfunc, module slot 3
		[5]int64{0x85, 0, 1, 10, 1},         // 1: call 12, number 1
		[5]int64{0x18, 1, 4, 0, 11},         // 2: function 14 ...
		[5]int64{0, 0, 0, 0, 2},             //    number 2
		[5]int64{0x18, 1, 0, 0, 0x12345678}, // 4: 0xffff888012345678
		[5]int64{0, 0, 0, 0, 0xffff8880},
		[5]int64{0x18, 2, 0, 0, 0x12345678}, // 6: the same
		[5]int64{0, 0, 0, 0, 0xffff8880},
		[5]int64{0x18, 3, 0, 0, 0x81000030}, // 8: jiffies_to_msecs
		[5]int64{0, 0, 0, 0, 0xffffffff},
		[5]int64{0x85, 0, 0, 0, 0x777}, // 10: a helper
		[5]int64{0x95, 0, 0, 0, 0},     // 11
		[5]int64{0x18, 1, 2, 0, 5},     // 12: value of map 5 at 8
		[5]int64{0, 0, 0, 0, 8},
		[5]int64{0x95, 0, 0, 0, 0}, // 14
	)
}

func normaliserFor(t *testing.T, p insn.Insns) *normaliser {
	return &normaliser{
		insns: p, bounds: bounds{0, 12, 14}, names: []string{"main", "second", "third"},
		mapOf:  func(id uint32) string { return map[uint32]string{5: "five"}[id] },
		kernel: fakeKernel(t, map[string]string{"kallsyms": kallsyms}),
	}
}

func TestNormalise(t *testing.T) {
	n := normaliserFor(t, dumped())
	refs, memory, err := n.function(0, 12)
	assert.NilError(t, err)
	assert.Assert(t, memory)
	assert.DeepEqual(t, refs, []Ref{
		{At: 0, Kind: RefKfunc, To: "bpf_task_acquire [vmlinux]", Index: 3},
		{At: 1, Kind: RefCall, To: "second"},
		{At: 2, Kind: RefFunc, To: "third"},
		{At: 4, Kind: RefAddr, To: "memory 1"},
		{At: 6, Kind: RefAddr, To: "memory 1"},
		{At: 8, Kind: RefAddr, To: "jiffies_to_msecs [vmlinux]"},
	})
	refs, memory, err = n.function(12, 14)
	assert.NilError(t, err)
	assert.Assert(t, !memory)
	assert.DeepEqual(t, refs, []Ref{{At: 0, Kind: RefValue, To: "five", Offset: 8}})
	assert.Assert(t, !n.hidden)
	for i := range n.insns.Len() {
		if op := n.insns.Op(i); op == insn.Call && n.insns.Src(i) == 0 {
			assert.Equal(t, n.insns.Imm(i), int32(0x777), "helpers keep their distance")
		} else {
			assert.Equal(t, n.insns.Imm(i), int32(0), "instruction %d", i)
			assert.Equal(t, n.insns.Off(i), int16(0), "instruction %d", i)
		}
	}
}

// Under kptr_restrict the kernel withholds call targets.
func TestNormaliseWithheld(t *testing.T) {
	n := normaliserFor(t, code([5]int64{0x85, 0, 2, 0, 0}, [5]int64{0x85, 0, 1, 10, 0}, [5]int64{0x85, 0, 0, 0, 0}))
	refs, _, err := n.function(0, 3)
	assert.NilError(t, err)
	assert.DeepEqual(t, refs, []Ref{{At: 0, Kind: RefKfunc, To: "withheld"}, {At: 1, Kind: RefCall, To: "second"}})
	assert.Assert(t, n.hidden)
}

// The distance of a call wraps at 32 Ki instructions; the number does not.
func TestCalleeFar(t *testing.T) {
	p := make(insn.Insns, 8)
	p[0], p[1] = insn.Call, insn.PseudoCall<<4
	far := 1 + 0x10000 + 7
	p.SetOff(0, 7)
	p.SetImm(0, 2)
	b := bounds{0, 8, far}
	f, ok := b.callee(p, 0)
	assert.Assert(t, ok)
	assert.Equal(t, f, 2)
	p.SetImm(0, 0) // withheld: only the distance is known
	f, _ = b.callee(p, 0)
	assert.Equal(t, f, 1)
	p.SetOff(0, 3)
	_, ok = b.callee(p, 0)
	assert.Assert(t, !ok)
}

func TestBoundsFromCalls(t *testing.T) {
	assert.DeepEqual(t, boundsFromCalls(dumped()), bounds{0, 12, 14})
	assert.DeepEqual(t, boundsFromCalls(nil), bounds{0})
	wild := code([5]int64{0x85, 0, 1, 1000, 0}, [5]int64{0x85, 0, 1, -1000, 0})
	assert.DeepEqual(t, boundsFromCalls(wild), bounds{0})
}

func TestFoundName(t *testing.T) {
	assert.Equal(t, FoundName("kitchen.kconfig"), ".kconfig")
	assert.Equal(t, FoundName(".kconfig"), ".kconfig")
	assert.Equal(t, FoundName(".data.custom"), ".data.custom")
	assert.Equal(t, FoundName("counts"), "counts")
}

// An address in an arena's memory is normalised to an offset in the arena.
func TestNormaliseArena(t *testing.T) {
	at := func(addr uint64) insn.Insns {
		p := make(insn.Insns, 2*insn.Size)
		p[0], p[1] = insn.LdImm64, 1
		p.SetImm(0, int32(uint32(addr)))
		p.SetImm(1, int32(uint32(addr>>32)))
		return p
	}
	const start = 0x7f2e998516a0 &^ 0xfff
	for _, tt := range []struct {
		addr uint64
		want []Ref
	}{
		{start, []Ref{{Kind: RefValue, To: "arena"}}},
		{start + 0x36a0, []Ref{{Kind: RefValue, To: "arena", Offset: 0x36a0}}},
		{start + 0x4000, nil},
		{start - 1, nil},
	} {
		n := &normaliser{insns: at(tt.addr), bounds: bounds{0}, names: []string{"run"}, kernel: NewKernel(), arenas: []arena{{"arena", start, 0x4000}}}
		refs, _, err := n.function(0, 2)
		assert.NilError(t, err)
		assert.DeepEqual(t, refs, tt.want)
		assert.Equal(t, bytes.Equal(n.insns, at(0)), tt.want != nil, "an address that is named is taken out")
	}
}

// The head of an empty list is normalised, and nothing else is.
func TestHideLists(t *testing.T) {
	const head = 0xffff8880051e5a28
	words := func(w ...uint64) []byte {
		var out []byte
		for _, v := range w {
			out = le.AppendUint64(out, v)
		}
		return out
	}
	c := &capturer{kernel: NewKernel()}
	for _, tt := range []struct{ value, want []byte }{
		{words(7, head, head, 8), slices.Concat(words(7), []byte("(itself)(itself)"), words(8))},
		{words(head, head+0x40), words(head, head+0x40)},
		{words(head, 0, head), words(head, 0, head)},
		{words(7, 7), words(7, 7)},
		{words(math.MaxUint64, math.MaxUint64), words(math.MaxUint64, math.MaxUint64)},
		{words(head)[:7], words(head)[:7]},
	} {
		c.hideLists(tt.value)
		assert.DeepEqual(t, tt.value, tt.want)
	}
}

// code encodes instructions: op, dst and src register, off, imm.
func code(list ...[5]int64) []byte {
	var b []byte
	for _, i := range list {
		b = append(b, byte(i[0]), byte(i[1])|byte(i[2])<<4)
		b = binary.LittleEndian.AppendUint16(b, uint16(i[3]))
		b = binary.LittleEndian.AppendUint32(b, uint32(i[4]))
	}
	return b
}
