package loader

import (
	"github.com/bpfreplay/bpfreplay/internal/replay"
	"github.com/bpfreplay/bpfreplay/loader/keyring"
)

// Errors of signed loads, beside the kernel's errnos.
var (
	// ErrSigned: an option would change what was signed.
	ErrSigned = replay.ErrSigned
	// ErrUnsigned: the file has no signature of the form that this kernel checks.
	ErrUnsigned = replay.ErrUnsigned
)

// Keyring is a keyring that this process made, with the certificates that its signed loads trust.
// Pass its ID's String as [LoadOptions.Keyring]. The kernel drops the keyring after Close, or when
// the process ends.
type Keyring = keyring.Ring

// NewKeyring makes a keyring that holds the given certificates (X.509, DER). The caller must Close
// it.
func NewKeyring(certificates ...[]byte) (*Keyring, error) { return keyring.New(certificates...) }

// KeyringNames returns the names of keyrings that [LoadOptions.Keyring] accepts beside serials.
func KeyringNames() []string { return keyring.Names() }
