package engine

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"sync"

	"github.com/bpfreplay/bpfreplay/harness/state"
	"github.com/bpfreplay/bpfreplay/internal/replay"
	"github.com/bpfreplay/bpfreplay/internal/target"
	"github.com/bpfreplay/bpfreplay/loader/keyring"
	"github.com/bpfreplay/bpfreplay/loader/sign"
)

// signed runs a loader program that it has signed: what gen writes and sign adds to. The
// kernel verifies it.
type signed struct{}

func (signed) Name() string { return state.EngineSigned }

// runKey is the key of this process: a guest's, or a command's. It is written nowhere.
var runKey = sync.OnceValues(func() (*keyOfRun, error) {
	key, cert, err := sign.NewKey("bpfreplay, engine signed")
	if err != nil {
		return nil, err
	}
	return &keyOfRun{key: key, cert: cert}, nil
})

type keyOfRun struct {
	key  crypto.Signer
	cert *x509.Certificate
	once sync.Once
	ring *keyring.Ring
	err  error
}

// keyring makes the keyring with the certificate. It stays until the process ends.
func (k *keyOfRun) keyring() (string, error) {
	k.once.Do(func() { k.ring, k.err = keyring.New(k.cert.Raw) })
	if k.err != nil {
		return "", fmt.Errorf("%w: %w", ErrTrouble, k.err)
	}
	return k.ring.ID().String(), nil
}

func (signed) Open(obj Object) (Load, error) {
	obj.Mutate = nil // as the engine that a mutation is for is compared with others
	a, err := generate(&obj)
	if err != nil {
		return nil, err
	}
	if err := sign.Check(a); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCannot, err)
	}
	k, err := runKey()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTrouble, err)
	}
	if err := sign.Sign(a, k.key, k.cert); err != nil {
		return nil, err
	}
	if a, err = reread(a); err != nil {
		return nil, err
	}
	return &signedLoad{replayedLoad{a, nil}, k}, nil
}

type signedLoad struct {
	replayedLoad
	key *keyOfRun
}

func (l *signedLoad) Needs() []string { return append(l.replayedLoad.Needs(), target.NeedSigned) }

// Warm finds the kernel's contract and makes the keyring, so that neither is timed with the
// first load.
func (l *signedLoad) Warm(tg *target.Target) error {
	if _, err := tg.Contract(); err != nil {
		return err
	}
	_, err := l.key.keyring()
	return err
}

func (l *signedLoad) Do(tg *target.Target) (*Loaded, error) {
	if err := l.Warm(tg); err != nil {
		return nil, err
	}
	ring, err := l.key.keyring()
	if err != nil {
		return nil, err
	}
	return l.load(state.EngineSigned, replay.Options{Target: tg, Keyring: ring})
}
