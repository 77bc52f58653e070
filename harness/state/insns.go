package state

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/bpfreplay/bpfreplay/internal/insn"
)

// Kernel addresses in 64-bit constants. The verifier inserts addresses of the direct map, of
// vmalloc and the like for its own use (layouts of bpf_obj_new, the program itself for timers);
// they differ in every load. Addresses that ksyms refer to are in the image of the kernel and its
// modules.
const (
	imageStart = 0xffffffff80000000
	imageEnd   = 0xffffffffff000000
)

// The lowest address of kernel memory, with the shortest and with the longest addresses.
const (
	memoryStart4 = 0xffff800000000000
	memoryStart5 = 0xff11000000000000
)

// A memoryLayout is the layout of an architecture's kernel addresses.
type memoryLayout struct {
	apart   bool   // the image starts at imageStart and has the addresses above it to itself; otherwise it is among other memory
	longest string // the flag in /proc/cpuinfo that means the longest addresses; if empty they always are the longest
}

var addresses = map[string]memoryLayout{
	"amd64": {apart: true, longest: " la57"}, // five-level page tables
}[runtime.GOARCH]

// TailCall is the immediate of a tail call in a dump, however the verifier rewrote it: the number
// of the helper bpf_tail_call.
const TailCall = 12

// bounds are the first instructions of a program's functions, ascending. The first is 0.
type bounds []int

// index returns which function starts at instruction i.
func (b bounds) index(i int) (int, bool) { return slices.BinarySearch(b, i) }

// boundsFromCalls finds the functions of a program without func_info: each starts at the target of
// a call or callback.
func boundsFromCalls(insns insn.Insns) bounds {
	b := bounds{0}
	for i := 0; i < insns.Len(); i++ {
		to := -1
		switch {
		case insns.IsCallTo(i, insn.PseudoCall):
			to = i + 1 + int(insns.Off(i))
		case insns.IsLdImm64(i) && insns.Src(i) == insn.PseudoFunc:
			to = i + 1 + int(insns.Imm(i))
		}
		if to > 0 && to < insns.Len() {
			b = append(b, to)
		}
		if insns.IsLdImm64(i) {
			i++
		}
	}
	slices.Sort(b)
	return slices.Compact(b)
}

// callee returns the function that the call at instruction i calls. After verification off is the
// distance and imm the number of the function, or 0 if the kernel withholds it. off wraps in
// programs of more than 32 Ki instructions, so a number that agrees with it has precedence.
func (b bounds) callee(insns insn.Insns, i int) (int, bool) {
	off, n := insns.Off(i), int(insns.Imm(i))
	if n > 0 && n < len(b) && int16(b[n]-i-1) == off {
		return n, true
	}
	return b.index(i + 1 + int(off))
}

// normaliser replaces load-specific values in the instructions by names.
type normaliser struct {
	insns  insn.Insns // of the whole program; changed in place
	bounds bounds
	names  []string // of the functions
	mapOf  func(id uint32) string
	arenas []arena
	kernel *Kernel

	memory []uint64 // addresses of kernel memory, in order of first use
	hidden bool     // the kernel withheld a call target
}

// arena is the address range of an arena in user space. The verifier puts such addresses into
// instructions, and a dump does not turn them back into references.
type arena struct {
	name        string
	start, size uint64 // bytes
}

// function normalises the instructions from start to end, which are one function.
func (n *normaliser) function(start, end int) (refs []Ref, memory bool, err error) {
	for i := start; i < end; i++ {
		var ref *Ref
		switch {
		case n.insns.IsLdImm64(i):
			ref, err = n.loadImm64(i)
		case n.insns.Op(i) == insn.Call:
			ref, err = n.call(i)
		}
		if err != nil {
			return nil, false, fmt.Errorf("instruction %d: %w", i, err)
		}
		if ref != nil {
			ref.At = uint32(i - start)
			refs = append(refs, *ref)
			memory = memory || strings.HasPrefix(ref.To, memoryPrefix)
		}
		if n.insns.IsLdImm64(i) {
			i++ // skip the second slot
		}
	}
	return refs, memory, nil
}

