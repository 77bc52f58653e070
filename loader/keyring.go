package loader

import (
	"github.com/bpfreplay/bpfreplay/internal/replay"
	"github.com/bpfreplay/bpfreplay/loader/keyring"
)

// Reasons of errors of a signed load, beside the errnos of the kernel: an option that would
// change what was signed, and a file without the signature that this kernel takes.
var (
	ErrSigned   = replay.ErrSigned
	ErrUnsigned = replay.ErrUnsigned
)

// Keyring is a keyring of this process with certificates that signed loads trust. Its ID's
// String is for LoadOptions.Keyring. It is gone after Close, and with the process.
type Keyring = keyring.Ring

// NewKeyring makes a keyring with certificates (X.509, DER).
func NewKeyring(certificates ...[]byte) (*Keyring, error) { return keyring.New(certificates...) }

// KeyringNames are the names, beside serials, that LoadOptions.Keyring takes.
func KeyringNames() []string { return keyring.Names() }
