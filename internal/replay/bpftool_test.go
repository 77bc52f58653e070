package replay

import (
	"encoding/binary"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/lskel"
	"github.com/bpfreplay/bpfreplay/internal/testkey"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
	"github.com/bpfreplay/bpfreplay/loader/contract"
	"github.com/bpfreplay/bpfreplay/loader/sign"
)

// A program signed by bpftool loads like ours, with bpftool's signature and with ours, on kernels
// of the contract that bpftool signs for.
func TestBpftoolSigned(t *testing.T) {
	f := newFixture(t)
	keepsFDs(t)
	key := testkey.RSA(t)
	s := lskel.Sign(t, key, plainObject)
	content, its := s.Insns, contract.AMarker // bpftool until Linux 7.2
	if sign.Verify(s.CMS, key.Cert, content) != nil {
		content, its = slices.Concat(s.Insns, s.Blob), contract.B
	}
	want := "ok"
	switch {
	case its == f.contract:
	case its == contract.AMarker:
		want = "PROG_LOAD EACCES" // the verifier has no marker, or wants maps bound
	default:
		want = "PROG_LOAD EKEYREJECTED"
	}
	f.run = func(prog int) string { return runLight(t, prog, len(f.a.Maps), len(f.a.Programs)) }
	for name, a := range map[string]attempt{
		"its signature": {cms: s.CMS, keyring: f.ring(key)},
		"ours":          {cms: f.signed(f.key, content), keyring: f.good},
	} {
		t.Run(name, func(t *testing.T) {
			a.insns, a.blob, a.excl, a.size, a.bound = s.Insns, s.Blob, s.Excl, uint32(len(a.cms)), its == contract.B
			got := f.do(a)
			assert.Equal(t, got, want)
			t.Logf("signed by bpftool for contract %s, kernel of contract %s: %s", its, f.contract, got)
		})
	}
}

// runLight runs a loader program of libbpf and closes everything that it created.
func runLight(t *testing.T, prog, maps, programs int) string {
	ctx := make([]byte, artefact.CtxProgram(maps, programs))
	binary.NativeEndian.PutUint32(ctx, uint32(len(ctx)))
	got, err := bpfsys.RunLoader(prog, ctx)
	if err != nil {
		return "PROG_TEST_RUN " + errnoName(err)
	}
	if got < 0 {
		return "run " + errnoName(unix.Errno(-got))
	}
	for i := range maps + programs {
		at := artefact.CtxMap(i)
		if i >= maps {
			at = artefact.CtxProgram(maps, i-maps)
		}
		fd := int(binary.NativeEndian.Uint32(ctx[at:]))
		assert.Assert(t, fd > 0)
		bpfsys.Close(fd)
	}
	return "ok"
}
