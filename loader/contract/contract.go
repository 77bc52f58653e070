// Package contract describes the ways in which kernels check a signed loader program. A kernel has
// one of them, and a file can hold a signature for each.
//
// The signature always covers the instructions. The loader program takes everything that it loads
// from the blob, which is covered in one of two ways:
//
//   - Contract B (Linux 7.3): the kernel appends the blob to what it verifies.
//   - Contract A (Linux 6.18 to 7.2): the loader program compares the SHA-256 that the kernel
//     computes of its map with a constant. These instructions are a prefix, derived from the blob's
//     digest. The unsigned loader program follows, unchanged.
//
// The prefix of contract A has two forms. The stronger one also checks that the map is exclusive,
// with a marker that struct bpf_map has from 7.1 on and in some stable kernels. On other kernels of
// contract A another program can change the blob after the kernel has computed its digest.
package contract

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/internal/insn"
)

// Contract is a way in which a kernel checks a signed loader program.
type Contract string

// The contracts, by their names in files and on the command line.
const (
	A       Contract = "a"        // the loader program checks the blob's digest
	AMarker Contract = "a-marker" // as A, and checks that its map is exclusive
	B       Contract = "b"        // the kernel verifies the blob with the instructions
)

// All has every contract, oldest first.
var All = []Contract{A, AMarker, B}

// Names returns the names of all contracts, oldest first.
func Names() []string {
	var names []string
	for _, c := range All {
		names = append(names, string(c))
	}
	return names
}

// Known reports whether this version of bpfreplay knows the contract.
func (c Contract) Known() bool { return slices.Contains(All, c) }

// Kernels returns a description of the kernels that have the contract.
func (c Contract) Kernels() string {
	switch c {
	case A:
		return "kernels from 6.18 to 7.0"
	case AMarker:
		return "kernels 7.1 and 7.2, and stable kernels with the marker of exclusive maps"
	case B:
		return "kernels from 7.3 on"
	}
	return "kernels that this version of bpfreplay does not know"
}

// MaxSigned is the maximum number of bytes of instructions and blob together that a kernel of
// contract B verifies.
const MaxSigned = 1<<24 - 1

// Digest is a SHA-256.
type Digest [sha256.Size]byte

// Insns returns the instructions that are signed and loaded: the loader program's, with the check
// of the blob in front under contract A. It does not change insns.
func (c Contract) Insns(insns []byte, blob Digest) []byte {
	if c == B {
		return insns
	}
	return append(prefix(blob, c == AMarker), insns...)
}

// Content returns the bytes that a signature covers.
func (c Contract) Content(insns, blob []byte) []byte {
	if c == B {
		return slices.Concat(insns, blob)
	}
	return c.Insns(insns, sha256.Sum256(blob))
}

// The marker of an exclusive map in the kernel's struct bpf_map (7.1): a u32 at this offset.
const (
	MarkerName   = "excl"
	MarkerOffset = 32 // bytes
)

// Opcodes and registers of the prefix.
const (
	ldxW, ldxDW = 0x61, 0x79
	movImm      = 0xb7
	ja, jneReg  = 0x05, 0x5d
	jneImm      = 0x55

	r2, r3, r4 = 2, 3, 4
)

// prefix returns the check of contract A, which precedes a loader program:
//
//	r2 = map 0 of fd_array
//	for each of the four words of the digest:
//		r3 = word of struct bpf_map's digest, which is its first member (6.18)
//		r4 = the word that was signed
//		if r3 != r4 goto refuse
//	if the marker is to be checked:
//		r3 = bpf_map.excl; if r3 != 1 goto refuse
//	goto the loader program
//	refuse: return -EINVAL
//
// in: r1 = context. clobbers: r2-r4. out: r1 = context.
func prefix(blob Digest, marker bool) []byte {
	var p insn.Insns
	raw := func(op, regs uint8, off int16, imm uint32) {
		p = append(p, op, regs)
		p = binary.LittleEndian.AppendUint16(p, uint16(off))
		p = binary.LittleEndian.AppendUint32(p, imm)
	}
	var refuse []int // jumps to refuse
	raw(insn.LdImm64, r2|insn.PseudoMapIdx<<4, 0, 0)
	raw(0, 0, 0, 0)
	for i := 0; i < len(blob); i += 8 {
		raw(ldxDW, r3|r2<<4, int16(i), 0)
		raw(insn.LdImm64, r4, 0, binary.LittleEndian.Uint32(blob[i:]))
		raw(0, 0, 0, binary.LittleEndian.Uint32(blob[i+4:]))
		refuse = append(refuse, p.Len())
		raw(jneReg, r3|r4<<4, 0, 0)
	}
	if marker {
		raw(ldxW, r3|r2<<4, MarkerOffset, 0)
		refuse = append(refuse, p.Len())
		raw(jneImm, r3, 0, 1)
	}
	const refusal = 2 // instructions
	raw(ja, 0, refusal, 0)
	for _, at := range refuse {
		p.SetOff(at, int16(p.Len()-at-1))
	}
	einval := -int32(unix.EINVAL)
	raw(movImm, 0, 0, uint32(einval))
	raw(insn.Exit, 0, 0, 0)
	return slices.Clip(p)
}
