package guest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bpfreplay/bpfreplay/harness/vm"
	"github.com/bpfreplay/bpfreplay/harness/wire"
	"github.com/bpfreplay/bpfreplay/internal/failures"
	"github.com/bpfreplay/bpfreplay/vmimage"
)

// Source is where guests of one kind come from. They are copies of one that was
// booted, made ready and saved, by this run or by an earlier one; where that cannot
// be had they are booted. It may be used by several goroutines.
type Source struct {
	Config
	Initramfs vmimage.Initramfs
	Initrd    string // where to put it; if empty, in memory
	Ready     wire.Ready

	mu     sync.Mutex
	booted bool // guests are booted: none can be saved
	made   bool // initrd is there
	memory *os.File
	key    string // of the saved guest
	dir    string // of the saved guest, empty as long as it is not known
	again  bool   // it was made anew, because it did not restore
	// verify is verifySaved, but in tests.
	verify func(ctx context.Context, config vm.Config, dir string) error
	saving time.Duration
}

// cold reports whether guests are booted.
func (s *Source) cold() bool { return s.booted || s.Cold || s.Debugger != nil || len(s.QEMUArgs) > 0 }

// Saving is how long it took to save the guest that others are copies of, 0 if that was done before.
func (s *Source) Saving() time.Duration { return s.saving }

// Start starts a guest. An error is a [*vm.Ending] if the guest came to its end.
func (s *Source) Start(ctx context.Context, config vm.Config) (m *Machine, hello wire.Hello, err error) {
	for {
		dir, err := s.saved(ctx, config)
		if err != nil {
			return nil, hello, err
		}
		if dir == "" {
			return s.Boot(ctx, config)
		}
		m, hello, err = restore(ctx, config, dir)
		if err == nil || ctx.Err() != nil || !wontRestore(err) {
			return m, hello, err
		}
		s.giveUp(dir, err)
	}
}

// saved returns the directory of the guest to restore, empty if guests are to be booted.
func (s *Source) saved(ctx context.Context, config vm.Config) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cold() || s.dir != "" {
		return s.dir, nil
	}
	if s.key == "" {
		key, err := s.keyOf(ctx, config)
		if err != nil {
			return "", err
		}
		s.key = key
	}
	dir, err := s.Store.SavedGuest(ctx, s.key, func(dir string) error { return s.save(ctx, config, dir) })
	var notBooted *bootError
	switch {
	case err == nil:
		s.dir = dir
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case errors.As(err, &notBooted):
		return "", notBooted.err // nor would another one
	default:
		s.booted = true
		s.Note(fmt.Sprintf("guests are booted, as none can be saved: %v", err))
	}
	return s.dir, nil
}

// giveUp notes that the guest in the directory does not restore. It is made anew, once.
func (s *Source) giveUp(dir string, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir != dir {
		return // another worker was faster
	}
	s.dir = ""
	err := s.Store.DropGuest(s.key)
	switch {
	case s.again || err != nil:
		s.booted = true
		s.Note(fmt.Sprintf("guests are booted, as those saved do not restore: %v", failures.All(why, err)))
	default:
		s.again = true
		s.Note(fmt.Sprintf("the saved guest is made anew: %v", why))
	}
}

// keyOf names all that a saved guest depends on.
func (s *Source) keyOf(ctx context.Context, config vm.Config) (string, error) {
	machine, err := config.SavedKey(ctx)
	if err != nil {
		return "", err
	}
	initramfs, err := s.Store.InitramfsSum(s.Kernel, s.Initramfs)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%s\n%s %s\n%s\n%+v\n", machine, s.Kernel.SHA256, filepath.Base(s.Kernel.BootPath), initramfs, s.Ready)
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// bootError means that a guest that was to be saved did not boot.
type bootError struct{ err error }

func (e *bootError) Error() string { return e.err.Error() }
func (e *bootError) Unwrap() error { return e.err }

// saveTries is how often a guest is saved before guests are booted, if those that are saved hang.
const saveTries = 3

// save makes a guest to be restored, and sees that it can be.
//
// QEMU may save a machine without what it needs to go on. Of riscv64 it forgot until 10.2 which timer was pending
// (09f89ccc9763, b0daaa172a1c), and 7.2 does so of others now and then: all timers of a guest wait behind that one
// then. Whether a guest hangs is decided when it is saved, so that trying once is enough.
func (s *Source) save(ctx context.Context, config vm.Config, dir string) error {
	began := time.Now()
	defer func() { s.saving += time.Since(began) }()
	if err := s.makeInitrd(&config); err != nil {
		return &bootError{err}
	}
	verify := s.verify
	if verify == nil {
		verify = verifySaved
	}
	for try := 1; ; try++ {
		err := s.saveOnce(ctx, config, dir)
		if err == nil {
			err = verify(ctx, config, dir)
			if err == nil || ctx.Err() != nil {
				return err
			}
			err = fmt.Errorf("what is saved does not go on: %w", err)
		} else {
			return err
		}
		if try == saveTries {
			return err
		}
		if err := empty(dir); err != nil {
			return err
		}
	}
}

// empty removes what is in a directory.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

const (
	// verifyNaps is how often the agent sleeps in a guest that is verified.
	verifyNaps = 20
	// verifyTimeout ends one that hangs; others take 0.3 s.
	verifyTimeout = 20 * time.Second
)

// verifySaved restores a guest and checks that its timers are alive and that its clock is right. The kernel of an x86
// guest measures its processor's clock (TSC) while it boots. On a busy host it can come out far too slow under TCG: then
// seconds pass in milliseconds, and the kernel complains of processes that hang ("soft lockup").
func verifySaved(ctx context.Context, config vm.Config, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	config.ConsolePath = "" // that file is for the guest that runs the cases
	m, _, err := restoreWith(ctx, config, dir, verifyNaps)
	if err != nil {
		return err
	}
	return m.VM.Close()
}

// saveOnce boots a guest and saves it when it is ready.
func (s *Source) saveOnce(ctx context.Context, config vm.Config, dir string) error {
	config.SaveDir = dir
	m, _, err := bootMachine(ctx, config)
	var ending *vm.Ending
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return err
	case errors.As(err, &ending) && (ending.Reason == vm.Failed || ending.Reason == vm.Killed):
		return err // QEMU's end, which memory in a file may have brought about
	case err != nil:
		return &bootError{err}
	}
	defer m.VM.Close()
	if _, err := m.prepare(ctx, &wire.Request{Ready: &s.Ready}); err != nil {
		return err
	}
	return m.VM.Save(ctx)
}

