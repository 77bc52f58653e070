package sign

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"io"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/emit"
	"github.com/bpfreplay/bpfreplay/internal/object"
	"github.com/bpfreplay/bpfreplay/internal/testkey"
	"github.com/bpfreplay/bpfreplay/internal/trace"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
	"github.com/bpfreplay/bpfreplay/loader/contract"
)

// generate makes the loader program of a committed object.
func generate(t *testing.T, path string) *artefact.Artefact {
	t.Helper()
	obj, err := object.Open(path)
	assert.NilError(t, err)
	plan, err := trace.Plan(obj, trace.Options{})
	assert.NilError(t, err)
	a, err := emit.Emit(plan)
	assert.NilError(t, err)
	return a
}

func TestWhatCannotBeSigned(t *testing.T) {
	for name, want := range map[string]string{
		"arena_pages.bpf.o":                "arena arena: ",
		"kconfig_version.bpf.o":            "LINUX_KERNEL_VERSION: ",
		"struct_ops_two.bpf.o":             "member ",
		"../../loader/testdata/freplace.o": "whose function",
		// The signature bounds these.
		"maps_perf_event_array.bpf.o": "",
		"prog_usdt.bpf.o":             "",
		"data_sections.bpf.o":         "",
		"kfunc_weak_present.bpf.o":    "",
	} {
		t.Run(name, func(t *testing.T) {
			a := generate(t, "../../selftests/bpf/"+name)
			key := testkey.P256(t)
			err := Sign(a, key, key.Cert)
			if want == "" {
				assert.NilError(t, err)
				return
			}
			assert.ErrorIs(t, err, ErrUnsignable)
			assert.ErrorContains(t, err, want)
			assert.Assert(t, a.Signed == nil)
		})
	}
}

func TestSignAndVerify(t *testing.T) {
	a := generate(t, "../../selftests/bpf/data_sections.bpf.o")
	unsigned, err := a.MarshalBinary()
	assert.NilError(t, err)
	key := testkey.RSA(t)
	assert.NilError(t, Sign(a, key, key.Cert))
	file, err := a.MarshalBinary()
	assert.NilError(t, err)
	b, err := artefact.Parse(file)
	assert.NilError(t, err)
	assert.DeepEqual(t, b.Signed, a.Signed)
	results, err := VerifyArtefact(b, key.Cert)
	assert.NilError(t, err)
	assert.Equal(t, len(results), len(contract.All))
	for _, r := range results {
		assert.NilError(t, r.Err)
	}

	// RSA has no random part, so signing again gives the same bytes. Without signatures the file is
	// the original one.
	assert.NilError(t, Sign(b, key, key.Cert))
	again, err := b.MarshalBinary()
	assert.NilError(t, err)
	assert.Assert(t, bytes.Equal(file, again))
	b.Signed = nil
	again, err = b.MarshalBinary()
	assert.NilError(t, err)
	assert.Assert(t, bytes.Equal(unsigned, again))
	_, err = VerifyArtefact(b, key.Cert)
	assert.ErrorIs(t, err, ErrUnsigned)
}

func TestVerifyArtefactSaysWhatWasChanged(t *testing.T) {
	key, other := testkey.P256(t), testkey.P256(t)
	for name, tt := range map[string]struct {
		change func(a *artefact.Artefact)
		want   error
	}{
		"instructions":          {func(a *artefact.Artefact) { a.Insns[len(a.Insns)-1] ^= 1 }, artefact.ErrInsnsChanged},
		"blob":                  {func(a *artefact.Artefact) { a.Blob[len(a.Blob)/2] ^= 1 }, artefact.ErrBlobChanged},
		"blob, longer":          {func(a *artefact.Artefact) { a.Blob = append(a.Blob, make([]byte, 8)...) }, artefact.ErrBlobChanged},
		"blob and its digest":   {func(a *artefact.Artefact) { a.Blob[0] ^= 1; a.Signed.Blob = sha256.Sum256(a.Blob) }, nil},
		"signatures":            {func(a *artefact.Artefact) { flipLast(a) }, ErrSignature},
		"signed by another key": {func(a *artefact.Artefact) { assert.NilError(t, Sign(a, other, other.Cert)) }, ErrOtherKey},
	} {
		t.Run(name, func(t *testing.T) {
			a := generate(t, "../../selftests/bpf/data_sections.bpf.o")
			a.Insns, a.Blob = bytes.Clone(a.Insns), bytes.Clone(a.Blob)
			assert.NilError(t, Sign(a, key, key.Cert))
			tt.change(a)
			results, err := VerifyArtefact(a, key.Cert)
			assert.NilError(t, err)
			assert.Equal(t, len(results), 3)
			for _, r := range results {
				if tt.want == nil {
					assert.Assert(t, r.Err != nil, "contract %s", r.Contract)
					continue
				}
				assert.ErrorIs(t, r.Err, tt.want, "contract %s", r.Contract)
			}
		})
	}
}

func flipLast(a *artefact.Artefact) {
	for i := range a.Signed.List {
		cms := a.Signed.List[i].CMS
		cms[len(cms)-1] ^= 1
	}
}

// token is a key that signs digests and does nothing else.
type token struct{ key testkey.Key }

func (k token) Public() crypto.PublicKey { return k.key.Public() }
func (k token) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.key.Sign(rand.Reader, digest, opts)
}

func TestDetached(t *testing.T) {
	for name, key := range keys(t) {
		t.Run(name, func(t *testing.T) {
			a := generate(t, "../../selftests/bpf/data_sections.bpf.o")
			requests, err := Requests(a, []contract.Contract{contract.AMarker, contract.B})
			assert.NilError(t, err)
			returned := make(map[contract.Contract][]byte)
			for _, r := range requests {
				returned[r.Contract], err = token{key}.Sign(nil, r.Digest[:], crypto.SHA256)
				assert.NilError(t, err)
			}
			assert.NilError(t, Attach(a, key.Cert, returned))
			results, err := VerifyArtefact(a, key.Cert)
			assert.NilError(t, err)
			assert.DeepEqual(t, []contract.Contract{results[0].Contract, results[1].Contract}, []contract.Contract{contract.AMarker, contract.B})
			assert.NilError(t, results[0].Err)
			assert.NilError(t, results[1].Err)
			assert.NilError(t, Sign(a, token{key}, key.Cert))

			// A signature for one contract is refused for another.
			before := a.Signed
			returned[contract.A] = returned[contract.B]
			assert.ErrorContains(t, Attach(a, key.Cert, returned), "contract a:")
			assert.Assert(t, a.Signed == before)
		})
	}
}
