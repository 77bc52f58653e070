package sign

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/need"
	"github.com/bpfreplay/bpfreplay/internal/testkey"
)

var content = []byte("instructions and a blob")

func keys(t *testing.T) map[string]testkey.Key {
	return map[string]testkey.Key{"RSA": testkey.RSA(t), "P-256": testkey.P256(t), "P-384": testkey.P384(t)}
}

// openssl signs with the openssl command and bpftool's flags, whose messages kernels are tested
// with.
func openssl(t *testing.T, key testkey.Key) []byte {
	t.Helper()
	dir := t.TempDir()
	k, c := key.Write(t, dir)
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	assert.NilError(t, os.WriteFile(in, content, 0o600))
	run(t, "openssl", "cms", "-sign", "-binary", "-in", in, "-signer", c, "-inkey", k, "-outform", "DER", "-out", out,
		"-md", "sha256", "-keyid", "-nocerts", "-noattr", "-nosmimecap")
	der, err := os.ReadFile(out)
	assert.NilError(t, err)
	return der
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	assert.NilError(t, err, "%s %s\n%s", name, strings.Join(args, " "), out)
	return string(out)
}

func TestMessageIsThatOfOpenSSL(t *testing.T) {
	need.Program(t, "openssl")
	for name, key := range keys(t) {
		t.Run(name, func(t *testing.T) {
			theirs := openssl(t, key)
			assert.NilError(t, Verify(theirs, key.Cert, content))
			ours, err := Message(key, key.Cert, content)
			assert.NilError(t, err)
			assert.NilError(t, Verify(ours, key.Cert, content))
			if name == "RSA" { // ECDSA signatures have a random part
				assert.Assert(t, bytes.Equal(ours, theirs), "%x\n%x", ours, theirs)
			}
			signer, err := parseMessage(theirs)
			assert.NilError(t, err)
			rebuilt, err := message(key.Cert, signer.Signature)
			assert.NilError(t, err)
			assert.Assert(t, bytes.Equal(rebuilt, theirs))

			dir := t.TempDir()
			_, c := key.Write(t, dir)
			in, sig := filepath.Join(dir, "in"), filepath.Join(dir, "sig")
			assert.NilError(t, os.WriteFile(in, content, 0o600))
			assert.NilError(t, os.WriteFile(sig, ours, 0o600))
			run(t, "openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", sig, "-content", in, "-certfile", c,
				"-nointern", "-noverify", "-out", filepath.Join(dir, "out"))
		})
	}
}

func TestVerifySaysWhatIsWrong(t *testing.T) {
	key, other := testkey.P256(t), testkey.P256(t)
	good, err := Message(key, key.Cert, content)
	assert.NilError(t, err)
	sameID := testkey.Certify(t, other.Signer, func(c *x509.Certificate) { c.SubjectKeyId = key.Cert.SubjectKeyId })
	rsaSameID := testkey.Certify(t, testkey.RSA(t).Signer, func(c *x509.Certificate) { c.SubjectKeyId = key.Cert.SubjectKeyId })
	tests := map[string]struct {
		der     []byte
		cert    *x509.Certificate
		content []byte
		want    error
	}{
		"other content":              {good, key.Cert, []byte("x"), ErrSignature},
		"other key":                  {good, other.Cert, content, ErrOtherKey},
		"other key of the same id":   {good, sameID.Cert, content, ErrSignature},
		"key of another kind":        {good, rsaSameID.Cert, content, ErrOtherKey},
		"nothing":                    {nil, key.Cert, content, ErrMessage},
		"junk":                       {make([]byte, 64), key.Cert, content, ErrMessage},
		"cut":                        {good[:len(good)-1], key.Cert, content, ErrMessage},
		"bytes behind it":            {append(bytes.Clone(good), 0), key.Cert, content, ErrMessage},
		"another version":            {bytes.Replace(good, []byte{2, 1, 3}, []byte{2, 1, 1}, 1), key.Cert, content, ErrMessage},
		"the certificate without id": {good, withoutID(t), content, ErrKey},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { assert.ErrorIs(t, Verify(tt.der, tt.cert, tt.content), tt.want) })
	}
	for i := range good {
		for _, bit := range []byte{1, 0x80} {
			bad := bytes.Clone(good)
			bad[i] ^= bit
			assert.Assert(t, Verify(bad, key.Cert, content) != nil, "byte %d ^ %#x", i, bit)
		}
	}
}

