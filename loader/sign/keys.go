package sign

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxKeyFile is the largest accepted size in bytes of a key or certificate file.
const maxKeyFile = 1 << 20

// ReadKey reads a private key: PKCS#8, PKCS#1 or SEC 1, in PEM or DER. A PEM file may also hold a
// certificate. exposed reports whether group or others have any permission on the file. Errors
// reveal nothing of the file's content.
func ReadKey(path string) (key crypto.Signer, exposed bool, err error) {
	data, mode, err := readKeyFile(path)
	if err != nil {
		return nil, false, fmt.Errorf("key: %w", err)
	}
	key, err = ParseKey(data)
	clear(data)
	if err != nil {
		return nil, false, fmt.Errorf("key %s: %w", path, err)
	}
	return key, mode.Perm()&0o077 != 0, nil
}

func readKeyFile(path string) ([]byte, os.FileMode, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err == nil && len(data) > maxKeyFile {
		err = fmt.Errorf("%s: more than %d bytes: it is no key and no certificate", path, maxKeyFile)
	}
	mode := st.Mode()
	if !mode.IsRegular() {
		mode = 0 // a pipe, for example from a password manager, has no other readers
	}
	return data, mode, err
}

// ParseKey reads a private key from the content of a file, in the formats of [ReadKey].
func ParseKey(data []byte) (crypto.Signer, error) {
	der := data
	if bytes.Contains(data, []byte("-----BEGIN")) {
		der = nil
		for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
			switch block.Type {
			case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY":
				if block.Headers["DEK-Info"] != "" {
					return nil, errEncrypted
				}
				der = block.Bytes
			case "ENCRYPTED PRIVATE KEY":
				return nil, errEncrypted
			}
			if der != nil {
				break
			}
		}
		if der == nil {
			return nil, errors.New("it holds no private key in PEM")
		}
	}
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		signer, ok := key.(crypto.Signer)
		if !ok {
			return nil, fmt.Errorf("%w: it cannot sign", ErrKey)
		}
		_, err := algorithm(signer.Public())
		return signer, err
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		_, err := algorithm(key.Public())
		return key, err
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		_, err := algorithm(key.Public())
		return key, err
	}
	return nil, errors.New("it is no private key in PKCS#8, PKCS#1 or SEC 1")
}

var errEncrypted = errors.New("it is encrypted: decrypt it into a pipe, --key <(openssl pkey -in KEY), or sign with --detached")

// ReadCertificate reads an X.509 certificate in PEM or DER. Of several in a file it returns the
// first.
func ReadCertificate(path string) (*x509.Certificate, error) {
	data, _, err := readKeyFile(path)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	cert, err := ParseCertificate(data)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", path, err)
	}
	return cert, nil
}

// ParseCertificate reads an X.509 certificate from the content of a file, in the formats of
// [ReadCertificate].
func ParseCertificate(data []byte) (*x509.Certificate, error) {
	if !bytes.Contains(data, []byte("-----BEGIN")) {
		return x509.ParseCertificate(data)
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			return x509.ParseCertificate(block.Bytes)
		}
	}
	return nil, errors.New("it holds no certificate in PEM")
}
