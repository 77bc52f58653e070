package probe

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/cilium/ebpf/asm"
	"gotest.tools/v3/assert"
)

// Package asm encodes atomic instructions without their operation (docs/findings.md), so the probe
// of atomics does not use it. When this test fails, it can.
func TestAtomicsOfAsm(t *testing.T) {
	for _, op := range []asm.AtomicOp{asm.FetchAdd, asm.Xchg} {
		var b bytes.Buffer
		_, err := op.Mem(asm.R1, asm.R2, asm.DWord, 0).Marshal(&b, binary.LittleEndian)
		assert.NilError(t, err)
		assert.Equal(t, binary.LittleEndian.Uint32(b.Bytes()[4:]), uint32(0), "%v: % x", op, b.Bytes())
	}
}