func withoutID(t *testing.T) *x509.Certificate {
	cert := *testkey.P256(t).Cert
	cert.SubjectKeyId = nil
	return &cert
}

func TestKeysThatKernelsDoNotTake(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	assert.NilError(t, err)
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	assert.NilError(t, err)
	for _, key := range []crypto.Signer{ed, p521} {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		assert.NilError(t, err)
		_, err = ParseKey(der)
		assert.ErrorIs(t, err, ErrKey)
	}
	a, b := testkey.P256(t), testkey.P256(t)
	_, err = Message(a, b.Cert, content)
	assert.ErrorIs(t, err, ErrKey)
	_, err = Message(a, withoutID(t), content)
	assert.ErrorContains(t, err, "subjectKeyIdentifier=hash")
}

func TestParseKey(t *testing.T) {
	r, e := testkey.RSA(t).Signer.(*rsa.PrivateKey), testkey.P256(t).Signer.(*ecdsa.PrivateKey)
	sec1, err := x509.MarshalECPrivateKey(e)
	assert.NilError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(e)
	assert.NilError(t, err)
	pkcs1 := x509.MarshalPKCS1PrivateKey(r)
	armoured := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	cert := testkey.RSA(t).Cert
	both := append(armoured("CERTIFICATE", cert.Raw), armoured("RSA PRIVATE KEY", pkcs1)...)
	for name, tt := range map[string]struct {
		data []byte
		want crypto.Signer
	}{
		"PKCS#8": {pkcs8, e}, "PKCS#8, PEM": {armoured("PRIVATE KEY", pkcs8), e},
		"SEC 1": {sec1, e}, "SEC 1, PEM": {armoured("EC PRIVATE KEY", sec1), e},
		"PKCS#1": {pkcs1, r}, "behind a certificate": {both, r},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseKey(tt.data)
			assert.NilError(t, err)
			assert.Assert(t, samePublicKey(got.Public(), tt.want.Public()))
		})
	}
	got, err := ParseCertificate(both)
	assert.NilError(t, err)
	assert.Assert(t, got.Equal(cert))

	secret := "hunter2hunter2"
	for name, data := range map[string][]byte{
		"nothing": nil, "text": []byte(secret), "a certificate": armoured("CERTIFICATE", cert.Raw),
		"encrypted": armoured("ENCRYPTED PRIVATE KEY", []byte(secret)), "damaged": armoured("PRIVATE KEY", []byte(secret)),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseKey(data)
			assert.Assert(t, err != nil)
			assert.Assert(t, !strings.Contains(err.Error(), secret), "%v", err)
		})
	}
}

func TestValueOfExternalSigners(t *testing.T) {
	for name, key := range keys(t) {
		t.Run(name, func(t *testing.T) {
			digest := sha256.Sum256(content)
			bare, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
			assert.NilError(t, err)
			forms := [][]byte{bare}
			cms, err := message(key.Cert, bare)
			assert.NilError(t, err)
			forms = append(forms, cms)
			if e, ok := key.Signer.(*ecdsa.PrivateKey); ok {
				r, s, err := ecdsa.Sign(rand.Reader, e, digest[:])
				assert.NilError(t, err)
				n := (e.Params().BitSize + 7) / 8
				forms = append(forms, append(r.FillBytes(make([]byte, n)), s.FillBytes(make([]byte, n))...))
			}
			for _, form := range forms {
				assert.NilError(t, verifyValue(key.Cert, value(key.Cert, form), content))
			}
		})
	}
}

func FuzzVerify(f *testing.F) {
	key := testkey.P256(f)
	good, err := Message(key, key.Cert, content)
	assert.NilError(f, err)
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Fuzz(func(t *testing.T, der []byte) {
		// A message that verifies has one encoding, except for the random part of the signature.
		if Verify(der, key.Cert, content) != nil {
			return
		}
		signer, err := parseMessage(der)
		assert.NilError(t, err)
		again, err := message(key.Cert, signer.Signature)
		assert.NilError(t, err)
		assert.Assert(t, bytes.Equal(again, der))
	})
}
