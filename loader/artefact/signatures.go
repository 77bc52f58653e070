package artefact

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/bpfreplay/bpfreplay/loader/contract"
)

// Signatures are the signatures of a loader program by one key. They are not trusted: the kernel
// verifies them. The digests tell a runtime which signature a kernel accepts, and, if the kernel
// refuses it, which part was changed.
type Signatures struct {
	KeyID []byte // subject key identifier of the certificate
	Blob  contract.Digest
	List  []Signature // one per contract
}

// Signature is a signature for kernels of one contract. See package contract.
type Signature struct {
	Contract contract.Contract
	Insns    contract.Digest // of the loaded instructions, with the prefix of contract A
	CMS      []byte          // SignedData in a ContentInfo, DER, detached
}

// For returns the signature for a contract, or nil.
func (s *Signatures) For(c contract.Contract) *Signature {
	for i := range s.List {
		if s.List[i].Contract == c {
			return &s.List[i]
		}
	}
	return nil
}

// Errors of [Artefact.Changed].
var (
	ErrInsnsChanged = errors.New("the instructions were changed after signing")
	ErrBlobChanged  = errors.New("the blob was changed after signing")
)

// Changed compares the artefact with the digests that are stored beside a signature. It returns
// [ErrBlobChanged], [ErrInsnsChanged], or nil. It does not verify the signature. The artefact must
// be signed.
func (a *Artefact) Changed(s *Signature) error {
	switch {
	case sha256.Sum256(a.Blob) != a.Signed.Blob:
		return ErrBlobChanged
	case sha256.Sum256(s.Contract.Insns(a.Insns, a.Signed.Blob)) != s.Insns:
		return ErrInsnsChanged
	}
	return nil
}

const (
	maxKeyID = 255
	// MaxCMS is the size in bytes of the largest signature that a kernel accepts:
	// KMALLOC_MAX_CACHE_SIZE with pages of 4 KiB.
	MaxCMS = 8192
)

// The signatures section as JSON, documented in docs/artefact.md.
type (
	signatures struct {
		KeyID hexBytes        `json:"key_id"`
		Blob  hexBytes        `json:"blob_sha256"`
		List  []signatureJSON `json:"signatures"`
	}
	signatureJSON struct {
		Contract string   `json:"contract"`
		Insns    hexBytes `json:"insns_sha256"`
		CMS      []byte   `json:"cms"`
	}
	hexBytes []byte
)

func (h hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.AppendDecode(nil, text)
	return err
}

func (s *Signatures) marshal() ([]byte, error) {
	out := signatures{KeyID: s.KeyID, Blob: s.Blob[:], List: []signatureJSON{}}
	for i := range s.List {
		l := &s.List[i]
		out.List = append(out.List, signatureJSON{string(l.Contract), l.Insns[:], l.CMS})
	}
	data, err := json.MarshalIndent(out, "", " ")
	return append(data, '\n'), err
}

func (a *Artefact) parseSignatures(d *json.Decoder) error {
	var in signatures
	if err := d.Decode(&in); err != nil {
		return err
	}
	a.Signed = &Signatures{KeyID: in.KeyID}
	if err := digest("blob_sha256", &a.Signed.Blob, in.Blob); err != nil {
		return err
	}
	for _, l := range in.List {
		s := Signature{Contract: contract.Contract(l.Contract), CMS: l.CMS}
		if err := digest("insns_sha256", &s.Insns, l.Insns); err != nil {
			return err
		}
		a.Signed.List = append(a.Signed.List, s)
	}
	return nil
}

func digest(field string, to *contract.Digest, from []byte) error {
	if len(from) != len(to) {
		return fmt.Errorf("%s has %d bytes, not %d", field, len(from), len(to))
	}
	copy(to[:], from)
	return nil
}

// checkSignatures checks sizes and contracts. Only the kernel verifies signatures.
func (c *checker) checkSignatures(s *Signatures) {
	if len(s.KeyID) == 0 || len(s.KeyID) > maxKeyID {
		c.fail("signatures: a key id of %d bytes", len(s.KeyID))
	}
	if len(s.List) == 0 {
		c.fail("signatures: there are none")
	}
	for i := range s.List {
		l := &s.List[i]
		switch {
		case !l.Contract.Known():
			c.fail("signature for contract %q, which this version of bpfreplay does not know", l.Contract)
		case s.For(l.Contract) != l:
			c.fail("two signatures for contract %s", l.Contract)
		case len(l.CMS) == 0 || len(l.CMS) > MaxCMS:
			c.fail("signature for contract %s: %d bytes, at most %d are possible", l.Contract, len(l.CMS), MaxCMS)
		}
	}
}