func (n *normaliser) loadImm64(i int) (*Ref, error) {
	low, high := n.insns.Imm(i), n.insns.Imm(i+1)
	clear := func(r Ref) *Ref {
		n.insns.SetImm(i, 0)
		n.insns.SetImm(i+1, 0)
		return &r
	}
	switch n.insns.Src(i) {
	case insn.PseudoMapFD:
		return clear(Ref{Kind: RefMap, To: n.mapOf(uint32(low))}), nil
	case insn.PseudoMapValue:
		return clear(Ref{Kind: RefValue, To: n.mapOf(uint32(low)), Offset: uint32(high)}), nil
	case insn.PseudoFunc:
		if f, ok := n.callback(i, low, high); ok {
			return clear(Ref{Kind: RefFunc, To: n.names[f]}), nil
		}
		return nil, nil
	case 0:
		addr := uint64(uint32(low)) | uint64(uint32(high))<<32
		for _, a := range n.arenas {
			if addr-a.start < a.size {
				return clear(Ref{Kind: RefValue, To: a.name, Offset: uint32(addr - a.start)}), nil
			}
		}
		to, err := n.address(addr)
		if err != nil || to == "" {
			return nil, err
		}
		return clear(Ref{Kind: RefAddr, To: to}), nil
	}
	return nil, nil
}

// callback finds the function whose address is loaded. low is its distance, high its number.
func (n *normaliser) callback(i int, low, high int32) (int, bool) {
	if f, ok := n.bounds.index(i + 1 + int(low)); ok {
		return f, true
	}
	return int(high), high > 0 && int(high) < len(n.bounds)
}

// memoryPrefix is the prefix of names of kernel addresses without a symbol.
const memoryPrefix = "memory "

// address names a constant that is the address of a symbol or of kernel memory. For other constants
// it returns "".
func (n *normaliser) address(addr uint64) (string, error) {
	if addr >= imageEnd || !n.kernel.isAddress(addr) {
		return "", nil
	}
	if addr >= imageStart || !addresses.apart {
		name, ok, err := n.kernel.symbol(addr)
		if err != nil || ok || addr >= imageStart {
			return name, err
		}
	}
	at := slices.Index(n.memory, addr)
	if at < 0 {
		at = len(n.memory)
		n.memory = append(n.memory, addr)
	}
	return memoryPrefix + strconv.Itoa(at+1), nil
}

func (n *normaliser) call(i int) (*Ref, error) {
	switch n.insns.Src(i) {
	case insn.PseudoCall:
		f, ok := n.bounds.callee(n.insns, i)
		if !ok {
			return nil, nil
		}
		n.insns.SetImm(i, 0)
		n.insns.SetOff(i, 0)
		return &Ref{Kind: RefCall, To: n.names[f]}, nil
	case insn.PseudoKfunc:
		return n.kfunc(i)
	case 0:
		n.hidden = n.hidden || n.insns.Imm(i) == 0
	}
	return nil, nil
}

func (n *normaliser) kfunc(i int) (*Ref, error) {
	ref := &Ref{Kind: RefKfunc, Index: uint16(n.insns.Off(i))}
	n.insns.SetOff(i, 0)
	imm := n.insns.Imm(i)
	if imm == 0 {
		n.hidden = true
		ref.To = "withheld"
		return ref, nil
	}
	name, ok, err := n.kernel.callTarget(imm)
	if err != nil {
		return nil, err
	}
	if !ok {
		name = HelperKey(imm)
	}
	ref.To = name
	n.insns.SetImm(i, 0)
	return ref, nil
}

// HelperKey is the name of a helper whose name is unknown.
func HelperKey(imm int32) string { return fmt.Sprintf("%+#x", imm) }