// Boot boots a guest.
func (s *Source) Boot(ctx context.Context, config vm.Config) (*Machine, wire.Hello, error) {
	s.mu.Lock()
	err := s.makeInitrd(&config)
	s.mu.Unlock()
	if err != nil {
		return nil, wire.Hello{}, err
	}
	return bootMachine(ctx, config)
}

// makeInitrd writes the initramfs, which only guests that boot need.
func (s *Source) makeInitrd(config *vm.Config) error {
	config.Initrd, config.InitrdFile = s.Initrd, s.memory
	if s.made {
		return nil
	}
	if s.Initrd == "" {
		return s.makeInMemory(config)
	}
	if err := os.Remove(s.Initrd); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	_, err := s.Store.Initramfs(s.Initrd, s.Kernel, s.Initramfs)
	s.made = err == nil
	return err
}

// makeInMemory writes the initramfs to a file without a name, which is gone with this process, whatever ends it.
func (s *Source) makeInMemory(config *vm.Config) error {
	fd, err := unix.MemfdCreate("initramfs", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("initramfs: %w", err)
	}
	s.Close()
	s.memory = os.NewFile(uintptr(fd), "initramfs")
	config.InitrdFile = s.memory
	_, err = s.Store.WriteInitramfs(s.memory, s.Kernel, s.Initramfs)
	s.made = err == nil
	return err
}

// Close releases an initramfs in memory, which a guest whose agent is ready has read.
func (s *Source) Close() {
	if s.memory != nil {
		s.memory.Close()
	}
}

// entropySize is how many random bytes a restored guest gets; the kernel's generator
// holds 32.
const entropySize = 64

// restore starts a guest that was saved, and wakes its agent.
func restore(ctx context.Context, config vm.Config, dir string) (*Machine, wire.Hello, error) {
	return restoreWith(ctx, config, dir, 0)
}

// restoreWith is restore with an agent that sleeps so often before it answers. It is an error if more time passes in the
// guest meanwhile than here, which no load of this machine explains.
func restoreWith(ctx context.Context, config vm.Config, dir string, naps int) (_ *Machine, hello wire.Hello, err error) {
	guest, err := vm.Restore(ctx, config, dir)
	if err != nil {
		return nil, hello, err
	}
	m := &Machine{VM: guest, Conn: wire.NewConn(guest.Port()), Restored: true}
	defer func() {
		if err != nil {
			guest.Close()
		}
	}()
	entropy := make([]byte, entropySize)
	rand.Read(entropy)
	ctx, cancel := context.WithTimeout(ctx, config.BootTimeout)
	defer cancel()
	began := time.Now()
	hello, err = m.prepare(ctx, &wire.Request{Wake: &wire.Wake{Time: began, Entropy: entropy, Naps: naps}})
	if took := time.Since(began); err == nil && hello.Napped > took+took/4 {
		err = fmt.Errorf("its clock is too fast: %s in the guest are %s", hello.Napped.Round(time.Millisecond), took.Round(time.Millisecond))
	}
	return m, hello, err
}

// wontRestore reports whether an error is about the saved guest: it does not come back, or does not
// survive its first moments.
func wontRestore(err error) bool {
	var ending *vm.Ending
	return errors.As(err, new(*vm.RestoreError)) || errors.As(err, &ending)
}

// prepare sends a request that the agent answers with a Hello.
func (m *Machine) prepare(ctx context.Context, req *wire.Request) (hello wire.Hello, err error) {
	err = m.VM.Do(ctx, func(*vm.Port) error {
		if err := m.Conn.Send(req); err != nil {
			return err
		}
		return m.Conn.Receive(&hello)
	})
	return hello, err
}
