package emit

import (
	"math"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/insn"
)

// TestRanges: a value that does not fit its field is an error of the program, and the first one is
// reported.
func TestRanges(t *testing.T) {
	far := func(n int) func(a *asm) {
		return func(a *asm) {
			l := newLabel()
			a.jump(opJeqImm, r0, 0, l)
			for range n {
				a.movImm(r0, 0)
			}
			a.bind(l)
		}
	}
	back := func(n int) func(a *asm) {
		return func(a *asm) {
			l := newLabel()
			a.bind(l)
			for range n {
				a.movImm(r0, 0)
			}
			a.jump(opJa, 0, 0, l)
		}
	}
	for _, c := range []struct {
		name string
		do   func(a *asm)
		want string
	}{
		{"immediate of 32 bits", func(a *asm) { a.movImm(r1, math.MaxInt32); a.movImm(r1, math.MinInt32) }, ""},
		{"immediate above", func(a *asm) { a.movImm(r1, math.MaxInt32+1) }, "immediate 2147483648 of instruction 0"},
		{"immediate below", func(a *asm) { a.movImm(r1, 0); a.movImm(r1, math.MinInt32-1) }, "immediate -2147483649 of instruction 1"},
		{"displacement of 16 bits", func(a *asm) { a.store(4, r1, math.MaxInt16, r0); a.load(8, r1, r0, math.MinInt16) }, ""},
		{"displacement above", func(a *asm) { a.store(4, r1, math.MaxInt16+1, r0) }, "offset 32768 of instruction 0"},
		{"displacement below", func(a *asm) { a.storeImm(1, r1, math.MinInt16-1, 0) }, "offset -32769 of instruction 0"},
		{"address above", func(a *asm) { a.blobAddr(r1, math.MaxInt32+1) }, "immediate 2147483648 of instruction 1"},
		{"jump as far as can be", far(math.MaxInt16), ""},
		{"jump too far", far(math.MaxInt16 + 1), "jump of 32768 instructions"},
		{"jump back as far as can be", back(math.MaxInt16), ""},
		{"jump back too far", back(math.MaxInt16 + 1), "offset -32769 of instruction 32768"},
		{"two errors", func(a *asm) { a.movImm(r1, 1<<40); a.store(4, r1, 1<<20, r0) }, "immediate "},
	} {
		t.Run(c.name, func(t *testing.T) {
			var a asm
			a.nearAt = -1
			c.do(&a)
			if c.want == "" {
				assert.NilError(t, a.err)
			} else {
				assert.ErrorContains(t, a.err, c.want)
			}
		})
	}
}

// TestEncoding compares with the kernel's macros (include/linux/filter.h).
func TestEncoding(t *testing.T) {
	var a asm
	a.size, a.nearAt = 1<<20, -1
	a.mov(r1, rBase)
	a.movImm(r2, -2)
	a.add(r3, r4)
	a.aluImm(opOrImm, r5, 7)
	a.load(1, r1, r2, 3)
	a.load(2, r1, r2, 3)
	a.load(4, r1, r2, 3)
	a.load(8, r1, r2, -3)
	a.store(1, r1, 4, r2)
	a.store(8, r1, 4, r2)
	a.storeImm(4, r1, 4, -1)
	a.call(fnSysBPF)
	a.blobAddr(r3, 0x123456)
	want := insn.Insns{
		0xbf, 0x91, 0, 0, 0, 0, 0, 0,
		0xb7, 0x02, 0, 0, 0xfe, 0xff, 0xff, 0xff,
		0x0f, 0x43, 0, 0, 0, 0, 0, 0,
		0x47, 0x05, 0, 0, 7, 0, 0, 0,
		0x71, 0x21, 3, 0, 0, 0, 0, 0,
		0x69, 0x21, 3, 0, 0, 0, 0, 0,
		0x61, 0x21, 3, 0, 0, 0, 0, 0,
		0x79, 0x21, 0xfd, 0xff, 0, 0, 0, 0,
		0x73, 0x21, 4, 0, 0, 0, 0, 0,
		0x7b, 0x21, 4, 0, 0, 0, 0, 0,
		0x62, 0x01, 4, 0, 0xff, 0xff, 0xff, 0xff,
		0x85, 0, 0, 0, 166, 0, 0, 0,
		0x18, 0x63, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x56, 0x34, 0x12, 0,
	}
	assert.NilError(t, a.err)
	assert.DeepEqual(t, a.code, want)
}

// TestReach: in any order, each store goes to its offset, and the near base moves only if
// necessary.
func TestReach(t *testing.T) {
	const size = 300_000
	var a asm
	a.size, a.nearAt = size, -1
	offsets := []int{0, 4, 32750, 32759, 32763, 32764, 32765, 32768, 40000, 65535, 65536, 98303, 98304, 131071, 131072, size - 8, size - 4, 100000, 32768, 8, 200000, 199999}
	for off := 32600; off < 33000; off++ {
		offsets = append(offsets, off)
	}
	for off := 65000; off < 67000; off += 3 {
		offsets = append(offsets, off)
	}
	near := -1
	for _, off := range offsets {
		for _, span := range []int{1, 4, 8, 16, 116} {
			if off+span > size {
				continue
			}
			before := a.code.Len()
			r, d := a.reach(off, span)
			for i := before; i < a.code.Len(); i += 2 {
				assert.Equal(t, a.code.Op(i), uint8(insn.LdImm64))
				assert.Equal(t, reg(a.code.Dst(i)), rNear)
				near = int(a.code.Imm(i + 1))
				assert.Assert(t, near >= 0 && near < size, "the address %d is not in the blob", near)
			}
			base := map[reg]int{rBase: 0, rNear: near}[r]
			assert.Equal(t, base+d, off)
			assert.Assert(t, d >= math.MinInt16 && d+span-1 <= math.MaxInt16, "%d bytes at %d", span, d)
		}
	}
	moves := a.code.Len() / 2
	assert.Assert(t, moves < len(offsets)/2, "%d moves for %d offsets", moves, len(offsets))
	assert.NilError(t, a.err)
}
