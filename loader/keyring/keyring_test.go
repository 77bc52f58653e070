package keyring

import (
	"errors"
	"math"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/internal/testkey"
)

func TestParse(t *testing.T) {
	for _, name := range Names() {
		id, err := Parse(name)
		assert.NilError(t, err)
		assert.Equal(t, id.String(), name)
	}
	for text, want := range map[string]ID{"3": 3, "0x10": 16, "2147483647": math.MaxInt32, "session": -3, "builtin": 0} {
		id, err := Parse(text)
		assert.NilError(t, err)
		assert.Equal(t, id, want)
		again, err := Parse(id.String())
		assert.NilError(t, err)
		assert.Equal(t, again, id)
	}
	// The kernel takes its own keyrings by number, and so would a slip of the pen.
	for _, text := range []string{"", "0", "1", "2", "-3", "2147483648", "99999999999999999999", "mine", "session "} {
		_, err := Parse(text)
		assert.ErrorContains(t, err, "keyring "+strconv.Quote(text)+": want a serial")
	}
}

// A ring exists for all threads, and is gone after Close.
func TestRing(t *testing.T) {
	cert := testkey.P256(t).Cert.Raw
	r, err := New(cert, cert)
	switch {
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM):
		t.Skipf("this kernel, or a filter of system calls, has no keyrings here: %v", err)
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENOPKG), errors.Is(err, unix.ENOENT):
		t.Skip(err)
	}
	assert.NilError(t, err)
	exists := make(chan bool)
	for range 4 {
		go func() { exists <- r.ID().Exists() }()
	}
	for range 4 {
		assert.Assert(t, <-exists)
	}
	r.Close()
	gone := !r.ID().Exists()
	assert.Assert(t, gone)
}

func TestRingOfNoCertificate(t *testing.T) {
	if r, err := New(); err != nil {
		t.Skip(err)
	} else {
		r.Close()
		r.Close() // does nothing
	}
	_, err := New([]byte("junk"))
	assert.ErrorContains(t, err, "add a certificate to a keyring")
}
