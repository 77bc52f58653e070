package replay

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/bpfsys"
	"github.com/bpfreplay/bpfreplay/internal/testkey"
	"github.com/bpfreplay/bpfreplay/internal/uapi"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
	"github.com/bpfreplay/bpfreplay/loader/contract"
	"github.com/bpfreplay/bpfreplay/loader/keyring"
	"github.com/bpfreplay/bpfreplay/loader/sign"
)

// fixture is a loader program signed for all contracts, and a keyring with the key.
type fixture struct {
	t        testing.TB
	a        *artefact.Artefact
	key      testkey.Key
	contract contract.Contract     // the kernel's
	good     int32                 // keyring with the key
	look     func(r *run)          // inspects what a run has created, may be nil
	run      func(prog int) string // replaces runOnce unless nil
}

func newFixture(t testing.TB) *fixture {
	f := &fixture{t: t, contract: kernelContract(t), a: generate(t, plainObject), key: testkey.P256(t)}
	assert.NilError(t, sign.Sign(f.a, f.key, f.key.Cert))
	f.good = f.ring(f.key)
	return f
}

func (f *fixture) ring(keys ...testkey.Key) int32 {
	var certs [][]byte
	for _, k := range keys {
		certs = append(certs, k.Cert.Raw)
	}
	r, err := keyring.New(certs...)
	assert.NilError(f.t, err)
	f.t.Cleanup(r.Close)
	return int32(r.ID())
}

// signed returns a CMS message over content.
func (f *fixture) signed(key testkey.Key, content []byte) []byte {
	cms, err := sign.Message(key, key.Cert, content)
	assert.NilError(f.t, err)
	return cms
}

// attempt is a signed load, system call by system call.
type attempt struct {
	insns, blob []byte
	cms         []byte
	size        uint32 // signature_size
	keyring     int32
	bound       bool   // fd_array_cnt
	excl        []byte // excl_prog_hash, none for a map that is not exclusive
	thawed      bool   // the map is not frozen
	unasked     bool   // the digest is not computed
	change      func(m int)
	again       bool // run it twice
}

// as returns the attempt that kernels of a contract accept.
func (f *fixture) as(c contract.Contract) attempt {
	insns := c.Insns(f.a.Insns, f.a.Signed.Blob)
	digest := sha256.Sum256(insns)
	cms := f.a.Signed.For(c).CMS
	return attempt{insns: bytes.Clone(insns), blob: bytes.Clone(f.a.Blob), cms: bytes.Clone(cms), size: uint32(len(cms)),
		keyring: f.good, bound: c == contract.B, excl: digest[:], unasked: c == contract.B}
}

// forA returns an attempt for the form of contract A that this kernel has, or the weaker one.
func (f *fixture) forA() attempt {
	if f.contract == contract.AMarker {
		return f.as(contract.AMarker)
	}
	return f.as(contract.A)
}

// own returns an attempt that this kernel accepts.
func (f *fixture) own() attempt { return f.as(f.contract) }

