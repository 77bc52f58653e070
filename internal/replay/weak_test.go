package replay

import (
	"bytes"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/insn"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
	"github.com/bpfreplay/bpfreplay/loader/contract"
)

// These tests show the weaknesses of signed loader programs that docs/signing.md describes.

// dataByte returns the offset in the blob of the first byte of .data, and the map's index.
func dataByte(t *testing.T, a *artefact.Artefact) (blob, m int) {
	t.Helper()
	m = slices.IndexFunc(a.Maps, func(m artefact.Map) bool { return m.Kind == "data" })
	assert.Assert(t, m >= 0 && a.Maps[m].Value.Size > 0)
	return a.Maps[m].Value.Off, m
}

// write stores a byte in the value of a map with an unsigned program.
func write(m, off int, v byte) string {
	p := insn.Insns(make([]byte, 5*insn.Size))
	copy(p, []byte{insn.LdImm64, insn.PseudoMapIdxValue<<4 | 1})
	p.SetImm(1, int32(off))
	copy(p[2*insn.Size:], []byte{0x72, 1, 0, 0, v}) // *(u8 *)r1 = v
	copy(p[3*insn.Size:], []byte{0xb7})             // return 0
	copy(p[4*insn.Size:], []byte{insn.Exit})
	prog, err := bpfsys.LoadLoader(p, []int{m}, 0, nil)
	if err != nil {
		return "PROG_LOAD " + errnoName(err)
	}
	defer bpfsys.Close(prog)
	if _, err := bpfsys.RunLoader(prog, make([]byte, 8)); err != nil {
		return "PROG_TEST_RUN " + errnoName(err)
	}
	return "ok"
}

// TestStaleDigest: programs can still write a frozen map that is not exclusive, after the kernel
// has computed the digest that contract A's loader program compares. Only the marker prevents this:
// a signature for contract a is weak even on kernels with the marker.
func TestStaleDigest(t *testing.T) {
	f := newFixture(t)
	keepsFDs(t)
	at, m := dataByte(t, f.a)
	changed := f.a.Blob[at] ^ 0x55
	for _, tt := range []struct {
		name      string
		attempt   attempt
		exclusive bool
		written   string
		want      expected
		stale     bool // the load succeeds, with the changed byte
	}{
		{"contract a", f.as(contract.A), false, "ok", split("ok", "PROG_LOAD EACCES"), f.contract != contract.B},
		{"contract a-marker", f.as(contract.AMarker), false, "ok", expected{contract.AMarker: "run EINVAL", contract.B: "PROG_LOAD EACCES"}, false},
		{"contract b", f.as(contract.B), false, "ok", split("PROG_LOAD EKEYREJECTED", "PROG_LOAD EPERM"), false},
		// Only the program that an exclusive map belongs to can use it.
		{"exclusive", f.own(), true, "PROG_LOAD EACCES", each("ok"), false},
	} {
		want := tt.want[f.contract]
		if want == "" {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			f.t = t
			a := tt.attempt
			if !tt.exclusive {
				a.excl = nil
			}
			a.change = func(fd int) { assert.Equal(t, write(fd, at, changed), tt.written) }
			stale := false
			f.look = func(r *run) {
				value := make([]byte, f.a.Maps[m].ValueSize)
				assert.NilError(t, bpfsys.LookupElem(int(r.get(f.a.Maps[m].FD)), make([]byte, 4), value))
				stale = value[0] == changed
			}
			assert.Equal(t, f.do(a), want)
			assert.Equal(t, stale, tt.stale)
			t.Logf("contract %s: %s, changed data loaded: %t", f.contract, want, stale)
		})
	}
}

// TestRunTwice runs a signed loader program twice: any holder of its fd can. The second run must
// create the same maps and programs, because each run patches its blob from scratch.
func TestRunTwice(t *testing.T) {
	f := newFixture(t)
	keepsFDs(t)
	var tags [][8]byte
	f.look = func(r *run) {
		info, _, err := bpfsys.GetProgInfo(int(r.get(f.a.Programs[0].FD)))
		assert.NilError(t, err)
		tags = append(tags, info.Tag)
	}
	a := f.own()
	a.again = true
	assert.Equal(t, f.do(a), "ok")
	assert.Equal(t, len(tags), 2)
	assert.Equal(t, tags[0], tags[1])
}

// TestSameBytesAnotherProgram: a signature does not cover program type and license. The bytes of
// any signed program load as another type, if they are valid there.
func TestSameBytesAnotherProgram(t *testing.T) {
	f := newFixture(t)
	insns := []byte{0xb7, 0, 0, 0, 0, 0, 0, 0, insn.Exit, 0, 0, 0, 0, 0, 0, 0}
	cms := f.signed(f.key, insns) // without maps, both contracts sign exactly this
	for _, kind := range []uapi.ProgType{uapi.ProgSyscall, uapi.ProgSocketFilter} {
		var m bpfsys.Memory
		defer m.Release()
		p := bpfsys.ProgLoadAttr{
			Type: kind, Insns: m.At(bytes.Clone(insns)), InsnCount: 2, License: m.String("X"),
			Signature: m.At(cms), SignatureBytes: uint32(len(cms)), Keyring: uint32(f.good),
		}
		if kind == uapi.ProgSyscall {
			p.Flags = unix.BPF_F_SLEEPABLE
		}
		fd, err := bpfsys.Call(bpfsys.ProgLoad, &p)
		assert.NilError(t, err, "%s", kind)
		bpfsys.Close(fd)
	}
}
