package sign

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/bpfreplay/bpfreplay/internal/contract"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
)

// ErrUnsignable is the reason of an error about a loader program whose signature would not
// cover what it does.
var ErrUnsignable = errors.New("a signature would not cover it")

// Check returns nil if a loader program can be signed. Otherwise its error names each part that
// the signature does not cover, and that the caller of the loader program could change.
func Check(a *artefact.Artefact) error {
	var all []error
	refuse := func(format string, args ...any) {
		all = append(all, fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ErrUnsignable))
	}
	for i := range a.Maps {
		if m := &a.Maps[i]; m.Arena {
			refuse("arena %s: programs have its address, which differs from load to load", m.Name)
		}
	}
	for i := range a.Programs {
		if p := &a.Programs[i]; p.Replaces != "" {
			refuse("program %s: the program whose function %s it replaces is chosen by the caller", p.Name, p.Replaces)
		}
	}
	for i := range a.Settings {
		s := &a.Settings[i]
		switch s.Kind {
		case "cpus", "usdt":
			// The loader program bounds it.
		case "mismatch":
			// Two outcomes, and both are signed: the kfunc, or the code without it.
		case "value_size":
			// The kernel refuses a size that is not that of its type.
		case "kconfig":
			for _, k := range s.Kconfig {
				if k.Type != "bool" && k.Type != "tristate" {
					refuse("%s: the runtime sets it, and a value of type %s has no bounds to sign; ask the kernel with CO-RE or a weak symbol instead", k.Name, k.Type)
				}
			}
		case "member":
			refuse("member %s of struct %s: the runtime sets its index, and another index makes the program another member", s.Member, s.StructOps.Type)
		default:
			refuse("setting %s: this version of bpfreplay does not know what it is", s.Kind)
		}
	}
	return errors.Join(all...)
}

// checkSize checks what a contract bounds.
func checkSize(a *artefact.Artefact, c contract.Contract) error {
	if n := len(a.Insns) + len(a.Blob); c == contract.B && n > contract.MaxSigned {
		return fmt.Errorf("contract %s: instructions and blob have %d bytes, and the kernel verifies at most %d: leave this contract out with --contract", c, n, contract.MaxSigned)
	}
	return nil
}

// A Request is what an external signer is to sign.
type Request struct {
	Contract contract.Contract
	Digest   contract.Digest // SHA-256 of what is signed
}

// Requests are what is to be signed for some contracts, all if there are none.
func Requests(a *artefact.Artefact, contracts []contract.Contract) ([]Request, error) {
	if err := Check(a); err != nil {
		return nil, err
	}
	if len(contracts) == 0 {
		contracts = contract.All
	}
	var out []Request
	for _, c := range contracts {
		if err := checkSize(a, c); err != nil {
			return nil, err
		}
		out = append(out, Request{c, sha256.Sum256(c.Content(a.Insns, a.Blob))})
	}
	return out, nil
}

// Sign signs a loader program for some contracts, all if there are none. It replaces the
// signatures that the artefact has. The key may be any that signs SHA-256 digests: RSA with
// PKCS #1 v1.5, ECDSA P-256 or P-384. Nothing of the key is kept.
func Sign(a *artefact.Artefact, key crypto.Signer, cert *x509.Certificate, contracts ...contract.Contract) error {
	requests, err := Requests(a, contracts)
	if err != nil {
		return err
	}
	messages := make(map[contract.Contract][]byte)
	for _, r := range requests {
		if messages[r.Contract], err = Message(key, cert, r.Contract.Content(a.Insns, a.Blob)); err != nil {
			return err
		}
	}
	return attach(a, cert, messages)
}

// Attach takes back what an external signer has returned for each contract of Requests: CMS
// messages, or bare signatures. It verifies them before it replaces the signatures that the
// artefact has.
func Attach(a *artefact.Artefact, cert *x509.Certificate, returned map[contract.Contract][]byte) error {
	if err := Check(a); err != nil {
		return err
	}
	messages := make(map[contract.Contract][]byte)
	for c, data := range returned {
		if err := checkSize(a, c); err != nil {
			return err
		}
		signature := value(cert, data)
		m, err := message(cert, signature)
		if err != nil {
			return err
		}
		if err := Verify(m, cert, c.Content(a.Insns, a.Blob)); err != nil {
			return fmt.Errorf("signature for contract %s: %w", c, err)
		}
		messages[c] = m
	}
	return attach(a, cert, messages)
}

func attach(a *artefact.Artefact, cert *x509.Certificate, messages map[contract.Contract][]byte) error {
	if len(messages) == 0 {
		return errors.New("there is no contract to sign for")
	}
	signed := &artefact.Signatures{KeyID: bytes.Clone(cert.SubjectKeyId), Blob: sha256.Sum256(a.Blob)}
	for _, c := range contract.All {
		m, ok := messages[c]
		if !ok {
			continue
		}
		if len(m) > artefact.MaxCMS {
			return fmt.Errorf("signature for contract %s: %d bytes, and kernels read at most %d", c, len(m), artefact.MaxCMS)
		}
		signed.List = append(signed.List, artefact.Signature{Contract: c, Insns: sha256.Sum256(c.Insns(a.Insns, signed.Blob)), CMS: m})
	}
	a.Signed = signed
	return nil
}

// ErrUnsigned is the reason of an error about a loader program without signatures.
var ErrUnsigned = errors.New("it is not signed")

// A Result is what came of one signature.
type Result struct {
	Contract contract.Contract
	Err      error // nil if it verifies
}

// VerifyArtefact verifies each signature of a loader program offline, as a kernel does whose
// keyring has the certificate. The error is ErrUnsigned if it has none.
func VerifyArtefact(a *artefact.Artefact, cert *x509.Certificate) ([]Result, error) {
	if a.Signed == nil {
		return nil, ErrUnsigned
	}
	if _, err := checkCertificate(cert); err != nil {
		return nil, err
	}
	var out []Result
	for i := range a.Signed.List {
		s := &a.Signed.List[i]
		err := Verify(s.CMS, cert, s.Contract.Content(a.Insns, a.Blob))
		if errors.Is(err, ErrSignature) {
			if why := a.Changed(s); why != nil {
				err = why
			}
		}
		out = append(out, Result{s.Contract, err})
	}
	return out, nil
}
