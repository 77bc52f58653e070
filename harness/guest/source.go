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

// Source starts guests with the same kernel, initramfs and set-up. It restores copies of a guest
// that this run or an earlier one has booted and saved. If no guest can be saved or restored, it
// boots each guest. A Source may be used by several goroutines.
type Source struct {
	Config
	Initramfs vmimage.Initramfs
	Initrd    string // path to write the initramfs to; "" for a file in memory
	WarmUp    wire.WarmUp

	mu     sync.Mutex
	booted bool // saving or restoring has failed: boot every guest
	made   bool // the initramfs has been written
	memory *os.File
	key    string // key of the saved guest in the cache
	dir    string // directory of the saved guest; "" until it is known
	again  bool   // the guest was saved a second time, because it did not restore
	// verify replaces verifySaved in tests.
	verify func(ctx context.Context, config vm.Config, dir string) error
	saving time.Duration
}

// cold reports whether guests are booted instead of restored.
func (s *Source) cold() bool { return s.booted || s.Cold || s.Debugger != nil || len(s.QEMUArgs) > 0 }

// Saving returns how long it took to save the guest that others are copies of. It is 0 if the cache
// already had it.
func (s *Source) Saving() time.Duration { return s.saving }

// Start restores or boots a guest. The caller ends it. If the guest itself has ended, the error is
// a [*vm.Ending].
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

// saved returns the directory of the guest to restore. It is empty if guests are to be booted.
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
	dir, err := s.Store.Cache().SavedGuest(ctx, s.key, func(dir string) error { return s.save(ctx, config, dir) })
	var notBooted *bootError
	switch {
	case err == nil:
		s.dir = dir
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case errors.As(err, &notBooted):
		return "", notBooted.err // another guest would not boot either
	default:
		s.booted = true
		s.Note(fmt.Sprintf("guests are booted, as none can be saved: %v", err))
	}
	return s.dir, nil
}

// giveUp records that the guest in the directory does not restore. The first time, the guest is
// saved again; the second time, guests are booted from then on.
func (s *Source) giveUp(dir string, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir != dir {
		return // another worker was faster
	}
	s.dir = ""
	err := s.Store.Cache().DropGuest(s.key)
	switch {
	case s.again || err != nil:
		s.booted = true
		s.Note(fmt.Sprintf("guests are booted, as those saved do not restore: %v", failures.All(why, err)))
	default:
		s.again = true
		s.Note(fmt.Sprintf("the saved guest is made anew: %v", why))
	}
}

// keyOf returns a hash of everything that a saved guest depends on.
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
	fmt.Fprintf(sum, "%s\n%s %s\n%s\n%+v\n", machine, s.Kernel.SHA256, filepath.Base(s.Kernel.BootPath), initramfs, s.WarmUp)
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// bootError means that the guest that was to be saved did not boot.
type bootError struct{ err error }

func (e *bootError) Error() string { return e.err.Error() }
func (e *bootError) Unwrap() error { return e.err }

// saveTries is how often saving is tried, if saved guests hang, before guests are booted instead.
const saveTries = 3

// save boots and saves a guest in dir, and verifies that the saved guest runs on after a restore.
//
// QEMU may save a machine without some state that it needs to continue. For riscv64, QEMU before
// 10.2 loses the pending timer (09f89ccc9763, b0daaa172a1c), and 7.2 now and then does so on other
// architectures. All timers of the guest then wait behind the lost one. Whether a saved guest hangs
// is settled when it is saved, so one restore is enough to tell.
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

// empty removes the entries of a directory.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

const (
	// verifyNaps is how often the agent sleeps in a guest that is being verified.
	verifyNaps = 20
	// verifyTimeout ends a guest that hangs. A guest that does not takes 0.3 s.
	verifyTimeout = 20 * time.Second
)

// verifySaved restores a guest and checks that its timers fire and that its clock is right. The
// kernel of an x86 guest calibrates its TSC while it boots. Under TCG on a busy host the result can
// be far too low: a second of guest time then passes in milliseconds, and the kernel reports soft
// lockups.
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

// saveOnce boots a guest and saves it once the agent is ready.
func (s *Source) saveOnce(ctx context.Context, config vm.Config, dir string) error {
	config.SaveDir = dir
	m, _, err := bootMachine(ctx, config)
	var ending *vm.Ending
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return err
	case errors.As(err, &ending) && (ending.Reason == vm.Failed || ending.Reason == vm.Killed):
		return err // QEMU itself ended, possibly because the guest's memory is in a file
	case err != nil:
		return &bootError{err}
	}
	defer m.VM.Close()
	if _, err := m.prepare(ctx, &wire.Request{WarmUp: &s.WarmUp}); err != nil {
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

// makeInitrd writes the initramfs if that has not been done yet. Only guests that boot need it.
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
	out, err := os.OpenFile(s.Initrd, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("initramfs: %w", err)
	}
	err = failures.All(s.Store.WriteInitramfs(out, s.Kernel, s.Initramfs), out.Close())
	if err != nil {
		os.Remove(s.Initrd)
	}
	s.made = err == nil
	return err
}

// makeInMemory writes the initramfs to an anonymous file (memfd), which disappears with this
// process however that ends.
func (s *Source) makeInMemory(config *vm.Config) error {
	fd, err := unix.MemfdCreate("initramfs", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("initramfs: %w", err)
	}
	s.Close()
	s.memory = os.NewFile(uintptr(fd), "initramfs")
	config.InitrdFile = s.memory
	err = s.Store.WriteInitramfs(s.memory, s.Kernel, s.Initramfs)
	s.made = err == nil
	return err
}

// Close releases the initramfs in memory. Guests that are running do not need it any more.
func (s *Source) Close() {
	if s.memory != nil {
		s.memory.Close()
	}
}

// entropySize is how many random bytes a restored guest is given. The kernel's random number
// generator holds 32.
const entropySize = 64

// restore starts a copy of a saved guest and resumes its agent.
func restore(ctx context.Context, config vm.Config, dir string) (*Machine, wire.Hello, error) {
	return restoreWith(ctx, config, dir, 0)
}

// restoreWith is restore with an agent that sleeps `naps` times before it answers. It fails if more
// time passes in the guest than on the host: a busy host can only slow a guest down.
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
	hello, err = m.prepare(ctx, &wire.Request{Resume: &wire.Resume{Time: began, Entropy: entropy, Naps: naps}})
	if took := time.Since(began); err == nil && hello.Napped > took+took/4 {
		err = fmt.Errorf("its clock is too fast: %s in the guest are %s", hello.Napped.Round(time.Millisecond), took.Round(time.Millisecond))
	}
	return m, hello, err
}

// wontRestore reports whether the saved guest is to blame for an error: the guest does not restore,
// or ends soon after.
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
