// Package keyring names the kernel's keyrings, and makes one for a process that has
// certificates and wants loader programs verified by them.
//
// # Threads
//
// Session, process and thread keyrings belong to threads, and a goroutine runs on any. A key
// that one goroutine has added to the "session" keyring may be in a keyring that the thread
// of the next system call does not have: the first add_key(2) to it gives the calling thread
// a session keyring of its own. A serial means the same keyring on every thread. So a Ring
// is used by its serial, and a user of a keyring by name makes no key of its own.
package keyring

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ID is a keyring as PROG_LOAD's keyring_id has it: a serial, or one of the special numbers.
type ID int32

// names are the special numbers, in the order in which Names has them.
var names = []struct {
	name string
	id   ID
}{
	{"builtin", 0}, // of the kernel's build
	{"secondary", 1},
	{"platform", 2},
	{"session", unix.KEY_SPEC_SESSION_KEYRING},
	{"user", unix.KEY_SPEC_USER_KEYRING},
	{"user-session", unix.KEY_SPEC_USER_SESSION_KEYRING},
	{"process", unix.KEY_SPEC_PROCESS_KEYRING},
	{"thread", unix.KEY_SPEC_THREAD_KEYRING},
}

// Names are the names that Parse knows.
func Names() []string {
	var out []string
	for _, n := range names {
		out = append(out, n.name)
	}
	return out
}

// Parse reads a keyring's name, or its serial as keyctl(1) prints it.
func Parse(text string) (ID, error) {
	for _, n := range names {
		if text == n.name {
			return n.id, nil
		}
	}
	n, err := strconv.ParseInt(text, 0, 64)
	if err != nil || n <= 2 || n > math.MaxInt32 {
		return 0, fmt.Errorf("keyring %q: want a serial (keyctl show prints it), or %s", text, strings.Join(Names(), ", "))
	}
	return ID(n), nil
}

// String is what Parse reads.
func (id ID) String() string {
	for _, n := range names {
		if id == n.id {
			return n.name
		}
	}
	return strconv.Itoa(int(id))
}

// Exists reports whether there is such a keyring for the calling thread. It creates none.
func (id ID) Exists() bool {
	if id >= 0 && id <= 2 {
		return true // the kernel's own
	}
	if id < 0 {
		_, err := unix.KeyctlGetKeyringID(int(id), false)
		return err == nil
	}
	what, err := unix.KeyctlString(unix.KEYCTL_DESCRIBE, int(id))
	return err != nil && !errors.Is(err, unix.ENOKEY) || strings.HasPrefix(what, "keyring;")
}

// A Ring is a keyring that this process has made. It is gone with the process at the latest.
type Ring struct {
	id    ID
	close chan struct{}
	done  chan struct{}
}

// New makes a keyring that holds certificates (X.509, DER). It belongs to a thread that does
// nothing else: the kernel drops it when that thread ends.
func New(certificates ...[]byte) (*Ring, error) {
	r := &Ring{close: make(chan struct{}), done: make(chan struct{})}
	made := make(chan error)
	go r.hold(certificates, made)
	if err := <-made; err != nil {
		<-r.done
		return nil, err
	}
	return r, nil
}

func (r *Ring) hold(certificates [][]byte, made chan<- error) {
	defer close(r.done)
	runtime.LockOSThread() // for good: the thread ends with this goroutine
	serial, err := unix.AddKey("keyring", "bpfreplay", nil, unix.KEY_SPEC_THREAD_KEYRING)
	if err != nil {
		made <- fmt.Errorf("make a keyring: %w", err)
		return
	}
	// At once: what is unlinked goes later, and the main thread does not end before the process.
	defer unix.KeyctlInt(unix.KEYCTL_INVALIDATE, serial, 0, 0, 0)
	for i, cert := range certificates {
		if err := Add(ID(serial), fmt.Sprintf("bpfreplay:%d", i), cert); err != nil {
			made <- err
			return
		}
	}
	r.id = ID(serial)
	made <- nil
	<-r.close
}

// Add adds a certificate (X.509, DER) to a keyring, under a description that replaces a key of the
// same one.
func Add(ring ID, description string, certificate []byte) error {
	if _, err := unix.AddKey("asymmetric", description, certificate, int(ring)); err != nil {
		return fmt.Errorf("add a certificate to a keyring: %w", explain(err))
	}
	return nil
}

func explain(err error) error {
	switch {
	case errors.Is(err, unix.ENOPKG), errors.Is(err, unix.ENOENT):
		return fmt.Errorf("this kernel lacks an algorithm that it uses: %w", err)
	case errors.Is(err, unix.EBADMSG):
		return fmt.Errorf("it is no X.509 certificate: %w", err)
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("this kernel has no keys of type asymmetric: %w", err)
	}
	return err
}

// ID is the keyring's serial, which means the same on all threads.
func (r *Ring) ID() ID { return r.id }

// Close drops the keyring.
func (r *Ring) Close() {
	close(r.close)
	<-r.done
}
