package engine

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"sync"

	"github.com/bpfreplay/bpfreplay/harness/enginename"
	"github.com/bpfreplay/bpfreplay/internal/replay"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/loader/artefact"
	"github.com/bpfreplay/bpfreplay/loader/keyring"
	"github.com/bpfreplay/bpfreplay/loader/sign"
)

// signed is the engine that runs a loader program which it has signed, with the bytes that gen and
// sign write. The kernel verifies it.
type signed struct{}

func (signed) Name() string { return enginename.Signed }

// runKey returns the key of this process. It is never written to a file.
var runKey = sync.OnceValues(func() (*keyOfRun, error) {
	key, cert, err := sign.NewKey("bpfreplay, engine signed")
	if err != nil {
		return nil, err
	}
	return &keyOfRun{key, cert, trusting(cert.Raw)}, nil
})

type keyOfRun struct {
	key  crypto.Signer
	cert *x509.Certificate
	ring keyringFunc
}

// keyringFunc returns a keyring. It is created on first use, and exists until the process ends.
type keyringFunc func() (string, error)

// trusting returns a keyring with certificates.
func trusting(certs ...[]byte) keyringFunc {
	return sync.OnceValues(func() (string, error) {
		ring, err := keyring.New(certs...)
		if err != nil {
			return "", fmt.Errorf("%w: %w", ErrEngine, err)
		}
		return ring.ID().String(), nil
	})
}

func (signed) Open(obj Object) (Load, error) {
	if artefact.IsArtefact(obj.Data) {
		a, err := artefact.Parse(obj.Data)
		return &signedLoad{replayedLoad{a, nil}, trusting(obj.Certs...)}, err
	}
	a, err := generate(&obj)
	if err != nil {
		return nil, err
	}
	if err := sign.Check(a); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCannot, err)
	}
	k, err := runKey()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEngine, err)
	}
	if err := sign.Sign(a, k.key, k.cert); err != nil {
		return nil, err
	}
	if a, err = reread(a); err != nil {
		return nil, err
	}
	return &signedLoad{replayedLoad{a, nil}, k.ring}, nil
}

type signedLoad struct {
	replayedLoad
	ring keyringFunc
}

func (l *signedLoad) Needs() []string { return append(l.replayedLoad.Needs(), target.NeedSigned) }

// Warm determines the kernel's contract and creates the keyring, so that the first load's time does
// not include either.
func (l *signedLoad) Warm(tg *target.Target) error {
	if _, err := tg.Contract(); err != nil {
		return err
	}
	_, err := l.ring()
	return err
}

func (l *signedLoad) Do(tg *target.Target) (*Loaded, error) {
	if err := l.Warm(tg); err != nil {
		return nil, err
	}
	ring, err := l.ring()
	if err != nil {
		return nil, err
	}
	return l.load(enginename.Signed, replay.Options{Target: tg, Keyring: ring})
}
