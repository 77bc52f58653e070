// Package keyring names the kernel's keyrings, and makes new ones: a process that has certificates
// puts them into a [Ring] and has the kernel verify signed loader programs with them.
//
// # Threads
//
// Session, process and thread keyrings belong to threads, but a goroutine moves between threads.
// The first add_key(2) to the session keyring can give the calling thread a session keyring of its
// own. A key that a goroutine adds to "session" may therefore be missing on the thread that makes
// its next system call. A serial means the same keyring on every thread, so pass a Ring by its
// serial, and use the names only for keyrings whose keys somebody else added.
package keyring

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// ID identifies a keyring as keyring_id of PROG_LOAD does: by a serial, or by one of the kernel's
// special numbers. The zero ID is the builtin keyring.
type ID int32

// names are the special numbers, in the order of Names.
var names = []struct {
	name string
	id   ID
}{
	{"builtin", 0}, // the certificates of the kernel's build
	{"secondary", 1},
	{"platform", 2},
	{"session", unix.KEY_SPEC_SESSION_KEYRING},
	{"user", unix.KEY_SPEC_USER_KEYRING},
	{"user-session", unix.KEY_SPEC_USER_SESSION_KEYRING},
	{"process", unix.KEY_SPEC_PROCESS_KEYRING},
	{"thread", unix.KEY_SPEC_THREAD_KEYRING},
}

// Names returns the names that Parse accepts.
func Names() []string {
	var out []string
	for _, n := range names {
		out = append(out, n.name)
	}
	return out
}

// Parse reads a keyring's name, or its serial as keyctl(1) prints it. It does not accept the
// special numbers themselves.
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

// String returns the name, or the serial in decimal. Parse accepts both.
func (id ID) String() string {
	for _, n := range names {
		if id == n.id {
			return n.name
		}
	}
	return strconv.Itoa(int(id))
}

// Exists reports whether the calling thread has such a keyring. It creates none.
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

// Ring is a keyring that this process made. The kernel drops it after Close, or when the process
// ends.
type Ring struct {
	id    ID
	close func() // lets the thread end
	done  chan struct{}
}

// New makes a keyring that holds certificates (X.509, DER). A thread of its own keeps the keyring
// alive until Close.
func New(certificates ...[]byte) (*Ring, error) {
	ended, made := make(chan struct{}), make(chan error)
	r := &Ring{close: sync.OnceFunc(func() { close(ended) }), done: make(chan struct{})}
	go r.hold(certificates, made, ended)
	if err := <-made; err != nil {
		<-r.done
		return nil, err
	}
	return r, nil
}

func (r *Ring) hold(certificates [][]byte, made chan<- error, ended <-chan struct{}) {
	defer close(r.done)
	runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
	serial, err := unix.AddKey("keyring", "bpfreplay", nil, unix.KEY_SPEC_THREAD_KEYRING)
	if err != nil {
		made <- fmt.Errorf("make a keyring: %w", err)
		return
	}
	// Invalidate the keyring now. The kernel collects unlinked keyrings later, and if this is the
	// main thread, it lives as long as the process.
	defer unix.KeyctlInt(unix.KEYCTL_INVALIDATE, serial, 0, 0, 0)
	for i, cert := range certificates {
		if err := Add(ID(serial), fmt.Sprintf("bpfreplay:%d", i), cert); err != nil {
			made <- err
			return
		}
	}
	r.id = ID(serial)
	made <- nil
	<-ended
}

// Add adds a certificate (X.509, DER) to a keyring. It replaces a key of the same description.
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

// ID returns the keyring's serial, which every thread can use.
func (r *Ring) ID() ID { return r.id }

// Close drops the keyring and ends its thread. Further calls do nothing.
func (r *Ring) Close() {
	r.close()
	<-r.done
}