// do runs an attempt and returns "ok", or the command that failed and the errno.
func (f *fixture) do(a attempt) string {
	var m bpfsys.Memory
	defer m.Release()
	fd, err := bpfsys.Call(bpfsys.MapCreate, &bpfsys.MapCreateAttr{
		Type: uapi.MapArray, KeySize: 4, ValueSize: uint32(len(a.blob)), MaxEntries: 1,
		ExclusiveTo: m.At(a.excl), ExclusiveBytes: uint32(len(a.excl)),
	})
	if err != nil {
		return "MAP_CREATE " + errnoName(err)
	}
	defer bpfsys.Close(fd)
	if err := bpfsys.UpdateElem(fd, make([]byte, 4), a.blob, 0); err != nil {
		return "MAP_UPDATE_ELEM " + errnoName(err)
	}
	if !a.thawed {
		if err := bpfsys.Freeze(fd); err != nil {
			return "MAP_FREEZE " + errnoName(err)
		}
	}
	if !a.unasked {
		if _, err := bpfsys.MapHash(fd); (err != nil) != a.thawed {
			return "OBJ_GET_INFO_BY_FD " + errnoName(err)
		}
	}
	if a.change != nil {
		a.change(fd)
	}
	p := bpfsys.ProgLoadAttr{
		Type: uapi.ProgSyscall, Insns: m.At(a.insns), InsnCount: uint32(len(a.insns) / 8), License: m.String("Dual BSD/GPL"),
		Flags: unix.BPF_F_SLEEPABLE, FDArray: m.At([]byte{byte(fd), byte(fd >> 8), 0, 0}),
		Signature: m.At(a.cms), SignatureBytes: a.size, Keyring: uint32(a.keyring),
	}
	if a.bound {
		p.FDArrayCount = 1
	}
	prog, err := bpfsys.Call(bpfsys.ProgLoad, &p)
	if err != nil {
		return "PROG_LOAD " + errnoName(err)
	}
	defer bpfsys.Close(prog)
	if f.run != nil {
		return f.run(prog)
	}
	if a.again {
		if got := f.runOnce(prog); got != "ok" {
			return "once " + got
		}
	}
	return f.runOnce(prog)
}

func (f *fixture) runOnce(prog int) string {
	r, err := newRun(f.a, Options{})
	assert.NilError(f.t, err)
	r.ctx = r.context()
	defer r.close()
	got, err := bpfsys.RunLoader(prog, r.ctx)
	switch {
	case err != nil:
		return "PROG_TEST_RUN " + errnoName(err)
	case got < 0:
		return "run " + errnoName(unix.Errno(-got))
	}
	if f.look != nil {
		f.look(r)
	}
	return "ok"
}

func errnoName(err error) string {
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return fmt.Sprint(err)
	}
	if name := unix.ErrnoName(errno); name != "" {
		return name
	}
	return fmt.Sprint(int(errno))
}

// expected has the results of one row of the matrix, by contract; "" if a contract has no
// expectation.
type expected map[contract.Contract]string

func each(all string) expected {
	return expected{contract.A: all, contract.AMarker: all, contract.B: all}
}

func split(a, b string) expected {
	return expected{contract.A: a, contract.AMarker: a, contract.B: b}
}

