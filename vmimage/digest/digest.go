// Package digest checks files against their size and SHA-256.
package digest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
)

var sha256Form = regexp.MustCompile(`^[0-9a-f]{64}$`)

// IsSHA256 reports whether s is written as SHA-256 digests are here: 64 lower-case
// hexadecimal digits.
func IsSHA256(s string) bool { return sha256Form.MatchString(s) }

// ErrIntegrity means that a file does not match its signature or digest. No other source is tried
// then, because a person should look.
var ErrIntegrity = errors.New("integrity check failed")

// Digest is the expected size and SHA-256 of a file.
type Digest struct {
	SHA256 string // in hexadecimal
	Size   int64  // in bytes; 0 if it is not known
}

// Copy copies r to w and fails with [ErrIntegrity] unless size and digest are as wanted. It reads
// at most one byte more than the wanted size.
func Copy(w io.Writer, r io.Reader, want Digest) error {
	hash := sha256.New()
	if want.Size > 0 {
		r = io.LimitReader(r, want.Size+1)
	}
	n, err := io.Copy(io.MultiWriter(w, hash), r)
	if errors.Is(err, io.ErrUnexpectedEOF) || err == nil && n < want.Size {
		return fmt.Errorf("short read: %d of %d bytes", n, want.Size)
	}
	if err != nil {
		return err
	}
	if want.Size > 0 && n > want.Size {
		return fmt.Errorf("%w: it is larger than the %d bytes that it must have", ErrIntegrity, want.Size)
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != want.SHA256 {
		return fmt.Errorf("%w: its SHA-256 is %s, it must be %s", ErrIntegrity, got, want.SHA256)
	}
	return nil
}

// OfFile returns the SHA-256 of a file in hexadecimal.
func OfFile(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}
