package contract

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/insn"
)

func TestPrefix(t *testing.T) {
	loader, blob := bytes.Repeat([]byte{0xaa}, 24), []byte("blob....")
	digest := Digest(sha256.Sum256(blob))
	for c, want := range map[Contract]int{A: 21, AMarker: 23, B: 0} {
		all := insn.Insns(c.Insns(loader, digest))
		assert.Equal(t, all.Len(), want+3)
		assert.Assert(t, bytes.Equal(all[want*insn.Size:], loader), "contract %s", c)
		if c == B {
			assert.Assert(t, bytes.Equal(c.Content(loader, blob), append(bytes.Clone(loader), blob...)))
			continue
		}
		assert.Assert(t, bytes.Equal(c.Content(loader, blob), all))
		// Each comparison jumps to the refusal, and falling through all of them leads to the loader
		// program.
		p, compared := all[:want*insn.Size], 0
		for i := 0; i < insn.Insns(p).Len(); i++ {
			switch p := insn.Insns(p); p.Op(i) {
			case jneReg, jneImm:
				assert.Equal(t, i+1+int(p.Off(i)), want-2)
				compared++
			case ja:
				assert.Equal(t, i+1+int(p.Off(i)), want)
			case insn.LdImm64:
				i++
			}
		}
		assert.Equal(t, compared, map[Contract]int{A: 4, AMarker: 5}[c])
		other := c.Insns(loader, sha256.Sum256([]byte("other blob")))
		assert.Assert(t, !bytes.Equal(other, all))
	}
	assert.Assert(t, bytes.Equal(loader, bytes.Repeat([]byte{0xaa}, 24)))
}