// TestMatrix checks how kernels of each contract react to a correct signed load and to incorrect
// ones. If a new kernel reacts otherwise, the row of that name fails.
func TestMatrix(t *testing.T) {
	f := newFixture(t)
	keepsFDs(t)
	sameID := testkey.Certify(t, testkey.P256(t).Signer, func(c *x509.Certificate) { c.SubjectKeyId = f.key.Cert.SubjectKeyId })
	flip := func(b []byte, at int) { b[at] ^= 1 }
	last := func(b []byte) int { return len(b) - 1 }
	rows := []struct {
		name string
		make func() attempt
		want expected
	}{
		{"as its contract wants it", f.own, each("ok")},
		{"A", f.forA, split("ok", "PROG_LOAD EACCES")},
		{"A with fd_array_cnt 1", func() attempt { a := f.forA(); a.bound = true; return a }, split("PROG_LOAD EACCES", "PROG_LOAD EKEYREJECTED")},
		{"B", func() attempt { return f.as(contract.B) }, split("PROG_LOAD EKEYREJECTED", "ok")},
		{"B without fd_array_cnt", func() attempt { a := f.as(contract.B); a.bound = false; return a }, each("PROG_LOAD EKEYREJECTED")},
		{"instruction changed", func() attempt { a := f.own(); flip(a.insns, last(a.insns)-3); return a }, split("PROG_LOAD EKEYREJECTED", "PROG_LOAD EACCES")},
		{"instruction changed, map bound to it", func() attempt {
			a := f.own()
			flip(a.insns, last(a.insns)-3)
			digest := sha256.Sum256(a.insns)
			a.excl = digest[:]
			return a
		}, each("PROG_LOAD EKEYREJECTED")},
		{"blob changed", func() attempt { a := f.own(); flip(a.blob, last(a.blob)); return a }, split("run EINVAL", "PROG_LOAD EKEYREJECTED")},
		{"blob longer", func() attempt { a := f.own(); a.blob = append(a.blob, make([]byte, 8)...); return a }, split("run EINVAL", "PROG_LOAD EKEYREJECTED")},
		{"signature changed", func() attempt { a := f.own(); flip(a.cms, last(a.cms)); return a }, each("PROG_LOAD EKEYREJECTED")},
		{"other key of the same identifier", func() attempt { a := f.own(); a.keyring = f.ring(sameID); return a }, each("PROG_LOAD EKEYREJECTED")},
		{"key not in the keyring", func() attempt { a := f.own(); a.keyring = f.ring(testkey.P256(t)); return a }, each("PROG_LOAD ENOKEY")},
		{"empty keyring", func() attempt { a := f.own(); a.keyring = f.ring(); return a }, each("PROG_LOAD ENOKEY")},
		{"keyring builtin", func() attempt { a := f.own(); a.keyring = 0; return a }, each("PROG_LOAD ENOKEY")},
		{"keyring secondary", func() attempt { a := f.own(); a.keyring = 1; return a }, each("PROG_LOAD ENOKEY")},
		{"keyring platform", func() attempt { a := f.own(); a.keyring = 2; return a }, each("PROG_LOAD ENOKEY")},
		{"no such keyring", func() attempt { a := f.own(); a.keyring = 1<<31 - 1; return a }, each("PROG_LOAD EINVAL")},
		{"no thread keyring", func() attempt { a := f.own(); a.keyring = -1; return a }, each("PROG_LOAD EINVAL")},
		{"junk for a signature", func() attempt { a := f.own(); a.cms, a.size = make([]byte, 64), 64; return a }, each("PROG_LOAD EBADMSG")},
		{"signature cut", func() attempt { a := f.own(); a.size--; return a }, each("PROG_LOAD EBADMSG")},
		{"signature_size 0", func() attempt { a := f.own(); a.size = 0; return a }, split("PROG_LOAD EBADMSG", "PROG_LOAD EINVAL")},
		{"signature_size 8193", func() attempt { a := f.own(); a.cms = append(a.cms, make([]byte, 8193)...); a.size = 8193; return a }, each("PROG_LOAD EINVAL")},
		{"bytes behind the signature", func() attempt { a := f.own(); a.cms = append(a.cms, 0, 0, 0); a.size += 3; return a }, each("ok")},
		{"map not frozen", func() attempt { a := f.own(); a.thawed = true; return a }, split("run EINVAL", "PROG_LOAD EPERM")},
		{"map not exclusive", func() attempt { a := f.own(); a.excl = nil; return a }, expected{contract.A: "ok", contract.AMarker: "run EINVAL", contract.B: "PROG_LOAD EPERM"}},
		{"digest not asked for", func() attempt { a := f.own(); a.unasked = true; return a }, split("run EINVAL", "ok")},
		{"map of another program", func() attempt { a := f.own(); flip(a.excl, 0); return a }, each("PROG_LOAD EACCES")},
		{"map of program zero", func() attempt { a := f.own(); a.excl = make([]byte, 32); return a }, each("PROG_LOAD EACCES")},
		{"excl_prog_hash of 31 bytes", func() attempt { a := f.own(); a.excl = a.excl[:31]; return a }, each("MAP_CREATE EINVAL")},
		{"instructions and blob of 2^24 bytes", func() attempt { return f.sized(1 << 24) }, expected{contract.B: "PROG_LOAD E2BIG"}},
		{"instructions and blob of 2^24-8 bytes", func() attempt { return f.sized(1<<24 - 8) }, expected{contract.B: "ok"}},
		{"unsigned", func() attempt { return f.unsigned(f.own()) }, split("PROG_LOAD EACCES", "PROG_LOAD EACCES")},
		{"unsigned, without fd_array_cnt", func() attempt { a := f.unsigned(f.own()); a.bound = false; return a }, each("ok")},
		{"unsigned, map of program zero", func() attempt { a := f.unsigned(f.own()); a.excl = make([]byte, 32); return a }, each("ok")},
		{"content inside the signature", func() attempt { return f.message(f.own(), attached) }, each("PROG_LOAD EBADMSG")},
		{"algorithm of another name", func() attempt { return f.message(f.own(), otherName) }, each("PROG_LOAD ENOPKG")},
		{"certificate expired", func() attempt {
			return f.certified(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Unix(1e9, 0), time.Unix(1e9+1, 0) })
		}, each("ok")},
		{"certificate not valid yet", func() attempt {
			return f.certified(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Unix(4e9, 0), time.Unix(4e9+1, 0) })
		}, each("ok")},
	}
	var lines []string
	for _, row := range rows {
		want := row.want[f.contract]
		if want == "" {
			continue
		}
		t.Run(row.name, func(t *testing.T) {
			f.t = t
			got := f.do(row.make())
			lines = append(lines, fmt.Sprintf("%-40s %s", row.name, got))
			assert.Equal(t, got, want)
		})
	}
	f.t = t
	t.Logf("contract %s:\n%s", f.contract, strings.Join(lines, "\n"))
}

