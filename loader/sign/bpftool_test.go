package sign

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/lskel"
	"github.com/bpfreplay/bpfreplay/internal/testkey"
)

// For the same RSA key, Message writes the bytes that bpftool writes.
func TestMessageIsThatOfBpftool(t *testing.T) {
	key := testkey.RSA(t)
	s := lskel.Sign(t, key, "../../selftests/bpf/data_sections.bpf.o")
	content := s.Insns // contract A, which bpftool implements until Linux 7.2
	if Verify(s.CMS, key.Cert, content) != nil {
		content = slices.Concat(s.Insns, s.Blob)
	}
	assert.NilError(t, Verify(s.CMS, key.Cert, content))
	ours, err := Message(key, key.Cert, content)
	assert.NilError(t, err)
	assert.Assert(t, bytes.Equal(ours, s.CMS), "%x\n%x", ours, s.CMS)
	digest := sha256.Sum256(s.Insns)
	assert.Assert(t, bytes.Equal(digest[:], s.Excl))
	a := generate(t, "../../selftests/bpf/data_sections.bpf.o")
	t.Logf("data_sections: bpftool: %d bytes of instructions, %d of blob; ours: %d and %d", len(s.Insns), len(s.Blob), len(a.Insns), len(a.Blob))
}
