package artefact

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/golden"

	"github.com/bpfreplay/bpfreplay/loader/contract"
)

func small() *Artefact {
	return &Artefact{Object: "small", License: "GPL", Insns: make([]byte, 16), Blob: make([]byte, 8), Context: ctxHeader}
}

func signed() *Artefact {
	a := small()
	a.Signed = &Signatures{KeyID: []byte{1, 2, 0xff}, Blob: sha256.Sum256(a.Blob)}
	for _, c := range contract.All {
		a.Signed.List = append(a.Signed.List, Signature{c, sha256.Sum256(c.Insns(a.Insns, a.Signed.Blob)), []byte("signature " + c)})
	}
	return a
}

func TestSignedFile(t *testing.T) {
	file := marshal(t, signed())
	a, err := Parse(file)
	assert.NilError(t, err)
	assert.DeepEqual(t, a.Signed, signed().Signed)
	assert.Assert(t, bytes.Equal(marshal(t, a), file))
	section, err := a.Signed.marshal()
	assert.NilError(t, err)
	golden.AssertBytes(t, section, "signatures.golden.json")

	// Signing leaves the other sections as they are.
	plain := marshal(t, small())
	a, err = Parse(plain)
	assert.NilError(t, err)
	assert.Assert(t, a.Signed == nil)
	sections, err := split(file)
	assert.NilError(t, err)
	unsigned, err := split(plain)
	assert.NilError(t, err)
	for kind, data := range unsigned {
		assert.Assert(t, bytes.Equal(data, sections[kind]), "section of kind %d", kind)
	}
}

func TestChanged(t *testing.T) {
	a := signed()
	for i := range a.Signed.List {
		assert.NilError(t, a.Changed(&a.Signed.List[i]))
	}
	a.Insns[3] = 1
	assert.ErrorIs(t, a.Changed(a.Signed.For(contract.AMarker)), ErrInsnsChanged)
	a.Blob[3] = 1
	assert.ErrorIs(t, a.Changed(a.Signed.For(contract.AMarker)), ErrBlobChanged)
}

func TestDamagedSignatures(t *testing.T) {
	for name, change := range map[string]func(s *Signatures){
		"no key id":        func(s *Signatures) { s.KeyID = nil },
		"a long key id":    func(s *Signatures) { s.KeyID = make([]byte, maxKeyID+1) },
		"none":             func(s *Signatures) { s.List = nil },
		"unknown contract": func(s *Signatures) { s.List[0].Contract = "c" },
		"one twice":        func(s *Signatures) { s.List[1].Contract = s.List[0].Contract },
		"empty":            func(s *Signatures) { s.List[2].CMS = nil },
		"too long":         func(s *Signatures) { s.List[2].CMS = make([]byte, MaxCMS+1) },
	} {
		t.Run(name, func(t *testing.T) {
			a := signed()
			change(a.Signed)
			_, err := Parse(marshal(t, a))
			assert.ErrorIs(t, err, ErrFormat)
		})
	}
	good, err := signed().Signed.marshal()
	assert.NilError(t, err)
	for name, text := range map[string]string{
		"not JSON":            "x",
		"something behind it": string(good) + "{}",
		"an unknown field":    strings.Replace(string(good), `"key_id"`, `"key"`, 1),
		"a short digest":      strings.Replace(string(good), `"blob_sha256": "`, `"blob_sha256": "", "blob_sha256": "00`, 1),
		"a null":              "null",
		"a list":              "[]",
	} {
		t.Run(name, func(t *testing.T) {
			var a Artefact
			err := parseJSON("signatures", []byte(text), a.parseSignatures)
			assert.ErrorIs(t, err, ErrFormat)
		})
	}
	var a Artefact
	assert.NilError(t, parseJSON("signatures", good, a.parseSignatures))
}

// FuzzSignatures: signatures that Parse accepts are the same after writing and reading again.
func FuzzSignatures(f *testing.F) {
	f.Add(marshal(f, small()))
	f.Add(marshal(f, signed()))
	f.Fuzz(func(t *testing.T, file []byte) {
		a, err := Parse(file)
		if err != nil {
			return
		}
		again, err := a.MarshalBinary()
		assert.NilError(t, err)
		b, err := Parse(again)
		assert.NilError(t, err)
		for _, x := range []*Artefact{a, b} {
			if x.Signed == nil {
				continue
			}
			for i := range x.Signed.List {
				_ = x.Changed(&x.Signed.List[i])
			}
		}
		x, err := json.Marshal(a.Signed)
		assert.NilError(t, err)
		y, err := json.Marshal(b.Signed)
		assert.NilError(t, err)
		assert.Equal(t, string(x), string(y))
	})
}