// sized returns a signed attempt with n bytes of instructions and blob.
func (f *fixture) sized(n int) attempt {
	a := f.as(contract.B)
	a.blob = append(a.blob, make([]byte, n-len(a.insns)-len(a.blob))...)
	a.cms = f.signed(f.key, slices.Concat(a.insns, a.blob))
	a.size = uint32(len(a.cms))
	return a
}

// unsigned removes the signature from an attempt, and binds its map as if there were one.
func (f *fixture) unsigned(a attempt) attempt {
	a.cms, a.size, a.bound = nil, 0, true
	return a
}

// certified returns an attempt signed by a key whose certificate edit has changed.
func (f *fixture) certified(edit func(c *x509.Certificate)) attempt {
	a, key := f.own(), testkey.Certify(f.t, f.key.Signer, edit)
	a.cms = f.signed(key, f.contract.Content(f.a.Insns, f.a.Blob))
	a.size, a.keyring = uint32(len(a.cms)), f.ring(key)
	return a
}

// attached and otherName return forms of a CMS message that kernels refuse.
func attached(content []byte, key testkey.Key, cms []byte) []byte {
	inner, err := asn1.Marshal(content)
	if err != nil {
		panic(err)
	}
	return rebuild(cms, func(m *cmsMessage) {
		m.Content.Content.Content = asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: inner}
	})
}

func otherName(content []byte, key testkey.Key, cms []byte) []byte {
	digest := sha256.Sum256(content)
	signature, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		panic(err)
	}
	return rebuild(cms, func(m *cmsMessage) {
		// sha256WithRSAEncryption, which Go's PKCS #7 modules use.
		m.Content.Signers[0].SignatureAlgorithm.Algorithm = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}
		m.Content.Signers[0].Signature = signature
	})
}

type cmsMessage struct {
	Type    asn1.ObjectIdentifier
	Content struct {
		Version          int
		DigestAlgorithms asn1.RawValue
		Content          struct {
			Type    asn1.ObjectIdentifier
			Content asn1.RawValue `asn1:"optional"`
		}
		Signers []struct {
			Version            int
			KeyID              asn1.RawValue
			DigestAlgorithm    asn1.RawValue
			SignatureAlgorithm struct {
				Algorithm asn1.ObjectIdentifier
				Rest      asn1.RawValue `asn1:"optional"`
			}
			Signature []byte
		} `asn1:"set"`
	} `asn1:"explicit,tag:0"`
}

func rebuild(cms []byte, edit func(m *cmsMessage)) []byte {
	var m cmsMessage
	if _, err := asn1.Unmarshal(cms, &m); err != nil {
		panic(err)
	}
	edit(&m)
	out, err := asn1.Marshal(m)
	if err != nil {
		panic(err)
	}
	return out
}

