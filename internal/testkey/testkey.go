// Package testkey makes keys and certificates for tests.
package testkey

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"gotest.tools/v3/assert"
)

// A Key is a private key with its self-signed certificate.
type Key struct {
	crypto.Signer
	Cert *x509.Certificate
}

var rsa2048 = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// RSA returns a key that all tests of a process share, because generating one takes seconds in a
// guest.
func RSA(t testing.TB) Key {
	t.Helper()
	key, err := rsa2048()
	assert.NilError(t, err)
	return Certify(t, key, nil)
}

// P256 returns a new key.
func P256(t testing.TB) Key { return ec(t, elliptic.P256()) }

// P384 returns a new key.
func P384(t testing.TB) Key { return ec(t, elliptic.P384()) }

func ec(t testing.TB, curve elliptic.Curve) Key {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	assert.NilError(t, err)
	return Certify(t, key, nil)
}

// Certify makes a certificate for a key. edit may change it before it is signed.
func Certify(t testing.TB, key crypto.Signer, edit func(*x509.Certificate)) Key {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bpfreplay test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, SubjectKeyId: make([]byte, 20), BasicConstraintsValid: true,
		SignatureAlgorithm: x509.SHA256WithRSA,
	}
	if _, ok := key.(*ecdsa.PrivateKey); ok {
		template.SignatureAlgorithm = x509.ECDSAWithSHA256 // some kernels have SHA-384 as a module
	}
	_, err := rand.Read(template.SubjectKeyId)
	assert.NilError(t, err)
	if edit != nil {
		edit(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	assert.NilError(t, err)
	cert, err := x509.ParseCertificate(der)
	assert.NilError(t, err)
	return Key{key, cert}
}

// Write writes key.pem (0600) and cert.pem into a directory and returns their paths.
func (k Key) Write(t testing.TB, dir string) (key, cert string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(k.Signer)
	assert.NilError(t, err)
	key, cert = filepath.Join(dir, "key.pem"), filepath.Join(dir, "cert.pem")
	assert.NilError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	assert.NilError(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: k.Cert.Raw}), 0o644))
	return key, cert
}
