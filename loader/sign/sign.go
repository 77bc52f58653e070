package sign

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/bpfreplay/bpfreplay/loader/artefact"
	"github.com/bpfreplay/bpfreplay/loader/contract"
)

// ErrUnsignable is wrapped by errors about loader programs whose signature would not cover all that
// they do.
var ErrUnsignable = errors.New("a signature would not cover it")

// Check reports whether a loader program can be signed: nil if so. Otherwise the error names each
// input that the signature does not cover and that the program's caller could change.
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
			// The loader program checks the bounds.
		case "mismatch":
			// Both outcomes are signed: the code with the kfunc, and the code without it.
		case "value_size":
			// The kernel refuses any size but its type's.
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

// checkSize checks that the loader program fits into what a kernel of the contract verifies.
func checkSize(a *artefact.Artefact, c contract.Contract) error {
	if n := len(a.Insns) + len(a.Blob); c == contract.B && n > contract.MaxSigned {
		return fmt.Errorf("contract %s: instructions and blob have %d bytes, and the kernel verifies at most %d: leave this contract out with --contract", c, n, contract.MaxSigned)
	}
	return nil
}

// A Request is a digest for an external signer to sign.
type Request struct {
	Contract contract.Contract
	Digest   contract.Digest // SHA-256 of what is signed
}

// Requests returns what an external signer has to sign, one request a contract. No contracts means
// all.
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

// Sign signs a loader program for the given contracts, or for all if there are none, and replaces
// the artefact's signatures. The key may be any that signs SHA-256 digests: RSA with PKCS #1 v1.5,
// ECDSA P-256 or P-384. Sign keeps no copy of it.
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

// Attach stores the answers of an external signer to [Requests], by contract: CMS messages or bare
// signatures. It verifies all of them, then replaces the artefact's signatures.
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

// ErrUnsigned is returned for a loader program without signatures.
var ErrUnsigned = errors.New("it is not signed")

// A Result is the outcome of verifying one signature.
type Result struct {
	Contract contract.Contract
	Err      error // nil if it verifies
}

// VerifyArtefact verifies each signature of a loader program offline, as a kernel would that has
// the certificate in its keyring. The error is [ErrUnsigned] if there is no signature.
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
