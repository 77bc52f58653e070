package sign

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
)

// A signature is a CMS SignedData (RFC 5652) in the one form that all kernels accept and that
// bpftool writes: version 3, SHA-256, no content, no certificates, and one signer without
// attributes, identified by the certificate's subject key identifier.
type (
	contentInfo struct {
		Type    asn1.ObjectIdentifier
		Content signedData `asn1:"explicit,tag:0"`
	}
	signedData struct {
		Version          int
		DigestAlgorithms []pkix.AlgorithmIdentifier `asn1:"set"`
		Content          struct{ Type asn1.ObjectIdentifier }
		Signers          []signerInfo `asn1:"set"`
	}
	signerInfo struct {
		Version            int
		KeyID              []byte `asn1:"tag:0"`
		DigestAlgorithm    pkix.AlgorithmIdentifier
		SignatureAlgorithm pkix.AlgorithmIdentifier
		Signature          []byte
	}
)

var (
	oidData            = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidSignedData      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidRSA             = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1} // not sha256WithRSA: ENOPKG
	oidECDSAWithSHA256 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}

	algorithmSHA256 = pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}}
	algorithmRSA    = pkix.AlgorithmIdentifier{Algorithm: oidRSA, Parameters: asn1.NullRawValue}
	algorithmECDSA  = pkix.AlgorithmIdentifier{Algorithm: oidECDSAWithSHA256}
)

// ErrKey is wrapped by errors about keys and certificates that kernels do not accept.
var ErrKey = errors.New("kernels do not take this key")

// algorithm returns the signature algorithm of a key.
func algorithm(key crypto.PublicKey) (pkix.AlgorithmIdentifier, error) {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n < 2048 || n > 4096 {
			return pkix.AlgorithmIdentifier{}, fmt.Errorf("%w: RSA with %d bits: use 2048 to 4096", ErrKey, n)
		}
		return algorithmRSA, nil
	case *ecdsa.PublicKey:
		if name := key.Params().Name; name != "P-256" && name != "P-384" {
			return pkix.AlgorithmIdentifier{}, fmt.Errorf("%w: curve %s: use P-256 or P-384", ErrKey, name)
		}
		return algorithmECDSA, nil
	}
	return pkix.AlgorithmIdentifier{}, fmt.Errorf("%w: %T: use RSA, ECDSA P-256 or P-384", ErrKey, key)
}

// checkCertificate checks that kernels accept a certificate, and can find it by its key id.
func checkCertificate(cert *x509.Certificate) (pkix.AlgorithmIdentifier, error) {
	if n := len(cert.SubjectKeyId); n == 0 || n > 255 {
		return pkix.AlgorithmIdentifier{}, fmt.Errorf("%w: the certificate has no subject key identifier, by which kernels find it: make one with subjectKeyIdentifier=hash", ErrKey)
	}
	return algorithm(cert.PublicKey)
}

// message returns the CMS message that holds a signature made with the certificate's key.
func message(cert *x509.Certificate, signature []byte) ([]byte, error) {
	alg, err := checkCertificate(cert)
	if err != nil {
		return nil, err
	}
	info := contentInfo{Type: oidSignedData, Content: signedData{
		Version: 3, DigestAlgorithms: []pkix.AlgorithmIdentifier{algorithmSHA256},
		Signers: []signerInfo{{Version: 3, KeyID: cert.SubjectKeyId, DigestAlgorithm: algorithmSHA256, SignatureAlgorithm: alg, Signature: signature}},
	}}
	info.Content.Content.Type = oidData
	return asn1.Marshal(info)
}

// Message signs content and returns the CMS message in DER. The key may be one that only signs,
// such as a token or a service. The certificate must belong to the key.
func Message(key crypto.Signer, cert *x509.Certificate, content []byte) ([]byte, error) {
	if _, err := checkCertificate(cert); err != nil {
		return nil, err
	}
	if !samePublicKey(key.Public(), cert.PublicKey) {
		return nil, fmt.Errorf("%w: it is not that of the certificate", ErrKey)
	}
	digest := sha256.Sum256(content)
	signature, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return message(cert, signature)
}

func samePublicKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// Reasons why a signature does not verify.
var (
	ErrMessage   = errors.New("it is no CMS message of the form that kernels take")
	ErrOtherKey  = errors.New("it was made with another key")
	ErrSignature = errors.New("it does not fit: it was changed, or made for something else, or by another key with the same identifier")
)

// parseMessage reads a CMS message in the form that Message writes.
func parseMessage(der []byte) (*signerInfo, error) {
	var info contentInfo
	rest, err := asn1.Unmarshal(der, &info)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	case len(rest) > 0:
		return nil, fmt.Errorf("%w: %d bytes follow it", ErrMessage, len(rest))
	}
	data := &info.Content
	if len(data.Signers) != 1 {
		return nil, fmt.Errorf("%w: %d signers", ErrMessage, len(data.Signers))
	}
	signer := &data.Signers[0]
	alg := signer.SignatureAlgorithm.Algorithm
	if !alg.Equal(oidRSA) && !alg.Equal(oidECDSAWithSHA256) {
		return nil, fmt.Errorf("%w: algorithm %s", ErrMessage, alg)
	}
	// Everything but the signer's id and signature has exactly one valid encoding.
	want := contentInfo{Type: oidSignedData, Content: signedData{
		Version: 3, DigestAlgorithms: []pkix.AlgorithmIdentifier{algorithmSHA256},
		Signers: []signerInfo{{Version: 3, KeyID: signer.KeyID, DigestAlgorithm: algorithmSHA256, SignatureAlgorithm: algorithmECDSA, Signature: signer.Signature}},
	}}
	want.Content.Content.Type = oidData
	if alg.Equal(oidRSA) {
		want.Content.Signers[0].SignatureAlgorithm = algorithmRSA
	}
	if again, err := asn1.Marshal(want); err != nil || !bytes.Equal(again, der) {
		return nil, fmt.Errorf("%w: it has other parts than a signer without attributes", ErrMessage)
	}
	return signer, nil
}

// Verify verifies a CMS message in the form that [Message] and bpftool write. The error wraps
// [ErrMessage], [ErrOtherKey] or [ErrSignature], or [ErrKey] if kernels do not accept the
// certificate.
func Verify(der []byte, cert *x509.Certificate, content []byte) error {
	alg, err := checkCertificate(cert)
	if err != nil {
		return err
	}
	signer, err := parseMessage(der)
	if err != nil {
		return err
	}
	if !bytes.Equal(signer.KeyID, cert.SubjectKeyId) {
		return fmt.Errorf("%w: %x, not %x", ErrOtherKey, signer.KeyID, cert.SubjectKeyId)
	}
	if !alg.Algorithm.Equal(signer.SignatureAlgorithm.Algorithm) {
		return fmt.Errorf("%w: one of another kind, with the same identifier", ErrOtherKey)
	}
	return verifyValue(cert, signer.Signature, content)
}

// verifyValue verifies the bare signature.
func verifyValue(cert *x509.Certificate, signature, content []byte) error {
	digest := sha256.Sum256(content)
	ok := false
	switch key := cert.PublicKey.(type) {
	case *rsa.PublicKey:
		ok = rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) == nil
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(key, digest[:], signature)
	}
	if !ok {
		return ErrSignature
	}
	return nil
}

// value finds the bare signature in an external signer's answer: a CMS message, an RSA signature,
// or an ECDSA signature, either in DER or as two numbers of equal size, as in PKCS#11.
func value(cert *x509.Certificate, returned []byte) []byte {
	if signer, err := parseMessage(returned); err == nil {
		return signer.Signature
	}
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if size := 0; ok {
		size = (key.Params().BitSize + 7) / 8
		if len(returned) == 2*size && !isDERPair(returned) {
			pair := struct{ R, S *big.Int }{new(big.Int).SetBytes(returned[:size]), new(big.Int).SetBytes(returned[size:])}
			if der, err := asn1.Marshal(pair); err == nil {
				return der
			}
		}
	}
	return returned
}

func isDERPair(b []byte) bool {
	var pair struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(b, &pair)
	return err == nil && len(rest) == 0
}