// message returns an attempt signed by an RSA key, with a message of another form.
func (f *fixture) message(a attempt, form func(content []byte, key testkey.Key, cms []byte) []byte) attempt {
	key, content := testkey.RSA(f.t), f.contract.Content(f.a.Insns, f.a.Blob)
	a.cms = form(content, key, f.signed(key, content))
	a.size, a.keyring = uint32(len(a.cms)), f.ring(key)
	return a
}

// TestTamper flips a bit in every 64th byte, and in the last one, of everything that a signed load
// passes to the kernel. No load may succeed.
func TestTamper(t *testing.T) {
	f := newFixture(t)
	keepsFDs(t)
	assert.Equal(t, f.do(f.own()), "ok")
	counts := make(map[string]int)
	for part, of := range map[string]func(a *attempt) []byte{
		"instructions": func(a *attempt) []byte { return a.insns },
		"blob":         func(a *attempt) []byte { return a.blob },
		"signature":    func(a *attempt) []byte { return a.cms },
	} {
		own := f.own()
		size := len(of(&own))
		for at := 0; at < size+63; at += 64 {
			a := f.own()
			of(&a)[min(at, size-1)] ^= 1
			got := f.do(a)
			counts[part+": "+got]++
			if got == "ok" {
				t.Errorf("%s: byte %d of %d was changed, and the load went on", part, min(at, size-1), size)
			}
		}
	}
	t.Log(counts)
}

// A kernel refuses a signature once the key is no longer valid.
func TestKeysThatGo(t *testing.T) {
	f := newFixture(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for name, tt := range map[string]struct {
		lose func(key, ring int) error
		want string
	}{
		"kept":                 {func(_, _ int) error { return nil }, "ok"},
		"unlinked":             {func(key, ring int) error { _, err := unix.KeyctlInt(unix.KEYCTL_UNLINK, key, ring, 0, 0); return err }, "PROG_LOAD ENOKEY"},
		"revoked":              {func(key, _ int) error { _, err := unix.KeyctlInt(unix.KEYCTL_REVOKE, key, 0, 0, 0); return err }, "PROG_LOAD EKEYREVOKED"},
		"cleared":              {func(_, ring int) error { _, err := unix.KeyctlInt(unix.KEYCTL_CLEAR, ring, 0, 0, 0); return err }, "PROG_LOAD ENOKEY"},
		"the ring was revoked": {func(_, ring int) error { _, err := unix.KeyctlInt(unix.KEYCTL_REVOKE, ring, 0, 0, 0); return err }, "PROG_LOAD EKEYREVOKED"},
		"expired": {func(key, _ int) error {
			if _, err := unix.KeyctlInt(unix.KEYCTL_SET_TIMEOUT, key, 1, 0, 0); err != nil {
				return err
			}
			for { // wait until it has expired: a second, or more
				_, err := unix.KeyctlString(unix.KEYCTL_DESCRIBE, key)
				if errors.Is(err, unix.EKEYEXPIRED) {
					return nil
				}
				if err != nil {
					return err
				}
				time.Sleep(50 * time.Millisecond)
			}
		}, "PROG_LOAD EKEYEXPIRED"},
	} {
		t.Run(name, func(t *testing.T) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			ring, err := unix.AddKey("keyring", "bpfreplay:"+name, nil, unix.KEY_SPEC_THREAD_KEYRING)
			assert.NilError(t, err)
			defer unix.KeyctlInt(unix.KEYCTL_UNLINK, ring, unix.KEY_SPEC_THREAD_KEYRING, 0, 0)
			key, err := unix.AddKey("asymmetric", "bpfreplay:test", f.key.Cert.Raw, ring)
			assert.NilError(t, err)
			a := f.own()
			a.keyring = int32(key) // a key instead of a keyring
			assert.Equal(t, f.do(a), "PROG_LOAD ENOKEY")
			a = f.own()
			a.keyring = int32(ring)
			assert.Equal(t, f.do(a), "ok")
			assert.NilError(t, tt.lose(key, ring))
			assert.Equal(t, f.do(a), tt.want)
		})
	}
}
